"""The names in the source of a function, beside those in its compiled code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from types import CodeType, FunctionType

from ksc.errors import KnossosError
from ksc.frontend.source import function_source
from ksc.recall.reach import UnknownReachError, Written, names_of

_WORD = re.compile(r"[^\W\d]\w*")


def written_names(fn: FunctionType) -> Written:
    """The names that ``fn`` uses and its compiled code does not have, and those that are only names of attributes.

    Compiled code lacks the annotations of variables, and all that Python sees to be never run.
    """
    try:
        _, node = function_source(fn)
    except KnossosError as error:
        raise UnknownReachError(str(error)) from None
    variables, attributes = set(_variables(node)), {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)}
    compiled, local = names_of(fn.__code__), _locals(fn.__code__)
    extras = (variables | attributes) - compiled - local
    return sorted(extras), sorted((compiled & attributes) - variables)


def _variables(node: ast.AST) -> Iterator[str]:
    """The names of variables, those in annotations given as text too."""
    for child in ast.walk(node):
        if isinstance(child, ast.Name):
            yield child.id
        for annotation in (getattr(child, "annotation", None), getattr(child, "returns", None)):
            if isinstance(annotation, ast.expr):
                texts = (n.value for n in ast.walk(annotation) if isinstance(n, ast.Constant))
                yield from (word for text in texts if isinstance(text, str) for word in _WORD.findall(text))


def _locals(code: CodeType) -> set[str]:
    found = {*code.co_varnames, *code.co_cellvars, *code.co_freevars}
    for const in code.co_consts:
        if isinstance(const, CodeType):
            found |= _locals(const)
    return found
