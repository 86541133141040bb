"""The fusion passes in a row, until nothing more is fused."""

from __future__ import annotations

from collections import Counter

from ksc.ir.nodes import Program, walk
from ksc.ir.types import TensorType
from ksc.passes.cse import eliminate_common_subexpressions
from ksc.passes.dce import remove_dead_code
from ksc.passes.fuse.branches import hoist_common_reads
from ksc.passes.fuse.filled import build_filled_tensors
from ksc.passes.fuse.rows import fuse_rows
from ksc.passes.fuse.structure import resolve_structure
from ksc.passes.fuse.sums import turn_accumulations_into_sums
from ksc.passes.fuse.vertical import fuse_producers
from ksc.passes.stores import turn_accumulations_into_stores
from ksc.passes.successive import split_accumulations

ROUNDS = 24
"""How often fusion is tried: what one round brings into one loop body is read once in the next."""


def fuse(program: Program) -> Program:
    """Fuse producers into their consumers as far as it goes; a program without tensors stays as it is."""
    if not has_tensors(program):
        return program
    program = _tidy(eliminate_common_subexpressions(program))
    for _ in range(ROUNDS):
        fused = _fused(program)
        tidy = _tidy(fused)
        if fused is program and _ops(tidy) == _ops(program):
            return tidy
        program = tidy
    return program


def _fused(program: Program) -> Program:
    """One round; the same program where nothing is fused."""
    # What is read twice now may be read once after the next round.
    fused = fuse_producers(program, thrifty=True)
    if fused is program:
        fused = fuse_producers(program, thrifty=False)
    return fuse_rows(program) if fused is program else fused


def _ops(program: Program) -> Counter[str]:
    return Counter(eqn.op for function in program.functions.values() for eqn in walk(function.body))


def has_tensors(program: Program) -> bool:
    """Whether any value of the program is a tensor."""
    return any(
        isinstance(var.type, TensorType)
        for function in program.functions.values()
        for variables in (function.params, *(eqn.outs for eqn in walk(function.body)))
        for var in variables
    )


def _tidy(program: Program) -> Program:
    program = build_filled_tensors(resolve_structure(remove_dead_code(program)))
    program = eliminate_common_subexpressions(hoist_common_reads(program))
    program = turn_accumulations_into_sums(remove_dead_code(program))
    return turn_accumulations_into_stores(split_accumulations(program))
