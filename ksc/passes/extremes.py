"""Loops that look for the largest or the smallest are reductions, whose iterations can be shared out among threads.

    (for (i n) ((m -inf)) (max m (index i x)))        ⟶        (reduce max n (lam (i) (index i x)))

Reversing a ``reduce`` by ``max`` leaves such a loop where nothing needs to know which element it was. One that carries
where the largest stands, and how many are equal to it, becomes three: for the value, for the first index of it, and for
how many there are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from ksc.ir.builder import Builder, Expr
from ksc.ir.nodes import Atom, Block, Const, Eqn, Function, Program, Var, const, walk
from ksc.ir.rewrite import Env, assemble, clone_eqn
from ksc.ir.rewrite import replace as at
from ksc.ir.types import Float, FloatType, Integer
from ksc.ops import PRIMITIVES

_NEUTRAL = {"max": -math.inf, "min": math.inf}
_NOWHERE = const(2**63 - 1)


def reduce_extremes(program: Program) -> Program:
    """Turn such loops over Floats, which begin at an infinity or at the first element, into reductions."""
    functions = {
        name: _of_function(function) if any(map(_is_plain, walk(function.body))) else function
        for name, function in program.functions.items()
    }
    return assemble(functions, program.entry, program.boxes, renew=False)


Builds = Mapping[Var, Eqn]
"""The equations that make tensors of numbers, by their tensors."""


def _of_function(function: Function) -> Function:
    builds = {
        out: eqn
        for eqn in walk(function.body)
        if eqn.op == "build"
        for out, element in zip(eqn.outs, eqn.blocks[0].results, strict=True)
        if element.type == Float
    }
    return Function(function.name, _block(function.body, builds), function.span)


def _block(block: Block, builds: Builds) -> Block:
    return replace(block, eqns=tuple(made for eqn in block.eqns for made in _eqn(eqn, builds)))


def _eqn(eqn: Eqn, builds: Builds) -> Sequence[Eqn]:
    found = _search(eqn, builds)
    if found is not None:
        return found.reductions()
    inner = replace(eqn, blocks=tuple(_block(block, builds) for block in eqn.blocks))
    monoid = _monoid(inner)
    if not monoid:
        return [inner]
    (body,) = inner.blocks
    index, carry = body.params
    last = body.eqns[-1]
    (value,) = (arg for arg in last.args if arg is not carry)
    reduced = Block((index,), body.eqns[:-1], (value,), body.span)
    return [Eqn(inner.outs, "reduce", inner.args[:1], {"monoid": monoid}, (reduced,), inner.span)]


def _is_plain(eqn: Eqn) -> bool:
    return eqn.op == "for" and len(eqn.outs) == eqn.params["carries"] and eqn.params.get("checkpoint", 1) == 1


# Those that carry the value.


def _monoid(eqn: Eqn) -> str:
    """Of which operation a loop is a reduction; empty for any other loop."""
    if not _is_plain(eqn) or len(eqn.outs) != 1:
        return ""
    (body,) = eqn.blocks
    start, carry = eqn.args[1], body.params[1]
    if not (body.eqns and isinstance(start, Const) and isinstance(carry.type, FloatType)):
        return ""
    last = body.eqns[-1]
    if last.op not in _NEUTRAL or body.results != last.outs or start.value != _NEUTRAL[last.op]:
        return ""
    return last.op if _reads(body, carry) == 1 == sum(arg is carry for arg in last.args) else ""


def _reads(block: Block, var: Var) -> int:
    inside = list(walk(block))
    blocks = [block, *(inner for eqn in inside for inner in eqn.blocks)]
    return sum(arg is var for eqn in inside for arg in eqn.args) + sum(r is var for b in blocks for r in b.results)


# Those that carry the place.


@dataclass(frozen=True, slots=True)
class _Search:
    """A loop that carries where the best element stands, and maybe how many are equal to it.

    Attributes:
        loop: the loop, of at most two carries, which begin at 0.
        steps: the equations of its body that compute the element at its index.
        value: that element.
        monoid: which one is the best.
    """

    loop: Eqn
    steps: Sequence[Eqn]
    value: Atom
    monoid: str

    def reductions(self) -> Sequence[Eqn]:
        """The equations that give what the loop gives."""
        place, *count = self.loop.outs
        builder = Builder(self.loop.span)
        best = self.reduce(builder, self.monoid, lambda _, value: value)
        none = best.op("isnan")

        def is_best(value: Expr) -> Expr:
            return value.eq(best) | (value.op("isnan") & none)

        first = self.reduce(builder, "min", lambda index, value: _choose(is_best(value), index.atom, _NOWHERE))
        # The loop may have no iterations.
        found = Expr(builder, self.loop.args[0]).op("gt", 0)
        self.give(builder, place, found, first.atom, const(0))
        if count:
            equal = self.reduce(builder, "add", lambda _, value: _choose(value.eq(best), const(1), const(0)))
            later = _choose(Expr(builder, place).op("gt", 0), const(1), const(0))
            self.give(builder, count[0], none, later.atom, equal.atom)
        return builder.eqns

    def give(self, builder: Builder, out: Var, which: Expr, then: Atom, other: Atom) -> None:
        """Let ``out`` be a choice."""
        builder.eqns.append(Eqn((out,), "select", (which.atom, then, other), span=self.loop.span))

    def reduce(self, builder: Builder, monoid: str, made: Callable[[Expr, Expr], Expr]) -> Expr:
        """The combination of what is made of each index and the element there."""
        inner = Builder(self.loop.span)
        start = self.loop.blocks[0].params[0]
        index = Var(start.name, Integer)
        env: Env = {start: index}
        inner.eqns += [clone_eqn(step, env) for step in self.steps]
        result = made(Expr(inner, index), Expr(inner, at(self.value, env)))
        body = inner.block((index,), (result.atom,))
        (out,) = builder.emit(
            "reduce", self.loop.args[:1], [result.atom.type], params={"monoid": monoid}, blocks=[body]
        )
        return Expr(builder, out)


def _choose(which: Expr, then: Atom, other: Atom) -> Expr:
    return Expr(which.builder, which.builder.apply("select", which.atom, then, other))


def _search(eqn: Eqn, builds: Builds) -> _Search | None:
    """How the frontend looks for an extremum, see ``ksc.frontend.tensors.extrema.search``; None for any other loop."""
    if not _is_plain(eqn) or not 0 < len(eqn.outs) <= 2 or any(start != const(0) for start in eqn.args[1:]):
        return None
    if eqn.params["reverse"]:
        return None
    (body,) = eqn.blocks
    index, place, *count = body.params
    made = {out: step for step in body.eqns for out in step.outs}
    if place.type != Integer or any(step.blocks or step.op not in _PURE for step in body.eqns):
        return None

    def step(atom: Atom, op: str) -> Sequence[Atom]:
        found = made.get(atom) if isinstance(atom, Var) else None
        return found.args if found is not None and found.op == op else ()

    def are_alike(here: Atom, there: Atom, names: Mapping[Atom, Atom]) -> bool:
        """Whether what is computed of the index is what is computed of the place; ``names`` are other names there."""
        there = names.get(there, there)
        if here is index or there is place:
            return here is index and there is place
        one, other = (made.get(atom) if isinstance(atom, Var) else None for atom in (here, there))
        tensor = other.args[0] if other is not None and other.op == "index" and there.type == Float else None
        if isinstance(tensor, Var) and other is not None and tensor in builds:
            build = builds[tensor]
            (element,) = build.blocks
            made.update((out, inner) for inner in element.eqns for out in inner.outs)
            places = zip(element.params, (names.get(arg, arg) for arg in other.args[1:]), strict=True)
            return are_alike(here, element.results[build.outs.index(tensor)], {**names, **dict(places)})
        if one is None or other is None:
            return here == there and here not in (place, *count)
        return (
            one.op == other.op
            and one.params == other.params
            and one.outs.index(here) == other.outs.index(there)
            and all(are_alike(a, b, names) for a, b in zip(one.args, other.args, strict=True))
        )

    wins, moved, kept = step(body.results[0], "select") or (const(0),) * 3
    if moved is not index or kept is not place:
        return None
    for better in step(wins, "or"):
        for op, monoid in (("gt", "max"), ("lt", "min")):
            here, there = step(better, op) or (const(0),) * 2
            new = [arg for arg in step(wins, "or") if arg is not better]
            if (
                isinstance(here, Var)
                and here.type == Float
                and are_alike(here, there, {})
                and len(new) == 1
                and _is_new_nan(step, new[0], here, there)
                and (not count or _counts(step, body.results[1], wins, here, there, count[0]))
            ):
                return _Search(eqn, _needed(body, here), here, monoid)
    return None


_Step = Callable[[Atom, str], Sequence[Atom]]
_PURE = PRIMITIVES.keys() | {"index", "size"}


def _is_new_nan(step: _Step, atom: Atom, here: Atom, there: Atom) -> bool:
    """Whether it says that ``here`` is not a number, and ``there`` is one."""
    for first, second in zip(step(atom, "and"), reversed(step(atom, "and")), strict=True):
        inner = step(second, "not")
        if tuple(step(first, "isnan")) == (here,) and inner and tuple(step(inner[0], "isnan")) == (there,):
            return True
    return False


def _counts(step: _Step, atom: Atom, wins: Atom, here: Atom, there: Atom, count: Var) -> bool:
    """Whether it begins to count at 1 where ``wins`` holds, and goes on where both are equal."""
    chosen = step(atom, "select")
    if len(chosen) != 3 or chosen[0] is not wins or chosen[1] != const(1):
        return False
    equal = step(chosen[2], "select")
    return (
        len(equal) == 3
        and set(step(equal[0], "eq")) == {here, there}
        and set(step(equal[1], "add")) == {count, const(1)}
        and equal[2] is count
    )


def _needed(body: Block, atom: Var) -> Sequence[Eqn]:
    """The equations that compute a variable."""
    wanted: set[Atom] = {atom}
    found: list[Eqn] = []
    for eqn in reversed(body.eqns):
        if wanted.intersection(eqn.outs):
            wanted.update(eqn.args)
            found.insert(0, eqn)
    return found
