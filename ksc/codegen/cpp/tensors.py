"""Elements of tensors: reading, functional update, adding to accumulators, and the checks of indices.

Inside a kernel every tensor is contiguous, row-major, and lives in the arena.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace

from ksc.codegen.cpp.expr import Expr, origins
from ksc.codegen.cpp.literals import string_literal
from ksc.codegen.cpp.masks import chosen
from ksc.codegen.cpp.names import is_temporary
from ksc.codegen.cpp.printer import Context, NotPackedError, Printer, assignment
from ksc.codegen.cpp.types import declaration
from ksc.codegen.cpp.updates import is_made_in_place
from ksc.codegen.cpp.writer import Writer, line_of
from ksc.ir.nodes import Atom, Eqn, Span, Var
from ksc.ir.types import TensorType
from ksc.ops.cpp import ADDITIVE, LOGICAL_AND, PRIMARY, UNARY, CppExpr


def print_index(p: Printer, eqn: Eqn, at: Context) -> None:
    """``t(i, j)``, or ``t.part(i)`` for a subtensor; checked unless the index is known to be in range."""
    tensor, *indices = eqn.args
    check_range(p, tensor, indices, eqn, at)
    (out,) = eqn.outs
    p.in_range.same(out, tensor, len(indices))
    part = element(p, tensor, indices, eqn.span)
    reason = p.storage.copied.get((id(eqn), 0))
    if reason is None or not p.analysis.is_read(out):
        p.define(out, part, at)
        return
    held = None if p.varies(tensor) or (p.packing is not None and p.packing.index in indices) else out
    copy = p.copy_of(part, reason, eqn, at, held)
    name = p.declare(out, at)
    at.writer.statement(f"{declaration(out.type, name, p.width(out))} = {copy};", eqn.span)


def print_size(p: Printer, eqn: Eqn, at: Context) -> None:
    """``t.size[0]``."""
    tensor, dim = eqn.args[0], eqn.params["dim"]
    if isinstance(tensor, Var):
        p.in_range.size(eqn.outs[0], tensor, dim)
    value = p.value(tensor)
    size = Expr(CppExpr(f"{value.cpp.within(PRIMARY)}.size[{dim}]"), value.reads, None, eqn.span, folded=value.origins)
    if is_temporary(eqn.outs[0].name) and value.text.isidentifier() and not value.reads:
        p.bind(eqn.outs[0], size)
    else:
        p.define(eqn.outs[0], size, at)
        if p.analysis.is_read(eqn.outs[0]) and p.value(eqn.outs[0]).text.isidentifier():
            p.sizes[tensor, dim] = p.value(eqn.outs[0]).text


def print_update(p: Printer, eqn: Eqn, at: Context) -> None:
    """One element or part replaced, in place where nothing else needs the tensor as it was."""
    (out,) = eqn.outs
    tensor, *indices, value = eqn.args
    assert isinstance(tensor, Var)
    check_range(p, tensor, indices, eqn, at)
    p.in_range.same(out, tensor)
    new = p.value(value)
    assert isinstance(tensor.type, TensorType)
    nested = len(indices) == tensor.type.rank
    copy = p.copied(eqn, 0, at)
    if copy is None:
        name = p.named(tensor, at)
        p.bind(out, p.value(tensor))
    else:
        name = p.declare(out, at)
        at.writer.statement(f"{declaration(out.type, name, p.width(out))} = {copy};", eqn.span)
    if is_made_in_place(p, eqn):
        return
    places = [p.value(i).text for i in indices]
    if p.varies(out):
        new = chosen(p.going_on, new, f"{name}({', '.join(places)})")
    _put(p, name, places, new, value, eqn.span, at.writer, nested=nested)


def print_acc_add(p: Printer, eqn: Eqn, at: Context) -> None:
    """``x_bar += v``, at an index if one is given."""
    acc, *indices, value = eqn.args
    target = p.value(acc).text
    amount = p.value(value)
    assert isinstance(acc, Var)
    own = p.packing is not None and p.packing.whole_rows and p.packing.index in indices
    total = p.packing.totals.get(acc) if p.packing is not None else None
    held = p.held.get(eqn.args[:-1])
    if held is not None:
        target, indices = held, []
    elif total is not None:
        target = total
    elif p.packing is not None and not own and not p.varies(acc):
        amount = _of_all_lanes(p, acc, value, amount)
    if own:
        check_range(p, acc, indices, eqn, at)
        assert p.packing is not None
        target, indices = p.packing.rows[acc], indices[1:]
        places = ", ".join(p.value(i).text for i in indices)
        if indices:
            target = f"{target}.part({places})" if isinstance(value.type, TensorType) else f"{target}({places})"
    elif indices:
        check_range(p, acc, indices, eqn, at)
        places = ", ".join(p.value(i).text for i in indices)
        target = f"{target}.part({places})" if isinstance(value.type, TensorType) else f"{target}({places})"
    if isinstance(value.type, TensorType):
        p.needs_runtime = True
        at.writer.statement(f"ks::add_to(rt, {target}, {amount.text}, {line_of(eqn.span)});", eqn.span, amount.origins)
    elif indices and p.walk is not None and p.walk.together:
        p.walk.write("adds to an element", eqn.span)
        p.needs_runtime = True
        at.writer.statement(f"ks::add(rt, {target}, {amount.text});", eqn.span, amount.origins)
    elif p.going_on is not None and (own or total is not None or p.varies(acc)):
        added = Expr(CppExpr(f"{target} + {amount.cpp.within(ADDITIVE + 1)}", ADDITIVE))
        at.writer.statement(f"{target} = {chosen(p.going_on, added, target).text};", eqn.span, amount.origins)
    elif amount.text.startswith("-") and amount.infix is None:
        at.writer.statement(f"{target} -= {amount.text[1:]};", eqn.span, amount.origins)
    else:
        at.writer.statement(f"{target} += {amount.text};", eqn.span, amount.origins)


def _of_all_lanes(p: Printer, acc: Atom, value: Atom, amount: Expr) -> Expr:
    """What iterations that run side by side add together to an accumulator that they share."""
    assert p.packing is not None
    if p.going_on is not None and acc not in p.packing.own:
        zero = f"{p.packing.pack}(0)"
        if not p.varies(value):
            amount = replace(amount, cpp=CppExpr(f"{p.packing.pack}({amount.text})", PRIMARY))
        return replace(amount, cpp=CppExpr(f"ks::sum({chosen(p.going_on, amount, zero).text})", PRIMARY), infix=None)
    if p.varies(value):
        minus = amount.text.startswith("-") and amount.infix is None
        text = f"-ks::sum({amount.text[1:]})" if minus else f"ks::sum({amount.text})"
        return replace(amount, cpp=CppExpr(text, UNARY if minus else PRIMARY), infix=None)
    if acc in p.packing.own:
        return amount
    return replace(amount, cpp=CppExpr(f"{p.packing.pack}::lanes * {amount.cpp.within(PRIMARY)}", UNARY), infix=None)


def check_range(
    p: Printer, tensor: Atom, indices: Sequence[Atom], eqn: Eqn, at: Context, *, dims: Collection[int] | None = None
) -> None:
    """Stop the kernel where an index is out of range, unless it is known not to be; in some ``dims``, or in all."""
    where = p.value(tensor).cpp.within(PRIMARY)
    conditions = []
    places = []
    checked = [(dim, index) for dim, index in enumerate(indices) if dims is None or dim in dims]
    for dim, index in checked:
        if not p.in_range.is_safe(tensor, dim, index, eqn):
            if p.packing is not None and index is p.packing.index:
                raise NotPackedError
            known = p.sizes.get((tensor, dim))
            size = known if known is not None and known in at.scope else f"{where}.size[{dim}]"
            conditions.append(f"ks::outside({p.value(index).text}, {size})")
            places.append((dim, p.value(index).text, size))
    for dim, index in checked:
        p.in_range.checked(tensor, dim, index)
    if conditions:
        failing = Expr(CppExpr(" || ".join(conditions), LOGICAL_AND if len(conditions) > 1 else PRIMARY))
        fail_index_if(p, failing, tensor.name if isinstance(tensor, Var) else "", places, eqn.span, at)


def fail_index_if(
    p: Printer, failing: Expr, name: str, places: Sequence[tuple[int, str, str]], span: Span | None, at: Context
) -> None:
    """Stop the kernel where an index into the tensor ``name`` is out of range, and say which.

    ``places`` are the dimensions that come into question, with the index and the size of each.
    """
    shown = "" if is_temporary(name) else name
    each = ", ".join(f"{{{dim}, {index}, {size}}}" for dim, index, size in places)
    p.stop_if(failing, f"fail_index({line_of(span)}, {string_literal(shown)}, {{{each}}})", span, at)


def element(p: Printer, tensor: Atom, indices: Sequence[Atom], span: Span | None) -> Expr:
    """An element, or the part of a tensor that fewer indices leave."""
    value = p.value(tensor)
    assert isinstance(tensor.type, TensorType)
    if p.packing is not None and indices[0] is p.packing.index:
        return _of_each_lane(p, tensor, indices, span)
    whole = len(indices) == tensor.type.rank
    if p.walk is not None and whole:
        p.walk.glance()
    access = "" if whole else ".part"
    for rank in range(2, len(indices) + 1) if whole and p.flat else ():
        flat = p.flat.get(tuple(index for index in indices[-rank:] if isinstance(index, Var)))
        if flat is not None:
            return _flat_element(p, tensor, indices[:-rank], flat, span)
    values = [p.value(index) for index in indices]
    reads = value.reads.union(*(index.reads for index in values))
    if whole and isinstance(tensor, Var):
        reads |= {tensor}
    only = _only_dimension(p, tensor.type, indices) if whole and p.packing is None and p.walk is None else None
    places = f"({', '.join(index.text for index in values)})" if only is None else f"[{values[only].text}]"
    return Expr(
        CppExpr(f"{value.cpp.within(PRIMARY)}{access}{places}"), reads, None, span, folded=origins(value, *values)
    )


def _only_dimension(p: Printer, type_: TensorType, indices: Sequence[Atom]) -> int | None:
    """The dimension that is not known to be of size 1, if there is one of several: the elements lie side by side.

    Indices of the others are not written, so nothing but loops may have made variables of them.
    """
    others = [dim for dim, size in enumerate(type_.sizes) if size != 1]
    if type_.rank < 2 or len(others) != 1:
        return None
    unread = (index for dim, index in enumerate(indices) if dim != others[0] and isinstance(index, Var))
    return others[0] if all(map(p.analysis.is_index, unread)) else None


def _of_each_lane(p: Printer, tensor: Atom, indices: Sequence[Atom], span: Span | None) -> Expr:
    """The elements that iterations that run side by side read at their own index."""
    assert p.packing is not None and isinstance(tensor, Var)
    values = [p.value(index) for index in indices]
    reads = p.value(tensor).reads.union({tensor}, *(index.reads for index in values))
    rows = p.packing.rows.get(tensor)
    if rows and p.packing.whole_rows:
        return Expr(CppExpr(_of_rows(p, tensor, rows, indices[1:])), reads, None, span)
    shown = [value.text for value in values]
    text = f"{rows}({', '.join(shown[1:])})" if rows else f"ks::gather({', '.join([p.value(tensor).text, *shown])})"
    return Expr(CppExpr(text), reads, None, span)


def _of_rows(p: Printer, tensor: Var, rows: str, indices: Sequence[Atom]) -> str:
    """An element or a part of the rows of iterations that run side by side."""
    assert isinstance(tensor.type, TensorType)
    if not indices:
        return rows
    whole = len(indices) == tensor.type.rank - 1
    places = ", ".join(p.value(index).text for index in indices)
    return f"{rows}({places})" if whole else f"{rows}.part({places})"


def _flat_element(p: Printer, tensor: Atom, leading: Sequence[Atom], flat: str, span: Span | None) -> Expr:
    """An element of a nest that is one loop; a part that each turn makes would keep it from being vectorised."""
    value = p.value(tensor)
    values = [p.value(index) for index in leading]
    assert isinstance(tensor.type, TensorType)
    part, place = "", flat
    if len(values) == 1:
        place = f"{math.prod(size or 0 for size in tensor.type.sizes[1:])} * {values[0].cpp.within(PRIMARY)} + {flat}"
    elif values:
        part = f".part({', '.join(index.text for index in values)})"
    reads = value.reads.union(*(index.reads for index in values))
    if isinstance(tensor, Var):
        reads |= {tensor}
    return Expr(
        CppExpr(f"{value.cpp.within(PRIMARY)}{part}[{place}]"), reads, None, span, folded=origins(value, *values)
    )


def _put(
    p: Printer,
    name: str,
    places: Sequence[str],
    value: Expr,
    atom: Atom,
    span: Span | None,
    writer: Writer,
    *,
    nested: bool,
) -> None:
    where = ", ".join(places)
    if isinstance(atom.type, TensorType) and not nested:
        p.needs_runtime = True
        writer.statement(f"ks::put(rt, {name}.part({where}), {value.text}, {line_of(span)});", span, value.origins)
    else:
        if p.walk is not None and p.walk.together:
            p.walk.write("stores an element", span)
            writer.statement(f"ks::store(rt, {name}({where}), {value.text});", span, value.origins)
            p.needs_runtime = True
        else:
            writer.statement(assignment(f"{name}({where})", value), span, value.origins)
