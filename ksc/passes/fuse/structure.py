"""What is known of tensors without looking at numbers; values and rounding stay as they are.

* the size of a tensor that is known, a ``get`` of a ``tuple``: what it is;
* integers that an assert says are equal are one after it;
* ``(index j (index i t))`` is ``(index (tuple i j) t)``, so that a row is not made for its elements; where a loop
  changes t between the two, in each iteration, it is made;
* ``(build n (lam i (index i x)))``, n being the size of x, is x;
* a size is not below 0, nor is the maximum of it and 0 another one;
* a loop that runs once is its body, a sum or loop that never runs is what it starts with; nor is a dimension gone
  through that has one index.

Unlike ``simplify`` this is done before differentiation too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ksc.ir.nodes import Atom, Block, Const, Eqn, Function, Program, Var, const
from ksc.ir.rewrite import Env, assemble, replace
from ksc.ir.types import Bool, Float, Integer, TensorType, Type, is_scalar
from ksc.passes.fuse.changes import Changes
from ksc.passes.fuse.facts import Facts
from ksc.passes.fuse.sizes import Place


def resolve_structure(program: Program) -> Program:
    """Apply the rules above in all functions."""
    functions = {name: resolve_function(function) for name, function in program.functions.items()}
    return assemble(functions, program.entry, program.boxes, renew=False)


def resolve_function(function: Function) -> Function:
    """Apply them in one function."""
    return _Resolver(function).run()


class _Resolver:
    def __init__(self, function: Function) -> None:
        self.function = function
        self.facts, self.top = Facts.of(function)
        self.env: Env = {}
        self.changes = Changes(function)

    def run(self) -> Function:
        return Function(self.function.name, self.block(self.function.body, self.top), self.function.span)

    def block(self, block: Block, place: Place) -> Block:
        out: list[Eqn] = []
        learnt = self.eqns(block.eqns, place, out)
        results = tuple(replace(result, self.env) for result in block.results)
        for var in learnt:
            del self.env[var]
        return Block(block.params, tuple(out), results, block.span)

    def eqns(self, eqns: Sequence[Eqn], place: Place, out: list[Eqn]) -> list[Var]:
        """Append what the equations of a block are; the variables that asserts have replaced in it."""
        learnt: list[Var] = []
        for eqn in eqns:
            new = Eqn(eqn.outs, eqn.op, tuple(replace(a, self.env) for a in eqn.args), eqn.params, eqn.blocks, eqn.span)
            values = self.known(eqn, new, place, out)
            if values is not None:
                self.env.update((var, value) for var, value in zip(eqn.outs, values, strict=True) if var is not value)
                continue
            if new.op == "index":
                new = self.flat_index(new, eqn, place, eqn)
            kept = self.longer_than_one(new)
            blocks = tuple(self.block(inner, self.facts.inside(inner, eqn, place)) for inner in eqn.blocks)
            new = Eqn(new.outs, new.op, new.args, new.params, blocks, new.span)
            if kept is not None:
                new = _with_dimensions(new, kept)
            copied = self.copied(new, place) if new.op == "build" else None
            if copied is not None:
                self.env.update(zip(new.outs, copied, strict=True))
                continue
            out.append(new)
            if new.op == "assert":
                learnt += self.learn(eqn.args[0])
        return learnt

    def learn(self, cond: Atom) -> list[Var]:
        learnt = []
        for pair in self.facts.equalities(cond):
            kept, other = (replace(arg, self.env) for arg in pair)
            if isinstance(kept, Var) and isinstance(other, Const):
                kept, other = other, kept
            if isinstance(other, Var) and kept is not other and other not in self.env:
                self.env[other] = kept
                learnt.append(other)
        return learnt

    def known(self, eqn: Eqn, new: Eqn, place: Place, out: list[Eqn]) -> Sequence[Atom] | None:
        """The values of an equation that need not be computed; ``eqn`` is as it was, ``new`` as it reads now."""
        match eqn.op:
            case "size":
                return self.known_size(eqn, place, out)
            case "get":
                source = self.facts.untupled(eqn.outs[0])
                return None if source is eqn.outs[0] else (replace(source, self.env),)
            case "lt" | "max" if eqn.args[1] == const(0):
                value = self.facts.polynomial(self.facts.resolve(eqn.args[0]))
                natural = self.facts.is_natural(value) or self.facts.never_negative(value, place)
                return ((const(False) if eqn.op == "lt" else new.args[0]),) if natural else None
            case "select" if isinstance(new.args[0], Const):
                return (new.args[1 if new.args[0].value else 2],)
            case "reduce":
                return self.trivial_reduce(new, place, out)
            case "for":
                return self.trivial_for(new, place, out)
            case _:
                return None

    def known_size(self, eqn: Eqn, place: Place, out: list[Eqn]) -> Sequence[Atom] | None:
        size = self.facts.resolve(eqn.outs[0])
        if isinstance(size, Const):
            return (size,)
        if not self.facts.is_visible(size, place):
            return None
        if isinstance(size, Var):
            return None if size is eqn.outs[0] else (replace(size, self.env),)
        tensor = replace(size[0], self.env)
        out.append(Eqn(eqn.outs, "size", (tensor,), {"dim": size[1]}, (), eqn.span))
        return eqn.outs

    def flat_index(self, new: Eqn, eqn: Eqn, place: Place, reader: Eqn) -> Eqn:
        """Read through a row: an element of a part is an element of the whole, where ``reader`` still has that."""
        row = self.facts.definition(eqn.args[0])
        if row is None or row.op != "index" or not isinstance(row.args[0], Var):
            return new
        source = row.args[0]
        assert isinstance(source.type, TensorType)
        if not is_scalar(source.type.elem) or self.changes.between(row.outs[0], [reader], [source]):
            return new
        here = self.facts.places[row.outs[0]]
        safe = all(self.facts.in_range(i, self.facts.size(source, dim), here) for dim, i in enumerate(row.args[1:]))
        if not safe and here is not place:
            return new
        flat = Eqn(new.outs, "index", (*row.args, *eqn.args[1:]), new.params, (), new.span)
        again = self.flat_index(flat, flat, place, reader)
        return Eqn(again.outs, "index", tuple(replace(a, self.env) for a in again.args), new.params, (), new.span)

    def copied(self, eqn: Eqn, place: Place) -> Sequence[Var] | None:
        """The tensors that a ``build`` copies, element by element or part by part, if it does nothing else."""
        (body,) = eqn.blocks
        if eqn.params.get("nested") or any(read.op != "index" for read in body.eqns):
            return None
        reads = {read.outs[0]: read for read in body.eqns}
        found: list[Var] = []
        for result in body.results:
            read = reads.get(result) if isinstance(result, Var) else None
            tensor = None if read is None else read.args[0]
            if read is None or read.args[1:] != body.params or not isinstance(tensor, Var):
                return None
            found.append(tensor)
        if not found or not all(self.facts.is_visible(tensor, place) for tensor in found):
            return None
        sizes = [self.facts.resolve(size) for size in eqn.args]
        whole = all(self.facts.equal(self.facts.size(t, dim), size) for t in found for dim, size in enumerate(sizes))
        return found if whole and len(reads) == len({*body.results}) else None

    def trivial_reduce(self, eqn: Eqn, place: Place, out: list[Eqn]) -> Sequence[Atom] | None:
        (body,) = eqn.blocks
        sizes = [self.facts.resolve(size) for size in eqn.args]
        naturals = all(self.facts.is_natural(self.facts.polynomial(size)) for size in sizes)
        neutral = [_neutral(eqn.params["monoid"], o.type) for o in eqn.outs]
        if const(0) in sizes and naturals and None not in neutral:
            return [atom for atom in neutral if atom is not None]
        if any(size != const(1) for size in sizes):
            return None
        self.env.update(dict.fromkeys(body.params, const(0)))
        self.eqns(body.eqns, place, out)
        return [replace(result, self.env) for result in body.results]

    def longer_than_one(self, eqn: Eqn) -> Sequence[int] | None:
        """The dimensions of a loop that run more than once, if others do not and no tensor is made of them."""
        if eqn.op != "reduce" and (eqn.op != "build" or eqn.outs):
            return None
        kept = [k for k, size in enumerate(eqn.args) if self.facts.resolve(size) != const(1)]
        if not kept or len(kept) == len(eqn.args):
            return None
        params = eqn.blocks[0].params
        self.env.update((param, const(0)) for k, param in enumerate(params) if k not in kept)
        return kept

    def trivial_for(self, eqn: Eqn, place: Place, out: list[Eqn]) -> Sequence[Atom] | None:
        (body,) = eqn.blocks
        count = self.facts.resolve(eqn.args[0])
        if eqn.params["carries"] != len(eqn.outs) or not isinstance(count, Const) or int(count.value) > 1:
            return None
        if int(count.value) < 1:
            return eqn.args[1:]
        self.env.update(zip(body.params, (const(0), *eqn.args[1:]), strict=True))
        self.eqns(body.eqns, place, out)
        return [replace(result, self.env) for result in body.results]


def _with_dimensions(loop: Eqn, kept: Sequence[int]) -> Eqn:
    """A loop over some of its dimensions."""
    (body,) = loop.blocks
    block = Block(tuple(body.params[k] for k in kept), body.eqns, body.results, body.span)
    return Eqn(loop.outs, loop.op, tuple(loop.args[k] for k in kept), loop.params, (block,), loop.span)


def _neutral(monoid: str, type_: Type) -> Const | None:
    """The neutral element of a monoid, None where the type is no scalar."""
    if type_ == Bool:
        return const(monoid == "and")
    if type_ == Integer:
        return const({"add": 0, "mul": 1, "min": 2**63 - 1, "max": -(2**63)}[monoid])
    if type_ == Float:
        return const({"add": 0.0, "mul": 1.0, "min": math.inf, "max": -math.inf}[monoid])
    return None
