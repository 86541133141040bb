"""Short loops of known counts, and those around them: how they come to fill vector registers.

What the innermost loops are too short for, the loop around them does; but where they store many elements, which lie
next to each other, a nest of them is one loop over all:

    KS_LANES                                                KS_LANES
    for (int64_t lane = 0; lane < lanes; ++lane) {          for (int64_t k = 0; k < 16; ++k) {
        float y = 0.0f;                                         y_row[k] = 2.0f * x[16 * lane + k];
        for (int64_t i = 0; i < 4; ++i) {
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from ksc.codegen.cpp.writer import Line, Writer
from ksc.ir.nodes import Block, Const, Eqn, Var, walk
from ksc.ir.types import FloatType, TensorType
from ksc.ops import PRIMITIVES

MOST_STEPS = 256
"""A body whose loops take more steps in total is no small one."""

MOST_ELEMENTS = 64
"""A nest over more is printed as it is."""

MOST_HELD = 16
"""So many numbers a thread of a GPU holds in registers before it stores them."""

ROW = 8
"""So many elements that are stored next to each other fill a register."""

_RUNTIME = re.compile(r"\brt\b")
_ALLOWED = frozenset({"index", "size", "if", "build", "reduce", "for", "call"})


def has_small_loops(eqn: Eqn, *, adds: bool = False) -> bool:
    """Whether iterations of a ``build`` should run side by side: a few short loops each, none of which stores a row.

    They may add to accumulators, outside of these loops, where that ``adds`` apart.
    """
    (body,) = eqn.blocks
    steps = list(_steps(body, adds=adds))
    rows = any(inner.op == "build" and (count(inner) or 0) >= ROW for inner in walk(body))
    return eqn.op == "build" and len(steps) > 0 and sum(steps) <= MOST_STEPS and not rows


def count(eqn: Eqn) -> int | None:
    """The iterations of a nest, where they are known and few."""
    sizes = [int(size.value) for size in eqn.args if isinstance(size, Const)]
    return math.prod(sizes) if len(sizes) == len(eqn.args) and math.prod(sizes) <= MOST_ELEMENTS else None


def is_row(eqn: Eqn, *, adds: bool = False) -> bool:
    """Whether a ``build`` stores elements next to each other that are computed in a few steps without loops, or
    ``adds`` such to an accumulator."""
    (body,) = eqn.blocks
    return eqn.op == "build" and (count(eqn) or 0) >= ROW and not list(_steps(body, adds=adds))


def is_short_row(eqn: Eqn, bytes_each: int) -> bool:
    """Whether a ``build`` stores a few numbers next to each other, which fill whole accesses to memory of 16 bytes."""
    n = count(eqn)
    return (
        eqn.op == "build"
        and n is not None
        and 0 < n <= MOST_HELD
        and n * bytes_each % 16 == 0
        and all(isinstance(result.type, FloatType) for result in eqn.blocks[0].results)
        and (len(eqn.args) == 1 or is_flat_nest(eqn))
    )


def is_tree(eqn: Eqn) -> bool:
    """Whether a ``reduce`` sums up a row of elements, as many as can be halved again and again, in a step each."""
    (body,) = eqn.blocks
    return (
        eqn.op == "reduce"
        and eqn.params["monoid"] == "add"
        and all(isinstance(out.type, FloatType) for out in eqn.outs)
        and len(eqn.outs) == 1
        and count(eqn) in (8, 16, 32, 64)
        and (len(body.params) == 1 or is_flat_nest(eqn))
        and all(inner.op in PRIMITIVES or inner.op in ("index", "size") for inner in walk(body))
    )


def is_flat_nest(eqn: Eqn) -> bool:
    """Whether the elements that a small nest reads and stores lie in memory in the order of its iterations."""
    (body,) = eqn.blocks
    rank = len(body.params)
    if rank < 2 or count(eqn) is None or any(isinstance(result.type, TensorType) for result in body.results):
        return False
    params = set(body.params)
    sizes = tuple(int(size.value) for size in eqn.args if isinstance(size, Const))
    for inner in walk(body):
        used = [k for k, arg in enumerate(inner.args) if arg in params]
        used += [-1 for block in inner.blocks for result in block.results if result in params]
        if used and not (_reads_in_order(inner, body.params, sizes) and used[0] == len(inner.args) - rank):
            return False
    return params.isdisjoint(result for result in body.results if isinstance(result, Var))


def _reads_in_order(eqn: Eqn, params: Sequence[Var], sizes: tuple[int, ...]) -> bool:
    if eqn.op != "index":
        return False
    type_ = eqn.args[0].type
    rank = len(params)
    return (
        isinstance(type_, TensorType)
        and type_.rank == len(eqn.args) - 1
        and eqn.args[-rank:] == tuple(params)
        and type_.sizes[-rank:] == sizes
    )


def _steps(block: Block, *, adds: bool = False) -> Iterator[float]:
    """The steps of each loop in a block, infinitely many for what does not fit."""
    for eqn in block.eqns:
        if eqn.op not in PRIMITIVES and eqn.op not in _ALLOWED and not (adds and eqn.op == "acc_add"):
            yield math.inf
        counts = eqn.args if eqn.op in ("build", "reduce") else eqn.args[:1] if eqn.op == "for" else ()
        if not counts:
            for inner in eqn.blocks:
                yield from _steps(inner, adds=adds)
            continue
        here = math.prod(float(count.value) if isinstance(count, Const) else math.inf for count in counts)
        yield here * max(1, sum(_steps(eqn.blocks[0])))


def mentions_runtime(lines: Sequence[Line]) -> bool:
    """Whether a line asks the host for something, which may stop the kernel."""
    return any(_RUNTIME.search(line.text) for line in lines)


def drop_idle_scratch(writer: Writer, opened: int) -> bool:
    """Take out the line at ``opened``, which winds scratch memory back, if no other asks for some; whether it did."""
    line = writer.lines.pop(opened)
    if mentions_runtime(writer.lines):
        writer.lines.insert(opened, line)
        return False
    return True
