"""Tensors that a loop carries and gives another size: kept in records, of which a reverse can stack any.

    (for (i n) ((y x))                                     (for (i n) ((y_box (box y x)))
      (cat y (part x 0 i)))                      ⟶            (let ((y (unbox y_box)))
                                                                (box y (cat y (part x 0 i)))))

A size changes where it is computed from itself, from the index or another Integer of the iteration, or from a size
that changes. What is not seen, such as the size of what a call gives, is taken to stay the same: a tape of tensors of
several sizes stops the kernel. To be used before a program is reversed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ksc.ir.builder import Builder
from ksc.ir.nodes import Atom, Block, Eqn, Function, Program, Var, walk
from ksc.ir.rewrite import assemble, unique_name, with_blocks, with_eqns
from ksc.ir.types import BoxType, TensorType, Type, is_scalar
from ksc.passes.fuse.facts import Facts
from ksc.passes.fuse.polynomial import Polynomial, Symbol
from ksc.passes.fuse.sizes import Size


def box_resized(program: Program) -> Program:
    """Carry such tensors of all functions in records."""
    boxes = dict(program.boxes)
    functions = {}
    for name, function in program.functions.items():
        functions[name] = function
        if any(next(_tensors(eqn), None) for eqn in walk(function.body)):
            facts = Facts.of(function, early=True)[0]
            found = _Resized(facts).found(function.body)
            if found:
                functions[name] = Function(name, _boxed(function.body, found, boxes), function.span)
    if all(functions[name] is function for name, function in program.functions.items()):
        return program
    return assemble(functions, program.entry, boxes, renew=False)


def _tensors(eqn: Eqn) -> Iterator[tuple[int, Var, Atom]]:
    """The tensors of numbers that a loop carries: which carry it is, as the body sees it, and what that gives."""
    if eqn.op not in ("for", "while"):
        return
    body, carries = eqn.blocks[-1], eqn.params["carries"]
    params = body.params[len(body.params) - carries :]
    for k, (param, result) in enumerate(zip(params, body.results, strict=False)):
        if isinstance(param.type, TensorType) and is_scalar(param.type.elem):
            yield k, param, result


@dataclass(frozen=True, slots=True)
class _Resized:
    """Looks for carries whose sizes change; ``changing`` holds those found, as the body and what follows see them."""

    facts: Facts
    changing: set[Var] = field(default_factory=set)

    def found(self, block: Block) -> dict[Eqn, list[int]]:
        """The numbers of such carries of each loop."""
        found: dict[Eqn, list[int]] = {}
        for eqn in block.eqns:
            for inner in eqn.blocks:
                found.update(self.found(inner))
            numbers = self.carries(eqn)
            if numbers:
                found[eqn] = numbers
        return found

    def carries(self, loop: Eqn) -> list[int]:
        """Those of one loop, once what is inside of it is known."""
        tensors = list(_tensors(loop))
        numbers: list[int] = []
        grown = True
        while grown:
            more = [k for k, param, result in tensors if k not in numbers and self.is_resized(loop, param, result)]
            grown = bool(more)
            numbers += more
            self.changing.update(param for k, param, _ in tensors if k in more)
        self.changing.update(loop.outs[k] for k in numbers)
        return sorted(numbers)

    def is_resized(self, loop: Eqn, param: Var, result: Atom) -> bool:
        assert isinstance(param.type, TensorType)
        return isinstance(result, Var) and any(
            self.differs(loop, (param, dim), self.facts.size(result, dim))
            for dim in range(param.type.rank)
            if self.facts.size(param, dim) == (param, dim)
        )

    def differs(self, loop: Eqn, before: tuple[Var, int], after: Size) -> bool:
        """Whether a size that is ``before`` at the start of an iteration is seen to be another after it."""
        if isinstance(after, tuple) and after != before:
            eqn = self.facts.definition(after[0])
            if eqn is not None and eqn.op == "if":
                k = eqn.outs.index(after[0])
                sides = [block.results[k] for block in eqn.blocks]
                return any(
                    isinstance(side, Var) and self.differs(loop, before, self.facts.size(side, after[1]))
                    for side in sides
                )
        polynomial = self.facts.polynomial(after)
        if polynomial == Polynomial.symbol(before):
            return False
        return any(symbol == before or self.is_changing(loop, symbol) for symbol in polynomial.symbols())

    def is_changing(self, loop: Eqn, symbol: Symbol) -> bool:
        """Whether a part of a size may be another in the next iteration."""
        if isinstance(symbol, tuple):
            return symbol[0] in self.changing
        if not isinstance(symbol, Var) or symbol not in self.facts.places:
            return False
        if not any(place.owner is loop for place in self.facts.places[symbol].around()):
            return False
        eqn = self.facts.definition(symbol)
        return eqn is None or eqn.op != "call"


def _boxed(block: Block, found: Mapping[Eqn, list[int]], boxes: dict[str, tuple[Type, ...]]) -> Block:
    eqns: list[Eqn] = []
    for eqn in block.eqns:
        inner = with_blocks(eqn, tuple(_boxed(inner, found, boxes) for inner in eqn.blocks))
        eqns += _loop(inner, found[eqn], boxes) if eqn in found else (inner,)
    return with_eqns(block, eqns)


def _loop(loop: Eqn, numbers: list[int], boxes: dict[str, tuple[Type, ...]]) -> list[Eqn]:
    """The loop with these carries in records, between what closes and what opens them."""
    around, after, first = Builder(loop.span), Builder(loop.span), len(loop.args) - loop.params["carries"]
    blocks = [Builder(block.span) for block in loop.blocks]
    args, outs = list(loop.args), list(loop.outs)
    params = [list(block.params) for block in loop.blocks]
    results = list(loop.blocks[-1].results)
    closing = Builder(loop.span)
    for k in numbers:
        out = outs[k]
        name = unique_name(f"{out.name}_sized", boxes)
        boxes[name] = (out.type,)
        args[first + k] = _box(around, name, args[first + k])
        outs[k] = Var(out.name, BoxType(name))
        after.eqns.append(Eqn((out,), "unbox", (outs[k],), span=loop.span))
        for own, builder in zip(params, blocks, strict=True):
            at = len(own) - loop.params["carries"] + k
            record = Var(own[at].name, BoxType(name))
            builder.eqns.append(Eqn((own[at],), "unbox", (record,), span=loop.span))
            own[at] = record
        results[k] = _box(closing, name, results[k])
    made = []
    for block, own, builder in zip(loop.blocks, params, blocks, strict=True):
        last = block is loop.blocks[-1]
        eqns = (*builder.eqns, *block.eqns, *(closing.eqns if last else ()))
        made.append(Block(tuple(own), eqns, tuple(results) if last else block.results, block.span))
    new = Eqn(tuple(outs), loop.op, tuple(args), loop.params, tuple(made), loop.span)
    return [*around.eqns, new, *after.eqns]


def _box(builder: Builder, name: str, tensor: Atom) -> Var:
    return builder.emit("box", [tensor], [BoxType(name)], names=["sized"], params={"name": name})[0]
