"""Integer polynomials, in which sizes and indices are compared: ``i * m + j`` stays below ``n * m``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ksc.ir.nodes import Var

Symbol = Var | tuple[Var, int]
"""An unknown integer: a variable, or the size of a dimension of a tensor."""

Monomial = tuple[Symbol, ...]

MOST_TERMS = 12
"""The number of terms up to which products are multiplied out."""


_HIGHEST_DEGREE = 6
_LARGEST_FACTOR = 2**40


class Polynomial:
    """An immutable sum of products of symbols with integer coefficients."""

    __slots__ = ("_hash", "terms")

    def __init__(self, terms: Mapping[Monomial, int]) -> None:
        self._hash: int | None = None
        self.terms = {monomial: factor for monomial, factor in terms.items() if factor}

    @classmethod
    def constant(cls, value: int) -> Polynomial:
        """The constant polynomial."""
        return cls({(): value})

    @classmethod
    def symbol(cls, symbol: Symbol) -> Polynomial:
        """The polynomial that is one unknown."""
        return cls({(symbol,): 1})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Polynomial) and self.terms == other.terms

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(frozenset(self.terms.items()))
        return self._hash

    def __add__(self, other: Polynomial) -> Polynomial:
        terms = dict(self.terms)
        for monomial, factor in other.terms.items():
            terms[monomial] = terms.get(monomial, 0) + factor
        return Polynomial(terms)

    def __neg__(self) -> Polynomial:
        return Polynomial({monomial: -factor for monomial, factor in self.terms.items()})

    def __sub__(self, other: Polynomial) -> Polynomial:
        return self + -other

    def __mul__(self, other: Polynomial) -> Polynomial:
        terms: dict[Monomial, int] = {}
        for a, m in self.terms.items():
            for b, n in other.terms.items():
                product = tuple(sorted((*a, *b), key=_order))
                terms[product] = terms.get(product, 0) + m * n
        return Polynomial(terms)

    def times(self, value: int) -> Polynomial:
        """The polynomial multiplied by a number."""
        return self if value == 1 else Polynomial({monomial: factor * value for monomial, factor in self.terms.items()})

    def plus(self, value: int) -> Polynomial:
        """The polynomial with a constant added."""
        return self + Polynomial.constant(value)

    @property
    def value(self) -> int | None:
        """The number that this is, None where it holds symbols."""
        if not self.terms:
            return 0
        return self.terms.get(()) if len(self.terms) == 1 else None

    @property
    def is_small(self) -> bool:
        """Whether it is worth calculating with."""
        return len(self.terms) <= MOST_TERMS and all(
            len(monomial) <= _HIGHEST_DEGREE and abs(factor) < _LARGEST_FACTOR
            for monomial, factor in self.terms.items()
        )

    @property
    def single(self) -> Symbol | None:
        """The symbol that this is, None where it is anything else."""
        match list(self.terms.items()):
            case [((symbol,), 1)]:
                return symbol
            case _:
                return None

    def symbols(self) -> Iterable[Symbol]:
        """The symbols that occur, each once."""
        return dict.fromkeys(symbol for monomial in self.terms for symbol in monomial)

    def coefficient(self, symbol: Symbol) -> Polynomial | None:
        """What ``symbol`` is multiplied with; None where it occurs in a higher power."""
        terms: dict[Monomial, int] = {}
        for monomial, factor in self.terms.items():
            if symbol in monomial:
                rest = list(monomial)
                rest.remove(symbol)
                if symbol in rest:
                    return None
                terms[tuple(rest)] = factor
        return Polynomial(terms)

    def with_value(self, symbol: Symbol, value: Polynomial) -> Polynomial:
        """The polynomial with ``value`` put in for a symbol."""
        result = Polynomial({monomial: f for monomial, f in self.terms.items() if symbol not in monomial})
        for monomial, factor in self.terms.items():
            if symbol in monomial:
                term = Polynomial({tuple(s for s in monomial if s is not symbol and s != symbol): factor})
                for _ in range(monomial.count(symbol)):
                    term = term * value
                result = result + term
        return result

    @property
    def degree(self) -> int:
        """The largest number of symbols in a product."""
        return max(map(len, self.terms), default=0)

    def factor_of(self, product: Monomial) -> Polynomial:
        """What ``product`` is multiplied with in the terms that it divides."""
        terms: dict[Monomial, int] = {}
        for monomial, factor in self.terms.items():
            rest = _without(monomial, product)
            if rest is not None:
                terms[rest] = factor
        return Polynomial(terms)

    def divided(self, divisor: Polynomial) -> Polynomial | None:
        """The quotient by a divisor of one term, where every term has it as a factor."""
        if len(divisor.terms) != 1:
            return None
        ((common, by),) = divisor.terms.items()
        terms: dict[Monomial, int] = {}
        for monomial, factor in self.terms.items():
            rest = _without(monomial, common)
            if rest is None or factor % by:
                return None
            terms[rest] = factor // by
        return Polynomial(terms)


def _without(monomial: Monomial, product: Monomial) -> Monomial | None:
    rest = list(monomial)
    for symbol in product:
        if symbol not in rest:
            return None
        rest.remove(symbol)
    return tuple(rest)


def _order(symbol: Symbol) -> tuple[int, int]:
    return (id(symbol), -1) if isinstance(symbol, Var) else (id(symbol[0]), symbol[1])
