"""Sums of products over shared dimensions: einsum, matrix products, linear maps."""

from __future__ import annotations

import ast
from collections.abc import Hashable, Mapping, Sequence

from ksc.frontend import operators
from ksc.frontend.frame import Frame
from ksc.frontend.tensors.op import Op, Tensor
from ksc.frontend.tensors.scalars import Scalar
from ksc.frontend.tensors.table import torch_function
from ksc.frontend.values import NONE, Static, Struct, Value, is_none
from ksc.ir.types import Bool

Labels = Sequence[Hashable]
LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


def contract(op: Op, operands: Sequence[Tensor], inputs: Sequence[Labels], output: Labels, strict: bool) -> Tensor:
    """The tensor with a dimension for each label of ``output``: products, summed over all other labels.

    Each operand has a label per dimension; a label that one has twice means its diagonal. Sizes of one label agree;
    unless ``strict``, a size that is known to be 1 is broadcast. More than two operands are taken pair by pair.
    """
    if len(operands) > 2:
        later = {label for labels in inputs[2:] for label in labels} | set(output)
        kept = [label for label in dict.fromkeys([*inputs[0], *inputs[1]]) if label in later]
        first = contract(op, operands[:2], inputs[:2], kept, strict)
        return contract(op, [first, *operands[2:]], [kept, *inputs[2:]], output, strict)
    type_ = operators.wider(*(operand.type for operand in operands))
    if type_ == Bool:
        op.refuse("of truth values", "convert them, as in `x * 1`")
    sizes = _sizes(op, operands, inputs, strict)
    summed = [label for label in sizes if label not in output]

    def body(index: list[Scalar]) -> Scalar:
        outer = dict(zip(output, index, strict=True))

        def term(inner: list[Scalar]) -> Scalar:
            at = {**outer, **dict(zip(summed, inner, strict=True))}
            factors = [
                operand.spread([at[label] for label in labels]).as_(type_)
                for operand, labels in zip(operands, inputs, strict=True)
            ]
            product = factors[0]
            for factor in factors[1:]:
                product = product * factor
            return product

        return op.reduce("add", [sizes[label] for label in summed], term)

    return op.build([sizes[label] for label in output], body)


def _sizes(op: Op, operands: Sequence[Tensor], inputs: Sequence[Labels], strict: bool) -> Mapping[Hashable, Scalar]:
    """The size of each label, in the order in which they occur."""
    sizes: dict[Hashable, Scalar] = {}
    for operand, labels in zip(operands, inputs, strict=True):
        for label, size in zip(labels, operand.sizes, strict=True):
            known = sizes.get(label)
            batch = isinstance(label, int)
            if known is None or (known.is_(1) and (batch or not strict)):
                sizes[label] = size
            elif not (size.is_(1) and (batch or not strict)):
                sizes[label] = op.same(known, size)
    return sizes


@torch_function("einsum")
def einsum(op: Op, equation: Value, *operands: Value) -> Value:
    """Einstein's summation: repeated labels, an ellipsis and an implicit output included."""
    text = op.static(equation, "equation")
    if not isinstance(text, str):
        op.refuse("with lists of dimensions", "write the equation as text")
    if len(operands) == 1 and isinstance(operands[0], Struct):
        operands = operands[0].items
    tensors = [op.tensor(operand) for operand in operands]
    left, arrow, right = text.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(tensors):
        op.refuse(f"has {len(terms)} terms in {text!r} for {len(tensors)} tensors", "give one term per tensor")
    inputs = [_term(op, term, tensor.rank) for term, tensor in zip(terms, tensors, strict=True)]
    batch = sorted({label for labels in inputs for label in labels if isinstance(label, int)})
    if arrow:
        output: list[str | int] = []
        for k, part in enumerate(right.split("...")):
            output += [*(batch if k else ()), *part]
    else:
        every = [label for labels in inputs for label in labels]
        output = [*batch, *sorted(label for label in set(every) if isinstance(label, str) and every.count(label) == 1)]
    unknown = [label for label in output if not any(label in labels for labels in inputs)]
    if unknown or len(set(output)) < len(output):
        op.refuse(f"cannot have the output {right!r} for {left!r}", "name each label of the inputs once at most")
    return op.result(contract(op, tensors, inputs, output, strict=False))


def _term(op: Op, term: str, rank: int) -> list[str | int]:
    """The labels of an operand; those of an ellipsis are negative numbers, counted from the end."""
    head, dots, tail = term.partition("...")
    spare = rank - len(head) - len(tail)
    if not set(head + tail) <= LETTERS or spare < 0 or (spare and not dots):
        op.refuse(f"has the term {term!r} for a tensor of {rank} dimensions", "use one letter per dimension")
    return [*head, *range(-spare, 0), *tail]


def product(op: Op, a: Tensor, b: Tensor) -> Tensor:
    """``a @ b``: of vectors, matrices, and batches of matrices, which are broadcast."""
    if not a.rank or not b.rank:
        op.refuse("needs tensors of one dimension or more", "multiply with `*`")
    if a.type != b.type:
        op.refuse(f"of tensors of {a.type} and {b.type}", "give both the same dtype")
    left: list[str | int] = [*range(-(a.rank - 2), 0), "i", "k"] if a.rank > 1 else ["k"]
    right: list[str | int] = [*range(-(b.rank - 2), 0), "k", "j"] if b.rank > 1 else ["k"]
    batch = list(range(-max(a.rank - 2, b.rank - 2, 0), 0))
    output = [*batch, *(["i"] if a.rank > 1 else []), *(["j"] if b.rank > 1 else [])]
    return contract(op, [a, b], [left, right], output, strict=True)


@torch_function("matmul", "linalg.matmul")
def matmul(op: Op, input: Value, other: Value) -> Value:
    """``input @ other``."""
    return op.result(product(op, op.tensor(input), op.tensor(other)))


@torch_function("mm")
def mm(op: Op, input: Value, mat2: Value) -> Value:
    """The product of two matrices."""
    return _product_of(op, input, mat2, 2, 2)


@torch_function("bmm")
def bmm(op: Op, input: Value, mat2: Value) -> Value:
    """The products of two batches of matrices."""
    a, b = op.tensor(input), op.tensor(mat2)
    if a.rank == b.rank == 3:
        op.same(a.sizes[0], b.sizes[0])
    return _product_of(op, input, mat2, 3, 3)


@torch_function("mv")
def mv(op: Op, input: Value, vec: Value) -> Value:
    """A matrix times a vector."""
    return _product_of(op, input, vec, 2, 1)


@torch_function("dot", "vdot")
def dot(op: Op, input: Value, tensor: Value) -> Value:
    """The product of two vectors."""
    return _product_of(op, input, tensor, 1, 1)


def matmul_operator(frame: Frame, left: Value, right: Value, node: ast.AST) -> Value:
    """``left @ right``."""
    return matmul(Op(frame, "matmul", node), left, right)


def _product_of(op: Op, a: Value, b: Value, *ranks: int) -> Value:
    tensors = [op.tensor(a), op.tensor(b)]
    if tuple(tensor.rank for tensor in tensors) != ranks:
        op.refuse(f"needs tensors of {ranks[0]} and {ranks[1]} dimensions", "use matmul()")
    return op.result(product(op, *tensors))


@torch_function("inner")
def inner(op: Op, input: Value, other: Value) -> Value:
    """The sum of products over the last dimensions."""
    a, b = op.tensor(input), op.tensor(other)
    if not a.rank or not b.rank:
        return operators.binary(op.frame, ast.Mult(), input, other, op.node)
    left = [*(f"a{k}" for k in range(a.rank - 1)), "k"]
    right = [*(f"b{k}" for k in range(b.rank - 1)), "k"]
    return op.result(contract(op, [a, b], [left, right], [*left[:-1], *right[:-1]], strict=True))


@torch_function("outer", "ger")
def outer(op: Op, input: Value, vec2: Value) -> Value:
    """The products of all pairs of elements of two vectors."""
    a, b = op.tensor(input), op.tensor(vec2)
    if a.rank != 1 or b.rank != 1:
        op.refuse("needs vectors", "use `a[:, None] * b[None, :]`")
    return op.result(contract(op, [a, b], ["i", "j"], "ij", strict=True))


@torch_function("tensordot")
def tensordot(op: Op, a: Value, b: Value, dims: Value = Static(2)) -> Value:
    """The sum of products over pairs of dimensions, of which one that is known to be 1 is stretched."""
    x, y = op.tensor(a), op.tensor(b)
    given = op.static(dims, "dims")
    pairs: tuple[tuple[int, ...], ...]
    if isinstance(given, int):
        pairs = (tuple(range(x.rank - given, x.rank)), tuple(range(given)))
    else:
        pairs = tuple((part,) if isinstance(part, int) else tuple(part) for part in given)
    if len(pairs) != 2 or len(pairs[0]) != len(pairs[1]):
        op.refuse(f"with dims={given!r}", "give a number, or two lists of equal length")
    left = [f"a{k}" for k in range(x.rank)]
    right = [f"b{k}" for k in range(y.rank)]
    for m, n in zip(*pairs, strict=True):
        right[op.place(n, y.rank)] = left[op.place(m, x.rank)]
    output = [label for label in left if label not in right] + [label for label in right if label not in left]
    return op.result(contract(op, [x, y], [left, right], output, strict=False))


@torch_function("F.linear")
def linear(op: Op, input: Value, weight: Value, bias: Value = NONE) -> Value:
    """``input @ weight.T + bias`` over the last dimension."""
    x, w = op.tensor(input), op.tensor(weight)
    if w.rank not in (1, 2) or not x.rank:
        op.refuse("needs a weight of one or two dimensions", "use matmul()")
    outer_labels = [f"b{k}" for k in range(x.rank - 1)]
    own = ["o", "k"][2 - w.rank :]
    made = contract(op, [x, w], [[*outer_labels, "k"], own], [*outer_labels, *own[:-1]], strict=True)
    result = op.result(made)
    if is_none(bias):
        return result
    return operators.binary(op.frame, ast.Add(), result, bias, op.node)


@torch_function("F.bilinear")
def bilinear(op: Op, input1: Value, input2: Value, weight: Value, bias: Value = NONE) -> Value:
    """``input1 @ weight[o] @ input2`` for each output ``o``."""
    x, y, w = op.tensor(input1), op.tensor(input2), op.tensor(weight)
    batch = [f"b{k}" for k in range(x.rank - 1)]
    made = contract(op, [x, w, y], [[*batch, "i"], ["o", "i", "j"], [*batch, "j"]], [*batch, "o"], strict=True)
    result = op.result(made)
    if is_none(bias):
        return result
    return operators.binary(op.frame, ast.Add(), result, bias, op.node)


@torch_function("trace")
def trace(op: Op, input: Value) -> Value:
    """The sum of the diagonal of a matrix."""
    x = op.tensor(input)
    if x.rank != 2:
        op.refuse("needs a matrix", "use einsum('...ii', x)")
    rows, columns = x.sizes
    shorter = op.apply("min", rows, columns) if rows.atom != columns.atom else rows
    return op.result(op.rank_0(op.reduce("add", [shorter], lambda index: x[[*index, *index]])))


@torch_function("linalg.cross")
def linalg_cross(op: Op, input: Value, other: Value, *, dim: Value = Static(-1)) -> Value:
    """The vector product along a dimension of size 3."""
    a, b = op.tensor(input), op.tensor(other)
    if a.rank != b.rank or not a.rank:
        op.refuse("needs tensors of equal numbers of dimensions", "add dimensions with unsqueeze()")
    place = op.dim(dim, a.rank)
    three = op.number(3)
    for tensor in (a, b):
        op.require(tensor.sizes[place].eq(three), "cross(): the dimension has not size 3")
    sizes = op.broadcast([a.sizes, b.sizes])

    def body(index: list[Scalar]) -> Scalar:
        following = [[*index[:place], (index[place] + k) % three, *index[place + 1 :]] for k in (1, 2)]
        return a.spread(following[0]) * b.spread(following[1]) - a.spread(following[1]) * b.spread(following[0])

    return op.result(op.build(sizes, body))


@torch_function("cross")
def cross(op: Op, input: Value, other: Value, dim: Value = NONE) -> Value:
    """The vector product along a dimension, the first one of size 3 unless told."""
    if op.static(dim, "dim") is not None:
        return linalg_cross(op, input, other, dim=dim)
    x = op.tensor(input)
    known = [k for k, size in enumerate(x.sizes) if size.is_(3)]
    if x.rank > 1 and not known:
        op.refuse("without dim", "give the dimension: dim=-1")
    return linalg_cross(op, input, other, dim=Static(known[0] if known else 0))


@torch_function("kron")
def kron(op: Op, input: Value, other: Value) -> Value:
    """Each element of the first times the whole second tensor."""
    a, b = op.tensor(input), op.tensor(other)
    rank = max(a.rank, b.rank)
    one = op.number(1)
    left, right = ([*([one] * (rank - tensor.rank)), *tensor.sizes] for tensor in (a, b))

    def body(index: list[Scalar]) -> Scalar:
        outer = [i // size for i, size in zip(index, right, strict=True)]
        inner = [i % size for i, size in zip(index, right, strict=True)]
        return a[outer[rank - a.rank :]] * b[inner[rank - b.rank :]]

    return op.result(op.build([m * n for m, n in zip(left, right, strict=True)], body))
