"""Integers that are known to be equal: products of symbols, each with the polynomial that stands for it."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop, heappush

from ksc.passes.fuse.polynomial import Monomial, Polynomial, Symbol


class Rules:
    """Products of symbols and what is equal to each, applied one after another in the order in which they were added.

    A function of many layers asserts many sizes to be equal, so only those rules are tried whose symbols occur.
    """

    __slots__ = ("_rules", "_with_symbol")

    def __init__(self, parts: Iterable[Rules] = ()) -> None:
        self._rules: list[tuple[Monomial, Polynomial]] = []
        self._with_symbol: dict[Symbol, list[int]] = {}
        for part in parts:
            for monomial, other in part._rules:
                self.add(monomial, other)

    def add(self, monomial: Monomial, other: Polynomial) -> None:
        """From now on a product of symbols, not the empty one, is ``other``."""
        self._with_symbol.setdefault(monomial[0], []).append(len(self._rules))
        self._rules.append((monomial, other))

    def rewritten(self, polynomial: Polynomial) -> Polynomial:
        """The polynomial with products of symbols replaced by what is equal to them."""
        if not self._rules:
            return polynomial
        met = {k for symbol in polynomial.symbols() for k in self._with_symbol.get(symbol, ())}
        pending = list(met)
        heapify(pending)
        while pending:
            rule = heappop(pending)
            monomial, other = self._rules[rule]
            factor = polynomial.factor_of(monomial)
            if factor.terms:
                polynomial = polynomial - factor * Polynomial({monomial: 1}) + factor * other
                for symbol in other.symbols():
                    for later in self._with_symbol.get(symbol, ()):
                        if later > rule and later not in met:
                            met.add(later)
                            heappush(pending, later)
        return polynomial


NONE = Rules()
"""Nothing is known to be equal to anything else."""
