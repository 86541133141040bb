"""Loops written as ``for i in checkpoint(range(n), every=100)`` and ``while checkpoint(test, every=100)``."""

from __future__ import annotations

import ast

from ksc.frontend.frame import Frame
from ksc.frontend.values import Static

SQUARE_ROOT = 0
"""The param ``checkpoint`` of a ``for`` that asks for segments as long as there are segments."""

DEFAULT = 1000
"""How long the segments of a loop are whose number of iterations is not known beforehand."""


def checkpoints_of(frame: Frame, head: ast.expr) -> tuple[ast.expr, int | None]:
    """What a loop is over, or its test, and how long its segments are: None without checkpoints, 0 where not said."""
    if not isinstance(head, ast.Call) or not _names_checkpoint(frame, head.func):
        return head, None
    if len(head.args) != 1 or [keyword.arg for keyword in head.keywords] not in ([], ["every"]):
        frame.refuse(head, "checkpoint takes a range or a test, and `every`", "write `checkpoint(range(n), every=100)`")
    every: object = None
    if head.keywords:
        from ksc.frontend.expressions import evaluate

        node = head.keywords[0].value
        every = frame.require_static(evaluate(frame, node), node, "the distance of checkpoints", "write a number")
        if every is not None and (not isinstance(every, int) or isinstance(every, bool) or every < 1):
            frame.refuse(node, f"checkpoints cannot be {every!r} iterations apart", "give a positive int, or None")
    return head.args[0], every if isinstance(every, int) else SQUARE_ROOT


def _names_checkpoint(frame: Frame, func: ast.expr) -> bool:
    """Whether an expression, made of names that are not variables of the frame, is the function ``checkpoint``."""
    from ksc.checkpointing import checkpoint
    from ksc.frontend.expressions import evaluate

    root = func
    while isinstance(root, ast.Attribute):
        root = root.value
    scope: Frame | None = frame
    while scope is not None:
        if not isinstance(root, ast.Name) or root.id in scope.locals:
            return False
        scope = scope.parent
    value = evaluate(frame, func)
    return isinstance(value, Static) and value.value is checkpoint
