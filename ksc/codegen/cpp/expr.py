"""A C++ expression on its way into a statement."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ksc.ir.nodes import Span, Var
from ksc.ops.cpp import PRIMARY, CppExpr

Reads = frozenset[str | Var]

NO_READS: Reads = frozenset()


@dataclass(frozen=True, slots=True)
class Expr:
    """Text with its binding strength.

    Attributes:
        cpp: the text and how tightly it binds.
        reads: what must not change before it is evaluated: the C++ variables of loops in it by name, and the tensors of
            which it reads elements.
        infix: operator, left and right text where the outermost operation is a binary one.
        span: the Python that the outermost operation came from.
        folded: the Python that what stands inside came from.
        ordered: a comparison of integers, which has an opposite, as one of floats has not, of which one may be NaN.
    """

    cpp: CppExpr
    reads: Reads = NO_READS
    infix: tuple[str, str, str] | None = None
    span: Span | None = None
    ordered: bool = False
    folded: tuple[Span, ...] = ()

    @property
    def text(self) -> str:
        return self.cpp.text

    @property
    def origins(self) -> tuple[Span, ...]:
        """All the Python that is part of the text."""
        return self.folded if self.span is None else (*self.folded, self.span)

    def at(self, span: Span | None) -> Expr:
        """The same expression said to come from ``span``."""
        return replace(self, span=span)


def origins(*exprs: Expr) -> tuple[Span, ...]:
    """All the Python that is part of some texts, each piece once."""
    return tuple(dict.fromkeys(span for expr in exprs for span in expr.origins))


def name_expr(name: str, *, mutable: bool = False) -> Expr:
    """A variable; a mutable one is remembered as read."""
    reads: Reads = frozenset({name}) if mutable else NO_READS
    return Expr(CppExpr(name, PRIMARY), reads)
