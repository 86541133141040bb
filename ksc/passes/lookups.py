"""What each iteration of a loop that surely runs would look up again, and check, is looked up once before it.

    (build (tuple n 3 4) (lam ((i : Integer) (j : Integer) (k : Integer))
      (let ((at (index i which)) (x (index (tuple at j k) t)) (w (index i s))) (mul w x))))
      ⟶      (build n (lam (i : Integer)
               (let ((at (index i which)) (row (index at t)) (w (index i s)))
                 (build (tuple 3 4) (lam ((j : Integer) (k : Integer))
                   (let ((x (index (tuple j k) row))) (mul w x)))))))

A check is a branch that stops the kernel, and a loop with one inside is not vectorised. So this is done where an index
is not known to be in range, and the sizes of the innermost dimensions are known and not 0: an iteration fails after as
before, on the same line. Where they are not known, nothing is looked up before a loop that may be empty, but what it
needs is required there: that it is empty, or the index in range. What follows an assert in the body stays behind it. It
is done for processors alone, since on a grid the elements of a nest are divided among threads, each of which checks
what it reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ksc.ir.builder import Builder, stack_type
from ksc.ir.nodes import Atom, Block, Const, Eqn, Function, Program, Var, const
from ksc.ir.rewrite import free_in, with_body, with_functions
from ksc.ir.types import Integer, TensorType, is_scalar
from ksc.ops import PRIMITIVES
from ksc.passes.explain import MESSAGE
from ksc.passes.fuse.cost import fails
from ksc.passes.fuse.facts import Facts
from ksc.passes.fuse.sizes import Place

_STOPS = frozenset({"assert", "call", "callback", "print"})


def look_up_first(program: Program) -> Program:
    """Do so in all functions."""

    def change(function: Function) -> Function:
        facts, top = Facts.of(function, early=True)
        return with_body(function, _LookUps(facts).block(function.body, top))

    return with_functions(program, change)


class _LookUps:
    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        conditions = [var for var, reads in facts.reads.items() if any(_is_assert(read.eqn) for read in reads)]
        self.asserted = {arg for var in conditions for arg in self.compared(var)}

    def compared(self, cond: Atom) -> Iterator[Atom]:
        """What a condition compares."""
        eqn = self.facts.definition(cond)
        if eqn is not None and eqn.op == "and":
            yield from (arg for part in eqn.args for arg in self.compared(part))
        elif eqn is not None and eqn.op in ("lt", "lte", "gt", "gte"):
            yield from eqn.args

    def block(self, block: Block, place: Place) -> Block:
        eqns: list[Eqn] = []
        for eqn in block.eqns:
            places = [self.facts.inside(inner, eqn, place) for inner in eqn.blocks]
            blocks = tuple(self.block(inner, at) for inner, at in zip(eqn.blocks, places, strict=True))
            new = eqn
            if any(one is not other for one, other in zip(blocks, eqn.blocks, strict=True)):
                new = replace(eqn, blocks=blocks)
            eqns += self.split(new, places[0]) if new.op in ("build", "reduce") else [new]
        if len(eqns) == len(block.eqns) and all(one is other for one, other in zip(eqns, block.eqns, strict=True)):
            return block
        return Block(block.params, tuple(eqns), block.results, block.span)

    def split(self, eqn: Eqn, place: Place) -> list[Eqn]:
        """The loop, with what its innermost dimensions have in common before these."""
        (body,) = eqn.blocks
        outer = len(eqn.args)
        while outer > 0 and _runs(eqn.args[outer - 1]):
            outer -= 1
        if eqn.params.get("nested") or (outer > 0 and eqn.op != "build"):
            return [eqn]
        if outer < len(eqn.args):
            before, rest, checks = self.parts(body, body.params[outer:], place)
            if checks:
                return self.around(eqn, outer, before, rest)
        for first in range(1, outer if outer < len(eqn.args) else len(eqn.args)):
            before, rest, checks = self.required(body, first, eqn.args[first:], place)
            if checks:
                return self.around(eqn, first, before, rest)
        return [eqn]

    def around(self, eqn: Eqn, outer: int, before: Sequence[Eqn], rest: Sequence[Eqn]) -> list[Eqn]:
        """The loop over the first ``outer`` dimensions, with ``before`` in it, around that over the others."""
        (body,) = eqn.blocks
        inner = Block(body.params[outer:], tuple(rest), body.results, body.span)
        if outer == 0:
            return [*before, replace(eqn, blocks=(inner,))]
        types = [stack_type(len(eqn.args) - outer, result.type) for result in body.results]
        rows = tuple(Var(out.name, type_) for out, type_ in zip(eqn.outs, types, strict=True))
        loop = Eqn(rows, "build", eqn.args[outer:], eqn.params, (inner,), eqn.span)
        block = Block(body.params[:outer], (*before, loop), rows, body.span)
        return [replace(eqn, args=eqn.args[:outer], blocks=(block,))]

    def parts(self, body: Block, params: Sequence[Var], place: Place) -> tuple[list[Eqn], list[Eqn], bool]:
        """What does not depend on ``params``, what does, and whether any of the first may fail."""
        inside = set(params)
        before: list[Eqn] = []
        rest: list[Eqn] = []
        rows: dict[tuple[Atom, ...], Var] = {}
        checks = stopped = False
        for eqn in body.eqns:
            if not stopped and _is_movable(eqn) and inside.isdisjoint(free_in(eqn)):
                before.append(eqn)
                checks = checks or fails(eqn, place, self.facts)
                continue
            prefix = () if stopped or eqn.op != "index" else self.prefix(eqn, inside, place)
            if prefix:
                checks = True
                key = eqn.args[: 1 + len(prefix)]
                if key not in rows:
                    rows[key] = _row(key)
                    before.append(Eqn((rows[key],), "index", key, {}, (), eqn.span))
                eqn = replace(eqn, args=(rows[key], *eqn.args[len(key) :]))
            stopped = stopped or _stops(eqn)
            rest.append(eqn)
            inside.update(eqn.outs)
        return before, rest, checks

    def required(
        self, body: Block, outer: int, sizes: Sequence[Atom], place: Place
    ) -> tuple[list[Eqn], list[Eqn], bool]:
        """What does not depend on the dimensions from ``outer`` on, with what they require; the rest; whether they do.

        They may be empty, so nothing that may fail is among the first.
        """
        inside = set(body.params[outer:])
        before = Builder()
        rest: list[Eqn] = []
        seen: set[tuple[Var, int, Atom]] = set()
        stopped = False
        for eqn in body.eqns:
            if not stopped and self.is_safe(eqn) and inside.isdisjoint(free_in(eqn)):
                before.eqns.append(eqn)
                continue
            if not stopped and eqn.op == "index":
                for dim, index in enumerate(self.prefix(eqn, inside, place)):
                    tensor = eqn.args[0]
                    assert isinstance(tensor, Var)
                    if (tensor, dim, index) not in seen and not self.is_known(tensor, dim, index, place):
                        seen.add((tensor, dim, index))
                        before.span = eqn.span
                        _require(before, tensor, dim, index, sizes)
            stopped = stopped or _stops(eqn)
            rest.append(eqn)
            inside.update(eqn.outs)
        return before.eqns, rest, bool(seen)

    def is_safe(self, eqn: Eqn) -> bool:
        """Whether an equation gives numbers, and cannot fail even if loops inside of those around are empty."""
        if eqn.op != "index":
            return _is_movable(eqn) and not _may_fail(eqn)
        tensor, *at = eqn.args
        counts = [self.facts.counts.get(index) if isinstance(index, Var) else None for index in at]
        return (
            isinstance(tensor, Var)
            and is_scalar(eqn.outs[0].type)
            and all(
                count is not None and self.facts.equal(self.facts.resolve(count), self.facts.size(tensor, dim))
                for dim, count in enumerate(counts)
            )
        )

    def prefix(self, eqn: Eqn, inside: set[Var], place: Place) -> Sequence[Atom]:
        """The leading indices of a read that all iterations have in common, if only these may be out of range."""
        tensor, *at = eqn.args
        if not isinstance(tensor, Var) or tensor in inside:
            return ()
        common = 0
        while common < len(at) - 1 and at[common] not in inside:
            common += 1
        known = [self.is_known(tensor, dim, index, place) for dim, index in enumerate(at)]
        return at[:common] if not all(known[:common]) and all(known[common:]) else ()

    def is_known(self, tensor: Var, dim: int, index: Atom, place: Place) -> bool:
        return index in self.asserted or self.facts.in_range(index, self.facts.size(tensor, dim), place)


def _require(builder: Builder, tensor: Var, dim: int, index: Atom, sizes: Sequence[Atom]) -> None:
    """Require an index to be in range unless one of some sizes is 0."""
    (size,) = builder.emit("size", [tensor], [Integer], params={"dim": dim})
    fits = builder.apply("and", builder.apply("lte", const(0), index), builder.apply("lt", index, size))
    for count in sizes:
        if not _runs(count):
            fits = builder.apply("or", builder.apply("lte", count, const(0)), fits)
    params = {"message": MESSAGE, "index": (tensor.name, (dim,))}
    builder.emit("assert", [fits, index, size], [], params=params)


def _is_assert(eqn: Eqn | None) -> bool:
    return eqn is not None and eqn.op == "assert"


def _runs(size: Atom) -> bool:
    return isinstance(size, Const) and int(size.value) > 0


def _is_movable(eqn: Eqn) -> bool:
    """Whether an equation gives numbers, and does nothing else but fail."""
    if not all(is_scalar(out.type) for out in eqn.outs):
        return False
    if eqn.op == "if":
        return all(_is_movable(inner) and not _may_fail(inner) for block in eqn.blocks for inner in block.eqns)
    return eqn.op in PRIMITIVES or eqn.op in ("index", "size")


def _may_fail(eqn: Eqn) -> bool:
    record = PRIMITIVES.get(eqn.op)
    return eqn.op == "index" or (record is not None and record.can_fail)


def _stops(eqn: Eqn) -> bool:
    return (
        eqn.op in _STOPS
        or (eqn.op != "index" and _may_fail(eqn))
        or any(_stops(inner) for block in eqn.blocks for inner in block.eqns)
    )


def _row(key: Sequence[Atom]) -> Var:
    tensor, *at = key
    assert isinstance(tensor, Var) and isinstance(tensor.type, TensorType)
    rank = tensor.type.rank - len(at)
    return Var(tensor.name, TensorType(rank, tensor.type.elem, tensor.type.sizes[len(at) :]))
