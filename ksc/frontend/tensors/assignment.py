"""Writing tensors: at an index, in place, with the value broadcast and converted as PyTorch does.

The value is read before anything is written, also where it overlaps with the place, of which PyTorch says nothing.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence

from ksc.frontend import operators
from ksc.frontend.frame import Frame
from ksc.frontend.storage import about_to_write
from ksc.frontend.tensors.array import broadcast_size, build, element, is_single, same_size, sizes_of
from ksc.frontend.tensors.indexing import Place, place_index, place_sizes, read_place
from ksc.frontend.tensors.integers import ONE, ZERO
from ksc.frontend.tensors.views import converted, counted, overwrite, require_single, set_content, source, write
from ksc.frontend.values import Array, Poison, Ref, Value, describe, scalar_type
from ksc.ir.nodes import Atom
from ksc.ir.types import Bool, Float, Type


def broadcast_sizes(frame: Frame, node: ast.AST, shapes: Sequence[Sequence[Atom]]) -> list[Atom]:
    """The sizes that all of ``shapes`` are broadcast to; see ``broadcast_size``."""
    rank = max(map(len, shapes), default=0)
    result: list[Atom] = [ONE] * rank
    for sizes in shapes:
        for k, size in enumerate(sizes, rank - len(sizes)):
            result[k] = broadcast_size(frame, node, result[k], size)
    return result


def _stretched(
    frame: Frame, node: ast.AST, value: Array, sizes: Sequence[Atom], to: Type
) -> Callable[[Sequence[Atom]], Atom]:
    """The element of a value that goes to an index below ``sizes``, as a number of type ``to``."""
    own = list(sizes_of(frame, node, value))
    extra = max(0, len(own) - len(sizes))
    if any(size != ONE for size in own[:extra]):
        reason = f"{describe(value)} is written into a place of rank {len(sizes)}"
        frame.refuse(node, reason, "use a value whose sizes fit the place", code="KS208")
    inner = own[extra:]
    for mine, size in zip(inner, sizes[len(sizes) - len(inner) :], strict=True):
        if mine != ONE and broadcast_size(frame, node, size, mine) != size:
            same_size(frame, node, size, mine)

    def at(index: Sequence[Atom]) -> Atom:
        tail = index[len(index) - len(inner) :]
        picked = [ZERO] * extra + [ZERO if is_single(frame, size) else k for k, size in zip(tail, inner, strict=True)]
        return converted(frame, node, element(frame, node, value, picked), to)

    return at


def assign_view(frame: Frame, ref: Ref, value: Value, node: ast.AST) -> None:
    """Write a value to all elements of a view."""
    given = frame.array(value, node)
    sizes = sizes_of(frame, node, ref)
    at = _stretched(frame, node, given, sizes, ref.elem)
    fits = given.rank == len(sizes) and all(
        mine == size or not is_single(frame, mine)
        for mine, size in zip(sizes_of(frame, node, given), sizes, strict=True)
    )
    if fits and given.rank and given.elem == ref.elem:
        write(frame, ref, given, node)
    elif not ref.steps:
        write(frame, ref, build(frame, node, sizes, at, name=ref.cell.name), node)
    else:
        overwrite(frame, ref, at, node)


def assign_place(frame: Frame, place: Place, value: Value, node: ast.AST) -> None:
    """``x[…] = value``; where an index stands twice among those of a tensor, the last value stays."""
    if not isinstance(value, Ref | Array) and scalar_type(value) is None:
        reason = f"{describe(value)} is written into a tensor"
        frame.refuse(node, reason, "write a number or a tensor: torch.stack() makes one of several", code="KS200")
    require_single(frame, place.view, node)
    if place.mask is not None:
        _assign_masked(frame, place, value, node)
        return
    if not place.picks:
        assign_view(frame, place.view, value, node)
        return
    view = place.view
    given = frame.array(value, node)
    sizes = place_sizes(frame, place, node)
    at = _stretched(frame, node, given, sizes, view.elem)
    about_to_write(frame, view.cell, node)
    held = frame.content(view, node)

    def step(now: Atom, index: tuple[Atom, ...]) -> Atom:
        where = source(frame, node, view, place_index(frame, place, index, node))
        return frame.emit(node, "update", [now, *where, at(index)], [held.atom.type], names=[view.cell.name])[0]

    set_content(frame, view, counted(frame, node, sizes, held.atom, step))


def _assign_masked(frame: Frame, place: Place, value: Value, node: ast.AST) -> None:
    assert place.mask is not None
    view, (first, mask) = place.view, place.mask
    given = frame.array(value, node)
    last = view.rank - first - mask.rank
    if given.rank > last:
        reason = "as many values as a mask has True are written; how many those are depends on the mask"
        frame.refuse(node, reason, "write one number, or `x = torch.where(mask, values, x)`", code="KS123")
    sizes = sizes_of(frame, node, view)
    at = _stretched(frame, node, given, sizes[view.rank - last :], view.elem)
    held = frame.content(view, node)

    def chosen(now: Atom, index: tuple[Atom, ...]) -> Atom:
        wanted = element(frame, node, mask, index[first : first + mask.rank])
        where = source(frame, node, view, index)
        old = frame.emit(node, "index", [now, *where], [view.elem])[0]
        return frame.apply(node, "select", wanted, at(index[view.rank - last :]), old)

    if not view.steps:
        write(frame, view, build(frame, node, sizes, lambda index: chosen(held.atom, index), name=view.cell.name), node)
        return
    about_to_write(frame, view.cell, node)

    def step(now: Atom, index: tuple[Atom, ...]) -> Atom:
        new = chosen(now, index)
        where = source(frame, node, view, index)
        return frame.emit(node, "update", [now, *where, new], [held.atom.type], names=[view.cell.name])[0]

    set_content(frame, view, counted(frame, node, sizes, held.atom, step))


# In place.


def write_result(frame: Frame, ref: Ref, result: Value, node: ast.AST) -> None:
    """Write what an operation in place gives back into its first operand.

    Raises TypeMismatchError where PyTorch does: the result has other sizes (KS208), or needs a wider type (KS200).
    """
    made = frame.array(result, node)
    if made.rank > ref.rank:
        reason = f"the result is {describe(made)}, the tensor changed in place {describe(ref)}"
        frame.refuse(node, reason, "bind the result to a variable", code="KS208")
    if made.elem != ref.elem and (made.elem == Float or ref.elem == Bool):
        reason = f"the result is of {made.elem}, the tensor changed in place of {ref.elem}"
        frame.refuse(node, reason, "bind the result to a variable", code="KS200")
    assign_view(frame, ref, result, node)


def augmented(frame: Frame, op: ast.operator, ref: Ref, value: Value, node: ast.AST) -> Value:
    """``ref op= value``: the value that the variable has afterwards."""
    result = operators.binary(frame, op, ref, value, node)
    if ref.cell.mixed:
        return _rebound(frame, ref, result, node)
    write_result(frame, ref, result, node)
    return ref


def _rebound(frame: Frame, ref: Ref, result: Value, node: ast.AST) -> Value:
    """The result where the variable may hold a number, which nothing changes in place: its other names are unclear."""
    about_to_write(frame, ref.cell, node)
    reason = "it depends on the arguments whether this was a number, or a tensor that was changed in place"
    instead = "start with a tensor, as in `torch.zeros(())`, or write `x = x + y` for `x += y`"
    frame.region.store[ref.cell] = Poison("KS121", reason, instead)
    return result


def augmented_place(frame: Frame, op: ast.operator, place: Place, value: Value, node: ast.AST) -> None:
    """``x[…] op= value``; an index that stands twice gets the last result alone, as in PyTorch."""
    if place.mask is not None:
        given = frame.array(value, node)
        if given.rank:
            reason = "values are written where a mask holds; how many those are depends on the mask"
            frame.refuse(node, reason, "write `x = torch.where(mask, x + values, x)`", code="KS123")
        result = operators.binary(frame, op, place.view, value, node)
        made = frame.array(result, node)
        mask = place.mask
        _assign_where(frame, place.view, mask, made, node)
        return
    current = read_place(frame, place, node)
    assert isinstance(current, Ref)
    result = operators.binary(frame, op, current, value, node)
    if place.picks:
        made = frame.array(result, node)
        if made.elem != current.elem and (made.elem == Float or current.elem == Bool):
            reason = f"the result is of {made.elem}, the tensor of {current.elem}"
            frame.refuse(node, reason, "bind the result to a variable", code="KS200")
        assign_place(frame, place, result, node)
    else:
        write_result(frame, place.view, result, node)


def _assign_where(frame: Frame, view: Ref, mask: tuple[int, Array], made: Array, node: ast.AST) -> None:
    """Write the elements of a tensor of the view's sizes where a mask of some dimensions holds."""
    if made.elem != view.elem and (made.elem == Float or view.elem == Bool):
        reason = f"the result is of {made.elem}, the tensor of {view.elem}"
        frame.refuse(node, reason, "bind the result to a variable", code="KS200")
    first, wanted = mask
    old = frame.array(view, node)

    def chosen(index: tuple[Atom, ...]) -> Atom:
        holds = element(frame, node, wanted, index[first : first + wanted.rank])
        new = converted(frame, node, element(frame, node, made, index), view.elem)
        return frame.apply(node, "select", holds, new, element(frame, node, old, index))

    write(frame, view, build(frame, node, sizes_of(frame, node, view), chosen, name=view.cell.name), node)
