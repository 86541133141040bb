"""Elements that cost much are computed once by loops of equal sizes.

    e = (build n (lam i (exp (index i x))))
    s = (reduce add n (lam i (mul (index i y) (exp (index i x)))))
      ⟶      s = (reduce add n (lam i (mul (index i y) (index i e))))

Fusion computes an element where it is read, and derivatives compute again what they need of the primal. Where a tensor
holds a transcendental function of the same arguments, it is read. Where none does, but two loops in the body of another
one compute the same, it is kept for that turn of the outer loop: in a row, as a rule, which a cache holds. What only
some iterations compute, on a side of an ``if``, stays there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ksc.ir.builder import stack_type
from ksc.ir.liveness import prune_block
from ksc.ir.nodes import Atom, Block, Const, Eqn, Function, Program, Var
from ksc.ir.rewrite import clone_block, read_vars, with_blocks, with_body, with_eqns, with_functions
from ksc.ir.types import Float
from ksc.ops import PRIMITIVES
from ksc.passes.cse import value_key
from ksc.passes.fuse import fuse, has_tensors

SHORTEST = 17
"""A loop known to be shorter than this keeps its numbers in registers, or is written out."""

Key = tuple[tuple[Atom, ...], int]
"""The sizes of a loop, and the number of an expression over its indices."""


def reuse_elements(program: Program) -> Program:
    """Compute each such element once, and fuse what can be fused now; the same program where there is nothing to do."""
    if not has_tensors(program):
        return program
    read = with_functions(program, _function)
    return program if read is program else fuse(read, since=program)


def _function(function: Function) -> Function:
    return with_body(function, _Elements().block(function.body, {}, {}, inside=False))


@dataclass(slots=True)
class _Numbers:
    """Numbers for values, equal ones for equal expressions."""

    known: dict[object, int] = field(default_factory=dict)

    def of(self, key: object) -> int:
        return self.known.setdefault(key, len(self.known))


@dataclass(slots=True)
class _Part:
    """The equations of a block, as far as they are done, and the tables to be put before one of them."""

    eqns: list[Eqn] = field(default_factory=list)
    tables: dict[int, list[Eqn]] = field(default_factory=dict)


@dataclass(slots=True)
class _First:
    """Where an element was computed first: its loop, and the position of that, or of the ``withacc`` around it."""

    part: _Part
    position: int
    loop: Eqn
    var: Var
    table: Var | None = None

    def tabulate(self) -> Var:
        """Have the element made before the loop, which reads it then; the tensor that holds it."""
        if self.table is None:
            made = table_of(self.loop, self.var)
            (self.table,) = made.outs
            self.part.tables.setdefault(self.position, []).append(made)
            self.part.eqns[self.position] = _reading_in(self.part.eqns[self.position], self.var, self.table)
        return self.table


class _Elements:
    def __init__(self) -> None:
        self.numbers = _Numbers()

    def block(self, block: Block, known: Mapping[Key, Var], seen: Mapping[Key, _First], *, inside: bool) -> Block:
        """The block with elements read where ``known`` tensors hold them, or such as are made where they were ``seen``
        to be computed: in the body of a loop."""
        held, first = dict(known), dict(seen)
        part = _Part()
        for eqn in block.eqns:
            earlier = dict(first)
            if eqn.op in ("build", "reduce"):
                found = self.dear(eqn)
                for var, key in found.items():
                    if key not in held and key in first and _is_long(eqn):
                        held[key] = first.pop(key).tabulate()
                        earlier.pop(key)
                    elif key not in held and inside:
                        first.setdefault(key, _First(part, len(part.eqns), eqn, var))
                eqn = reading(eqn, {var: held[key] for var, key in found.items() if key in held})
                if eqn.op == "build" and not eqn.params.get("nested"):
                    results = dict(zip(eqn.blocks[0].results, eqn.outs, strict=True))
                    held.update((key, results[var]) for var, key in found.items() if var in results and key not in held)
            # What loops in it compute is not the first time: it may be once for each turn, or no time at all.
            around = inside or eqn.op in ("build", "reduce", "for", "while")
            blocks = [self.block(inner, held, earlier, inside=around) for inner in eqn.blocks]
            part.eqns.append(with_blocks(eqn, blocks))
            if inside and eqn.op == "withacc":
                for loop, var, key in self.dear_of_sums(part.eqns[-1]):
                    if key not in held:
                        first.setdefault(key, _First(part, len(part.eqns) - 1, loop, var))
        return with_eqns(block, [one for k, eqn in enumerate(part.eqns) for one in (*part.tables.get(k, ()), eqn)])

    def dear_of_sums(self, eqn: Eqn) -> Iterator[tuple[Eqn, Var, Key]]:
        """What loops in a ``withacc`` compute that is dear, of what is known before it."""
        (body,) = eqn.blocks
        own = {*body.params, *(out for inner in body.eqns for out in inner.outs)}
        for loop in body.eqns:
            if loop.op in ("build", "reduce") and own.isdisjoint(loop.args):
                for var, key in self.dear(loop).items():
                    if own.isdisjoint(read_vars([table_of(loop, var)])):
                        yield loop, var, key

    def dear(self, loop: Eqn) -> dict[Var, Key]:
        """What the body of a loop computes that is dear and depends on all of its indices alone, among what varies."""
        (body,) = loop.blocks
        numbers: dict[Atom, int] = {param: self.numbers.of(("index", k)) for k, param in enumerate(body.params)}
        indices: dict[Atom, frozenset[int]] = {param: frozenset({k}) for k, param in enumerate(body.params)}
        bound: set[Atom] = set(body.params)
        found: dict[Var, Key] = {}
        for eqn in body.eqns:
            bound.update(eqn.outs)
            record = PRIMITIVES.get(eqn.op)
            part = (record is not None and record.speculatable) or eqn.op == "index"
            key = value_key(eqn, ()) if part else None
            if key is None or any(arg in bound and arg not in numbers for arg in eqn.args):
                continue
            op, args, params = key
            (out,) = eqn.outs
            operands = [numbers.get(arg, self.numbers.of(arg)) for arg in args]
            if record is not None and record.commutative:
                operands.sort()
            numbers[out] = self.numbers.of((op, tuple(operands), params))
            indices[out] = frozenset().union(*(indices.get(arg, frozenset()) for arg in args))
            dear = record is not None and record.cost == "expensive" and out.type == Float
            if dear and len(indices[out]) == len(body.params):
                found[out] = (loop.args, numbers[out])
        return found


def _is_long(loop: Eqn) -> bool:
    """Whether a loop may be long enough, and has one index: what it keeps is a row."""
    (size, *others) = loop.args
    return not others and not (isinstance(size, Const) and int(size.value) < SHORTEST)


def table_of(loop: Eqn, var: Var) -> Eqn:
    """The loop that makes a tensor of an element of the body of ``loop``."""
    (body,) = loop.blocks
    made = prune_block(Block(body.params, body.eqns, (var,), body.span), ())
    pure = Block(made.params, tuple(eqn for eqn in made.eqns if eqn.outs), made.results, made.span)
    table = Var(var.name, stack_type(len(loop.args), var.type))
    return Eqn((table,), "build", loop.args, {}, (clone_block(pure, {}),), loop.span)


def _reading_in(eqn: Eqn, var: Var, table: Var) -> Eqn:
    """A loop, or an equation with the loop inside, with one element read of a tensor."""
    if eqn.op in ("build", "reduce"):
        return reading(eqn, {var: table})
    blocks = [
        with_eqns(block, [_reading_in(one, var, table) if one.blocks else one for one in block.eqns])
        for block in eqn.blocks
    ]
    return with_blocks(eqn, blocks)


def reading(loop: Eqn, held: Mapping[Var, Var]) -> Eqn:
    """The loop with elements read of the tensors that hold them."""
    if not held:
        return loop
    (body,) = loop.blocks
    eqns = []
    for eqn in body.eqns:
        if len(eqn.outs) == 1 and eqn.outs[0] in held:
            eqns.append(Eqn(eqn.outs, "index", (held[eqn.outs[0]], *body.params), span=eqn.span))
        else:
            eqns.append(eqn)
    block = Block(body.params, tuple(eqns), body.results, body.span)
    return Eqn(loop.outs, loop.op, loop.args, loop.params, (block,), loop.span)
