"""The fusion passes in a row, until nothing more is fused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from ksc.ir.nodes import Function, Program, walk
from ksc.ir.rewrite import assemble, effectful_functions
from ksc.ir.types import TensorType
from ksc.passes.cse import share_values
from ksc.passes.dce import prune_function
from ksc.passes.fuse.branches import hoist_reads
from ksc.passes.fuse.columns import part_columns
from ksc.passes.fuse.facts import Facts
from ksc.passes.fuse.filled import build_filled
from ksc.passes.fuse.rows import merge_rows
from ksc.passes.fuse.structure import resolve_function
from ksc.passes.fuse.sums import sum_up
from ksc.passes.fuse.vertical import fuse_elements
from ksc.passes.stores import store_elements
from ksc.passes.successive import split_function

ROUNDS = 24
"""How often fusion is tried: what one round brings into one loop body is read once in the next."""


def fuse(program: Program, since: Program | None = None, *, rows: bool = True) -> Program:
    """Fuse producers into their consumers as far as it goes; a program without tensors stays as it is.

    Where the program ``since`` then was fused, functions that it has are left alone. Without ``rows``, two loops of
    which one reads what the other one made in the same iteration stay two.
    """
    if not has_tensors(program):
        return program
    done = set(since.functions.values()) if since is not None else set()
    effectful = effectful_functions(program.functions)
    while True:
        functions = {
            name: function if function in done else _fused(function, effectful, rows=rows)
            for name, function in program.functions.items()
        }
        program = assemble(functions, program.entry, program.boxes, renew=False)
        fewer = effectful_functions(program.functions)
        if fewer == effectful:
            return program
        effectful, done = fewer, set()


def _fused(function: Function, effectful: Collection[str], *, rows: bool) -> Function:
    function = _tidy(share_values(function, effectful), effectful)
    for _ in range(ROUNDS):
        fused = _round(function, effectful, rows=rows)
        tidy = _tidy(fused, effectful)
        if fused is function and _ops(tidy) == _ops(function):
            return tidy
        function = tidy
    return function


def _round(function: Function, effectful: Collection[str], *, rows: bool) -> Function:
    """One round; the same function where nothing is fused."""
    facts, top = Facts.of(function)
    # What is read twice now may be read once after the next round.
    for thrifty in (True, False):
        fused = fuse_elements(function, effectful, facts, top, thrifty=thrifty)
        if fused is not function:
            return fused
        if facts.is_extended:
            facts, top = Facts.of(function)
    merged = merge_rows(function, effectful, facts, top) if rows else function
    return part_columns(function, effectful, facts, top) if merged is function else merged


def _ops(function: Function) -> Counter[str]:
    return Counter(eqn.op for eqn in walk(function.body))


def has_tensors(program: Program) -> bool:
    """Whether any value of the program is a tensor."""
    return any(
        isinstance(var.type, TensorType)
        for function in program.functions.values()
        for variables in (function.params, *(eqn.outs for eqn in walk(function.body)))
        for var in variables
    )


def _tidy(function: Function, effectful: Collection[str]) -> Function:
    function = build_filled(resolve_function(prune_function(function, effectful)))
    function = share_values(hoist_reads(function, effectful), effectful)
    function = sum_up(prune_function(function, effectful), effectful)
    return store_elements(split_function(function))
