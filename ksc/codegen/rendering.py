"""The environment in which templates of C, C++ and CUDA are rendered."""

from __future__ import annotations

from pathlib import Path

import jinja2

from ksc.codegen.cpp.writer import LINE_WIDTH, wrapped


def source_environment(folder: Path) -> jinja2.Environment:
    """The templates of a folder, with the filter ``wrap(indent)`` for lines that may be long."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["wrap"] = wrap
    return environment


def wrap(text: str, indent: int) -> str:
    """The text on as many lines as it needs, indented."""
    lines = wrapped(text, LINE_WIDTH - indent)
    return "\n".join(" " * (indent + 4 * (k > 0)) + line for k, line in enumerate(lines))
