"""``checkpoint``: bounds the memory that the gradient of a long loop takes."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from ksc.frontend.special import traced_by

if TYPE_CHECKING:
    from ksc.frontend.frame import Frame
    from ksc.frontend.values import Value

T = TypeVar("T")


def _refuse(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
    frame.refuse(
        node,
        "checkpoint stands in the head of a loop only",
        "write `for i in checkpoint(range(n), every=100):` or `while checkpoint(test, every=100):`",
    )


@traced_by(_refuse)
def checkpoint(loop: T, *, every: int | None = None) -> T:
    """Keep less of a loop for its gradient, and run it once more instead.

    ::

        for i in knossos.checkpoint(range(n), every=100):
            state = step(state)

        while knossos.checkpoint(error > 1e-9, every=100):
            state, error = improve(state)

    The gradient keeps what the loop carries at the start of every ``every`` iterations, and runs each such segment
    again, with a tape of its own, when it comes to it: memory for n / every + every iterations instead of n.
    Outside of a kernel it does nothing.

    Args:
        loop: the range of a ``for`` loop, or the test of a ``while`` loop.
        every: the length of a segment, known at compile time. Where it is None, the square root of the number of
            iterations in a ``for`` loop without ``break`` and ``return``, and 1000 in any other.

    Returns:
        ``loop``.
    """
    return loop
