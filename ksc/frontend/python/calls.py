"""What the built-in functions share: how many arguments they take, and the torch function that one stands for."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence

from ksc.frontend.frame import Frame
from ksc.frontend.values import Value

Handler = Callable[[Frame, Sequence[Value], Mapping[str, Value], ast.AST], Value]
"""How a call is traced: its arguments by position and by name, and where it stands."""


def require_arity(
    frame: Frame, name: str, args: Sequence[Value], kwargs: Mapping[str, Value], low: int, high: int, node: ast.AST
) -> None:
    """Refuse (KS204) keyword arguments, and fewer than ``low`` or more than ``high`` others."""
    if kwargs:
        reason = f"{name}() with the keyword argument {next(iter(kwargs))!r}"
        frame.refuse(node, reason, "pass arguments by position", code="KS204")
    if not low <= len(args) <= high:
        many = f"{low}" if low == high else f"{low} to {high}"
        frame.refuse(
            node, f"{name}() takes {many} arguments but {len(args)} are given", "see its signature", code="KS204"
        )


def tensor_function(function: object) -> Handler:
    """How a call of a function of torch is traced."""
    from ksc.frontend.library import known_function

    handler = known_function(function)
    assert handler is not None
    return handler
