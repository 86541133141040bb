"""Whether a cotangent is there at run time.

A cotangent that the sweep never met is no IR at all. One that only some runs give, since its variable is read in a
branch or in a loop without iterations, is a zero in the others; but a zero that stands for "not read" is not to be
multiplied by a derivative, which may be infinite. Beside such a cotangent goes what has to hold for it to be there.
"""

from __future__ import annotations

from dataclasses import dataclass

from ksc.ir.builder import Builder
from ksc.ir.nodes import Atom, Const, const
from ksc.transforms.tangents import rename


@dataclass(frozen=True, slots=True, eq=False)
class Perhaps:
    """Something is there if one of these Bools holds."""

    conditions: tuple[Atom, ...]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Perhaps) and frozenset(self.conditions) == frozenset(other.conditions)

    def __hash__(self) -> int:
        return hash(frozenset(self.conditions))

    def implies(self, other: Presence) -> bool:
        """Whether the other thing is there where this one is, as far as the conditions show."""
        return other is None or frozenset(self.conditions) <= frozenset(other.conditions)


Presence = Perhaps | None
"""Whether something is there: None where it certainly is."""

ABSENT = Perhaps(())
"""Certainly not there."""

Seeds = tuple[int, ...]
"""For each result of a function whether it has a cotangent: 0 no, 1 yes, 2 that is known at run time."""

PERHAPS = 2


def there_if(condition: Atom) -> Presence:
    """What is there where a condition holds."""
    if isinstance(condition, Const):
        return None if condition.value else ABSENT
    return Perhaps((condition,))


def either(*marks: Presence) -> Presence:
    """Whether at least one of several contributions is there."""
    conditions: dict[Atom, None] = {}
    for mark in marks:
        if mark is None:
            return None
        conditions |= dict.fromkeys(mark.conditions)
    return Perhaps(tuple(conditions))


def both(builder: Builder, a: Presence, b: Presence, name: str) -> Presence:
    """Whether two things are there."""
    if a is None or a == b:
        return b
    if b is None:
        return a
    return there_if(rename(builder.apply("and", as_bool(builder, a), as_bool(builder, b)), name, builder))


def as_bool(builder: Builder, present: Presence, name: str = "present") -> Atom:
    """One Bool that says it."""
    if present is None:
        return const(True)
    if not present.conditions:
        return const(False)
    found, *others = present.conditions
    for other in others:
        found = rename(builder.apply("or", found, other), name, builder)
    return found
