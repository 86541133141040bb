"""What is known of the integers of one function: signs, ranges of indices, what asserts say of sizes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from ksc.ir.nodes import Atom, Const, Eqn, Function, Var, const
from ksc.ir.types import Bool, Integer
from ksc.passes.fuse.choices import Goal
from ksc.passes.fuse.equalities import NONE, Rules
from ksc.passes.fuse.extremes import Clause, Extremes, clause_of, quotient
from ksc.passes.fuse.polynomial import Polynomial, Symbol
from ksc.passes.fuse.sizes import Place, Size, Sizes

_STEPS = 16


@dataclass(slots=True)
class Facts(Sizes):
    """The facts of one function.

    Attributes:
        clauses: what asserts say of sizes that are not equal.
        goals: what is left to show for polynomials not to be negative, see ``ksc.passes.fuse.choices``.
    """

    clauses: list[Clause] = field(default_factory=list)
    goals: dict[object, Goal] = field(default_factory=dict)
    _judged: set[Var] = field(default_factory=set)
    _extremes: dict[tuple[Place, int], Extremes] = field(default_factory=dict)
    _rules: dict[Place, Rules] = field(default_factory=dict)

    @classmethod
    def of(cls, function: Function, *, early: bool = False) -> tuple[Facts, Place]:
        """The facts of a function, and the place of its body.

        Where they shall be ``early``, sizes do not count on an assert of the outermost block after its first loop: it
        may not have been made yet.
        """
        facts, top = cls(), Place(None, None)
        facts._visit(function.body, top)
        # In order, so that no chain of definitions is followed further than one step.
        for var in list(facts.definitions):
            if var.type == Integer:
                facts.polynomial(var)
        prologue = takewhile(_is_straight, function.body.eqns)
        facts._learn(top, {eqn.args[0] for eqn in prologue if eqn.op == "assert"} if early else None)
        return facts, top

    def _learn(self, top: Place, taken: Collection[Atom] | None) -> None:
        """Learn which integers are asserted equal; what the outermost block asserts is taken to hold throughout.

        ``taken`` are the conditions there that are, all where it is None.
        """
        checks = [
            (var, read.place)
            for var, reads in self.reads.items()
            if var.type == Bool
            for read in reads
            if read.eqn is not None and read.eqn.op == "assert"
        ]
        self._equate_all((var, place) for var, place in checks if place is top and (taken is None or var in taken))
        if top in self._equal:
            self._top = self._equal.pop(top)
            self._forget_polynomials()
            self._sizes.clear()
            self._asked.clear()
        self._equate_all((var, place) for var, place in checks if place is not top)
        clauses = [clause_of(self, var, place) for var, place in checks]
        self.clauses = [clause for clause in clauses if clause is not None]

    def _forget_polynomials(self) -> None:
        Sizes._forget_polynomials(self)
        self.goals.clear()

    # Signs and ranges.

    def count(self, symbol: Symbol) -> Polynomial | None:
        """For an integer that is at least 0 the number below which it stays, where there is one."""
        if not isinstance(symbol, Var):
            return None
        if symbol in self.counts:
            count = self.resolve(self.counts[symbol])
            clamped = self.definition(count) if isinstance(count, Var) else None
            # The loop runs, so its count is not the zero.
            if clamped is not None and clamped.op == "max" and clamped.args[1] == const(0):
                count = clamped.args[0]
            elif clamped is not None and clamped.op == "select" and clamped.args[2] == const(0):
                count = self.resolve(clamped.args[1])
            return self.polynomial(count)
        eqn = self.definition(symbol)
        if eqn is None or eqn.op not in ("imod", "idiv"):
            return None
        divisor = self.polynomial(self.resolve(eqn.args[1]))
        if not self.is_natural(divisor):
            return None
        if eqn.op == "imod":
            return divisor
        dividend = self.polynomial(eqn.args[0])
        # A size may be known as a multiple of the very quotient.
        if symbol in dividend.symbols() or not self._at_least_zero(dividend, {}):
            return None
        most = self._largest(dividend)
        if most is None:
            return None
        if most.value is not None and divisor.value:
            return Polynomial.constant(most.value // divisor.value + 1)
        return most.plus(1).divided(divisor)

    def _largest(self, polynomial: Polynomial) -> Polynomial | None:
        """The largest value as its loop indices vary."""
        for _ in range(_STEPS):
            varying = next((s for s in polynomial.symbols() if isinstance(s, Var) and s in self.counts), None)
            if varying is None:
                return polynomial
            factor, count = polynomial.coefficient(varying), self.count(varying)
            if factor is None or count is None or not self.is_natural(factor):
                return None
            polynomial = polynomial - factor * Polynomial.symbol(varying) + factor * count.plus(-1)
        return None

    def is_nonzero(self, divisor: Atom, place: Place) -> bool:
        """Whether an integer cannot be zero at a place: a number, or a factor of how often a loop around runs."""
        polynomial = self.polynomial(self.resolve(divisor))
        if polynomial.value is not None:
            return polynomial.value != 0
        owners = (around.owner for around in place.around())
        counts = [n for owner in owners if owner is not None and owner.op in ("build", "reduce") for n in owner.args]
        return any(self.polynomial(self.resolve(n)).divided(polynomial) is not None for n in counts)

    def is_natural(self, polynomial: Polynomial) -> bool:
        """Whether no term can be negative."""
        return all(
            factor > 0 and all(self.symbol_is_natural(symbol) for symbol in monomial)
            for monomial, factor in polynomial.terms.items()
        )

    def symbol_is_natural(self, symbol: Symbol) -> bool:
        """Whether an unknown integer cannot be negative."""
        if not isinstance(symbol, Var) or symbol in self.counts:
            return True
        known = self._naturals.get(symbol)
        if known is None:
            known = self._find_natural(symbol)
            # What is refused to go round in circles may be found where the question is another one.
            if known or not self._judged:
                self._naturals[symbol] = known
        return known

    def _find_natural(self, symbol: Var) -> bool:
        eqn = self.definition(symbol)
        match eqn:
            case Eqn(op="max"):
                return any(isinstance(arg, Const) and int(arg.value) >= 0 for arg in eqn.args)
            case Eqn(op="min"):
                return self._least_is_natural(symbol, eqn.args)
            case Eqn(op="imod" | "idiv"):
                return self.count(symbol) is not None or self._quotient_is_natural(symbol)
            case _:
                return False

    def _least_is_natural(self, symbol: Var, args: Sequence[Atom]) -> bool:
        if symbol in self._judged:
            # Equal sizes say of the size in min(size, 1) that it is that and the rest.
            return False
        self._judged.add(symbol)
        try:
            return all(self._is_size(arg) or self.is_natural(self.polynomial(self.resolve(arg))) for arg in args)
        finally:
            self._judged.remove(symbol)

    def is_part_of_size(self, symbol: Symbol) -> bool:
        """Whether an integer is a size divided by a number, whatever else is known of that size."""
        eqn = self.definition(symbol) if isinstance(symbol, Var) else None
        if eqn is None or eqn.op != "idiv" or not isinstance(eqn.args[1], Const) or int(eqn.args[1].value) <= 0:
            return False
        return isinstance(self.resolve(eqn.args[0]), tuple)

    def _quotient_is_natural(self, symbol: Var) -> bool:
        if self.is_part_of_size(symbol):
            return True
        divided = quotient(self, symbol)
        if divided is None or symbol in self._judged:
            return False
        self._judged.add(symbol)
        try:
            return self.is_natural(divided[0])
        finally:
            self._judged.remove(symbol)

    def _is_size(self, atom: Atom) -> bool:
        eqn = self.definition(atom)
        return eqn is not None and eqn.op == "size"

    def _at_least_zero(
        self,
        polynomial: Polynomial,
        least: Mapping[Symbol, int],
        rules: Rules = NONE,
        replaced: frozenset[Var] = frozenset(),
    ) -> bool:
        """Whether the polynomial cannot be negative; ``least`` gives lower bounds of symbols.

        A ``min`` is ``replaced`` once at most: an argument of it may be known as a sum with the very ``min``.
        """
        polynomial = rules.rewritten(polynomial)
        for _ in range(_STEPS):
            negative = [(m, f) for m, f in polynomial.terms.items() if f < 0 and m]
            bounded = [(s, c) for m, _ in negative for s in m if (c := self.count(s)) is not None]
            if not negative or not bounded:
                break
            symbol, count = max(bounded, key=lambda pair: self._depth(pair[0]))
            factor = polynomial.coefficient(symbol)
            if factor is None or not self.is_natural(-factor):
                return False
            polynomial = polynomial - factor * Polynomial.symbol(symbol) + factor * count.plus(-1)
            polynomial = rules.rewritten(polynomial)
        for symbol, bound in least.items():
            factor = polynomial.coefficient(symbol)
            if factor is not None and factor.terms:
                polynomial = polynomial + factor * Polynomial.constant(bound)
        natural = (symbol in least or self.symbol_is_natural(symbol) for symbol in polynomial.symbols())
        if all(factor > 0 for factor in polynomial.terms.values()) and all(natural):
            return True
        for symbol, larger in self._without_min(polynomial):
            if symbol not in replaced and self._at_least_zero(larger, least, rules, replaced | {symbol}):
                return True
        return False

    def _without_min(self, polynomial: Polynomial) -> Iterator[tuple[Var, Polynomial]]:
        """What the polynomial is not less than, a ``min`` that is subtracted being one of its two arguments."""
        for monomial, factor in polynomial.terms.items():
            symbol = monomial[0] if len(monomial) == 1 else None
            eqn = self.definition(symbol) if isinstance(symbol, Var) else None
            if factor < 0 and eqn is not None and eqn.op == "min" and isinstance(symbol, Var):
                rest = polynomial - Polynomial({monomial: factor})
                for arg in eqn.args:
                    yield symbol, rest + Polynomial.constant(factor) * self.polynomial(self.resolve(arg))
                return

    def _depth(self, symbol: Symbol) -> int:
        place = self.places.get(symbol) if isinstance(symbol, Var) else None
        return 0 if place is None else sum(1 for _ in place.around())

    def in_range(self, index: Atom, size: Size, place: Place) -> bool:
        """Whether an index, read at a place, is known to be at least 0 and below the size of a tensor that exists."""
        if isinstance(index, Var) and index in self.counts and self.resolve(self.counts[index]) == size:
            return True
        at, most = self.polynomial(index), self.polynomial(size)
        rules = self._rules_at(place)
        size_symbol = rules.rewritten(most).single
        least: dict[Symbol, int] = {} if size_symbol is None else {size_symbol: 0}
        for around in place.around():
            owner = around.owner
            if owner is not None and owner.op in ("build", "reduce", "for"):
                counts = owner.args[:1] if owner.op == "for" else owner.args
                for count in counts:
                    symbol = rules.rewritten(self.polynomial(self.resolve(count))).single
                    if symbol is not None:
                        least[symbol] = 1
        if self._at_least_zero(at, least, rules) and self._at_least_zero(most - at.plus(1), least, rules):
            return True
        return self.never_negative(at, place) and self.never_negative(most - at.plus(1), place)

    def never_negative(self, polynomial: Polynomial, place: Place, taken: Collection[Var] | None = None) -> bool:
        """Whether a polynomial cannot be negative at a place, whatever the iteration of the loops around.

        Of asserts only those count whose condition is among ``taken``, if that is given; arithmetic may then wrap.
        """
        return self.extremes(place, taken).is_natural(polynomial)

    def extremes(self, place: Place, taken: Collection[Var] | None = None) -> Extremes:
        """What is known at a place; of asserts as for ``never_negative``."""
        key = (place, -1 if taken is None else len(taken))
        known = self._extremes.get(key)
        if known is None:
            known = self._extremes[key] = Extremes(self, place, taken)
        return known

    def is_bounded(self, symbol: Symbol) -> bool:
        """Whether an integer is a size, an index of a loop over sizes, one of two such, or a quotient of one."""
        if not isinstance(symbol, Var):
            return True
        known = self._bounded.get(symbol)
        if known is None:
            known = self._bounded[symbol] = self._find_bounded(symbol)
        return known

    def _find_bounded(self, symbol: Var) -> bool:
        sides = self.sides(symbol)
        divided = quotient(self, symbol)
        if divided is not None:
            sides = divided[:1]
        if symbol in self.counts:
            count = self.count(symbol)
            sides = () if count is None else (count,)
        return self.is_part_of_size(symbol) or (
            bool(sides)
            and all(side.degree <= 1 and all(self.is_bounded(inner) for inner in side.symbols()) for side in sides)
        )

    def equated(self, polynomial: Polynomial, place: Place) -> Polynomial:
        """The polynomial in terms of what the asserts around a place say is equal."""
        return self._rules_at(place).rewritten(polynomial)

    def _rules_at(self, place: Place) -> Rules:
        """What the asserts around a place say is equal, save those of the outermost block."""
        around = [inside for inside in place.around() if inside in self._equal]
        if len(around) <= 1:
            return self._equal[around[0]] if around else NONE
        known = self._rules.get(around[0])
        if known is None:
            known = self._rules[around[0]] = Rules(self._equal[inside] for inside in around)
        return known


def _is_straight(eqn: Eqn) -> bool:
    """Whether an equation has no block, or is an ``if`` that only finds out what went wrong."""
    return not eqn.blocks or (
        eqn.op == "if" and not eqn.outs and not any(inner.blocks for block in eqn.blocks for inner in block.eqns)
    )
