"""What has to be shown of a polynomial with ``min`` and ``max``: the polynomials without them that are not negative.

    min(n, m) - 1        each of  n - 1, m - 1
    max(n, m) - k        one of   n - k, m - k

Sizes of slices of slices are long chains of such. What is left to show is the same at every place of a function that
runs under the same circumstances, so it is found once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ksc.ir.nodes import Var
from ksc.passes.fuse.polynomial import Polynomial, Symbol

if TYPE_CHECKING:
    from ksc.passes.fuse.facts import Facts


@dataclass(frozen=True, slots=True)
class Several:
    """Several goals: ``each`` has to be reached, or one is enough."""

    each: bool
    goals: tuple[Goal, ...]


Goal = bool | Polynomial | Several
"""Whether a polynomial is not negative: it is or is not, or as far as another one, or several, are not."""


def goal_of(facts: Facts, polynomial: Polynomial, least: Mapping[Symbol, int], depth: int) -> Goal:
    """What is left to show for a polynomial not to be negative, ``depth`` choices being made one inside the other."""
    key = (polynomial, frozenset(least.items()), depth)
    known = facts.goals.get(key)
    if known is None:
        known = facts.goals[key] = _find_goal(facts, polynomial, least, depth)
    return known


def _find_goal(facts: Facts, polynomial: Polynomial, least: Mapping[Symbol, int], depth: int) -> Goal:
    if terms_are_natural(facts, polynomial, least):
        return True
    if depth == 0:
        return False
    for each, sides in choices(facts, polynomial):
        goals: dict[Goal, None] = {}
        for side in sides:
            goal = goal_of(facts, side, least, depth - 1)
            if isinstance(goal, bool):
                if goal is not each:
                    return goal
            elif isinstance(goal, Several) and goal.each is each:
                goals.update(dict.fromkeys(goal.goals))
            else:
                goals[goal] = None
        return Several(each, tuple(goals)) if len(goals) > 1 else next(iter(goals), each)
    return polynomial


def choices(facts: Facts, polynomial: Polynomial) -> Iterator[tuple[bool, tuple[Polynomial, ...]]]:
    """The polynomial with each ``min`` or ``max`` as one of its arguments; whether both have to be natural."""
    for monomial, factor in polynomial.terms.items():
        sides = facts.sides(monomial[0]) if len(monomial) == 1 else ()
        if sides:
            eqn = facts.definition(monomial[0]) if isinstance(monomial[0], Var) else None
            each = (factor > 0) == (eqn is not None and eqn.op == "min")
            yield each, tuple(polynomial.with_value(monomial[0], side) for side in sides)


def terms_are_natural(facts: Facts, polynomial: Polynomial, least: Mapping[Symbol, int]) -> bool:
    """Whether no term can be negative, once symbols are written as what they are above their ``least`` value."""
    symbols = polynomial.symbols()
    for symbol, bound in least.items():
        if symbol in symbols:
            polynomial = polynomial.with_value(symbol, Polynomial.symbol(symbol).plus(bound))
    return all(factor > 0 for factor in polynomial.terms.values()) and all(
        symbol in least or facts.symbol_is_natural(symbol) for symbol in polynomial.symbols()
    )
