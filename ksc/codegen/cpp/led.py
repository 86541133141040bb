"""Loops on a grid that store elements one after the other: one thread walks through each, and tells the others.

ks::lead(rt, [&](ks::runtime &rt) {
    for (int64_t i = 0; i < n; ++i) {
        ks::store(rt, h(at(i)), h(at(i)) + y(i));
        total += y(i);
    }
}, total);
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from ksc.codegen.cpp.memory import allocates_in, is_carried, winds_back
from ksc.codegen.cpp.printer import Context, Printer
from ksc.codegen.cpp.stacks import Stack
from ksc.codegen.cpp.writer import INDENT
from ksc.ir.nodes import Atom, Eqn, walk
from ksc.ir.rewrite import bound_in
from ksc.ir.types import AccType, TensorType, Type


@contextmanager
def led(
    p: Printer, eqn: Eqn, names: Sequence[str | None], tapes: Sequence[Stack | None], at: Context
) -> Iterator[None]:
    """Entered while a loop is printed: on a grid, one that threads cannot share is one thread's."""
    if p.walk is None or not p.walk.together or p.walk.depth > 0 or p.walk.teams:
        yield
        return
    start = len(at.writer.lines)
    with p.walk.led() as found:
        yield
        found.possible = (
            all(kept is None or kept.form in ("elements", "parts") for kept in tapes)
            and not any(name is not None and is_carried(p, eqn, k) for k, name in enumerate(names))
            and winds_back(p, eqn) == allocates_in(p, eqn)
        )
    if not found.why:
        return
    own = bound_in(eqn)
    accumulators = [inner.args[0] for block in eqn.blocks for inner in walk(block) if inner.op == "acc_add"]
    told = [name for name in names if name is not None]
    told += [p.value(a).text for a in accumulators if a not in own and not isinstance(_held(a), TensorType)]
    lines = at.writer.lines[start:]
    del at.writer.lines[start:]
    p.needs_runtime = True
    at.writer.line(f"// On one thread: {found.why}.", eqn.span)
    at.writer.line("ks::lead(rt, [&](ks::runtime &rt) {", eqn.span)
    at.writer.lines.extend(replace(line, text=INDENT + line.text) for line in lines)
    at.writer.line("}" + "".join(f", {name}" for name in dict.fromkeys(told)) + ");", eqn.span)


def _held(accumulator: Atom) -> Type:
    assert isinstance(accumulator.type, AccType)
    return accumulator.type.value
