"""The templates of exports."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import jinja2

from ksc.codegen.rendering import source_environment

TEMPLATES = Path(__file__).resolve().parent / "templates"


def render(template: str, **names: Any) -> str:
    """The text of a template below ``templates/``."""
    return _environment().get_template(template).render(**names)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = source_environment(TEMPLATES)
    environment.filters["comment"] = comment
    return environment


def comment(text: str) -> str:
    """A user's line as it may stand in a comment of C."""
    return text.replace("*/", "* /").replace("/*", "/ *").rstrip()
