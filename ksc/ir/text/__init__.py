"""The text form of the IR: printing, reading, and comparing programs. docs/SYNTAX.md is its grammar.

The names below are imported when they are first used: a kernel that is built already is neither printed nor read.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ksc.ir.text.canonical import alpha_equal, exact_fingerprint, fingerprint
    from ksc.ir.text.printer import PlacedLine, to_lines, to_text
    from ksc.ir.text.reader import Module, RewriteRule, parse, parse_module
    from ksc.ir.text.run import run

_HOMES = {
    **dict.fromkeys(("alpha_equal", "exact_fingerprint", "fingerprint"), "canonical"),
    **dict.fromkeys(("PlacedLine", "to_lines", "to_text"), "printer"),
    **dict.fromkeys(("Module", "RewriteRule", "parse", "parse_module"), "reader"),
    "run": "run",
}

__all__ = [
    "Module",
    "PlacedLine",
    "RewriteRule",
    "alpha_equal",
    "exact_fingerprint",
    "fingerprint",
    "parse",
    "parse_module",
    "run",
    "to_lines",
    "to_text",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    return value
