"""Built-in functions of Python that take items: ``min``, ``sum``, ``any``, ``len``, ``zip``, ``sorted`` and so on."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from ksc.frontend import operators
from ksc.frontend.frame import Frame
from ksc.frontend.iteration import backwards, enumerated, is_lazy, reversed_range, static_items, zipped
from ksc.frontend.python.calls import Handler, require_arity, tensor_function
from ksc.frontend.rows import count_of, single_part
from ksc.frontend.tensors import elementwise
from ksc.frontend.tensors.array import size_of, sizes_of
from ksc.frontend.values import (
    FALSE,
    NONE,
    TRUE,
    Abstract,
    Array,
    Dynamic,
    Range,
    Ref,
    Rows,
    Static,
    Struct,
    Value,
    describe,
    is_none,
    is_weak,
    leaves,
    make_slice,
    scalar_type,
)
from ksc.ir.nodes import Const, const
from ksc.ir.types import Bool, Float, Integer


def _extremum(name: str, op: ast.cmpop, python: Callable[..., Any]) -> Handler:
    """``min`` or ``max`` as Python compares: a later argument wins only where it is strictly less (or greater)."""

    def handler(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
        items, named = list(args), dict(kwargs)
        _refuse_rows(frame, name, items, node)
        key, default = named.pop("key", NONE), named.pop("default", None)
        if len(items) == 1 and scalar_type(items[0]) is None:
            items = static_items(frame, items[0], node)
            if not items and default is not None:
                return default
        if not is_none(key):
            require_arity(frame, name, items, named, 1, 1 << 20, node)
            return _extremum_by(frame, op, key, items, node)
        kwargs = named
        require_arity(frame, name, items, kwargs, 1, 1 << 20, node)
        result = items[0]
        for item in items[1:]:
            if isinstance(result, Static) and isinstance(item, Static):
                result = operators.evaluate_static(frame, python, (result.value, item.value), node)
                continue
            if operators.is_tensor(result) or operators.is_tensor(item):
                result = elementwise.first_or(frame, op, result, item, node)
                continue
            a, b = frame.atom(result, node), frame.atom(item, node)
            type_ = operators.wider(a.type, b.type, least=Integer)
            a, b = frame.cast(a, type_, node), frame.cast(b, type_, node)
            wins = operators.compare(frame, op, Dynamic(b), Dynamic(a), node)
            weak = type_ == Integer and is_weak(result) and is_weak(item)
            result = Dynamic(frame.apply(node, "select", frame.atom(wins, node), b, a), weak)
        return result

    return handler


def _extremum_by(frame: Frame, op: ast.cmpop, key: Value, items: Sequence[Value], node: ast.AST) -> Value:
    """The item whose key is the least, or the greatest."""
    from ksc.frontend.calls import call
    from ksc.frontend.logic import choose

    best, bound = items[0], call(frame, key, [items[0]], {}, node)
    for item in items[1:]:
        own = call(frame, key, [item], {}, node)
        wins = operators.truth_of(frame, operators.compare(frame, op, own, bound, node), node)
        if isinstance(wins, Static):
            best, bound = (item, own) if wins.value else (best, bound)
            continue
        sides = (lambda a=item, b=own: Struct(tuple, (a, b)), lambda a=best, b=bound: Struct(tuple, (a, b)))
        found = choose(frame, wins, *sides, node, "the extreme item")
        assert isinstance(found, Struct)
        best, bound = found.items
    return best


def _sum(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
    start = kwargs.get("start", args[1] if len(args) > 1 else Static(0))
    require_arity(frame, "sum", args, {key: value for key, value in kwargs.items() if key != "start"}, 1, 2, node)
    if isinstance(args[0], Rows):
        return _sum_of_rows(frame, args[0], start, node)
    if isinstance(args[0], Array | Ref) and args[0].rank and not isinstance(args[0].sizes[0], Const):
        return _sum_of_tensor(frame, args[0], start, node)
    total = start
    for item in static_items(frame, args[0], node):
        zero = isinstance(total, Static) and type(total.value) is int and total.value == 0
        total = (
            item
            if zero and scalar_type(item) in (Float, Integer)
            else operators.binary(frame, ast.Add(), total, item, node)
        )
    return total


def _refuse_rows(frame: Frame, name: str, args: Sequence[Value], node: ast.AST) -> None:
    """Refuse (KS111) what Python would compare or test row by row, where the number of rows is not known."""
    if len(args) == 1 and isinstance(args[0], Array | Ref) and args[0].rank and not isinstance(args[0].sizes[0], Const):
        reason = f"{name}() takes the rows of {describe(args[0])} one by one, whose number depends on the arguments"
        frame.refuse(node, reason, f"use the method .{name}(), or a `for` loop", code="KS111")


def _sum_of_tensor(frame: Frame, tensor: Array | Ref, start: Value, node: ast.AST) -> Value:
    """The sum of the rows, of which there must be one at least where they are tensors."""
    of_tensor = tensor_function(torch.sum)
    if tensor.rank > 1:
        some = frame.apply(node, "gt", size_of(frame, node, tensor, 0), const(0))
        frame.emit(node, "assert", [some], [], params={"message": "sum() of no tensors"})
    total = of_tensor(frame, [tensor, Static(0)], {}, node)
    if isinstance(start, Static) and type(start.value) is int and start.value == 0:
        return total
    return operators.binary(frame, ast.Add(), start, total, node)


def _sum_of_rows(frame: Frame, rows: Rows, start: Value, node: ast.AST) -> Value:
    part = single_part(frame, rows, node)
    of_tensor = tensor_function(torch.sum)
    if part.rank > 1:
        _require_items(frame, rows, "sum() of no tensors", node)
    total = of_tensor(frame, [part, Static(0)], {}, node)
    if not (isinstance(rows.template, Abstract) and rows.template.is_tensor):
        total = Dynamic(frame.array(total, node).atom)
    if isinstance(start, Static) and type(start.value) is int and start.value == 0:
        return total
    return operators.binary(frame, ast.Add(), start, total, node)


def _require_items(frame: Frame, rows: Rows, message: str, node: ast.AST) -> None:
    some = frame.apply(node, "gt", count_of(frame, rows, node), const(0))
    frame.emit(node, "assert", [some], [], params={"message": message})


def _fold(name: str, join: Callable[[Frame, Value, Value, ast.AST], Value], unit: Value) -> Handler:
    def handler(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
        require_arity(frame, name, args, kwargs, 1, 1, node)
        if isinstance(args[0], Rows) and (part := single_part(frame, args[0], node)).elem == Bool and part.rank == 1:
            of_tensor = tensor_function(getattr(torch, name))
            return Dynamic(frame.array(of_tensor(frame, [part], {}, node), node).atom)
        result = unit
        _refuse_rows(frame, name, args, node)
        for item in static_items(frame, args[0], node):
            result = join(frame, result, operators.truth_of(frame, item, node), node)
        return result

    return handler


def _len(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
    require_arity(frame, "len", args, kwargs, 1, 1, node)
    match args[0]:
        case Struct(cls=cls, items=items) if issubclass(cls, tuple | list | dict):
            return Static(len(items))
        case Static(obj):
            return operators.evaluate_static(frame, len, (obj,), node)
        case Rows() as rows:
            count = count_of(frame, rows, node)
            return Static(int(count.value)) if isinstance(count, Const) else Dynamic(count)
        case Array() | Ref() as tensor if tensor.rank:
            return Dynamic(sizes_of(frame, node, frame.array(tensor, node))[0])
    frame.refuse(node, f"{describe(args[0])} has no length here", "take the length of a tuple", code="KS200")


def _slice(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
    require_arity(frame, "slice", args, kwargs, 1, 3, node)
    return make_slice(NONE, args[0]) if len(args) == 1 else make_slice(*args)


def _sequence(cls: type) -> Handler:
    def handler(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
        require_arity(frame, cls.__name__, args, kwargs, 0, 1, node)
        return Struct(cls, tuple(static_items(frame, args[0], node)) if args else ())

    return handler


def _zip(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
    strict = kwargs.get("strict", FALSE)
    require_arity(
        frame, "zip", args, {key: value for key, value in kwargs.items() if key != "strict"}, 0, 1 << 20, node
    )
    lazy = (
        zipped(frame, args, isinstance(strict, Static) and bool(strict.value), node)
        if any(map(is_lazy, args))
        else None
    )
    if lazy is not None:
        return lazy
    columns = [static_items(frame, arg, node) for arg in args]
    if isinstance(strict, Static) and strict.value and len({len(column) for column in columns}) > 1:
        frame.refuse(node, "zip(strict=True) of different lengths", "use the same length", code="KS207")
    return Struct(tuple, tuple(Struct(tuple, row) for row in zip(*columns, strict=False)))


def _enumerate(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
    start = kwargs.get("start", args[1] if len(args) > 1 else Static(0))
    require_arity(frame, "enumerate", args, {key: value for key, value in kwargs.items() if key != "start"}, 1, 2, node)
    lazy = enumerated(frame, args[0], start, node)
    if lazy is not None:
        return lazy
    first = frame.require_static(start, node, "the start of enumerate()", "use a constant")
    rows = enumerate(static_items(frame, args[0], node), first)
    return Struct(tuple, tuple(Struct(tuple, (Static(k), item)) for k, item in rows))


def _reversed(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
    require_arity(frame, "reversed", args, kwargs, 1, 1, node)
    match args[0]:
        case Static(obj) if isinstance(obj, range):
            return Static(obj[::-1])
        case Range() as found:
            return reversed_range(frame, found, node)
    lazy = backwards(frame, args[0], node)
    if lazy is not None:
        return lazy
    return Struct(tuple, tuple(reversed(static_items(frame, args[0], node))))


def _map(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
    from ksc.frontend.calls import call

    require_arity(frame, "map", args, kwargs, 2, 1 << 20, node)
    columns = [static_items(frame, arg, node) for arg in args[1:]]
    return Struct(tuple, tuple(call(frame, args[0], row, {}, node) for row in zip(*columns, strict=False)))


def _sorted(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
    from ksc.frontend.calls import call, python_constant

    reverse, key = kwargs.get("reverse", FALSE), kwargs.get("key", Static(None))
    others = {name: value for name, value in kwargs.items() if name not in ("reverse", "key")}
    require_arity(frame, "sorted", args, others, 1, 1, node)
    items = static_items(frame, args[0], node)
    by = items
    if not is_none(key):
        by = [call(frame, key, [item], {}, node) for item in items]
    for value in by:
        for leaf in leaves(value):
            instead = "sort by constants only; order two numbers with min() and max(), or use torch.sort"
            frame.require_static(leaf, node, "what is sorted by", instead)
    ranks = [python_constant(frame, value, node) for value in by]
    backwards = bool(frame.require_static(reverse, node, "the argument `reverse`", "use a constant"))
    order = operators.evaluate_static(
        frame, lambda values: sorted(range(len(values)), key=values.__getitem__, reverse=backwards), (ranks,), node
    )
    assert isinstance(order, Static)
    return Struct(list, tuple(items[k] for k in order.value))


ITEMS: dict[Any, Handler] = {
    min: _extremum("min", ast.Lt(), min),
    max: _extremum("max", ast.Gt(), max),
    sum: _sum,
    any: _fold("any", operators.either, FALSE),
    all: _fold("all", operators.both, TRUE),
    len: _len,
    slice: _slice,
    tuple: _sequence(tuple),
    list: _sequence(list),
    zip: _zip,
    enumerate: _enumerate,
    reversed: _reversed,
    map: _map,
    sorted: _sorted,
}
