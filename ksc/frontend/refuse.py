"""The one place where the frontend turns a program down."""

from __future__ import annotations

import ast
from typing import NoReturn, TypeVar

from ksc.errors import KnossosError, TypeMismatchError, UnsupportedError
from ksc.frontend.codes import CODES
from ksc.ir.nodes import Span

E = TypeVar("E", bound=KnossosError)


class NeedsStaticError(UnsupportedError):
    """A value is not known at compile time but must be; unrolling the loop around it may help."""

    def published(self) -> UnsupportedError:
        """The error that a user sees."""
        return _published(UnsupportedError, self)


class LoopTypeError(TypeMismatchError):
    """A loop, or a choice in one, changes the type of a variable; unrolling it may help."""

    def published(self) -> TypeMismatchError:
        """The error that a user sees."""
        return _published(TypeMismatchError, self)


def _published(cls: type[E], error: KnossosError) -> E:
    made = cls(error.message, remedy=error.remedy, span=error.span, code=error.code)
    for note in getattr(error, "__notes__", ()):
        made.add_note(note)
    return made


class ChangingSizesError(Exception):
    """The iterations of a loop change the sizes of a tensor, which no derivative can record; unrolling it may help."""


def refuse(where: Span | None, reason: str, instead: str | None = None, *, code: str = "KS100") -> NoReturn:
    """Raise the error ``code`` at ``where``: TypeMismatchError for KS2xx codes, UnsupportedError for the others."""
    assert code in CODES, code
    cls: type[KnossosError]
    match code:
        case "KS111" | "KS112":
            cls = NeedsStaticError
        case "KS201" | "KS202" | "KS207":
            cls = LoopTypeError
        case _:
            cls = TypeMismatchError if code.startswith("KS2") else UnsupportedError
    raise cls(reason, remedy=instead, span=where, code=code)


def describe_node(node: ast.AST) -> str:
    """The name of a kind of syntax, for a message."""
    return NODE_NAMES.get(type(node), f"`{type(node).__name__}`")


NODE_NAMES: dict[type[ast.AST], str] = {
    ast.Try: "`try`",
    ast.With: "`with`",
    ast.AsyncWith: "`async with`",
    ast.AsyncFor: "`async for`",
    ast.AsyncFunctionDef: "`async def`",
    ast.Await: "`await`",
    ast.Yield: "`yield`",
    ast.YieldFrom: "`yield from`",
    ast.Global: "`global`",
    ast.Nonlocal: "`nonlocal`",
    ast.Raise: "`raise`",
    ast.ClassDef: "`class`",
    ast.Delete: "`del`",
    ast.Match: "`match`",
    ast.Starred: "a starred expression",
    ast.JoinedStr: "an f-string",
    ast.Set: "a set",
    ast.SetComp: "a set comprehension",
    ast.Import: "`import`",
    ast.ImportFrom: "`from … import`",
}
