"""Loops that take sines and cosines, which need no call where no angle is large:

    ks::angles<16>([=](auto angle, int &far, int64_t k) KS_INLINED {
        y_row[k] = angle.sin(far, x[k]) * angle.cos(far, x[k]);
    });

If one was, the loop runs once more, with the functions of the C library. So it is one that only stores.
Where no cosine is taken, a cheaper sine is: ``angle.lone_sin``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ksc.codegen.cpp.lanes import MOST_ELEMENTS, mentions_runtime
from ksc.codegen.cpp.names import Scope
from ksc.codegen.cpp.printer import Printer
from ksc.codegen.cpp.writer import INDENT, Line, Writer
from ksc.ir.nodes import Eqn, Span, Var, walk
from ksc.ops import PRIMITIVES

_CALL = re.compile(r"\bks::(sin|cos)\(")


@dataclass(frozen=True, slots=True)
class Angles:
    """Names for two parameters of the lambda, which its body does not use otherwise."""

    angle: str
    far: str

    def wrap(self, writer: Writer, start: int, limits: tuple[str, str, str], span: Span | None) -> None:
        """Make the loop that a writer has from line ``start`` on a lambda, if it calls a sine and never stops.

        ``limits`` are the name of its index, where it begins, and where it ends.
        """
        loop = [line for line in writer.lines[start:] if line.text.strip() not in ("KS_LANES", "KS_APART")]
        taken = {call[1] for line in loop for call in _CALL.finditer(line.text)}
        if mentions_runtime(loop) or not taken:
            return
        del writer.lines[start:]
        index, first, last = limits
        row = first == "0" and last.isdigit() and int(last) <= MOST_ELEMENTS
        head = f"ks::angles<{last}>(" if row else f"ks::angles({first}, {last}, "
        writer.line(f"{head}[=](auto {self.angle}, int &{self.far}, int64_t {index}) KS_INLINED {{", span)
        sine = "sin" if "cos" in taken else "lone_sin"
        functions = {"sin": f"{self.angle}.{sine}({self.far}, ", "cos": f"{self.angle}.cos({self.far}, "}
        for line in loop[1:-1]:
            writer.lines.append(replace(line, text=_CALL.sub(lambda call: functions[call[1]], line.text)))
        writer.line("});", span)


def angles(p: Printer, eqn: Eqn, scope: Scope, small: bool) -> Angles | None:
    """Names for a loop that takes sines or cosines and does nothing but store; asked for before its body is printed.

    Those inside of it, whose iterations are run ``small`` and side by side, add up.
    """
    (body,) = eqn.blocks
    inside = list(walk(body))
    allowed = ("index", "size", "if", "reduce") if small else ("index", "size", "if")
    if (
        p.target.in_lanes
        and p.packing is None
        and (small or not p.across_lanes)
        and eqn.op == "build"
        and any(inner.op in ("sin", "cos") for inner in inside)
        and all(inner.op in PRIMITIVES or inner.op in allowed for inner in inside)
    ):
        return Angles(scope.declare("angle"), scope.declare("far"))
    return None


def one_choice(p: Printer, eqn: Eqn) -> Var | None:
    """The condition that all iterations of a row share, if there is just one and a choice by it is worth a branch."""
    (body,) = eqn.blocks
    inside = list(walk(body))
    bound = {out for inner in inside for out in inner.outs}
    conditions = {inner.args[0] for inner in inside if inner.op in ("if", "select")}
    settled = [c for c in conditions if isinstance(c, Var) and c not in bound]
    costly = any(inner.op in PRIMITIVES and PRIMITIVES[inner.op].cost == "expensive" for inner in inside)
    if len(settled) == 1 and costly and p.value(settled[0]).text.isidentifier():
        return settled[0]
    return None


def wrap_choice(writer: Writer, start: int, name: str, span: Span | None) -> None:
    """Have the loop that a writer has from line ``start`` on compiled for each value of the variable ``name``."""
    loop: Sequence[Line] = writer.lines[start:]
    del writer.lines[start:]
    writer.line(f"ks::either({name}, [&](auto {name}) {{", span)
    writer.lines.extend(replace(line, text=INDENT + line.text) for line in loop)
    writer.line("});", span)
