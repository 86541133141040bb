"""Loops that do nothing but combine are reductions, whose terms may be fused, and added up side by side.

    (for (i n) ((s 1.0)) (add s (f i)))                       ⟶      (add 1.0 (reduce add n (lam i (f i))))

    (for (i n) ((m (index 0 x)))                                     (let ((best (reduce max n (lam i (f i))))
      (let ((v (f i))) (if (gt v m) v m)))                    ⟶        (if (gt best (index 0 x)) best (index 0 x)))

    (for (i n) ((m start) (at 0))                                     (let ((best (reduce max n (lam i (f i))))
      (let ((v (f i)))                                        ⟶              (first (… where (f i) is best)))
        (if (gt v m) (values v i) (values m at))))                      (if (gt best start) (values best first) …))

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
from ksc.ir.types import Float, Integer, is_scalar
from ksc.ops import PRIMITIVES
from ksc.passes.fuse.cost import CHEAP
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
    """A loop that carries the best element so far, and maybe what comes with it, such as where it stands.

    Attributes:
        loop: the loop.
        steps: the equations of its body that compute what ``given`` has, at its index.
        number: which carry is the best element.
        given: what becomes the carries where an element is the best.
        monoid: ``max`` or ``min``.
        ordered: whether the loop compares, so that it passes over NaN.
    """

    loop: Eqn
    steps: Sequence[Eqn]
    number: int
    given: Sequence[Atom]
    monoid: str
    ordered: bool

    def give(self, builder: Builder, count: Atom, *, differentiated: bool) -> None:
        """Give what the loop gives."""
        starts, outs = self.loop.args[1:], self.loop.outs
        start = starts[self.number]
        if not self.ordered:
            best = self.reduce(builder, count, self.monoid, lambda _, element: element)
            builder.eqns.append(Eqn(outs, self.monoid, (start, best.atom), span=self.loop.span))
            return
        best = self.reduce(builder, count, self.monoid, self.known)
        if differentiated:
            best = best.op("stop_gradient")
        inner = Builder(self.loop.span)
        found = [best.atom]
        if differentiated or len(outs) > 1:
            # Before the choice, where it may go through a matrix with the extreme.
            first = self.first(builder, count, best)
            found = [*self.elements(inner, first.atom)]
            with_rule = Expr(inner, found[self.number]).op("with_value", best) if differentiated else best
            found[self.number] = with_rule.atom
        wins = best.op(_BEATS[self.monoid], Expr(builder, start))
        sides = (inner.block((), found), Block((), (), starts))
        builder.eqns.append(Eqn(outs, "if", (wins.atom,), {}, sides, self.loop.span))

    def known(self, _: Var, element: Expr) -> Expr:
        """The element, or what any number beats where it is NaN."""
        return element.op("isnan").select(_STARTS[self.monoid], element)

    def first(self, builder: Builder, count: Atom, best: Expr) -> Expr:
        """The index of the first element that is equal to the extreme, whose derivative that has; or the count."""

        def place(index: Var, element: Expr) -> Expr:
            return element.eq(best).select(Expr(element.builder, index), Expr(element.builder, count))

        return self.reduce(builder, count, "min", place)

    def elements(self, builder: Builder, index: Atom) -> Sequence[Atom]:
        """What is given at an index, computed once more."""
        env: Env = {self.loop.blocks[0].params[0]: index}
        builder.eqns += [clone_eqn(step, env) for step in self.steps]
        return [at(value, env) for value in self.given]

    def reduce(self, builder: Builder, count: Atom, monoid: str, term: Callable[[Var, Expr], Expr]) -> Expr:
        """The combination of what is made of each index and the element there."""
        inner = Builder(self.loop.span)
        index = Var(self.loop.blocks[0].params[0].name, Integer)
        result = term(index, Expr(inner, self.elements(inner, index)[self.number])).atom
        block = inner.block((index,), (result,))
        (out,) = builder.emit("reduce", [count], [result.type], params={"monoid": monoid}, blocks=[block])
        return Expr(builder, out)


def _extreme(loop: Eqn, effectful: Collection[str], *, differentiated: bool) -> _Extreme | None:
    """The extreme that a loop looks for, if that is all it does."""
    (body,) = loop.blocks
    _, *carries = body.params
    if loop.params["reverse"] or not all(is_scalar(carry.type) for carry in carries):
        return None
    made = {out: eqn for eqn in body.eqns for out in eqn.outs}
    for number, carry in enumerate(carries):
        found = _chosen(body.results[number], carry, made) if carry.type == Float else None
        if found is None:
            continue
        value, how, test = found
        given = [value if k == number else _with_it(body, k, test, made) for k in range(len(carries))]
        known = [atom for atom in given if atom is not None]
        eqns = [*body.eqns, *_of_choices(body, carries)]
        bound = {out for eqn in walk(body) for out in eqn.outs} - {out for eqn in eqns for out in eqn.outs}
        if len(known) < len(given) or not bound.isdisjoint(known):
            return None
        # Only a strict comparison keeps the first of equal elements.
        if (differentiated or len(given) > 1) and how not in _BEATS.values():
            return None
        steps = prune_eqns(eqns, effectful, {atom for atom in known if isinstance(atom, Var)})
        if not read_vars(steps, known).keys().isdisjoint(carries):
            return None
        if any(has_effect(eqn, effectful, ()) for eqn in eqns) or (len(given) > 1 and not _are_cheap(steps)):
            return None
        monoid = "max" if how in ("max", "gt", "gte") else "min"
        return _Extreme(loop, steps, number, known, monoid, how not in _BEATS)
    return None


def _chosen(result: Atom, carry: Var, made: Mapping[Var, Eqn]) -> tuple[Var, str, Atom | None] | None:
    """What becomes the carry if it beats it, how the two are compared, and by which condition."""
    last = made.get(result) if isinstance(result, Var) else None
    if last is None:
        return None
    if last.op in _BEATS and carry in last.args:
        value = last.args[last.args[0] is carry]
        return (value, last.op, None) if isinstance(value, Var) and value is not carry else None
    sides = _sides(last, result)
    test = made.get(last.args[0]) if sides is not None and isinstance(last.args[0], Var) else None
    if sides is None or test is None or sides[1] is not carry or sides[0] is carry:
        return None
    value = sides[0]
    how = test.op if test.args and test.args[0] is value else _MIRRORED.get(test.op, "")
    if not isinstance(value, Var) or set(test.args) != {value, carry} or how not in _MIRRORED:
        return None
    return value, how, last.args[0]


def _sides(choice: Eqn, out: Atom) -> tuple[Atom, Atom] | None:
    """What a result of a choice is where the condition holds, and where it does not."""
    if choice.op == "select":
        return choice.args[1], choice.args[2]
    if choice.op != "if":
        return None
    number = next(k for k, one in enumerate(choice.outs) if one is out)
    holds, other = (block.results[number] for block in choice.blocks)
    return holds, other


def _with_it(body: Block, number: int, test: Atom | None, made: Mapping[Var, Eqn]) -> Atom | None:
    """What becomes another carry where the condition ``test`` holds, if it changes only there."""
    result, carry = body.results[number], body.params[1 + number]
    choice = made.get(result) if isinstance(result, Var) else None
    sides = _sides(choice, result) if choice is not None and test is not None and choice.args[:1] == (test,) else None
    return sides[0] if sides is not None and sides[1] is carry else None


def _of_choices(body: Block, carries: Sequence[Var]) -> list[Eqn]:
    """What is computed for the carries where an ``if`` takes an element, and cannot stop the kernel."""
    taken = [eqn for eqn in body.eqns if eqn.op == "if" and set(eqn.blocks[1].results) <= set(carries)]
    eqns = [inner for eqn in taken for inner in eqn.blocks[0].eqns]
    return [eqn for eqn in eqns if eqn.op in PRIMITIVES and PRIMITIVES[eqn.op].speculatable]


def _are_cheap(steps: Sequence[Eqn]) -> bool:
    """Whether elements are computed twice as fast as they are stored."""
    costs = [PRIMITIVES[eqn.op].cost if eqn.op in PRIMITIVES else "cheap" for eqn in steps]
    return len(steps) <= CHEAP and "expensive" not in costs and not any(eqn.blocks for eqn in steps)
