"""The extremes of integer polynomials over the iterations of loops: triangular and packed indices stay in range.

    for i in range(d):
        for j in range(i):
            t[j * (2 * d - j - 1) // 2 + i - j - 1]      grows with i and with j, so it is at most d * (d - 1) / 2 - 1

An index of a loop is taken out of a polynomial, the innermost one first, where the polynomial grows, or falls, from
each iteration to the next, which is the same question of a polynomial of one degree less. What is left is compared with
what asserts say of sizes: ``assert a or b`` says b where the loops around have an iteration only if not a.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from ksc.ir.nodes import Atom, Const, Var, const
from ksc.ir.types import Integer
from ksc.passes.fuse.choices import Goal, choices, goal_of, terms_are_natural
from ksc.passes.fuse.polynomial import Polynomial, Symbol

if TYPE_CHECKING:
    from ksc.passes.fuse.facts import Facts
    from ksc.passes.fuse.sizes import Place

LARGEST_SQUARED = 1 << 30
"""The largest integer of which a square, times two, is sure to fit in 64 bits."""

LARGEST_MULTIPLE = 1 << 8
"""The largest integer by which four times a size is multiplied without a thought."""

_FACTORS = (1 << 40, 1 << 10, 4, 0)
"""The largest constant, and the largest factors of an integer, of a product of two, and of more, that cannot wrap."""

_DEEPEST = 6


@dataclass(frozen=True, slots=True)
class Clause:
    """Of these polynomials one is not negative, says an assert of ``cond`` in the block ``place``."""

    cond: Var
    place: Place
    parts: tuple[Polynomial, ...]


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop that runs: its index is at least ``first`` and below ``end``."""

    index: Var
    first: int
    end: Polynomial


@dataclass(frozen=True, slots=True)
class Region:
    """Loops that all have an iteration, the innermost first.

    Attributes:
        loops: the loops; their limits allow only for iterations in which the loops inside run too.
        least: for symbols from outside of the loops how large they must be for that.
        exact: the loops up to the first whose count depends on another one in a way that the limits do not show.
    """

    loops: tuple[Loop, ...]
    least: Mapping[Symbol, int]
    exact: int

    @classmethod
    def of(cls, loops: Sequence[Loop]) -> Region:
        """Loops as they are written, the innermost first, with the limits that follow from their running."""
        tightened = list(loops)
        indices = {loop.index: k for k, loop in enumerate(loops)}
        least: dict[Symbol, int] = {}
        exact = len(loops)
        for k in range(len(tightened)):
            loop = tightened[k]
            inner = [s for s in loop.end.symbols() if s in indices]
            # The loop runs where ``end - first - 1`` is not negative.
            room = loop.end.plus(-loop.first - 1)
            outer = inner[0] if inner else room.plus(-room.terms.get((), 0)).single
            if outer is None:
                continue
            factor = room.coefficient(outer)
            slope = factor.value if factor is not None else None
            rest = room.with_value(outer, Polynomial({}))
            at = indices.get(outer) if isinstance(outer, Var) else None
            if at is None:
                if slope == 1 and rest.value is not None:
                    least[outer] = max(least.get(outer, 0), -rest.value)
                continue
            around = tightened[at]
            if slope == 1 and rest.value is not None:
                tightened[at] = replace(around, first=max(around.first, -rest.value))
            elif slope == -1 and _is_constant(end := around.end - rest.plus(1)) >= 0:
                tightened[at] = replace(around, end=around.end - end)
            elif slope != -1 or _is_constant(end) < 0:
                exact = min(exact, k)
        return cls(tuple(tightened), least, exact)


def _is_constant(polynomial: Polynomial) -> int:
    return polynomial.value if polynomial.value is not None else -1


class Extremes:
    """What is known at one place of a function."""

    def __init__(
        self, facts: Facts, place: Place, taken: Collection[Var] | None, *, without: Atom | None = None
    ) -> None:
        self.facts = facts
        self.place = place
        self.strict = taken is not None
        self.region = Region.of(list(loops_around(facts, place)))
        self.known = [*_conditions(facts, place), *self._rooms()]
        around = [c for c in facts.clauses if place.is_inside(c.place) and c.cond is not without]
        clauses = [c for c in around if taken is None or c.cond in taken]
        self.known += [clause.parts[0] for clause in clauses if len(clause.parts) == 1]
        self._pending = sorted((c for c in clauses if len(c.parts) > 1), key=lambda c: len(c.parts))
        self._answers: dict[Polynomial, bool] = {}
        self._tried: dict[tuple[Polynomial, frozenset[tuple[Symbol, int]]], tuple[bool, int]] = {}

    def _rooms(self) -> Iterator[Polynomial]:
        """What is not negative since the loops around run, their counts being differences of several sizes."""
        indices = {loop.index for loop in self.region.loops}
        for loop in self.region.loops:
            room = loop.end.plus(-loop.first - 1)
            if indices.isdisjoint(room.symbols()) and room.plus(-room.terms.get((), 0)).single is None:
                yield room

    def is_natural(self, polynomial: Polynomial) -> bool:
        """Whether a polynomial is known not to be negative here."""
        answer = self._answers.get(polynomial)
        if answer is None:
            answer = self._holds(polynomial)
            if not answer and self._pending:
                self._decide()
                answer = self._holds(polynomial)
            self._answers[polynomial] = answer
        return answer

    def _decide(self) -> None:
        """Learn of asserts that one of several things holds which one it is, where the others are known not to."""
        pending, self._pending = self._pending, []
        for clause in pending:
            left = [part for part in clause.parts if not self._holds(-part.plus(1))]
            if len(left) == 1:
                self.known.append(left[0])

    def _holds(self, polynomial: Polynomial) -> bool:
        fits = self._fits if self.strict else None
        polynomial = self._chosen(polynomial)
        given, _ = exact(self.facts, self.facts.equated(polynomial, self.place), fits)
        return (fits is None or fits(given)) and self._natural(given, self.region, _DEEPEST)

    def _chosen(self, polynomial: Polynomial) -> Polynomial:
        """The polynomial with ``select c a 0`` as a where c is known to hold."""
        for symbol in list(polynomial.symbols()):
            eqn = self.facts.definition(symbol) if isinstance(symbol, Var) else None
            if eqn is None or eqn.op != "select" or eqn.args[2] != const(0):
                continue
            parts = list(conjuncts(self.facts, eqn.args[0]))
            if parts and all(part is not None and self._holds(part) for part in parts):
                value = self.facts.polynomial(self.facts.resolve(eqn.args[1]))
                polynomial = polynomial.with_value(symbol, value)
        return polynomial

    def settled(self, polynomial: Polynomial, loop: Loop, region: Region) -> Polynomial | None:
        """The least value as the index of the innermost loop varies; None where it is not found."""
        self._decide()
        return self._settled(polynomial, loop, region)

    def _settled(self, polynomial: Polynomial, loop: Loop, region: Region) -> Polynomial | None:
        if loop.index not in polynomial.symbols():
            return polynomial
        symbol = Polynomial.symbol(loop.index)
        step = polynomial.with_value(loop.index, symbol.plus(1)) - polynomial
        shorter = Region.of([replace(loop, end=loop.end.plus(-1)), *region.loops[1:]])
        if self._natural(step, shorter, _DEEPEST):
            return polynomial.with_value(loop.index, Polynomial.constant(loop.first))
        if self._natural(-step, shorter, _DEEPEST):
            return polynomial.with_value(loop.index, loop.end.plus(-1))
        return None

    def _natural(self, polynomial: Polynomial, region: Region, depth: int) -> bool:
        if depth == 0 or polynomial.degree > _DEEPEST:
            return False
        for loop in region.loops:
            if any(map(partial(self._exceeds, polynomial), self.known)):
                return True
            least = self._settled(polynomial, loop, region)
            if least is None:
                return False
            polynomial = least
            region = Region(region.loops[1:], region.least, region.exact)
        return self._outside(polynomial, region.least, depth)

    def _outside(self, polynomial: Polynomial, least: Mapping[Symbol, int], depth: int) -> bool:
        """Whether a polynomial over integers from outside of the loops is not negative."""
        return self._is_reached(goal_of(self.facts, polynomial, least, depth), least)

    def _is_reached(self, goal: Goal, least: Mapping[Symbol, int]) -> bool:
        match goal:
            case bool():
                return goal
            case Polynomial():
                return self._follows(goal, least)
        return (all if goal.each else any)(self._is_reached(part, least) for part in goal.goals)

    def _follows(self, polynomial: Polynomial, least: Mapping[Symbol, int]) -> bool:
        """Whether a polynomial without choices is at least what is known not to be negative."""
        key = (polynomial, frozenset(least.items()))
        if key not in self._tried:
            found = any(self._is_less(known, polynomial, least) for known in self._remainders(polynomial))
            self._tried[key] = found, 0
        found, tried = self._tried[key]
        if not found and tried < len(self.known):
            found = any(self._is_less(known, polynomial, least) for known in self.known[tried:])
            self._tried[key] = found, len(self.known)
        return found

    def _is_less(self, known: Polynomial, polynomial: Polynomial, least: Mapping[Symbol, int]) -> bool:
        for own, other in ((1, 1), (1, 2), (2, 1)):
            if _is_simpler(polynomial, own, known, other):
                rest = polynomial.times(own) - known.times(other)
                if self._is_reached_at_once(rest, least):
                    return True
        return False

    def _remainders(self, polynomial: Polynomial) -> Iterator[Polynomial]:
        """What is not negative of the quotients in a polynomial: what is left over, and what it lacks."""
        for symbol in polynomial.symbols():
            divided = quotient(self.facts, symbol)
            if divided is not None and self.facts.is_bounded(symbol):
                dividend, divisor = divided
                remainder = dividend - Polynomial.constant(divisor) * Polynomial.symbol(symbol)
                yield remainder
                yield Polynomial.constant(divisor - 1) - remainder

    def _is_reached_at_once(self, rest: Polynomial, least: Mapping[Symbol, int]) -> bool:
        if terms_are_natural(self.facts, rest, least):
            return True
        for each, sides in choices(self.facts, rest):
            return (all if each else any)(terms_are_natural(self.facts, side, least) for side in sides)
        return False

    def _exceeds(self, polynomial: Polynomial, known: Polynomial) -> bool:
        """Whether no term is negative of what a polynomial is more than what is known not to be negative."""
        terms, less = polynomial.terms, known.terms
        if any(factor > terms.get(monomial, 0) for monomial, factor in less.items()):
            return False
        if any(factor < less.get(monomial, 0) for monomial, factor in terms.items()):
            return False
        left = [monomial for monomial, factor in terms.items() if factor != less.get(monomial, 0)]
        left += [monomial for monomial in less if monomial not in terms]
        return all(self.facts.symbol_is_natural(symbol) for monomial in left for symbol in monomial)

    def _fits(self, polynomial: Polynomial) -> bool:
        """Whether what the polynomial stands for cannot have left 64 bits on the way."""
        return all(
            abs(factor) <= _FACTORS[min(len(monomial), 3)] and all(map(self.facts.is_bounded, monomial))
            for monomial, factor in polynomial.terms.items()
        ) and all(
            all(map(self._is_small, monomial)) or any(map(self._is_tiny, monomial))
            for monomial in polynomial.terms
            if len(monomial) == 2
        )

    def _is_tiny(self, symbol: Symbol) -> bool:
        """Whether an integer is an index so small that a multiple by it of what is bounded fits in 64 bits."""
        ends = (loop.end.value for loop in self.region.loops if loop.index is symbol)
        return any(end is not None and end <= LARGEST_MULTIPLE for end in ends)

    def _is_small(self, symbol: Symbol) -> bool:
        """Whether an integer is at most the largest one that is squared without a thought."""
        for _ in range(8):
            loop = next((loop for loop in self.region.loops if loop.index is symbol), None)
            if loop is None:
                break
            constant = loop.end.terms.get((), 0)
            outer = loop.end.plus(-constant).single
            if loop.end.value is not None:
                return loop.end.value <= LARGEST_SQUARED
            if outer is None or constant > 0:
                return False
            symbol = outer
        limit = Polynomial.constant(LARGEST_SQUARED) - Polynomial.symbol(symbol)
        return limit in self.known


def _is_simpler(polynomial: Polynomial, own: int, known: Polynomial, other: int) -> bool:
    """Whether ``own`` times the polynomial less ``other`` times what is known has no more terms than the polynomial."""
    more = 0
    for monomial, factor in known.terms.items():
        mine = polynomial.terms.get(monomial)
        if mine is None:
            more += 1
        elif own * mine == other * factor:
            more -= 1
    return more <= 0


def loops_around(facts: Facts, place: Place) -> Iterator[Loop]:
    """The loops that a place is in, the innermost first."""
    for around in place.around():
        owner = around.owner
        if owner is not None and owner.op in ("build", "reduce", "for"):
            params = owner.blocks[0].params[:1] if owner.op == "for" else owner.blocks[0].params
            for param in reversed(params):
                count = facts.count(param)
                if count is not None:
                    yield Loop(param, 0, facts.equated(count, place))


def conjuncts(facts: Facts, cond: Atom) -> Iterator[Polynomial | None]:
    """What is not negative where ``lt 0 n``, ``lte 16 n``, or several such, hold; None for any other condition."""
    eqn = facts.definition(cond)
    if eqn is not None and eqn.op == "and":
        for part in eqn.args:
            yield from conjuncts(facts, part)
    elif eqn is not None and eqn.op in ("lt", "lte") and isinstance(eqn.args[0], Const) and _is_least(eqn.args[0]):
        least = int(eqn.args[0].value) + (eqn.op == "lt")
        yield facts.polynomial(facts.resolve(eqn.args[1])).plus(-least)
    else:
        yield None


def _is_least(number: Const) -> bool:
    return number.type == Integer and 0 <= int(number.value) <= LARGEST_SQUARED


def _conditions(facts: Facts, place: Place) -> Iterator[Polynomial]:
    """What is not negative since this is run: of a count ``select c n 0``, and on a side of an ``if``."""
    for around in place.around():
        owner = around.owner
        if owner is not None and owner.op == "if":
            yield from _compared(facts, owner.args[0], facts.inside(owner.blocks[0], owner, place) is around)
        for count in owner.args if owner is not None and owner.op == "build" else ():
            eqn = facts.definition(count)
            if eqn is not None and eqn.op == "select" and eqn.args[2] == const(0):
                yield from (part for part in conjuncts(facts, eqn.args[0]) if part is not None)


def _compared(facts: Facts, cond: Atom, holds: bool) -> Iterator[Polynomial]:
    """What is not negative where a condition holds, or where it does not: the differences of integers it compares."""
    eqn = facts.definition(cond)
    if eqn is None:
        return
    if eqn.op == "not":
        yield from _compared(facts, eqn.args[0], not holds)
    elif eqn.op == ("and" if holds else "or"):
        for part in eqn.args:
            yield from _compared(facts, part, holds)
    elif eqn.op in ("lt", "lte", "gt", "gte") and eqn.args[0].type == Integer:
        a, b = (facts.polynomial(facts.resolve(arg)) for arg in eqn.args)
        least = b - a if (eqn.op in ("lt", "lte")) == holds else a - b
        least = least.plus(-1 if (eqn.op in ("lt", "gt")) == holds else 0)
        # Arithmetic of what is compared may have wrapped, save that of single integers and of sizes.
        to_number = a.value is not None or b.value is not None
        single = to_number and least.plus(-least.terms.get((), 0)).single is not None
        if single or all(_is_exact(facts, side) for side in (a, b)):
            yield least


def _is_exact(facts: Facts, polynomial: Polynomial) -> bool:
    """Whether what a polynomial stands for is a number, one integer, or a small sum of sizes."""
    return polynomial.single is not None or all(
        len(monomial) <= 1 and abs(factor) <= _FACTORS[len(monomial)] and all(map(facts.is_bounded, monomial))
        for monomial, factor in polynomial.terms.items()
    )


def exact(
    facts: Facts, polynomial: Polynomial, fits: Callable[[Polynomial], bool] | None = None
) -> tuple[Polynomial, int]:
    """A multiple of the polynomial in which quotients without a remainder are multiplied out, and how often it is.

    Where it is asked, a dividend has to be one that ``fits``.
    """
    times = 1
    for symbol in list(polynomial.symbols()):
        eqn = facts.definition(symbol) if isinstance(symbol, Var) else None
        factor = polynomial.coefficient(symbol)
        if eqn is None or eqn.op != "idiv" or not isinstance(eqn.args[1], Const) or factor is None:
            continue
        dividend, divisor = facts.polynomial(eqn.args[0]), int(eqn.args[1].value)
        if (
            divisor > 0
            and symbol not in dividend.symbols()
            and all(facts.is_bounded(s) for s in dividend.symbols())
            and _divides(divisor, dividend)
            and (fits is None or fits(dividend))
        ):
            rest = polynomial - factor * Polynomial.symbol(symbol)
            polynomial = Polynomial.constant(divisor) * rest + factor * dividend
            times *= divisor
    return polynomial, times


def _divides(divisor: int, polynomial: Polynomial) -> bool:
    """Whether every value of a polynomial is a multiple of the divisor: i * (i + 1) is even."""
    if all(factor % divisor == 0 for factor in polynomial.terms.values()):
        return True
    if divisor != 2:
        return False
    odd: set[frozenset[Symbol]] = set()
    for monomial, factor in polynomial.terms.items():
        if factor % 2:
            odd ^= {frozenset(monomial)}
    return not odd


def quotient(facts: Facts, symbol: Symbol) -> tuple[Polynomial, int] | None:
    """Dividend and divisor, where an integer is a quotient by a positive constant, rounded down."""
    eqn = facts.definition(symbol) if isinstance(symbol, Var) else None
    if eqn is None or eqn.op != "idiv" or not isinstance(eqn.args[1], Const) or int(eqn.args[1].value) <= 0:
        return None
    dividend = facts.polynomial(facts.resolve(eqn.args[0]))
    return None if symbol in dividend.symbols() else (dividend, int(eqn.args[1].value))


def clause_of(facts: Facts, cond: Atom, place: Place) -> Clause | None:
    """What an assert says of sizes, if it is a comparison of integers or one of several that has to hold."""
    if not isinstance(cond, Var):
        return None
    parts: list[Polynomial] = []
    pending: list[Atom] = [cond]
    while pending:
        eqn = facts.definition(pending.pop())
        if eqn is None:
            return None
        if eqn.op == "or":
            pending += eqn.args
        elif eqn.op in ("lt", "lte", "gt", "gte") and eqn.args[0].type == Integer:
            (a, own), (b, other) = (exact(facts, facts.polynomial(facts.resolve(arg))) for arg in eqn.args)
            if not all(facts.is_bounded(symbol) for side in (a, b) for symbol in side.symbols()):
                return None
            left, right = Polynomial.constant(other) * a, Polynomial.constant(own) * b
            difference = right - left if eqn.op in ("lt", "lte") else left - right
            parts.append(difference.plus(-1 if eqn.op in ("lt", "gt") else 0))
        else:
            return None
    return Clause(cond, place, tuple(parts)) if parts else None
