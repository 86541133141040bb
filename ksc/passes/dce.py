"""Removal of what nothing reads, in every function; what is kept for its effect stays."""

from __future__ import annotations

from collections.abc import Collection

from ksc.ir.liveness import prune_block
from ksc.ir.nodes import Function, Program
from ksc.ir.rewrite import assemble, effectful_functions


def remove_dead_code(program: Program) -> Program:
    """Drop equations, results of structured ops, carries and functions that are not needed."""
    effectful = effectful_functions(program.functions)
    functions = {name: prune_function(function, effectful) for name, function in program.functions.items()}
    return assemble(functions, program.entry, program.boxes, renew=False)


def prune_function(function: Function, effectful: Collection[str]) -> Function:
    """Do so in one function; ``effectful`` names those whose calls must stay."""
    return Function(function.name, prune_block(function.body, effectful), function.span)
