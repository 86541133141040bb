"""The equations that tensor code is made of: sizes, elements, tensors built and reduced element by element."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence

from ksc.frontend.frame import Frame
from ksc.frontend.tensors.integers import ONE, bounded
from ksc.frontend.values import Array, Cell, Poison, Ref, Value
from ksc.ir.builder import stack_type
from ksc.ir.nodes import PLACEHOLDER, Atom, Const, Var
from ksc.ir.sizes import size_name
from ksc.ir.types import Integer, TensorType

MOST_ELEMENTS = 1 << 44
"""The number of elements of 8 bytes that fill the address space of a process."""

Element = Callable[[tuple[Atom, ...]], Atom]
"""The element at some indices; it emits into the innermost open block."""


def size_of(frame: Frame, node: ast.AST, tensor: Array | Ref, dim: int) -> Atom:
    """The size of a dimension (0 or more): a constant where it is known, else a variable, read once."""
    size = tensor.sizes[dim]
    if size is not None:
        return size
    source: Value | None = tensor
    key: Cell | Atom = tensor.cell if isinstance(tensor, Ref) else tensor.atom
    if isinstance(tensor, Ref):
        source = frame.region.store.get(tensor.cell)
    if isinstance(source, Poison):
        frame.refuse(node, source.reason, source.instead, code=source.code)
    assert isinstance(source, Array)
    known = frame.region.known
    if ("size", key, dim) not in known:
        owner = key.name if isinstance(key, Cell | Var) else PLACEHOLDER
        name = "n" if owner == PLACEHOLDER else size_name(owner, tensor.rank, dim)
        (out,) = frame.emit(node, "size", [source.atom], [Integer], names=[name], params={"dim": dim})
        words = f"dimension {dim} of a tensor" if owner == PLACEHOLDER else f"{owner}.shape[{dim}]"
        frame.region.measured[out] = name, words
        known["size", key, dim] = bounded(frame, out, 0)
    return known["size", key, dim]


def sizes_of(frame: Frame, node: ast.AST, tensor: Array | Ref) -> tuple[Atom, ...]:
    """All sizes."""
    return tuple(size_of(frame, node, tensor, dim) for dim in range(tensor.rank))


def is_of_one_tensor(frame: Frame, sizes: Sequence[Atom]) -> bool:
    """Whether sizes, each once, are known to be of one tensor, whose elements there is room for."""
    known = frame.region.known.items()
    owners = {found: key[1] for key, found in known if isinstance(key, tuple) and key[0] == "size"}
    return len(set(sizes)) == len(sizes) and len({owners.get(size, size) for size in sizes}) <= 1 <= len(owners)


def element(frame: Frame, node: ast.AST, array: Array, indices: Sequence[Atom]) -> Atom:
    """The element at an index for each dimension, counted from 0."""
    if not indices:
        return array.atom
    return frame.emit(node, "index", [array.atom, *indices], [array.elem])[0]


def build(frame: Frame, node: ast.AST, sizes: Sequence[Atom], element: Element, *, name: str = PLACEHOLDER) -> Array:
    """The tensor whose elements ``element`` gives, called once in the block of a ``build``."""
    if not sizes:
        return Array(element(()), ())
    indices = index_variables(len(sizes))
    for index in indices:
        bounded(frame, index, 0)
    with frame.block() as builder:
        result = element(indices)
    block = builder.block(indices, [result])
    known = tuple(size.value if isinstance(size, Const) else None for size in sizes)
    made = stack_type(len(sizes), result.type)
    assert isinstance(made, TensorType)
    type_ = TensorType(made.rank, made.elem, (*known, *made.sizes[len(sizes) :]))  # type: ignore[arg-type]
    (out,) = frame.emit(node, "build", sizes, [type_], names=[name], blocks=[block])
    return Array(out, tuple(sizes))


def reduce(frame: Frame, node: ast.AST, monoid: str, sizes: Sequence[Atom], element: Element) -> Atom:
    """The elements over all indices below ``sizes``, combined by a monoid of the IR."""
    if not sizes:
        return element(())
    indices = index_variables(len(sizes))
    for index in indices:
        bounded(frame, index, 0)
    with frame.block() as builder:
        result = element(indices)
    block = builder.block(indices, [result])
    return frame.emit(node, "reduce", sizes, [result.type], params={"monoid": monoid}, blocks=[block])[0]


def index_variables(count: int) -> tuple[Var, ...]:
    """New variables for indices: i, j, k, …."""
    return tuple(Var(chr(ord("i") + k) if k < 6 else f"i{k}", Integer) for k in range(count))


def same_size(frame: Frame, node: ast.AST, a: Atom, b: Atom) -> Atom:
    """The size that two must agree on: compared at once where both are known, at run time otherwise.

    Raises TypeMismatchError (KS208) where they are known to differ.
    """
    if a == b:
        return a
    if isinstance(a, Const) and isinstance(b, Const):
        reason = f"sizes {a.value} and {b.value} must agree"
        frame.refuse(node, reason, "use tensors whose sizes fit together", code="KS208")
    pair = ("same", frozenset((a, b)))
    if pair not in frame.region.known:
        agree = frame.apply(node, "eq", a, b)
        message = f"{_spoken(frame, a)} and {_spoken(frame, b)} must agree"
        if isinstance(a, Const) or isinstance(b, Const):
            known, other = (a, b) if isinstance(a, Const) else (b, a)
            message = f"{_spoken(frame, other)} must be {_spoken(frame, known)}"
        frame.emit(node, "assert", [agree], [], params={"message": message})
        frame.region.known[pair] = a
    return b if isinstance(b, Const) else a


def is_single(frame: Frame, size: Atom) -> bool:
    """Whether a dimension of this size has one element at most, which broadcasting therefore finds at index 0."""
    return size == ONE or size in frame.region.single


def broadcast_size(frame: Frame, node: ast.AST, a: Atom, b: Atom) -> Atom:
    """The size that two are broadcast to; only one that is known to be 0 or 1 is stretched."""
    if a == ONE or b == ONE:
        return b if a == ONE else a
    if a == b or is_single(frame, a) == is_single(frame, b):
        return same_size(frame, node, a, b)
    short, size = (a, b) if is_single(frame, a) else (b, a)
    fits = frame.apply(node, "or", frame.apply(node, "eq", short, ONE), frame.apply(node, "eq", short, size))
    message = f"{_spoken(frame, short)} must be 1, or {_spoken(frame, size)}"
    frame.emit(node, "assert", [fits], [], params={"message": message})
    return size


def _spoken(frame: Frame, size: Atom) -> str:
    """How a message calls a size: as the user does, or by the tensor that it is of."""
    if isinstance(size, Const):
        return str(size.value)
    if size not in frame.region.measured:
        return "a computed size" if size.name == PLACEHOLDER else size.name
    name, words = frame.region.measured[size]
    return words if size.name == name else f"{size.name} ({words})"
