"""Functions of the library in the place of their call."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from types import FunctionType

from ksc.frontend.frame import Frame
from ksc.frontend.source import Source
from ksc.frontend.values import Value
from ksc.ir.nodes import Span


@dataclass(frozen=True, slots=True, eq=False)
class CallSite(Source):
    """The source of a library function, all of which stands where it is called."""

    where: Span

    def span(self, node: ast.AST, *, head: bool = False) -> Span:
        return self.where


def inlined(frame: Frame, function: FunctionType, values: Sequence[Value], node: ast.AST) -> Value:
    """The value of a library function for these values of its parameters."""
    from ksc.frontend.functions import locate, parameters, run_body

    source, definition, _ = locate(function)
    where = CallSite(source.file, source.lines, source.tree, frame.span(node))
    inner = Frame(
        functions=frame.functions,
        guards=frame.guards,
        region=frame.region,
        source=where,
        node=definition,
        function=function,
    )
    for parameter, value in zip(parameters(definition), values, strict=True):
        inner.bind(parameter.arg, value, parameter)
    return run_body(inner, definition)
