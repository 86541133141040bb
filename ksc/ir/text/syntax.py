"""S-expressions with positions: the concrete syntax under every form of the text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ksc.errors import InvalidIRError
from ksc.ir.nodes import Span
from ksc.ir.text.names import DELIMITERS

_CLOSING = {"(": ")", "[": "]"}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", '"': '"', "\\": "\\"}
_UNESCAPES = {value: key for key, value in _ESCAPES.items()}


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the text, both from 1, and the file it is from."""

    file: str
    line: int
    col: int
    text: str = ""

    def span(self) -> Span:
        """The place as a span of one character."""
        return Span(self.file, self.line, self.col - 1, self.line, self.col, self.text)


@dataclass(frozen=True, slots=True)
class Word:
    """A bare word: identifier, number, literal or keyword; ``quoted`` if it stood between bars."""

    text: str
    at: Position
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Text:
    """A string literal."""

    value: str
    at: Position


@dataclass(frozen=True, slots=True)
class Group:
    """A list in parentheses or, where ``square``, in brackets."""

    items: tuple[Node, ...]
    at: Position
    square: bool = False

    @property
    def head(self) -> str | None:
        """The first item where that is an unquoted word, else None."""
        first = self.items[0] if self.items else None
        return first.text if isinstance(first, Word) and not first.quoted else None


Node = Word | Text | Group


def misread(message: str, at: Position) -> InvalidIRError:
    """The error for a place in the text."""
    return InvalidIRError(message, span=at.span())


def quote_text(value: str) -> str:
    """A string literal."""
    return '"' + "".join(f"\\{_UNESCAPES[c]}" if c in _UNESCAPES else c for c in value) + '"'


def show(node: Node, limit: int = 60) -> str:
    """A node on one line, cut to ``limit`` characters."""
    match node:
        case Word(text=text):
            shown = text
        case Text(value=value):
            shown = quote_text(value)
        case Group(items=items, square=square):
            inner = " ".join(show(item, limit) for item in items[:8])
            shown = f"[{inner}]" if square else f"({inner})"
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def read(text: str, file: str) -> list[Node]:
    """All top-level nodes of the text. Raises InvalidIRError with line and column."""
    return _Reader(text, file).read()


class _Reader:
    """Reads with a stack of its own, so that nesting is not limited by Python's."""

    def __init__(self, text: str, file: str) -> None:
        self.text = text
        self.file = file
        self.lines = text.split("\n")
        self.pos = 0
        self.line = 1
        self.line_start = 0

    def read(self) -> list[Node]:
        open_groups: list[tuple[str, Position, list[Node]]] = []
        items: list[Node] = []
        for at in self.starts():
            c = self.text[self.pos]
            if c in _CLOSING:
                self.pos += 1
                open_groups.append((c, at, items))
                items = []
            elif c in ")]":
                self.pos += 1
                if not open_groups:
                    raise misread(f"{c!r} closes nothing", at)
                opening, begun, outer = open_groups.pop()
                if _CLOSING[opening] != c:
                    raise misread(
                        f"expected {_CLOSING[opening]!r} for the {opening!r} of line {begun.line}, not {c!r}", at
                    )
                outer.append(Group(tuple(items), begun, square=opening == "["))
                items = outer
            elif c == '"':
                items.append(Text(self.delimited('"', at), at))
            elif c == "|":
                items.append(Word(self.delimited("|", at), at, quoted=True))
            else:
                items.append(Word(self.word(), at))
        if open_groups:
            opening, begun, _ = open_groups[-1]
            raise misread(f"expected {_CLOSING[opening]!r} before the end of the text", begun)
        return items

    def position(self) -> Position:
        text = self.lines[self.line - 1] if self.line <= len(self.lines) else ""
        return Position(self.file, self.line, self.pos - self.line_start + 1, text)

    def advance(self) -> None:
        if self.text[self.pos] == "\n":
            self.line += 1
            self.line_start = self.pos + 1
        self.pos += 1

    def starts(self) -> Iterator[Position]:
        """Where each token starts: white space and comments are skipped."""
        while self.pos < len(self.text):
            c = self.text[self.pos]
            if c.isspace():
                self.advance()
            elif c == ";":
                while self.pos < len(self.text) and self.text[self.pos] != "\n":
                    self.pos += 1
            elif self.text.startswith("#|", self.pos):
                self.block_comment()
            else:
                yield self.position()

    def block_comment(self) -> None:
        begun, depth = self.position(), 0
        while True:
            if self.pos >= len(self.text):
                raise misread("expected '|#' before the end of the text", begun)
            if self.text.startswith("#|", self.pos):
                depth += 1
                self.pos += 2
            elif self.text.startswith("|#", self.pos):
                depth -= 1
                self.pos += 2
                if depth == 0:
                    return
            else:
                self.advance()

    def delimited(self, end: str, at: Position) -> str:
        """The text between two ``end`` characters, escapes resolved."""
        self.pos += 1
        parts: list[str] = []
        while self.pos < len(self.text):
            c = self.text[self.pos]
            if c == end:
                self.pos += 1
                return "".join(parts)
            if c == "\\":
                self.advance()
                escaped = self.text[self.pos : self.pos + 1]
                if escaped not in _ESCAPES and escaped != end:
                    raise misread(f"there is no escape \\{escaped}", self.position())
                c = _ESCAPES.get(escaped, escaped)
            parts.append(c)
            self.advance()
        raise misread(f"expected {end!r} before the end of the text", at)

    def word(self) -> str:
        begun = self.pos
        while self.pos < len(self.text):
            c = self.text[self.pos]
            if c.isspace() or c in DELIMITERS:
                break
            self.pos += 1
        return self.text[begun : self.pos]
