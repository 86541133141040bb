"""Products of matrices, which the prelude computes tile by tile.

    ks::multiply(rt, t, ks::as_rows(a), ks::transposed(b), a.size[1]);

On a grid, those of all leading indices at once:

    ks::multiply_all(rt, t.data, n, a.size[1], b.size[2], b.size[1], [=](int64_t k) {
        return ks::factors<float>{ks::as_rows(a.part(k)), ks::as_rows(b.part(k))};
    });
"""

from __future__ import annotations

from collections.abc import Sequence

from ksc.codegen.cpp.expr import Expr, name_expr
from ksc.codegen.cpp.memory import allocate
from ksc.codegen.cpp.names import Scope
from ksc.codegen.cpp.nests import declare_indices, split_index
from ksc.codegen.cpp.printer import Context, Printer
from ksc.codegen.cpp.writer import INDENT
from ksc.ir.nodes import Eqn
from ksc.ops.cpp import PRIMARY
from ksc.passes.product import Factor, Product, product_of


def print_product(p: Printer, eqn: Eqn, sizes: Sequence[Expr], at: Context) -> bool:
    """Print a ``build`` as a product, if it is one; whether it is."""
    # On a grid a warp adds up a row of a matrix.
    product = product_of(eqn, of_rows=not p.target.is_grid)
    if product is None or p.packing is not None or not _is_in_range(p, eqn, product):
        return False
    if p.walk is not None:
        if not p.walk.together:
            return False
        p.walk.multiply()
    name = allocate(p, eqn, 0, [size.text for size in sizes], at)
    p.needs_runtime = True
    if p.walk is not None and product.batch:
        _print_batch(p, eqn, product, name, sizes, at)
    else:
        _print_each(p, eqn, product, name, sizes, at)
    return True


def _print_each(p: Printer, eqn: Eqn, product: Product, name: str, sizes: Sequence[Expr], at: Context) -> None:
    """One product after the other."""
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
    call = f"ks::multiply(rt, {whole}, {_factors(p, product)}, {p.value(product.depth).text});"
    at.writer.line(INDENT * len(heads) + call, eqn.span)
    for depth in reversed(range(len(heads))):
        at.writer.line(INDENT * depth + "}", eqn.span)


def _print_batch(p: Printer, eqn: Eqn, product: Product, name: str, sizes: Sequence[Expr], at: Context) -> None:
    """All of them at once."""
    leading, own = sizes[: len(product.batch)], [size.text for size in sizes[len(product.batch) :]]
    count = " * ".join(size.cpp.within(PRIMARY) for size in leading)
    rows, columns = ["1", *own] if product.left.is_vector else own
    inside = Context(at.writer.fork(), Scope(at.scope))
    number = inside.scope.declare("k")
    indices = split_index(p, product.batch, number, leading, inside)
    inside.writer.line(f"return ks::factors<{p.float_type}>{{{_factors(p, product)}}};", eqn.span)
    declare_indices(indices, eqn, inside.writer)
    given = f"rt, {name}.data, {count}, {rows}, {columns}, {p.value(product.depth).text}"
    at.writer.statement(f"ks::multiply_all({given}, [=](int64_t {number}) {{", eqn.span)
    at.writer.lines.extend(inside.writer.lines)
    at.writer.line("});", eqn.span)


def _factors(p: Printer, product: Product) -> str:
    return f"{_matrix(p, product.left)}, {_matrix(p, product.right)}"


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
