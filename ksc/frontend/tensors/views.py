"""Views: how an index into one becomes an index into its cell, and reading and writing through them.

A ``Pick`` takes from each dimension an affine function of one index of the view: what indexing with integers and
slices, transposing, expanding and the like do. A ``Fold`` splits and joins dimensions, as reshaping does.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ksc.frontend.frame import Frame
from ksc.frontend.storage import about_to_write
from ksc.frontend.tensors.array import build, element, size_of, sizes_of
from ksc.frontend.tensors.bounds import cell_dim, require_in_range
from ksc.frontend.tensors.integers import ONE, ZERO, add, bounded, div, mod, mul, wrapped
from ksc.frontend.values import Array, Ref, Step, tensor_type
from ksc.ir.nodes import PLACEHOLDER, Atom, Const, Span, Var
from ksc.ir.types import Bool, Float, Integer, Type


@dataclass(frozen=True, slots=True)
class Axis:
    """How a dimension is indexed: by ``start + step * index[dim]``, or by ``start`` alone where ``dim`` is None.

    ``full`` holds where the view has all of it, in order; ``span`` is the place of an index that may be out of range,
    which is found where the view is read.
    """

    start: Atom
    step: Atom = ONE
    dim: int | None = None
    full: bool = False
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Pick(Step):
    """Each dimension of what is viewed, by an axis."""

    axes: tuple[Axis, ...]

    def source(self, frame: Frame, node: ast.AST, index: Sequence[Atom]) -> tuple[Atom, ...]:
        """The index into what is viewed."""
        return tuple(_at(frame, node, axis, index) for axis in self.axes)


def _at(frame: Frame, node: ast.AST, axis: Axis, index: Sequence[Atom]) -> Atom:
    if axis.dim is None:
        return axis.start
    return add(frame, node, axis.start, mul(frame, node, axis.step, index[axis.dim]))


@dataclass(frozen=True, slots=True)
class Fold(Step):
    """The dimensions after the first ``lead``: those of sizes ``have`` are seen as ones of sizes ``want``."""

    lead: int
    have: tuple[Atom, ...]
    want: tuple[Atom, ...]

    def source(self, frame: Frame, node: ast.AST, index: Sequence[Atom]) -> tuple[Atom, ...]:
        """The index into what is viewed."""
        inner = index[self.lead : self.lead + len(self.want)]
        position: Atom = ZERO
        for size, k in zip(self.want, inner, strict=True):
            position = add(frame, node, mul(frame, node, position, size), k)
        found: list[Atom] = []
        for size in reversed(self.have[1:]):
            found.append(mod(frame, node, position, size))
            position = div(frame, node, position, size)
        if self.have:
            found.append(position)
        return (*index[: self.lead], *reversed(found), *index[self.lead + len(self.want) :])


# Making views.


def picked(frame: Frame, node: ast.AST, ref: Ref, axes: Sequence[Axis], sizes: Sequence[Atom]) -> Ref:
    """The view of a view that ``axes`` (one for each dimension of ``ref``) describe."""
    axes = tuple(axes)
    steps = list(ref.steps)
    if steps and isinstance(steps[-1], Pick):
        axes = tuple(_composed(frame, node, axis, axes) for axis in steps.pop().axes)  # type: ignore[attr-defined]
    whole = len(sizes) == len(axes) and all(axis.full and axis.dim == k for k, axis in enumerate(axes))
    return Ref(ref.cell, tuple(sizes), tuple(steps) if whole else (*steps, Pick(axes)))


def _composed(frame: Frame, node: ast.AST, outer: Axis, axes: Sequence[Axis]) -> Axis:
    if outer.dim is None:
        return outer
    inner = axes[outer.dim]
    start = add(frame, node, outer.start, mul(frame, node, outer.step, inner.start))
    step = mul(frame, node, outer.step, inner.step) if inner.dim is not None else ONE
    return Axis(start, step, inner.dim, outer.full and inner.full)


def selected(frame: Frame, node: ast.AST, ref: Ref, dim: int, index: Atom, *, lazily: bool = False) -> Axis:
    """The axis of one index, maybe counted from the end.

    Raises TypeMismatchError (KS209) where it is known to be out of range; otherwise that is found at run time: here,
    or ``lazily`` where the element is read.
    """
    size = size_of(frame, node, ref, dim)
    if isinstance(index, Const) and isinstance(size, Const):
        k, n = int(index.value), int(size.value)
        if not -n <= k < n:
            reason = f"index {k} is out of range for dimension {dim} of size {n}"
            frame.refuse(node, reason, "use an index below the size", code="KS209")
    at = wrapped(frame, node, index, size)
    if not lazily or cell_dim(ref, dim) is None:
        require_in_range(frame, node, ref, dim, at, size, index)
    return Axis(at, span=frame.span(node))


def full_axes(ref: Ref, dims: Sequence[int] | None = None) -> list[Axis]:
    """The axes of all dimensions as they are, or seen as dimensions ``dims``."""
    return [Axis(ZERO, ONE, k, full=True) for k in (range(ref.rank) if dims is None else dims)]


def viewed(frame: Frame, value: Ref | Array, node: ast.AST) -> Ref:
    """The tensor as a Ref; one without a storage gets one."""
    if isinstance(value, Ref):
        return value
    made = frame.fresh(value, node)
    assert isinstance(made, Ref)
    return made


# Reading.


def read(frame: Frame, ref: Ref, node: ast.AST) -> Array:
    """The tensor that a view shows now."""
    held = frame.content(ref, node)
    sizes = sizes_of(frame, node, ref)
    if not ref.steps:
        return Array(held.atom, sizes)
    leading = _leading(ref)
    if leading is not None:
        type_ = tensor_type(ref.elem, sizes)
        span = _indexed_at(ref) or frame.span(node)
        return Array(
            frame.builder.emit("index", [held.atom, *leading], [type_], names=[PLACEHOLDER], span=span)[0], sizes
        )
    return build(frame, node, sizes, lambda index: element(frame, node, held, source(frame, node, ref, index)))


def _indexed_at(ref: Ref) -> Span | None:
    """Where the user wrote the last index that led to the view."""
    spans = [axis.span for step in ref.steps if isinstance(step, Pick) for axis in step.axes if axis.span is not None]
    return spans[-1] if spans else None


def source(frame: Frame, node: ast.AST, ref: Ref, index: Sequence[Atom]) -> tuple[Atom, ...]:
    """The index into the cell that an index into a view stands for."""
    at = tuple(index)
    for step in reversed(ref.steps):
        assert isinstance(step, Pick | Fold)
        at = step.source(frame, node, at)
    return at


def _leading(ref: Ref) -> list[Atom] | None:
    """The leading indices that the view is the part of the cell at, None where it is none."""
    if len(ref.steps) != 1 or not isinstance(ref.steps[0], Pick):
        return None
    axes = ref.steps[0].axes
    fixed = len(axes) - ref.rank
    if fixed < 1 or any(axis.dim is not None for axis in axes[:fixed]):
        return None
    rest = axes[fixed:]
    if all(axis.full and axis.dim == k for k, axis in enumerate(rest)):
        return [axis.start for axis in axes[:fixed]]
    return None


# Writing.


def overwrite(frame: Frame, ref: Ref, value: Callable[[tuple[Atom, ...]], Atom], node: ast.AST) -> None:
    """Write an element for each index of a view."""
    require_single(frame, ref, node)
    about_to_write(frame, ref.cell, node)
    held = frame.content(ref, node)

    def step(now: Atom, index: tuple[Atom, ...]) -> Atom:
        at = source(frame, node, ref, index)
        new = value(index)
        return frame.emit(node, "update", [now, *at, new], [held.atom.type], names=[ref.cell.name])[0]

    if ref.rank == 0:
        atom = step(held.atom, ()) if held.rank else value(())
    else:
        atom = counted(frame, node, sizes_of(frame, node, ref), held.atom, step)
    set_content(frame, ref, atom)


def write(frame: Frame, ref: Ref, value: Array, node: ast.AST) -> None:
    """Write a tensor of the sizes of the view and its element type."""
    whole = not ref.steps
    leading = _leading(ref)
    if not whole and (leading is None or ref.rank == 0):
        overwrite(frame, ref, lambda index: element(frame, node, value, index), node)
        return
    about_to_write(frame, ref.cell, node)
    held = frame.content(ref, node)
    if whole:
        set_content(frame, ref, value.atom)
        return
    assert leading is not None
    name = ref.cell.name
    (out,) = frame.emit(node, "update", [held.atom, *leading, value.atom], [held.atom.type], names=[name])
    set_content(frame, ref, out)


def set_content(frame: Frame, ref: Ref, atom: Atom) -> None:
    """Let the cell of a view hold something else of the same sizes."""
    frame.region.store[ref.cell] = Array(atom, ref.cell.sizes)


def counted(
    frame: Frame,
    node: ast.AST,
    sizes: Sequence[Atom],
    init: Atom,
    body: Callable[[Atom, tuple[Atom, ...]], Atom],
    outer: tuple[Atom, ...] = (),
) -> Atom:
    """Nested loops over all indices below ``sizes``, which carry one value."""
    name = init.name if isinstance(init, Var) else PLACEHOLDER
    index = Var(chr(ord("i") + len(outer)) if len(outer) < 6 else f"i{len(outer)}", Integer)
    carried = Var(name, init.type)
    bounded(frame, index, 0)
    at = (*outer, index)
    with frame.block() as builder:
        last = len(sizes) == 1
        result = body(carried, at) if last else counted(frame, node, sizes[1:], carried, body, at)
    block = builder.block([index, carried], [result])
    params = {"carries": 1, "reverse": False}
    return frame.emit(node, "for", [sizes[0], init], [init.type], names=[name], params=params, blocks=[block])[0]


def require_single(frame: Frame, ref: Ref, node: ast.AST) -> None:
    """Refuse a write into an expanded view, several of whose elements are one."""
    used: set[int] = set()
    for step in ref.steps[-1:]:
        if isinstance(step, Pick):
            used = {axis.dim for axis in step.axes if axis.dim is not None}
            if any(k not in used and size != ONE for k, size in enumerate(ref.sizes)):
                reason = "several elements of an expanded tensor are one in storage, and cannot be written"
                frame.refuse(node, reason, "write `x = x.clone()` first", code="KS122")


def converted(frame: Frame, node: ast.AST, atom: Atom, to: Type) -> Atom:
    """A number as PyTorch converts it where it is written into a tensor: towards zero to an Integer."""
    if atom.type == to:
        return atom
    if to == Integer and atom.type == Float:
        return frame.apply(node, "to_int", atom)
    if to == Bool:
        zero = Const(0.0, Float) if atom.type == Float else Const(0, Integer)
        return frame.apply(node, "ne", atom, zero)
    return frame.cast(atom, to, node)
