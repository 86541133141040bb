"""The user's source: the functions that a program came from, and how far the statements in them reach."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache

from ksc.explore.model import Row
from ksc.ir.nodes import Span

_Definition = ast.FunctionDef | ast.AsyncFunctionDef


class Sources:
    """The files that spans point into; a file that cannot be read any more is shown by what the spans say."""

    def __init__(self, spans: Iterable[Span]) -> None:
        self._lines: dict[str, set[int]] = {}
        self._texts: dict[tuple[str, int], str] = {}
        for span in spans:
            self._lines.setdefault(span.file, set()).add(span.line)
            self._texts[span.file, span.line] = span.text

    def rows(self) -> list[Row]:
        """Every function that a span lies in, with line numbers, each file under its name if there are several."""
        rows: list[Row] = []
        for file, lines in self._lines.items():
            if len(self._lines) > 1:
                rows.append(Row(f"# {file}", number=0))
            for first, last in _blocks(file, lines):
                if rows and rows[-1].text:
                    rows.append(Row("", number=0))
                rows.extend(self._row(file, number) for number in range(first, last + 1))
        return rows

    def _row(self, file: str, number: int) -> Row:
        text = linecache.getline(file, number).rstrip("\r\n") or self._texts.get((file, number), "")
        return Row(text, (Span(file, number, 0, number, len(text), text),), number)


def extent(span: Span) -> Span:
    """The span without the body, where it is that of a statement that has one."""
    head = _heads(span.file).get((span.line, span.col))
    if head is None or head >= span.end_line:
        return span
    return replace(span, end_line=head, end_col=len(linecache.getline(span.file, head).rstrip("\r\n")))


@cache
def _tree(file: str, text: str) -> ast.Module | None:
    try:
        return ast.parse(text, file)
    except SyntaxError:
        return None


def _parsed(file: str) -> ast.Module | None:
    return _tree(file, "".join(linecache.getlines(file)))


def _heads(file: str) -> dict[tuple[int, int], int]:
    """Of each statement with a body where it starts, and the last line of its head."""
    tree = _parsed(file)
    return _heads_of(tree) if tree is not None else {}


@cache
def _heads_of(tree: ast.Module) -> dict[tuple[int, int], int]:
    found = {}
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(node, ast.stmt) and isinstance(body, list) and body:
            found[node.lineno, node.col_offset] = max(node.lineno, body[0].lineno - 1)
    return found


def _blocks(file: str, lines: set[int]) -> Iterator[tuple[int, int]]:
    """The ranges of lines to show: the innermost functions around ``lines``, merged where one contains another."""
    tree = _parsed(file)
    definitions = [node for node in ast.walk(tree) if isinstance(node, _Definition)] if tree is not None else []
    ranges = {_range(definitions, line) for line in lines}
    end = 0
    for first, last in sorted(ranges, key=lambda found: (found[0], -found[1])):
        if first > end:
            yield first, last
            end = last


def _range(definitions: Iterable[_Definition], line: int) -> tuple[int, int]:
    around = []
    for node in definitions:
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        last = node.end_lineno or node.lineno
        if first <= line <= last:
            around.append((first, last))
    return max(around, default=(line, line))
