"""The checks of indices: where a view is taken, unless the index is known to be in range, or read there at once.

    y = x[i]                      (require 0 <= i < size x)

A view is read where its elements are needed, maybe never, and an element that nobody needs is not read at all. So that
an index out of range is an error even then, the index is compared with the size where it is written. Where the block
reads the same index of the same tensor for a result, that read makes the check, and the comparison goes away again.
Tensors of indices are checked in the same way, unless what they pick is computed for a result.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass

from ksc.frontend.frame import Frame, Region
from ksc.frontend.tensors.array import element, reduce, size_of, sizes_of
from ksc.frontend.tensors.integers import ZERO, is_below, lower
from ksc.frontend.values import Array, Ref
from ksc.ir.liveness import prune_block
from ksc.ir.nodes import PLACEHOLDER, Atom, Block, Const, Eqn, Var, walk


@dataclass(frozen=True, slots=True, eq=False)
class IndexCheck:
    """A check that a read of ``tensor`` at ``index`` in the dimension ``dim`` makes too.

    Attributes:
        outs: what was computed for the check alone.
    """

    tensor: Atom
    dim: int
    index: Atom
    outs: frozenset[Var]


@dataclass(frozen=True, slots=True, eq=False)
class PickCheck:
    """A check of a tensor of indices, which computing ``made`` from what they pick makes too.

    Attributes:
        outs: what was computed for the check alone.
    """

    made: Var
    outs: frozenset[Var]


def require_in_range(frame: Frame, node: ast.AST, ref: Ref, dim: int, index: Atom, size: Atom, written: Atom) -> None:
    """Stop the kernel where ``index``, counted from the start, is not in a dimension of the view.

    ``written`` is the index as the user wrote it, of which the message tells where it is a constant.
    """
    if isinstance(index, Const) and isinstance(size, Const):
        return
    known = lower(frame, index)
    above = known is not None and known >= 0
    below = is_below(frame, index, size)
    if above and below:
        return
    conditions = [] if below else [frame.apply(node, "lt", index, size)]
    if not above:
        conditions.insert(0, frame.apply(node, "lte", ZERO, index))
    outs = list(conditions)
    if len(conditions) == 2:
        outs.append(frame.apply(node, "and", *conditions))
    name = "a tensor" if ref.cell.name == PLACEHOLDER else ref.cell.name
    what = f"index {written.value}" if isinstance(written, Const) else "an index"
    message = f"{what} is out of range for dimension {dim} of {'a view of ' if ref.steps else ''}{name}"
    frame.emit(node, "assert", [outs[-1]], [], params={"message": message})
    held, place = frame.region.store.get(ref.cell), cell_dim(ref, dim)
    if isinstance(held, Array) and place is not None:
        assert isinstance(outs[-1], Var)
        own = frozenset(out for out in outs if isinstance(out, Var))
        frame.region.checks[outs[-1]] = IndexCheck(held.atom, place, index, own)


def require_picks_in_range(frame: Frame, node: ast.AST, ref: Ref, dim: int, indices: Array, made: Atom) -> None:
    """Stop the kernel where an element of ``indices``, maybe counted from the end, is not in a dimension of the view.

    ``made`` holds what they pick.
    """
    size = size_of(frame, node, ref, dim)

    def inside(index: tuple[Atom, ...]) -> Atom:
        at = element(frame, node, indices, index)
        above = frame.apply(node, "lte", ZERO, frame.apply(node, "add", at, size))
        return frame.apply(node, "and", above, frame.apply(node, "lt", at, size))

    all_inside = reduce(frame, node, "and", sizes_of(frame, node, indices), inside)
    name = "a tensor" if ref.cell.name == PLACEHOLDER else ref.cell.name
    message = f"an index is out of range for dimension {dim} of {'a view of ' if ref.steps else ''}{name}"
    frame.emit(node, "assert", [all_inside], [], params={"message": message})
    if isinstance(made, Var) and isinstance(all_inside, Var):
        frame.region.checks[all_inside] = PickCheck(made, frozenset((all_inside,)))


def cell_dim(ref: Ref, dim: int) -> int | None:
    """The dimension of the cell that a dimension of the view is all of, so that an index into either is in range."""
    from ksc.frontend.tensors.views import Pick

    if not ref.steps:
        return dim
    if len(ref.steps) > 1 or not isinstance(ref.steps[0], Pick):
        return None
    return next((k for k, axis in enumerate(ref.steps[0].axes) if axis.dim == dim and axis.full), None)


def settled(region: Region, block: Block, effectful: Iterable[str] = ()) -> Block:
    """The block without the checks of indices that are read for its results."""
    if not region.checks:
        return block
    live = {out for eqn in walk(prune_block(block, frozenset(effectful))) for out in eqn.outs}
    return _settled(region, block, live)


def _settled(region: Region, block: Block, live: set[Var]) -> Block:
    reads = [eqn for eqn in block.eqns if eqn.op in ("index", "update") and live.issuperset(eqn.outs)]
    gone: set[Var] = set()
    for eqn in block.eqns:
        check = _check(region, eqn)
        if isinstance(check, PickCheck):
            repeated = check.made in live
        else:
            repeated = check is not None and any(_reads(read, check) for read in reads)
        if check is not None and repeated:
            gone |= check.outs
    eqns = []
    for eqn in block.eqns:
        if gone.intersection(eqn.outs) or (eqn.op == "assert" and eqn.args[0] in gone):
            continue
        blocks = tuple(_settled(region, inner, live) for inner in eqn.blocks)
        eqns.append(Eqn(eqn.outs, eqn.op, eqn.args, eqn.params, blocks, eqn.span) if blocks else eqn)
    return Block(block.params, tuple(eqns), block.results, block.span)


def _check(region: Region, eqn: Eqn) -> IndexCheck | PickCheck | None:
    if eqn.op != "assert" or not isinstance(eqn.args[0], Var):
        return None
    return region.checks.get(eqn.args[0])


def _reads(eqn: Eqn, check: IndexCheck) -> bool:
    indices = eqn.args[1:-1] if eqn.op == "update" else eqn.args[1:]
    return eqn.args[0] == check.tensor and check.dim < len(indices) and indices[check.dim] == check.index
