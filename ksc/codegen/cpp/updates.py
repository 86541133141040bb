"""Rows that are made where an ``update`` puts them.

    const ks::tensor<float, 1> row(rt, 26);                 const ks::tensor<float, 1> row = t.part(b);
    for (int64_t d = 0; d < 26; ++d) {              ⟶       for (int64_t d = 0; d < 26; ++d) {
        row(d) = 2.0f * x(d);                                   row(d) = 2.0f * x(d);
    }                                                       }
    ks::put(rt, t.part(b), row);

A ``build`` in the same block makes the row, nothing else reads it, and the tensor is changed in place. Between the two,
the loop itself included, nothing reads or changes memory that the tensor may share, save that an iteration may read the
element that it makes, as in ``t[b] += x``. Both are known to have the same sizes, and the place is known to be there
before the loop.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from ksc.codegen.cpp.analysis import Analysis
from ksc.codegen.cpp.storage_plan import Storage
from ksc.ir.nodes import Atom, Eqn, Var, walk
from ksc.ir.rewrite import read_vars
from ksc.ir.types import TensorType, is_scalar

if TYPE_CHECKING:
    from ksc.codegen.cpp.printer import Context, Printer

UPDATED = -1
"""Stands for the value of an update where results have a number."""


def puts_of(eqns: Sequence[Eqn], storage: Storage, analysis: Analysis) -> Iterator[tuple[tuple[int, int], Eqn]]:
    """The results of loops in a block, by ``id`` and number, that could be made where an update puts them."""
    makers: dict[Var, tuple[int, int]] = {}
    for n, eqn in enumerate(eqns):
        if eqn.op == "build" and not eqn.params.get("nested"):
            makers.update((out, (n, k)) for k, out in enumerate(eqn.outs))
        value = eqn.args[-1] if eqn.op == "update" else None
        if isinstance(value, Var) and value in makers:
            first, k = makers[value]
            rows = {e.outs[0] for e in eqns[:first] if e.op == "index" and e.args == eqn.args[:-1]}
            if _may_be_made_there(eqns[first:n], eqn, value, rows, storage, analysis):
                yield (id(eqns[first]), k), eqn


def _may_be_made_there(
    before: Sequence[Eqn], update: Eqn, value: Var, rows: Collection[Var], storage: Storage, analysis: Analysis
) -> bool:
    """Whether the loop that ``before`` begins with could make the value in the tensor; ``rows`` are that part of it."""
    tensor, *at, _ = update.args
    if not isinstance(tensor.type, TensorType) or not is_scalar(tensor.type.elem):
        return False
    if (id(update), 0) in storage.copied or analysis.single_use(value) is None:
        return False
    seen = storage.writes.get(analysis.place(update))
    made = {out for eqn in before for out in eqn.outs}
    if not seen or not made.isdisjoint((tensor, *at)) or not seen.isdisjoint(made):
        return False
    build, *between = before
    if not seen.isdisjoint(read_vars(between)):
        return False
    # Of several results one may be stored before another one's expression reads what was there.
    alone = [out for out in build.outs if analysis.is_read(out)] == [value]
    own = {(tensor, *at), *((row,) for row in rows)}
    return seen.isdisjoint(read_vars([build])) or (alone and _reads_its_own(build, seen, own))


def _reads_its_own(build: Eqn, seen: frozenset[Var], rows: Collection[tuple[Atom, ...]]) -> bool:
    """Whether each iteration reads nothing of ``seen`` but the element that it makes, of one of ``rows``.

    One that takes a sine may run twice, see ``angles``.
    """
    (body,) = build.blocks
    inside = list(walk(body))
    elements = {(*row, *body.params) for row in rows}
    if any(eqn.op in ("sin", "cos") for eqn in inside) or any(isinstance(r.type, TensorType) for r in body.results):
        return False
    bound = {result for result in body.results if result in seen}
    return not bound and all(
        eqn.op == "size" or (eqn.op == "index" and eqn.args in elements) or seen.isdisjoint(_own_reads(eqn))
        for eqn in inside
    )


def _own_reads(eqn: Eqn) -> Iterator[Var]:
    """What the equation and the ends of its blocks read, without what stands inside."""
    for atom in (*eqn.args, *(result for block in eqn.blocks for result in block.results)):
        if isinstance(atom, Var):
            yield atom


def make_in_place(p: Printer, eqn: Eqn, k: int, at: Context) -> None:
    """Have a result of a loop that is printed now made where its update puts it, if that was noted and is there."""
    update = p.puts.get((id(eqn), k))
    if update is None or (id(eqn), k) in p.places or p.packing is not None:
        return
    tensor, *indices, _ = update.args
    assert isinstance(tensor, Var)
    if not p.in_range.has_sizes(tensor, eqn.args, skipped=len(indices)):
        return
    if not all(p.in_range.is_safe(tensor, dim, index, update) for dim, index in enumerate(indices)):
        return
    part = f"{p.named(tensor, at)}.part({', '.join(p.value(index).text for index in indices)})"
    p.places[id(eqn), k] = lambda _: part
    p.places[id(update), UPDATED] = lambda _: part


def reads_its_place(p: Printer, eqn: Eqn) -> bool:
    """Whether a loop that makes a row where it is put reads what was there."""
    keys = [(id(eqn), k) for k in range(len(eqn.outs))]
    read = read_vars([eqn])
    seen = [p.storage.writes.get(p.analysis.place(p.puts[key])) for key in keys if key in p.places and key in p.puts]
    return any(written is None or not written.isdisjoint(read) for written in seen)


def is_made_in_place(p: Printer, update: Eqn) -> bool:
    """Whether the value of an update is in its place already."""
    return (id(update), UPDATED) in p.places
