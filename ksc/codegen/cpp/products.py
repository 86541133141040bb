"""Products of matrices, which the prelude computes tile by tile.

ks::multiply(rt, t, ks::as_rows(a), ks::transposed(b), a.size[1]);
"""

from __future__ import annotations

from collections.abc import Sequence

from ksc.codegen.cpp.expr import Expr, name_expr
from ksc.codegen.cpp.memory import allocate
from ksc.codegen.cpp.names import Scope
from ksc.codegen.cpp.printer import Context, Printer
from ksc.codegen.cpp.writer import INDENT
from ksc.ir.nodes import Eqn
from ksc.passes.product import Factor, Product, product_of


def print_product(p: Printer, eqn: Eqn, sizes: Sequence[Expr], at: Context) -> bool:
    """Print a ``build`` as a product, if it is one; whether it is."""
    product = product_of(eqn)
    if product is None or p.packing is not None or p.target.is_grid or not _is_in_range(p, eqn, product):
        return False
    name = allocate(p, eqn, 0, [size.text for size in sizes], at)
    scope = Scope(at.scope)
    heads = []
    for index, size in zip(product.batch, sizes, strict=False):
        p.bind(index, name_expr(scope.declare(index.name)))
        text = p.value(index).text
        heads.append(f"for (int64_t {text} = 0; {text} < {size.text}; ++{text}) {{")
    for depth, head in enumerate(heads):
        at.writer.line(INDENT * depth + head, eqn.span)
    whole = f"{name}.part({', '.join(p.value(index).text for index in product.batch)})" if heads else name
    if product.left.is_vector:
        whole = f"ks::one_row({whole})"
    left, right = _matrix(p, product.left), _matrix(p, product.right)
    call = f"ks::multiply(rt, {whole}, {left}, {right}, {p.value(product.depth).text});"
    at.writer.line(INDENT * len(heads) + call, eqn.span)
    for depth in reversed(range(len(heads))):
        at.writer.line(INDENT * depth + "}", eqn.span)
    p.needs_runtime = True
    return True


def _is_in_range(p: Printer, eqn: Eqn, product: Product) -> bool:
    """Whether no read needs a check."""
    facts = p.in_range.facts
    (body,) = eqn.blocks
    (sums,) = body.eqns
    for index, size in zip((*body.params, *sums.blocks[0].params), (*eqn.args, product.depth), strict=True):
        p.in_range.loop(index, size)
    reads = [factor.read for factor in (product.left, product.right)]
    safe = all(
        p.in_range.is_safe(read.args[0], k, index, read) for read in reads for k, index in enumerate(read.args[1:])
    )
    p.in_range.facts = facts
    return safe


def _matrix(p: Printer, factor: Factor) -> str:
    text = p.value(factor.read.args[0]).text
    if factor.part:
        text = f"{text}.part({', '.join(p.value(index).text for index in factor.part)})"
    if factor.is_vector:
        text = f"ks::one_row({text})"
    return f"ks::as_rows({text})" if factor.by_rows else f"ks::transposed({text})"
