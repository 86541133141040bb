"""Which results depend on which arguments row by row, as the form of a program shows it.

    (def f (x : (Tensor 2 Float)) (build (size x 0) (lam i (… (index i x) …))))      row i reads row i of x

A tensor is aligned with a parameter where its row i depends on row i of the parameter alone. What is computed within
a row may be anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ksc.ir.nodes import Block, Eqn, Function, Var
from ksc.ir.rewrite import read_vars
from ksc.ir.types import TensorType


def shared_dimensions(main: Function, result: int, param: int) -> int:
    """The most leading dimensions over which ``is_rowwise`` holds, 0 where it does for none."""
    types = (main.result_types[result], main.params[param].type)
    most = min(type_.rank if isinstance(type_, TensorType) else 0 for type_ in types)
    return next((depth for depth in range(most, 0, -1) if is_rowwise(main, result, param, depth)), 0)


def is_rowwise(main: Function, result: int, param: int, depth: int = 1) -> bool:
    """Whether row i of a result surely depends on no row of a parameter but row i.

    A row is what stands at an index into the first ``depth`` dimensions.
    """
    source = main.params[param]
    if not isinstance(source.type, TensorType) or source.type.rank < depth:
        return False
    aligned, mixed = {source}, set[Var]()
    for eqn in main.body.eqns:
        reads = set(read_vars([eqn]))
        if eqn.op == "size" or not reads & (aligned | mixed):
            continue
        if eqn.op == "build" and not reads & mixed and _reads_its_row(eqn, aligned, depth):
            aligned.update(eqn.outs)
        else:
            mixed.update(eqn.outs)
    found = main.body.results[result]
    if not isinstance(found.type, TensorType) or found.type.rank < depth:
        return False
    return found not in mixed


def _reads_its_row(eqn: Eqn, aligned: set[Var], depth: int) -> bool:
    (body,) = eqn.blocks
    if len(body.params) < depth or any(arg in aligned for arg in eqn.args):
        return False
    return _block_reads_row([body], body.params[:depth], aligned)


def _block_reads_row(blocks: Iterable[Block], row: Sequence[Var], aligned: set[Var]) -> bool:
    for block in blocks:
        if any(result in aligned for result in block.results):
            return False
        for eqn in block.eqns:
            if any(arg in aligned for arg in _unaligned_reads(eqn, row)):
                return False
            if not _block_reads_row(eqn.blocks, row, aligned):
                return False
    return True


def _unaligned_reads(eqn: Eqn, row: Sequence[Var]) -> Sequence[object]:
    """What the equation reads, but for the sizes of a tensor and for its row."""
    if eqn.op == "size":
        return ()
    if eqn.op == "index" and eqn.args[1 : 1 + len(row)] == tuple(row):
        return eqn.args[1:]
    return eqn.args
