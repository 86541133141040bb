"""Which words of the text form are names, and how any other name is quoted."""

from __future__ import annotations

import re

SPECIAL_FORMS = frozenset(
    {"let", "if", "lam", "tuple", "values", "assert", "require", "for", "while", "reduce", "withacc", "box", "null"}
)
"""Heads of forms whose parts are not all expressions."""

LITERALS = frozenset({"true", "false", "inf", "-inf", "nan", "-nan"})

DELIMITERS = '()[]";|'
_IDENT = re.compile(r"[^\s()\[\]\";|:#\d+\-.][^\s()\[\]\";|]*|[+\-.](?![\d.])(?:[^\s()\[\]\";|\d][^\s()\[\]\";|]*)?")
_GET = re.compile(r"get\$(\d+)\$(\d+)")
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")
_INTEGER = re.compile(r"[+-]?\d+")
_VARIABLE_CHARACTER = re.compile(r"[^A-Za-z0-9_$'.]")
_PLACEHOLDER = re.compile(r"t_?\d*")


def is_identifier(word: str) -> bool:
    """Whether a bare word is an identifier: not a number, a literal or a keyword such as ``:name``."""
    return _IDENT.fullmatch(word) is not None and word not in LITERALS


def is_number(word: str) -> bool:
    """Whether a bare word is written as a number."""
    return _NUMBER.fullmatch(word) is not None


def is_integer(word: str) -> bool:
    """Whether a bare word is written as an Integer."""
    return _INTEGER.fullmatch(word) is not None


def getter(word: str) -> tuple[int, int] | None:
    """The i and n of ``get$i$n``, both counted from 1."""
    match = _GET.fullmatch(word)
    return (int(match[1]), int(match[2])) if match else None


def quote(word: str) -> str:
    """A word between bars, which is a name whatever it contains and never a keyword or a built-in."""
    return "|" + word.replace("\\", "\\\\").replace("|", "\\|") + "|"


def is_placeholder(word: str) -> bool:
    """Whether a variable is written so because it has no name."""
    return _PLACEHOLDER.fullmatch(word) is not None


def variable_base(name: str) -> str:
    """A readable identifier close to ``name``, for a variable that may be renamed freely."""
    base = _VARIABLE_CHARACTER.sub("_", name)
    if not base or base.startswith(("_bar", "_dot")):
        base = f"t{base}"
    readable = is_identifier(base) and base not in SPECIAL_FORMS and getter(base) is None
    return base if readable else f"_{base}"
