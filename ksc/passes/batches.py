"""Products of several matrices are a loop over products, whose iterations threads share out.

    (build b m n (lam (l i j) (reduce add d (lam k (mul (index (l i k) x) (index (l k j) y))))))
      ⟶      (build b (lam l (build m n (lam (i j) (reduce add d …)))))

A single product is divided among threads itself, if it is large enough. Done to what the compiler of a processor is
given, where no loop is around.
"""

from __future__ import annotations

from ksc.ir.nodes import Block, Eqn, Program, Var
from ksc.ir.rewrite import with_blocks, with_body, with_eqns, with_functions
from ksc.ir.types import TensorType
from ksc.passes.product import product_of


def loop_over_products(program: Program) -> Program:
    """Do so in all functions; the same program where there are no such products."""
    return with_functions(program, lambda function: with_body(function, _block(function.body)))


def _block(block: Block) -> Block:
    return with_eqns(block, [_looped(eqn) for eqn in block.eqns])


def _looped(eqn: Eqn) -> Eqn:
    if eqn.op in ("if", "withacc"):
        return with_blocks(eqn, [_block(block) for block in eqn.blocks])
    product = product_of(eqn, of_rows=True)
    if product is None or not product.batch:
        return eqn
    (body,) = eqn.blocks
    first, *others = body.params
    (out,) = eqn.outs
    assert isinstance(out.type, TensorType)
    part = Var(out.name, TensorType(out.type.rank - 1, out.type.elem, out.type.sizes[1:]))
    inner = Eqn((part,), "build", eqn.args[1:], eqn.params, (Block(tuple(others), body.eqns, body.results),), eqn.span)
    return Eqn(eqn.outs, "build", eqn.args[:1], eqn.params, (Block((first,), (inner,), (part,)),), eqn.span)
