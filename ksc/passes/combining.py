"""Loops that do nothing but combine are reductions, whose terms may be fused, and added up side by side.

    (for (i n) ((s 1.0)) (add s (f i)))                       ⟶      (add 1.0 (reduce add n (lam i (f i))))

    (for (i n) ((m (index 0 x)))                                     (let ((best (reduce max n (lam i (f i))))
      (let ((v (f i))) (if (gt v m) v m)))                    ⟶        (if (gt best (index 0 x)) best (index 0 x)))

So a row that is gone through by hand is as good as ``torch.sum(row)`` and ``torch.amax(row)``. A comparison with NaN
does not hold, so the extreme is that of the other numbers; of two zeros either may be it. Where the loop is to be
differentiated, the derivative is that of the element which the loop found, as ``with_value`` says: the first that is
equal to the extreme.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from ksc.ir.builder import Builder, Expr
from ksc.ir.liveness import has_effect, prune_eqns
from ksc.ir.nodes import Atom, Block, Eqn, Function, Program, Var, const, walk
from ksc.ir.rewrite import (
    Env,
    clone_eqn,
    effectful_functions,
    read_vars,
    with_blocks,
    with_body,
    with_eqns,
    with_functions,
)
from ksc.ir.rewrite import replace as at
from ksc.ir.sums import are_sums
from ksc.ir.types import Float, Integer
from ksc.passes.fuse.facts import Facts

_STARTS = {"max": -math.inf, "min": math.inf}
_BEATS = {"max": "gt", "min": "lt"}
_MIRRORED = {"gt": "lt", "lt": "gt", "gte": "lte", "lte": "gte"}


def reduce_combining_loops(program: Program) -> Program:
    """Turn such loops of all functions into reductions; the result is not to be differentiated."""
    return _each(program, differentiated=False)


def reduce_combining_loops_with_rules(program: Program) -> Program:
    """The same of a program that is going to be differentiated: extremes say what their derivative is."""
    return _each(program, differentiated=True)


def _each(program: Program, *, differentiated: bool) -> Program:
    effectful = effectful_functions(program.functions)

    def change(function: Function) -> Function:
        if not any(_is_plain(eqn) for eqn in walk(function.body)):
            return function
        return with_body(function, _Combining(Facts.of(function)[0], effectful, differentiated).block(function.body))

    return with_functions(program, change)


def _is_plain(eqn: Eqn) -> bool:
    """Whether a loop carries something, stacks nothing, and is not divided into segments for its reverse."""
    return eqn.op == "for" and 0 < len(eqn.outs) == eqn.params["carries"] and eqn.params.get("checkpoint", 1) == 1


@dataclass(frozen=True, slots=True)
class _Combining:
    facts: Facts
    effectful: Collection[str]
    differentiated: bool

    def block(self, block: Block) -> Block:
        eqns: list[Eqn] = []
        for eqn in block.eqns:
            new = with_blocks(eqn, tuple(map(self.block, eqn.blocks)))
            eqns += self.reduced(new) if _is_plain(new) else (new,)
        return with_eqns(block, eqns)

    def reduced(self, loop: Eqn) -> Sequence[Eqn]:
        """The loop as a reduction and what is made of it, or as it was."""
        (body,) = loop.blocks
        if any(eqn.op in ("acc_add", "callback", "print") for eqn in walk(body)):
            return [loop]
        builder = Builder(loop.span)
        if are_sums(loop):
            _add_up(loop, self.count(loop, builder), builder)
            return builder.eqns
        found = _extreme(loop, self.effectful, differentiated=self.differentiated)
        if found is None:
            return [loop]
        found.give(builder, self.count(loop, builder), differentiated=self.differentiated)
        return builder.eqns

    def count(self, loop: Eqn, builder: Builder) -> Atom:
        """The number of iterations: none where the loop counts to less than 0."""
        count = loop.args[0]
        if self.facts.is_natural(self.facts.polynomial(self.facts.resolve(count))):
            return count
        return Expr(builder, count).op("max", 0).atom


# Sums.


def _add_up(loop: Eqn, count: Atom, builder: Builder) -> None:
    """Give what a loop of sums gives."""
    (body,) = loop.blocks
    terms = _without(body, {param: _nothing(param) for param in body.params[1:]})
    started = [k for k, start in enumerate(loop.args[1:]) if start not in (const(0.0), const(0))]
    outs = tuple(Var(out.name, out.type) if k in started else out for k, out in enumerate(loop.outs))
    block = replace(terms, params=body.params[:1])
    builder.eqns.append(Eqn(outs, "reduce", (count,), {"monoid": "add"}, (block,), loop.span))
    for k in started:
        builder.eqns.append(Eqn((loop.outs[k],), "add", (loop.args[1 + k], outs[k]), span=loop.span))


def _nothing(var: Var) -> Atom:
    """What leaves any number as it is, if it is added."""
    return const(-0.0) if var.type == Float else const(0)


def _without(block: Block, env: Env) -> Block:
    """What a block adds to the sums in ``env``, which has nothing in their place."""
    eqns: list[Eqn] = []
    for eqn in block.eqns:
        args = tuple(at(arg, env) for arg in eqn.args)
        known = [arg for arg in args if arg in (const(-0.0), const(0)) and arg not in eqn.args]
        if known and eqn.op == "add":
            env[eqn.outs[0]] = args[1] if args[0] is known[0] else args[0]
            continue
        blocks = tuple(_without(inner, env) for inner in eqn.blocks)
        eqns.append(Eqn(eqn.outs, eqn.op, args, eqn.params, blocks, eqn.span))
    return Block(block.params, tuple(eqns), tuple(at(result, env) for result in block.results), block.span)


# Extremes.


@dataclass(frozen=True, slots=True)
class _Extreme:
    """A loop that carries the best element so far.

    Attributes:
        loop: the loop.
        steps: the equations of its body that compute the element at its index.
        value: that element.
        monoid: ``max`` or ``min``.
        ordered: whether the loop compares, so that it passes over NaN.
    """

    loop: Eqn
    steps: Sequence[Eqn]
    value: Var
    monoid: str
    ordered: bool

    def give(self, builder: Builder, count: Atom, *, differentiated: bool) -> None:
        """Give what the loop gives."""
        start, out = self.loop.args[1], self.loop.outs
        if not self.ordered:
            best = self.reduce(builder, count, self.monoid, lambda _, element: element)
            builder.eqns.append(Eqn(out, self.monoid, (start, best.atom), span=self.loop.span))
            return
        best = self.reduce(builder, count, self.monoid, self.known)
        if differentiated:
            best = best.op("stop_gradient")
        wins = best.op(_BEATS[self.monoid], Expr(builder, start))
        inner = Builder(self.loop.span)
        found = self.rule(inner, count, best) if differentiated else best
        sides = (inner.block((), (found.atom,)), Block((), (), (start,)))
        builder.eqns.append(Eqn(out, "if", (wins.atom,), {}, sides, self.loop.span))

    def known(self, _: Var, element: Expr) -> Expr:
        """The element, or what any number beats where it is NaN."""
        return element.op("isnan").select(_STARTS[self.monoid], element)

    def rule(self, builder: Builder, count: Atom, best: Expr) -> Expr:
        """The extreme, with the derivative of the first element that is equal to it; there is one."""

        def place(index: Var, element: Expr) -> Expr:
            return element.eq(best).select(Expr(element.builder, index), Expr(element.builder, count))

        first = self.reduce(builder, count, "min", place)
        return self.element(builder, first.atom).op("with_value", best)

    def element(self, builder: Builder, index: Atom) -> Expr:
        """The element at an index, computed once more."""
        env: Env = {self.loop.blocks[0].params[0]: index}
        builder.eqns += [clone_eqn(step, env) for step in self.steps]
        return Expr(builder, at(self.value, env))

    def reduce(self, builder: Builder, count: Atom, monoid: str, term: Callable[[Var, Expr], Expr]) -> Expr:
        """The combination of what is made of each index and the element there."""
        inner = Builder(self.loop.span)
        index = Var(self.loop.blocks[0].params[0].name, Integer)
        result = term(index, self.element(inner, index)).atom
        block = inner.block((index,), (result,))
        (out,) = builder.emit("reduce", [count], [result.type], params={"monoid": monoid}, blocks=[block])
        return Expr(builder, out)


def _extreme(loop: Eqn, effectful: Collection[str], *, differentiated: bool) -> _Extreme | None:
    """The extreme that a loop looks for, if that is all it does."""
    (body,) = loop.blocks
    if len(loop.outs) != 1 or loop.outs[0].type != Float:
        return None
    _, carry = body.params
    made = {out: eqn for eqn in body.eqns for out in eqn.outs}
    last = made.get(body.results[0]) if isinstance(body.results[0], Var) else None
    found = None if last is None or loop.params["reverse"] else _chosen(last, carry, made)
    value, how = found or (carry, "")
    if value is carry or not isinstance(value, Var) or (differentiated and how not in _BEATS.values()):
        return None
    steps = prune_eqns(body.eqns, effectful, {value})
    if value not in made or carry in read_vars(steps) or any(has_effect(eqn, effectful, ()) for eqn in body.eqns):
        return None
    monoid = "max" if how in ("max", "gt", "gte") else "min"
    return _Extreme(loop, steps, value, monoid, how not in _BEATS)


def _chosen(last: Eqn, carry: Var, made: Mapping[Var, Eqn]) -> tuple[Atom, str] | None:
    """What becomes the carry if it beats it, and how the two are compared."""
    if last.op in _BEATS and carry in last.args:
        return last.args[last.args[0] is carry], last.op
    if last.op not in ("if", "select") or not isinstance(last.args[0], Var):
        return None
    value, kept = (block.results[0] for block in last.blocks) if last.blocks else last.args[1:]
    test = made.get(last.args[0])
    if kept is not carry or test is None or set(test.args) != {value, carry}:
        return None
    how = test.op if test.args[0] is value else _MIRRORED.get(test.op, "")
    return (value, how) if how in _MIRRORED else None
