"""Lines of C++ under construction, each with the Python it came from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ksc.ir.nodes import Span

INDENT = "    "
LINE_WIDTH = 110

Place = tuple[str, int]
"""A line of a file."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line without its line break, the Python that it came from, and that of what is folded into it."""

    text: str
    span: Span | None = None
    folded: tuple[Span, ...] = ()


def line_of(span: Span | None) -> int:
    """The line that an error names, 0 where there is none."""
    return span.line if span else 0


class Writer:
    """Collects statements; where the Python line changes, a comment shows it.

    ``heads`` are the places of the blocks around, whose own line is not shown again inside.
    """

    def __init__(self, depth: int = 0, current: Span | None = None, heads: frozenset[Place] = frozenset()) -> None:
        self.lines: list[Line] = []
        self._depth = depth
        self._current = current
        self._heads = heads

    def fork(self) -> Writer:
        """An empty writer one level deeper, for a block that begins where this one is now."""
        heads = self._heads if self._current is None else self._heads | {_place(self._current)}
        return Writer(self._depth + 1, self._current, heads)

    def statement(self, text: str, span: Span | None = None, folded: tuple[Span, ...] = ()) -> None:
        """One statement, below a comment with its Python line unless that is the line already shown."""
        self.comment(span)
        self.plain(text, span, folded)

    def plain(self, text: str, span: Span | None = None, folded: tuple[Span, ...] = ()) -> None:
        """One statement without a comment."""
        for k, part in enumerate(wrapped(text, LINE_WIDTH - len(INDENT) * self._depth)):
            self.line(INDENT * (k > 0) + part, span, folded)

    def line(self, text: str, span: Span | None = None, folded: tuple[Span, ...] = ()) -> None:
        """One line without a comment."""
        self.lines.append(Line(INDENT * self._depth + text, span, folded))

    def comment(self, span: Span | None) -> None:
        """Show the Python line of ``span`` unless it is shown already."""
        if span is None or _place(span) in self._heads:
            return
        if self._current is not None and _place(span) == _place(self._current):
            return
        self._current = span
        text = span.text.strip().rstrip("\\").rstrip()
        if text and text.isprintable():
            self.line(f"// {text}", span)

    @contextmanager
    def braces(self, head: str, span: Span | None = None, folded: tuple[Span, ...] = ()) -> Iterator[Writer]:
        """``head {`` … ``}`` round what is written to the writer that this gives."""
        self.statement(f"{head} {{", span, folded)
        inner = self.fork()
        yield inner
        self.lines.extend(inner.lines)
        # What follows the block is elsewhere in the source, even where it began on the same line.
        self._current = inner._current
        self.line("}", span)


def _place(span: Span) -> Place:
    return span.file, span.line


def wrapped(text: str, width: int) -> list[str]:
    """The text on lines of about ``width``, broken after the commas that lie outermost; no string is broken."""
    lines = []
    while len(text) > width and '"' not in text:
        best: tuple[int, int] | None = None
        depth = 0
        for k, char in enumerate(text[:width]):
            depth += (char in "([{") - (char in ")]}")
            if char == "," and text[k + 1 : k + 2] == " " and k > width // 3 and (best is None or depth <= best[0]):
                best = depth, k
        if best is None:
            break
        lines.append(text[: best[1] + 1])
        text = text[best[1] + 2 :]
    return [*lines, text]
