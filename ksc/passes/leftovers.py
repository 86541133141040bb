"""What is left of loops after products of matrices were taken out of them.

    t = (build m n (lam (i j) (reduce add d …)))
    x_bar = (withacc zeros (lam x_bar (build k (lam lane
      … (build m n (lam (i j) (acc_add (lane i j) x_bar (index (i j) t)))))))
        ⟶
    x_bar = (build k (lam lane … t))

An accumulator that nobody reads any more goes away with what was added to it; a part that one product is all there is
of is that product; and a loop that only looks up the parts of a tensor is that tensor.
"""

from __future__ import annotations

from ksc.ir.nodes import Block, Eqn, Program, walk
from ksc.ir.rewrite import Env, substitute_block, with_blocks, with_body, with_eqns, with_functions
from ksc.passes.dce import remove_dead_code
from ksc.passes.fuse.structure import resolve_structure
from ksc.passes.product import product_of
from ksc.passes.stores import turn_accumulations_into_stores


def clear_leftovers(program: Program) -> Program:
    """Do so in all functions; a program without products stays as it is."""
    functions = program.functions.values()
    if not any(product_of(eqn) is not None for function in functions for eqn in walk(function.body)):
        return program
    program = remove_dead_code(program)
    program = with_functions(program, lambda function: with_body(function, _block(function.body)))
    return remove_dead_code(resolve_structure(remove_dead_code(turn_accumulations_into_stores(program))))


def _block(block: Block) -> Block:
    """The block with the bodies of those ``withacc`` that have no accumulator in their places."""
    env: Env = {}
    eqns: list[Eqn] = []
    for eqn in block.eqns:
        inner = with_blocks(eqn, [_block(body) for body in eqn.blocks])
        if inner.op == "withacc" and not inner.args:
            (body,) = inner.blocks
            eqns += body.eqns
            env.update(zip(inner.outs, body.results, strict=True))
        else:
            eqns.append(inner)
    flat = with_eqns(block, eqns)
    return substitute_block(flat, env) if env else flat
