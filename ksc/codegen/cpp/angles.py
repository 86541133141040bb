"""Loops that take sines and cosines, which need no call where no angle is large:

    ks::angles<16>([&](auto angle, auto &far) {
        KS_LANES
        for (int64_t k = 0; k < 16; ++k) {
            y_row[k] = angle.sin(far[k], x[k]) * angle.cos(far[k], x[k]);
        }
    });

If one was, the loop runs once more, with the functions of the C library. So it is one that only stores.
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
    """Names for the two parameters of the lambda, which its body does not use otherwise."""

    angle: str
    far: str

    def wrap(self, writer: Writer, start: int, index: str, count: str, span: Span | None) -> None:
        """Put the loop that a writer has from line ``start`` on into the lambda, if it calls a sine and never stops.

        ``index`` is what it counts from 0 on, and ``count`` how far.
        """
        loop = writer.lines[start:]
        if mentions_runtime(loop) or not any(_CALL.search(line.text) for line in loop):
            return
        del writer.lines[start:]
        row = count.isdigit() and int(count) <= MOST_ELEMENTS
        place = f"{self.far}[{index}]" if row else self.far
        pragma = "KS_LANES" if row else f"KS_LANES_OR({self.far})"
        head = f"ks::angles<{count}>" if row else "ks::angles"
        writer.line(f"{head}([&](auto {self.angle}, auto &{self.far}) {{", span)
        writer.line(INDENT + pragma, span)
        for line in loop:
            if line.text.strip() not in ("KS_LANES", "KS_APART"):
                text = _CALL.sub(rf"{self.angle}.\1({place}, ", line.text)
                writer.lines.append(replace(line, text=INDENT + text))
        writer.line("});", span)


def angles(p: Printer, eqn: Eqn, scope: Scope) -> Angles | None:
    """Names for a loop that takes sines or cosines and does nothing but store; asked for before its body is printed."""
    (body,) = eqn.blocks
    inside = list(walk(body))
    if (
        p.target.in_lanes
        and p.packing is None
        and not p.across_lanes
        and eqn.op == "build"
        and any(inner.op in ("sin", "cos") for inner in inside)
        and all(inner.op in PRIMITIVES or inner.op in ("index", "size", "if") for inner in inside)
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
