"""Recursion without a known result type: what a function returns is found as a least fixed point.

A function is first traced as if its calls of itself never returned: a path that makes one is dead, and the others
tell what is returned. It is traced again with that, until nothing is widened. Only the last tracing is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ksc.frontend.frame import Frame, Traced
from ksc.frontend.join import Meeting, template_of, unify
from ksc.frontend.values import Poison, Value
from ksc.ir.nodes import Span

if TYPE_CHECKING:
    from ksc.frontend.functions import Entry


class NeverReturnsError(Exception):
    """A function calls itself while nothing is known of its result: the path does not return, as far as is known."""

    def __init__(self, entry: Entry, where: Span | None) -> None:
        super().__init__(entry.name)
        self.entry = entry
        self.where = where


def aside_unless_dead(frame: Frame, code: Callable[[], Any]) -> Traced | None:
    """``frame.aside(code)``; None where the code does not return."""
    try:
        return frame.aside(code)
    except NeverReturnsError:
        return None


def living_side(frame: Frame, then: Callable[[], Any], else_: Callable[[], Any]) -> tuple[Traced, Traced] | Traced:
    """Both sides of a choice, traced on the side; or the only one that returns."""
    first = aside_unless_dead(frame, then)
    if first is None:
        return frame.aside(else_)
    second = aside_unless_dead(frame, else_)
    return first if second is None else (first, second)


def go_on_with(frame: Frame, side: Traced) -> Any:
    """Let a block traced on the side be what is traced here; what its code gave."""
    frame.builder.eqns.extend(side.builder.eqns)
    frame.env, frame.region.store = side.env, side.store
    return side.outcome


def widened(assumed: Value, found: Value, conflict: Poison) -> Value:
    """The template of results that were taken for ``assumed`` and turned out to be ``found``."""
    return template_of(unify(assumed, found, conflict, Meeting((), ())))
