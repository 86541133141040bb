"""The templates of exports."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import jinja2

from ksc.codegen.cpp.writer import LINE_WIDTH, wrapped

TEMPLATES = Path(__file__).resolve().parent / "templates"


def render(template: str, **names: Any) -> str:
    """The text of a template below ``templates/``."""
    return _environment().get_template(template).render(**names)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["wrap"] = wrap
    environment.filters["comment"] = comment
    return environment


def wrap(text: str, indent: int) -> str:
    """The text on as many lines as it needs, indented."""
    lines = wrapped(text, LINE_WIDTH - indent)
    return "\n".join(" " * (indent + 4 * (k > 0)) + line for k, line in enumerate(lines))


def comment(text: str) -> str:
    """A user's line as it may stand in a comment of C."""
    return text.replace("*/", "* /").replace("/*", "/ *").rstrip()
