"""One check before a loop instead of one in each iteration.

    (for d … (lam (i …) … (for i … (lam (j …) … (index (add (idiv (mul i (sub i 1)) 2) j) t) …))))
      ⟶      (require (or (lt d 2) (lte 0 (sub (mul 2 n) (sub (mul d d) d)))) "index out of range")  (for d …)

The extremes of an index over all iterations are known where it grows, or falls, from each to the next (``extremes``).
What is required says that an iteration fails if and only if there is one that does, so no error is made or lost; of
several errors another one may be the first, since this one comes before the loop. Accesses that not every iteration
makes keep their checks. What follows counts on what was required: slices become views, loops have no branches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ksc.ir.builder import Builder
from ksc.ir.nodes import Atom, Block, Eqn, Function, Program, Span, Var, const, walk
from ksc.ir.rewrite import assemble
from ksc.ir.types import Integer, TensorType
from ksc.passes.fuse.extremes import LARGEST_SQUARED, Extremes, Loop, Region, exact, is_bounded, loops_around
from ksc.passes.fuse.facts import Facts, Place
from ksc.passes.fuse.polynomial import Polynomial, Symbol
from ksc.passes.fuse.structure import resolve_structure

MESSAGE = "index out of range"
"""What the code generator says where it finds an index out of range itself."""


def require_before_loops(program: Program) -> Program:
    """Check before loops what iterations would check, in all functions that have tensors."""
    if not any(eqn.op in ("index", "update", "acc_add") for f in program.functions.values() for eqn in walk(f.body)):
        return program
    program = resolve_structure(program)
    functions = {name: _Guards(function).run() for name, function in program.functions.items()}
    return assemble(functions, program.entry, program.boxes, renew=False)


@dataclass(frozen=True, slots=True)
class _Guard:
    """``value`` must not be negative unless one of ``empty`` is negative; squares of ``small`` must not wrap."""

    value: Polynomial
    empty: tuple[Polynomial, ...]
    small: tuple[Symbol, ...]
    message: str
    span: Span | None

    @property
    def key(self) -> tuple[object, ...]:
        return self.value, frozenset(self.empty)


class _Guards:
    def __init__(self, function: Function) -> None:
        self.function = function
        self.facts, self.top = Facts.of(function)
        self.found: dict[Eqn, dict[object, _Guard]] = {}
        self.gone: set[Eqn] = set()

    def run(self) -> Function:
        self.visit(self.function.body, self.top, ())
        if not self.found:
            return self.function
        return Function(self.function.name, self.block(self.function.body), self.function.span)

    # What is to be required where.

    def visit(self, block: Block, place: Place, nest: Sequence[tuple[Eqn, Place]]) -> None:
        """Look at a block in loops, the outermost first, each iteration of which runs all of it."""
        for eqn in block.eqns:
            if nest:
                self.look(eqn, place, nest)
            for inner in eqn.blocks:
                inside: Sequence[tuple[Eqn, Place]] = ()
                if eqn.op in ("build", "reduce", "for"):
                    inside = (*nest, (eqn, place))
                elif eqn.op == "withacc":
                    inside = nest
                self.visit(inner, self.facts.inside(inner, eqn, place), inside)

    def look(self, eqn: Eqn, place: Place, nest: Sequence[tuple[Eqn, Place]]) -> None:
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
                message = str(eqn.params.get("message") or "assertion failed")
                values = list(self.required(eqn.args[0]))
                if all(value is not None and self.is_sure(value, message, eqn, place, nest) for value in values):
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

    def is_sure(
        self, value: Polynomial, message: str, eqn: Eqn, place: Place, nest: Sequence[tuple[Eqn, Place]]
    ) -> bool:
        """Whether no iteration makes ``value`` negative, if it has to be required."""
        known = Extremes(self.facts, place, None, without=eqn.args[0]).is_natural(value)
        return known or self.guard(value, message, eqn.span, place, nest)

    def bound(self, index: Atom, size: Polynomial, eqn: Eqn, place: Place, nest: Sequence[tuple[Eqn, Place]]) -> None:
        at = self.facts.polynomial(index)
        if not self.facts.never_negative(at, place):
            return
        for most in self.least_of(size):
            value = most - at.plus(1)
            if not self.facts.never_negative(value, place):
                self.guard(value, MESSAGE, eqn.span, place, nest)

    def least_of(self, size: Polynomial) -> list[Polynomial]:
        """What an index that is not negative has to be below to be below a size."""
        eqn = self.facts.definition(size.single) if isinstance(size.single, Var) else None
        sides = self.facts.sides(size.single) if eqn is not None else ()
        if eqn is None or not sides:
            return [size]
        if eqn.op == "min":
            return [least for side in sides for least in self.least_of(side)]
        return [sides[0]] if eqn.args[1] == const(0) else [size]

    def guard(
        self, value: Polynomial, message: str, span: Span | None, place: Place, nest: Sequence[tuple[Eqn, Place]]
    ) -> bool:
        """Require before as many loops as possible that no iteration makes ``value`` negative; whether it is done."""
        value, _ = exact(self.facts, self.facts.equated(value, place))
        extremes = Extremes(self.facts, place, None)
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
            if least is None or extremes.region.exact < taken:
                break
            guard = self.expressed(least, extremes.region.loops[:taken], message, span)
            if guard is not None and self.visible(guard, outside):
                best = loop, guard
        if best is None:
            return False
        loop, guard = best
        self.found.setdefault(loop, {}).setdefault(guard.key, guard)
        return True

    def expressed(self, least: Polynomial, loops: Sequence[Loop], message: str, span: Span | None) -> _Guard | None:
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
                if not all(is_bounded(self.facts, symbol) for symbol in monomial):
                    return None
        return _Guard(least, tuple(dict.fromkeys(empty)), tuple(squared), message, span)

    def visible(self, guard: _Guard, place: Place) -> bool:
        symbols = {symbol for p in (guard.value, *guard.empty) for symbol in p.symbols()}
        return all(self.is_visible(symbol, place) for symbol in symbols)

    def is_visible(self, symbol: Symbol, place: Place) -> bool:
        """Whether a symbol is at hand at a place, or a ``min`` or ``max`` of what is."""
        if isinstance(symbol, tuple) and not isinstance(symbol[0].type, TensorType):
            return False
        if self.facts.is_visible(symbol, place):
            return True
        sides = self.facts.sides(symbol)
        return bool(sides) and all(self.is_visible(s, place) for side in sides for s in side.symbols())

    # How it is written.

    def block(self, block: Block) -> Block:
        eqns: list[Eqn] = []
        for eqn in block.eqns:
            guards = self.found.get(eqn)
            if guards:
                writer = _Writer(self.facts, Builder(eqn.span))
                for guard in guards.values():
                    writer.write(guard)
                eqns += writer.builder.eqns
            if eqn not in self.gone:
                blocks = tuple(map(self.block, eqn.blocks))
                eqns.append(replace(eqn, blocks=blocks) if blocks else eqn)
        return Block(block.params, tuple(eqns), block.results)


class _Writer:
    def __init__(self, facts: Facts, builder: Builder) -> None:
        self.facts = facts
        self.builder = builder

    def write(self, guard: _Guard) -> None:
        empty = [self.builder.apply("lt", self.sum(room), const(0)) for room in guard.empty]
        for symbol in guard.small:
            fits = self.builder.apply("lte", self.symbol(symbol), const(LARGEST_SQUARED))
            self.require([*empty, fits], guard)
        self.require([*empty, self.builder.apply("lte", const(0), self.sum(guard.value))], guard)

    def require(self, conditions: Sequence[Atom], guard: _Guard) -> None:
        holds, *rest = conditions
        for other in rest:
            holds = self.builder.apply("or", holds, other)
        self.builder.emit("assert", [holds], (), params={"message": guard.message}, span=guard.span)

    def symbol(self, symbol: Symbol) -> Atom:
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
