"""One check before a loop instead of one in each iteration.

    (for d … (lam (i …) … (for i … (lam (j …) … (index (add (idiv (mul i (sub i 1)) 2) j) t) …))))
      ⟶      ok = (or (lt d 2) (lte 0 (sub (mul 2 n) (sub (mul d d) d))))
             (if ok (values) (checks d n))  (require ok "index out of range")  (for d …)

The extremes of an index over all iterations are known where it grows, or falls, from each to the next (``extremes``).
What is required fails if and only if an iteration does, so no error is made or lost. Which one it is, the function
``checks`` finds out (``explain``), and stops where the loop would have. Accesses that not every iteration makes keep
their checks, as do those in a loop in which an assert asks for more than sizes and indices: that may come first. What
follows counts on what was required: slices become views, loops have no branches.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import count
from typing import Any

from ksc.ir.builder import Builder
from ksc.ir.nodes import Atom, Block, Eqn, Function, Program, Span, Var, const, walk
from ksc.ir.rewrite import assemble, effectful_functions
from ksc.ir.types import Integer, TensorType
from ksc.passes.explain import MESSAGE, Explanation
from ksc.passes.fuse.extremes import LARGEST_SQUARED, Extremes, Loop, Region, exact, loops_around
from ksc.passes.fuse.facts import Facts
from ksc.passes.fuse.polynomial import Polynomial, Symbol
from ksc.passes.fuse.sizes import Place, Size
from ksc.passes.fuse.structure import resolve_structure


def require_before_loops_that_run(program: Program) -> Program:
    """The same for loops that no other one may leave out: on no side of an ``if`` in a loop.

    What is required there is an effect, for which a derivative would go through the loops around once more.
    """
    return require_before_loops(program, everywhere=False)


def require_before_loops(program: Program, *, everywhere: bool = True) -> Program:
    """Check before loops what iterations would check, in all functions that have tensors."""
    if not any(eqn.op in ("index", "update", "acc_add") for f in program.functions.values() for eqn in walk(f.body)):
        return program
    program = resolve_structure(program)
    effectful = effectful_functions(program.functions)
    functions = dict(program.functions)
    for name, function in program.functions.items():
        if function.result_types:
            guards = _Guards(function, effectful, functions, everywhere=everywhere)
            functions[name] = guards.run()
            functions.update((added.name, added) for added in guards.added)
    return assemble(functions, program.entry, program.boxes, renew=False)


@dataclass(frozen=True, slots=True)
class _Guard:
    """``value`` must not be negative unless one of ``empty`` is negative; squares of ``small`` must not wrap."""

    value: Polynomial
    empty: tuple[Polynomial, ...]
    small: tuple[Symbol, ...]
    params: Mapping[str, Any]
    span: Span | None

    @property
    def key(self) -> tuple[object, ...]:
        return self.value, frozenset(self.empty)


_INDEX: Mapping[str, Any] = {"message": MESSAGE, "index": ("", ())}

_Nest = Sequence[tuple[Eqn, Place]]
"""Loops around an equation, the outermost first, each with the block that it is in."""


class _Guards:
    def __init__(
        self, function: Function, effectful: Collection[str], taken: Collection[str], *, everywhere: bool
    ) -> None:
        self.function = function
        self.effectful = effectful
        self.everywhere = everywhere
        self.taken = taken
        self.added: list[Function] = []
        self.orderly: dict[Eqn, bool] = {}
        self.facts, self.top = Facts.of(function)
        self.order = {eqn: number for number, eqn in enumerate(walk(function.body))}
        self.found: dict[Eqn, dict[object, _Guard]] = {}
        self.gone: set[Eqn] = set()

    def run(self) -> Function:
        self.visit(self.function.body, self.top, ())
        if not self.found:
            return self.function
        return Function(self.function.name, self.block(self.function.body, self.top), self.function.span)

    # What is to be required where.

    def visit(self, block: Block, place: Place, nest: _Nest, *, looped: bool = False) -> None:
        """Look at a block in loops, the outermost first, each iteration of which runs all of it.

        ``looped`` says that some loop is around, which may not run all of it.
        """
        for eqn in block.eqns:
            if nest:
                self.look(eqn, place, nest)
            looped = looped or bool(nest)
            if looped and eqn.op == "if" and not self.everywhere:
                continue
            for inner in eqn.blocks:
                inside: _Nest = ()
                if eqn.op in ("build", "reduce", "for"):
                    inside = (*nest, (eqn, place))
                elif eqn.op == "withacc":
                    inside = nest
                self.visit(inner, self.facts.inside(inner, eqn, place), inside, looped=looped)

    def look(self, eqn: Eqn, place: Place, nest: _Nest) -> None:
        match eqn.op:
            case "index" | "update" | "acc_add":
                tensor, *at = eqn.args
                at = at if eqn.op == "index" else at[:-1]
                if not isinstance(tensor, Var):
                    return
                for dim, index in enumerate(at):
                    size = self.facts.size(tensor, dim)
                    if not self.facts.in_range(index, size, place):
                        self.bound(index, self.facts.polynomial(size), eqn, place, nest)
            case "assert":
                values = list(self.required(eqn.args[0]))
                if all(value is not None and self.is_sure(value, eqn, place, nest) for value in values):
                    self.gone.add(eqn)

    def required(self, cond: Atom) -> Iterator[Polynomial | None]:
        """What an assert says is not negative; None for what is no comparison of integers."""
        eqn = self.facts.definition(cond)
        if eqn is not None and eqn.op == "and":
            for part in eqn.args:
                yield from self.required(part)
        elif eqn is not None and eqn.op in ("lt", "lte", "gt", "gte") and eqn.args[0].type == Integer:
            a, b = (self.facts.polynomial(self.facts.resolve(arg)) for arg in eqn.args)
            yield (b - a if eqn.op in ("lt", "lte") else a - b).plus(-1 if eqn.op in ("lt", "gt") else 0)
        else:
            yield None

    def is_sure(self, value: Polynomial, eqn: Eqn, place: Place, nest: _Nest) -> bool:
        """Whether no iteration makes ``value`` negative, if it has to be required."""
        known = Extremes(self.facts, place, None, without=eqn.args[0]).is_natural(value)
        return known or self.guard(value, eqn.params, eqn, place, nest)

    def bound(self, index: Atom, size: Polynomial, eqn: Eqn, place: Place, nest: _Nest) -> None:
        at = self.facts.polynomial(index)
        if not self.facts.never_negative(at, place):
            return
        for most in self.least_of(size):
            value = most - at.plus(1)
            if not self.facts.never_negative(value, place):
                self.guard(value, _INDEX, eqn, place, nest)

    def least_of(self, size: Polynomial) -> list[Polynomial]:
        """What an index that is not negative has to be below to be below a size."""
        eqn = self.facts.definition(size.single) if isinstance(size.single, Var) else None
        sides = self.facts.sides(size.single) if eqn is not None else ()
        if eqn is None or not sides:
            return [size]
        if eqn.op == "min":
            return [least for side in sides for least in self.least_of(side)]
        return [sides[0]] if eqn.args[1] == const(0) else [size]

    def guard(self, value: Polynomial, said: Mapping[str, Any], eqn: Eqn, place: Place, nest: _Nest) -> bool:
        """Require before as many loops as possible that no iteration makes ``value`` negative; whether it is done."""
        value, _ = exact(self.facts, self.facts.equated(value, place))
        extremes = self.facts.extremes(place)
        loops = list(loops_around(self.facts, place))
        best: tuple[Eqn, _Guard] | None = None
        least: Polynomial | None = value
        taken = 0
        for loop, outside in reversed(nest):
            params = loop.blocks[0].params[:1] if loop.op == "for" else loop.blocks[0].params
            if {one.index for one in loops[taken : taken + len(params)]} != set(params):
                break
            for _ in params:
                region = Region(extremes.region.loops[taken:], extremes.region.least, extremes.region.exact)
                least = extremes.settled(least, region.loops[0], region) if least is not None else None
                taken += 1
            if least is None or extremes.region.exact < taken or not self.is_orderly(loop, outside):
                break
            guard = self.expressed(least, extremes.region.loops[:taken], said, eqn.span)
            if guard is not None and self.visible(guard, loop, outside):
                best = loop, guard
        if best is None:
            return False
        loop, guard = best
        self.found.setdefault(loop, {}).setdefault(guard.key, guard)
        return True

    def is_orderly(self, loop: Eqn, outside: Place) -> bool:
        """Whether the asserts in a loop, any of which may be the first to fail, need only sizes and indices."""
        known = self.orderly.get(loop)
        if known is None:
            explanation = Explanation(self.facts, outside)
            known = self.orderly[loop] = self.are_orderly(loop.blocks[0], loop, explanation, ())
        return known

    def are_orderly(self, block: Block, owner: Eqn, explanation: Explanation, around: Sequence[Var]) -> bool:
        indices = block.params[:1] if owner.op == "for" else block.params if owner.op in ("build", "reduce") else ()
        around = (*around, *indices)
        for eqn in block.eqns:
            if eqn.op == "assert" and not explanation.covers(eqn.args[0], around):
                return False
            if eqn.op == "call" and eqn.outs and eqn.params["callee"] in self.effectful:
                return False
            if eqn.op in ("if", "while"):
                if any(self.may_say_more(inner) for part in eqn.blocks for inner in walk(part)):
                    return False
            elif not all(self.are_orderly(part, eqn, explanation, around) for part in eqn.blocks):
                return False
        return True

    def may_say_more(self, eqn: Eqn) -> bool:
        return eqn.op == "assert" or (eqn.op == "call" and bool(eqn.outs) and eqn.params["callee"] in self.effectful)

    def expressed(
        self, least: Polynomial, loops: Sequence[Loop], params: Mapping[str, Any], span: Span | None
    ) -> _Guard | None:
        """The guard, if it consists of sizes and does not wrap."""
        indices = {loop.index for loop in loops}
        empty = []
        for loop in loops:
            room = loop.end.plus(-loop.first - 1)
            if indices.isdisjoint(room.symbols()) and (room.value is None or room.value < 0):
                empty.append(room)
        squared: dict[Symbol, None] = {}
        for polynomial in (least, *empty):
            for monomial, factor in polynomial.terms.items():
                if len(monomial) == 2 and monomial[0] == monomial[1] and abs(factor) <= 4:
                    squared[monomial[0]] = None
                elif len(monomial) > 1 or abs(factor) > 1 << 10:
                    return None
                if not all(map(self.facts.is_bounded, monomial)):
                    return None
        return _Guard(least, tuple(dict.fromkeys(empty)), tuple(squared), params, span)

    def visible(self, guard: _Guard, loop: Eqn, place: Place) -> bool:
        symbols = {symbol for p in (guard.value, *guard.empty) for symbol in p.symbols()} | set(guard.small)
        return all(self.is_visible(symbol, loop, place) for symbol in symbols)

    def is_visible(self, symbol: Symbol, loop: Eqn, place: Place) -> bool:
        """Whether a symbol is at hand before a loop at a place; a ``min`` or ``max`` is made of what has to be."""
        sides = self.facts.sides(symbol)
        if sides:
            return all(self.is_visible(inner, loop, place) for side in sides for inner in side.symbols())
        if isinstance(symbol, tuple) and not isinstance(symbol[0].type, TensorType):
            return False
        return self.facts.is_visible(symbol, place) and self.is_before(symbol, loop, place)

    def is_before(self, symbol: Symbol, loop: Eqn, place: Place) -> bool:
        """Whether what binds a symbol is a parameter, or done before a loop at a place, and not around it."""
        made = self.facts.definition(symbol[0] if isinstance(symbol, tuple) else symbol)
        if made is None:
            return True
        return self.order[made] < self.order[loop] and all(around.owner is not made for around in place.around())

    # How it is written.

    def block(self, block: Block, place: Place) -> Block:
        eqns: list[Eqn] = []
        for eqn in block.eqns:
            guards = self.found.get(eqn)
            if guards:
                writer = _Writer(self.facts, Builder(eqn.span))
                self.require(eqn, place, writer, [(guard, writer.conditions(guard)) for guard in guards.values()])
                eqns += writer.builder.eqns
            if eqn not in self.gone:
                blocks = tuple(self.block(inner, self.facts.inside(inner, eqn, place)) for inner in eqn.blocks)
                eqns.append(replace(eqn, blocks=blocks) if blocks else eqn)
        return Block(block.params, tuple(eqns), block.results)

    def require(
        self, loop: Eqn, place: Place, writer: _Writer, required: Sequence[tuple[_Guard, Sequence[Atom]]]
    ) -> None:
        """Require what has to hold before a loop; where it does not, say which iteration is the first to fail."""
        builder = writer.builder
        explanation = Explanation(self.facts, place)
        checks = explanation.function(loop, self.name())
        self.added.append(checks)
        every = reduce(lambda a, b: builder.apply("and", a, b), [cond for _, conds in required for cond in conds])
        sizes = [writer.size(size) for size in explanation.params]
        call = Eqn((), "call", tuple(sizes), {"callee": checks.name}, (), loop.span)
        builder.emit("if", [every], (), blocks=[Block((), (), ()), Block((), (call,), ())])
        for guard, conds in required:
            for cond in conds:
                builder.emit("assert", [cond], (), params=guard.params, span=guard.span)

    def name(self) -> str:
        base = f"checks of {self.function.name}"
        names = {*self.taken, *(added.name for added in self.added)}
        return next(name for k in count() if (name := f"{base} {k + 1}" if k else base) not in names)


class _Writer:
    def __init__(self, facts: Facts, builder: Builder) -> None:
        self.facts = facts
        self.builder = builder
        self.written: dict[Symbol, Atom] = {}

    def conditions(self, guard: _Guard) -> list[Atom]:
        """What has to hold: no square wraps, and the value is not negative."""
        empty = [self.builder.apply("lt", self.sum(room), const(0)) for room in guard.empty]
        small = [self.builder.apply("lte", self.symbol(s), const(LARGEST_SQUARED)) for s in guard.small]
        return [
            self.either([*empty, cond]) for cond in (*small, self.builder.apply("lte", const(0), self.sum(guard.value)))
        ]

    def either(self, conditions: Sequence[Atom]) -> Atom:
        return reduce(lambda a, b: self.builder.apply("or", a, b), conditions)

    def size(self, size: Size) -> Atom:
        return self.symbol(size) if isinstance(size, tuple) else size

    def symbol(self, symbol: Symbol) -> Atom:
        written = self.written.get(symbol)
        if written is None:
            written = self.written[symbol] = self.emitted(symbol)
        return written

    def emitted(self, symbol: Symbol) -> Atom:
        if isinstance(symbol, Var):
            eqn, sides = self.facts.definition(symbol), self.facts.sides(symbol)
            return self.builder.apply(eqn.op, *map(self.sum, sides)) if eqn is not None and sides else symbol
        return self.builder.emit("size", [symbol[0]], [Integer], params={"dim": symbol[1]})[0]

    def sum(self, polynomial: Polynomial) -> Atom:
        total: Atom | None = None
        for monomial, factor in sorted(polynomial.terms.items(), key=lambda term: (term[1] < 0, -len(term[0]))):
            term: Atom = const(abs(factor))
            if monomial:
                first, *others = map(self.symbol, monomial)
                for other in others:
                    first = self.builder.apply("mul", first, other)
                term = self.builder.apply("mul", term, first) if abs(factor) != 1 else first
            if total is None:
                total = term if factor > 0 else self.builder.apply("sub", const(0), term)
            else:
                total = self.builder.apply("add" if factor > 0 else "sub", total, term)
        return total if total is not None else const(0)
