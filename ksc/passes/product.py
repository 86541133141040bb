"""Products of matrices among the loops.

    (build m n (lam (i j) (reduce add d (lam k (mul (index (i k) a) (index (k j) b))))))

Either matrix may be transposed, and be one of several: leading indices may be those of leading loops. The first one may
be a vector, if the second one lies in memory so that its rows are added up.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ksc.ir.nodes import Atom, Const, Eqn, Var
from ksc.ir.types import FloatType, TensorType

SMALLEST = 8
"""A dimension that is known to be smaller makes loops that are better written out, and fused with what is around."""


@dataclass(frozen=True, slots=True)
class Factor:
    """A matrix of a product, one part of a tensor.

    Attributes:
        read: the ``index`` that reads an element.
        part: the indices of the leading dimensions.
        is_vector: whether it is a single row.
        by_rows: whether the matrix is as it lies in memory: the dimension that is summed over is its last one if it is
            the first factor, and the last but one if it is the second.
    """

    read: Eqn
    part: tuple[Atom, ...]
    by_rows: bool
    is_vector: bool = False


@dataclass(frozen=True, slots=True)
class Product:
    """``left`` times ``right``, over a shared dimension of size ``depth``, for all indices in ``batch``."""

    left: Factor
    right: Factor
    depth: Atom
    batch: tuple[Var, ...]


def product_of(eqn: Eqn, *, of_rows: bool = False) -> Product | None:
    """The product that a ``build`` consists of, if it is one whose sizes are not known to be small.

    A matrix times a vector, which is the product ``of_rows`` with it, is not one unless that is asked for: such sums
    are fused with what is made of them.
    """
    if eqn.op != "build" or len(eqn.outs) != 1 or eqn.params.get("nested"):
        return None
    (body,) = eqn.blocks
    sums = body.eqns[0] if len(body.eqns) == 1 else None
    terms = None if sums is None else terms_of(sums)
    if sums is None or terms is None or body.results != sums.outs or sums.args[0] in body.params:
        return None
    (k,) = sums.blocks[0].params
    *batch, n = body.params
    for first, second in (terms, terms[::-1]) if batch else ():
        m = batch[-1]
        left, right = _factor(first, (m, k), (m, n, k)), _factor(second, (k, n), (m, n, k))
        if left is not None and right is not None:
            return _unless_small(left, right, (sums.args[0], *eqn.args[-2:]), batch[:-1])
    for first, second in (terms, terms[::-1]):
        left, right = _factor(first, (k,), (n, k)), _factor(second, (k, n), (n, k))
        if left is not None and right is not None and (right.by_rows or of_rows):
            return _unless_small(left, right, (sums.args[0], eqn.args[-1]), batch)
    return None


def _unless_small(left: Factor, right: Factor, sizes: Sequence[Atom], batch: Sequence[Var]) -> Product | None:
    if any(isinstance(size, Const) and int(size.value) < SMALLEST for size in sizes):
        return None
    return Product(left, right, sizes[0], tuple(batch))


def terms_of(sums: Eqn) -> tuple[Eqn, Eqn] | None:
    """The two reads of tensors whose product a ``reduce`` sums up, if that is all that it does."""
    if sums.op != "reduce" or sums.params["monoid"] != "add" or len(sums.args) != 1:
        return None
    (block,) = sums.blocks
    if len(block.eqns) != 3 or len(block.results) != 1:
        return None
    first, second, last = block.eqns
    if (first.op, second.op, last.op) != ("index", "index", "mul") or block.results != last.outs:
        return None
    if not isinstance(last.outs[0].type, FloatType) or set(last.args) != {first.outs[0], second.outs[0]}:
        return None
    return first, second


def _factor(read: Eqn, last: tuple[Var, ...], own: Collection[Var]) -> Factor | None:
    tensor, *at = read.args
    if not isinstance(tensor.type, TensorType) or tensor.type.rank != len(at):
        return None
    part, found = tuple(at[: -len(last)]), tuple(at[-len(last) :])
    if found not in (last, last[::-1]) or any(index in own for index in part):
        return None
    return Factor(read, part, found == last, len(last) == 1)
