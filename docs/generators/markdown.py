"""Markdown, written by programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; bars inside of cells are told from those between them."""
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def code(text: str) -> str:
    """A word of code inside a line."""
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def fence(language: str, text: str, *, caption: str | None = None) -> str:
    """A block of code."""
    option = f":caption: {caption}\n" if caption else ""
    return f"```{{code-block}} {language}\n{option}\n{text.rstrip()}\n```"
