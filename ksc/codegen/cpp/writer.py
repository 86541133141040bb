"""Lines of C++ under construction, each with the Python it came from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ksc.ir.nodes import Span

INDENT = "    "
LINE_WIDTH = 110


@dataclass(frozen=True, slots=True)
class Line:
    """One line without its line break."""

    text: str
    span: Span | None = None


class Writer:
    """Collects statements; where the Python line changes, a comment shows it."""

    def __init__(self, depth: int = 0, current: Span | None = None) -> None:
        self.lines: list[Line] = []
        self._depth = depth
        self._current = current

    def fork(self) -> Writer:
        """An empty writer one level deeper, to be joined by ``block``."""
        return Writer(self._depth + 1, self._current)

    def level(self) -> Writer:
        """An empty writer at this level, to be joined by ``extend``."""
        return Writer(self._depth, self._current)

    def statement(self, text: str, span: Span | None = None) -> None:
        """One statement, below a comment with its Python line unless that is the line already shown."""
        self.comment(span)
        for k, part in enumerate(wrapped(text, LINE_WIDTH - len(INDENT) * self._depth)):
            self.line(INDENT * (k > 0) + part, span)

    def line(self, text: str, span: Span | None = None) -> None:
        """One line without a comment."""
        self.lines.append(Line(INDENT * self._depth + text, span))

    def comment(self, span: Span | None) -> None:
        """Show the Python line of ``span`` unless it is shown already."""
        if span is None or (self._current is not None and _place(span) == _place(self._current)):
            return
        self._current = span
        text = span.text.strip().rstrip("\\").rstrip()
        if text and text.isprintable():
            self.line(f"// {text}", span)

    def extend(self, other: Writer) -> None:
        """Append what a writer of this level has collected."""
        self.lines.extend(other.lines)
        self._current = other._current

    @contextmanager
    def braces(self, head: str, span: Span | None = None) -> Iterator[Writer]:
        """``head {`` … ``}`` round what is written to the writer that this gives."""
        self.statement(f"{head} {{", span)
        inner = self.fork()
        yield inner
        self.lines.extend(inner.lines)
        # What follows the block is elsewhere in the source, even where it began on the same line.
        self._current = inner._current
        self.line("}", span)


def _place(span: Span) -> tuple[str, int]:
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
