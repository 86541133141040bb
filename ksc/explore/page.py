"""The page as HTML: one file that needs nothing else, also no network."""

from __future__ import annotations

import functools
import html
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jinja2

from ksc.explore.model import Page, Row
from ksc.explore.source import extent
from ksc.ir.nodes import Span

TEMPLATES = Path(__file__).resolve().parent / "templates"


def render(page: Page) -> str:
    """The text of the page."""
    parts = {name: (TEMPLATES / f"page.{name}").read_text(encoding="utf-8") for name in ("css", "js")}
    return _environment().get_template("page.html.jinja").render(page=page, data=_as_json(_data(page)), **parts)


def frame(text: str, height: str = "min(56em, 92vh)") -> str:
    """The page as a part of another one, as a notebook shows it."""
    return f'<iframe srcdoc="{html.escape(text)}" style="width:100%;height:{height};border:0"></iframe>'


def _data(page: Page) -> dict[str, Any]:
    """What the script reads. Rows that several versions have in common are stored once."""
    table = _Table()
    panes = [
        {
            "group": pane.group,
            "title": pane.title,
            "language": pane.language,
            "note": pane.note,
            "same": pane.same,
            "counts": {name: asdict(count) for name, count in pane.counts.items()},
            "rows": [table.row(row) for row in pane.rows],
            "numbers": [row.number for row in pane.rows] if any(row.number is not None for row in pane.rows) else None,
        }
        for pane in page.panes
    ]
    curves = asdict(page.curves) if page.curves is not None else None
    return {"panes": panes, "shown": list(page.shown), "curves": curves, "rows": table.rows, "spans": table.spans}


class _Table:
    """Numbers for rows and spans. A span is a list of ``[line, first column, last column]``, with a number a line."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, list[int]]] = []
        self.spans: list[list[tuple[int, int, int]]] = []
        self._rows: dict[tuple[str, tuple[int, ...]], int] = {}
        self._spans: dict[Span, int] = {}
        self._lines: dict[tuple[str, int], int] = {}

    def row(self, row: Row) -> int:
        key = row.text, tuple(map(self._span, row.spans))
        if key not in self._rows:
            self._rows[key] = len(self.rows)
            self.rows.append((row.text, list(key[1])))
        return self._rows[key]

    def _span(self, span: Span) -> int:
        if span not in self._spans:
            self._spans[span] = len(self.spans)
            self.spans.append(list(self._pieces(extent(span))))
        return self._spans[span]

    def _pieces(self, span: Span) -> Iterator[tuple[int, int, int]]:
        for line in range(span.line, span.end_line + 1):
            number = self._lines.setdefault((span.file, line), len(self._lines))
            first = span.col if line == span.line else 0
            yield number, first, span.end_col if line == span.end_line else 10_000


def _as_json(data: dict[str, Any]) -> str:
    """JSON that may stand in a script element."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


@functools.cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
