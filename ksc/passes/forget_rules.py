"""After the last derivative the rules of functions with a derivative by hand are of no more use: calls forget them.

    y = (f x) with rev f_rev      ⟶      y = (f x)

What is left is a call like any other, which may be inlined. A program must not be differentiated after that.
"""

from __future__ import annotations

from ksc.ir.nodes import Block, Eqn, Function, Program
from ksc.ir.rewrite import assemble


def forget_rules(program: Program) -> Program:
    """Drop the params ``rev`` and ``fwd`` of every call, and the functions that only they name."""
    functions = {name: Function(name, _block(f.body), f.span) for name, f in program.functions.items()}
    return assemble(functions, program.entry, program.boxes, renew=False)


def _block(block: Block) -> Block:
    return Block(block.params, tuple(map(_eqn, block.eqns)), block.results, block.span)


def _eqn(eqn: Eqn) -> Eqn:
    params = {"callee": eqn.params["callee"]} if eqn.op == "call" else eqn.params
    return Eqn(eqn.outs, eqn.op, eqn.args, params, tuple(map(_block, eqn.blocks)), eqn.span)
