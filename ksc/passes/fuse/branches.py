"""Reads that both sides of an ``if`` make are made before it.

    (if c (mul 2.0 (index i x)) (sin (index i x)))      ⟶      e = (index i x), (if c (mul 2.0 e) (sin e))

So the derivative of a loop adds to ``x_bar`` at ``i`` once, whatever ``c`` is, and is a loop of stores.
"""

from __future__ import annotations

from collections.abc import Collection

from ksc.ir.liveness import has_effect
from ksc.ir.nodes import Block, Eqn, Function, Program, Var
from ksc.ir.rewrite import Env, assemble, effectful_functions, substitute_block


def hoist_common_reads(program: Program) -> Program:
    """Move the reads of tensors and sizes that all sides share, in all functions."""
    effectful = effectful_functions(program.functions)
    functions = {name: hoist_reads(function, effectful) for name, function in program.functions.items()}
    return assemble(functions, program.entry, program.boxes, renew=False)


def hoist_reads(function: Function, effectful: Collection[str]) -> Function:
    """Do so in one function."""

    def visit(block: Block) -> Block:
        eqns: list[Eqn] = []
        for eqn in block.eqns:
            blocks = tuple(visit(inner) for inner in eqn.blocks)
            acts = any(inner.op == "acc_add" or has_effect(inner, effectful, ()) for b in blocks for inner in b.eqns)
            if eqn.op == "if" and not acts:
                common, blocks = _split(blocks)
                eqns.extend(common)
            eqns.append(Eqn(eqn.outs, eqn.op, eqn.args, eqn.params, blocks, eqn.span))
        return Block(block.params, tuple(eqns), block.results, block.span)

    return Function(function.name, visit(function.body), function.span)


def _split(blocks: tuple[Block, ...]) -> tuple[list[Eqn], tuple[Block, ...]]:
    """The reads common to two sides, and what is left of them."""
    then, else_ = blocks
    inside = {out for block in blocks for eqn in block.eqns for out in eqn.outs}
    second = {_key(eqn): eqn for eqn in else_.eqns if eqn.op in ("index", "size")}
    common: list[Eqn] = []
    env: Env = {}
    gone: set[Eqn] = set()
    for eqn in then.eqns:
        if eqn.op not in ("index", "size"):
            continue
        same = second.get(_key(eqn))
        if same is None or any(isinstance(arg, Var) and arg in inside for arg in eqn.args):
            continue
        common.append(eqn)
        env[same.outs[0]] = eqn.outs[0]
        inside.difference_update(eqn.outs)
        gone.update((eqn, same))
    if not common:
        return [], blocks
    left = [
        Block((), tuple(eqn for eqn in block.eqns if eqn not in gone), block.results, block.span) for block in blocks
    ]
    return common, (left[0], substitute_block(left[1], env))


def _key(eqn: Eqn) -> tuple[object, ...]:
    return eqn.op, eqn.args, tuple(eqn.params.items())
