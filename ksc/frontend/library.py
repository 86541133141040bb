"""Functions that are known by identity: Python's built-ins, math, and the scalar functions of torch."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import torch

from ksc.errors import KnossosError
from ksc.frontend import operators
from ksc.frontend.frame import Frame
from ksc.frontend.iteration import backwards, enumerated, is_lazy, reversed_range, static_items, zipped
from ksc.frontend.iterators import ITERATORS
from ksc.frontend.rows import count_of, single_part
from ksc.frontend.source import plain_function
from ksc.frontend.tensors import elementwise
from ksc.frontend.tensors.array import size_of, sizes_of
from ksc.frontend.tensors.dtypes import is_left_to_caller
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
    is_number,
    is_weak,
    leaves,
    scalar_type,
)
from ksc.ir.nodes import Const, const
from ksc.ir.types import Bool, Float, Integer, Type
from ksc.ops import Primitive, primitive
from ksc.ops.intrinsics import Intrinsic
from ksc.ops.names import Lowering, lowering_of

Handler = Callable[[Frame, Sequence[Value], Mapping[str, Value], ast.AST], Value]


@dataclass(frozen=True, slots=True, eq=False)
class NumberMethod:
    """A method of a number, such as ``x.sin()``: the function that it stands for, and the number."""

    function: object
    owner: Value


def method_of_number(name: str) -> object | None:
    """The function that a tensor method of this name stands for on a number, None where there is none."""
    if name.startswith("_") or hasattr(float, name):
        return None
    method: object = getattr(torch.Tensor, name, None)
    return method if lowering_of(method) is not None else None


def known_function(obj: object) -> Handler | None:
    """How a call of ``obj`` is traced, None where it is not known."""
    from ksc.frontend.tensors.functions import library_function, refused_function, tensor_function

    try:
        handler = BUILTINS.get(obj)
    except TypeError:
        return None
    if handler is not None:
        return handler
    of_tensors, lowering = tensor_function(obj), lowering_of(obj)
    if lowering is None:
        return of_tensors or library_function(obj) or refused_function(obj)
    of_numbers = _lowered(obj, lowering)
    if getattr(obj, "__module__", None) == "math":
        return _of_python_numbers(of_numbers)
    function = plain_function(lowering.function)
    return _either(of_numbers, of_tensors or elementwise.lifted(_name_of(obj), of_numbers, function))


def _either(of_numbers: Handler, of_tensors: Handler) -> Handler:
    def handler(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
        tensors = any(map(operators.is_tensor, (*args, *kwargs.values())))
        return (of_tensors if tensors else of_numbers)(frame, args, kwargs, node)

    return handler


def _of_python_numbers(function: Handler) -> Handler:
    """A function of Python's ``math``, which takes a tensor of one element as the number in it."""

    def handler(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
        numbers = [elementwise.single(frame, arg, node) for arg in args]
        return function(frame, numbers, kwargs, node)

    return handler


def method_of_tensor(name: str) -> object | None:
    """The function that a method of this name of a tensor is, None where kernels do not know it."""
    method: object = None if name.startswith("_") else getattr(torch.Tensor, name, None)
    return method if callable(method) and known_function(method) is not None else None


def _lowered(obj: Any, lowering: Lowering) -> Handler:
    """A function of math or torch: constants are evaluated where Python can, the rest becomes primitives."""

    def handler(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
        from ksc.frontend.calls import call_function

        given = [*args, *kwargs.values()]
        evaluable = isinstance(obj, Intrinsic) or getattr(obj, "__module__", None) == "math"
        if evaluable and all(isinstance(arg, Static) and is_number(arg.value) for arg in given):
            named = {key: arg.value for key, arg in kwargs.items()}  # type: ignore[attr-defined]
            try:
                return Static(obj(*(arg.value for arg in args), **named))  # type: ignore[attr-defined]
            except (ValueError, OverflowError, ZeroDivisionError, TypeError, KnossosError):
                pass
        if lowering.function is not None:
            function = lowering.function
            assert isinstance(function, FunctionType)
            return call_function(frame, function, args, kwargs, node)
        return _primitive_call(frame, _name_of(obj), lowering, args, kwargs, node)

    return handler


def _name_of(obj: Any) -> str:
    return str(getattr(obj, "__name__", None) or getattr(obj, "name", obj))


def _primitive_call(
    frame: Frame,
    name: str,
    lowering: Lowering,
    args: Sequence[Value],
    kwargs: Mapping[str, Value],
    node: ast.AST,
) -> Value:
    assert lowering.primitive is not None
    record = primitive(lowering.primitive)
    values = list(args)
    for key in lowering.params[len(args) :]:
        if key in kwargs:
            values.append(kwargs[key])
    if len(values) != record.arity or len(values) != len(args) + len(kwargs):
        numbers = "one number" if record.arity == 1 else f"{record.arity} numbers"
        given = ", ".join([*map(describe, args), *(f"{key}=…" for key in kwargs)])
        frame.refuse(node, f"{name}() takes {numbers}, not ({given})", f"pass {numbers} by position", code="KS204")
    for value in values:
        if scalar_type(value) is None:
            frame.refuse(node, f"{name}() takes numbers, not {describe(value)}", "pass numbers", code="KS200")
    atoms = [frame.atom(value, node) for value in values]
    wanted = _overload(record, [atom.type for atom in atoms])
    if wanted is None:
        shown = ", ".join(str(atom.type) for atom in atoms)
        frame.refuse(node, f"{name}() is not defined on ({shown})", "convert with float() or int()", code="KS200")
    pairs = zip(atoms, wanted, strict=True)
    return Dynamic(frame.apply(node, record.name, *(frame.cast(atom, type_, node) for atom, type_ in pairs)))


def _overload(record: Primitive, types: list[Type]) -> tuple[Type, ...] | None:
    """The argument types to convert to: those of the first overload that is met, or else that can be."""
    order = (Bool, Integer, Float)
    exact = [overload.args for overload in record.overloads if list(overload.args) == types]
    widened = [
        overload.args
        for overload in record.overloads
        if all(order.index(have) <= order.index(want) for have, want in zip(types, overload.args, strict=True))
    ]
    return next(iter([*exact, *widened]), None)


def _arity(
    frame: Frame, name: str, args: Sequence[Value], kwargs: Mapping[str, Value], low: int, high: int, node: ast.AST
) -> None:
    if kwargs:
        reason = f"{name}() with the keyword argument {next(iter(kwargs))!r}"
        frame.refuse(node, reason, "pass arguments by position", code="KS204")
    if not low <= len(args) <= high:
        many = f"{low}" if low == high else f"{low} to {high}"
        frame.refuse(
            node, f"{name}() takes {many} arguments but {len(args)} are given", "see its signature", code="KS204"
        )


def _range(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
    _arity(frame, "range", args, kwargs, 1, 3, node)
    args = [elementwise.single(frame, arg, node) for arg in args]
    for arg in args:
        if scalar_type(arg) not in (Integer, Bool):
            frame.refuse(node, f"range() takes Integers, not {describe(arg)}", "convert with int()", code="KS200")
    if all(isinstance(arg, Static) for arg in args):
        return operators.evaluate_static(frame, range, tuple(arg.value for arg in args), node)  # type: ignore[attr-defined]
    whole = [
        Dynamic(frame.cast(arg.atom, Integer, node), arg.weak) if isinstance(arg, Dynamic) else arg for arg in args
    ]
    if len(whole) == 1:
        return Range(Static(0), whole[0], Static(1))
    return Range(whole[0], whole[1], whole[2] if len(whole) == 3 else Static(1))


def _float(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
    _arity(frame, "float", args, kwargs, 0, 1, node)
    if all(isinstance(arg, Static) for arg in args):
        return operators.evaluate_static(frame, float, tuple(arg.value for arg in args), node)  # type: ignore[attr-defined]
    number = elementwise.single(frame, args[0], node)
    return Dynamic(frame.cast(frame.atom(number, node), Float, node))


def _int(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
    _arity(frame, "int", args, kwargs, 0, 1, node)
    if all(isinstance(arg, Static) for arg in args):
        return operators.evaluate_static(frame, int, tuple(arg.value for arg in args), node)  # type: ignore[attr-defined]
    atom = frame.atom(elementwise.single(frame, args[0], node), node)
    return Dynamic(frame.apply(node, "to_int", atom) if atom.type == Float else frame.cast(atom, Integer, node))


def _bool(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
    _arity(frame, "bool", args, kwargs, 0, 1, node)
    return operators.truth_of(frame, args[0], node) if args else FALSE


def _abs(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
    _arity(frame, "abs", args, kwargs, 1, 1, node)
    if isinstance(args[0], Static):
        return operators.evaluate_static(frame, abs, (args[0].value,), node)
    if operators.is_tensor(args[0]):
        of_tensor = known_function(torch.abs)
        assert of_tensor is not None
        return of_tensor(frame, args, kwargs, node)
    atom = frame.atom(args[0], node)
    return Dynamic(frame.apply(node, "abs", frame.cast(atom, operators.wider(atom.type, least=Integer), node)))


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
        if not (isinstance(key, Static) and key.value is None):
            _arity(frame, name, items, named, 1, 1 << 20, node)
            return _extremum_by(frame, op, key, items, node)
        kwargs = named
        _arity(frame, name, items, kwargs, 1, 1 << 20, node)
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
    _arity(frame, "sum", args, {key: value for key, value in kwargs.items() if key != "start"}, 1, 2, node)
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
    of_tensor = known_function(torch.sum)
    assert of_tensor is not None
    if tensor.rank > 1:
        some = frame.apply(node, "gt", size_of(frame, node, tensor, 0), const(0))
        frame.emit(node, "assert", [some], [], params={"message": "sum() of no tensors"})
    total = of_tensor(frame, [tensor, Static(0)], {}, node)
    if isinstance(start, Static) and type(start.value) is int and start.value == 0:
        return total
    return operators.binary(frame, ast.Add(), start, total, node)


def _sum_of_rows(frame: Frame, rows: Rows, start: Value, node: ast.AST) -> Value:
    part = single_part(frame, rows, node)
    of_tensor = known_function(torch.sum)
    assert of_tensor is not None
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
        _arity(frame, name, args, kwargs, 1, 1, node)
        if isinstance(args[0], Rows) and (part := single_part(frame, args[0], node)).elem == Bool and part.rank == 1:
            of_tensor = known_function(getattr(torch, name))
            assert of_tensor is not None
            return Dynamic(frame.array(of_tensor(frame, [part], {}, node), node).atom)
        result = unit
        _refuse_rows(frame, name, args, node)
        for item in static_items(frame, args[0], node):
            result = join(frame, result, operators.truth_of(frame, item, node), node)
        return result

    return handler


def _len(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
    _arity(frame, "len", args, kwargs, 1, 1, node)
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


def _sequence(cls: type) -> Handler:
    def handler(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
        _arity(frame, cls.__name__, args, kwargs, 0, 1, node)
        return Struct(cls, tuple(static_items(frame, args[0], node)) if args else ())

    return handler


def _zip(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
    strict = kwargs.get("strict", FALSE)
    _arity(frame, "zip", args, {key: value for key, value in kwargs.items() if key != "strict"}, 0, 1 << 20, node)
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
    _arity(frame, "enumerate", args, {key: value for key, value in kwargs.items() if key != "start"}, 1, 2, node)
    lazy = enumerated(frame, args[0], start, node)
    if lazy is not None:
        return lazy
    first = frame.require_static(start, node, "the start of enumerate()", "use a constant")
    rows = enumerate(static_items(frame, args[0], node), first)
    return Struct(tuple, tuple(Struct(tuple, (Static(k), item)) for k, item in rows))


def _reversed(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
    _arity(frame, "reversed", args, kwargs, 1, 1, node)
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

    _arity(frame, "map", args, kwargs, 2, 1 << 20, node)
    columns = [static_items(frame, arg, node) for arg in args[1:]]
    return Struct(tuple, tuple(call(frame, args[0], row, {}, node) for row in zip(*columns, strict=False)))


def _sorted(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
    from ksc.frontend.calls import call, python_constant

    reverse, key = kwargs.get("reverse", FALSE), kwargs.get("key", Static(None))
    others = {name: value for name, value in kwargs.items() if name not in ("reverse", "key")}
    _arity(frame, "sorted", args, others, 1, 1, node)
    items = static_items(frame, args[0], node)
    by = items
    if not (isinstance(key, Static) and key.value is None):
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


def _round(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
    args = [*args, kwargs["ndigits"]] if "ndigits" in kwargs else args
    _arity(frame, "round", args, {}, 1, 2, node)
    digits = frame.require_static(args[1], node, "the digits of round()", "use a constant") if len(args) > 1 else None
    if isinstance(args[0], Static):
        return operators.evaluate_static(frame, round, (args[0].value, digits), node)
    atom = frame.atom(elementwise.single(frame, args[0], node), node)
    if atom.type != Float:
        if digits is not None and digits < 0:
            frame.refuse(node, "round() of an Integer to tens", "use `//` and `*`", code="KS200")
        return Dynamic(frame.cast(atom, Integer, node), is_weak(args[0]))
    if digits is None:
        return Dynamic(frame.apply(node, "to_int", frame.apply(node, "round", atom)))
    scale = const(10.0 ** abs(digits))
    there, back = ("mul", "div") if digits >= 0 else ("div", "mul")
    return Dynamic(frame.apply(node, back, frame.apply(node, "round", frame.apply(node, there, atom, scale)), scale))


def _divmod(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
    _arity(frame, "divmod", args, kwargs, 2, 2, node)
    quotient = operators.binary(frame, ast.FloorDiv(), args[0], args[1], node)
    return Struct(tuple, (quotient, operators.binary(frame, ast.Mod(), args[0], args[1], node)))


def _pow(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
    _arity(frame, "pow", args, kwargs, 2, 2, node)
    return operators.binary(frame, ast.Pow(), args[0], args[1], node)


def _isinstance(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
    _arity(frame, "isinstance", args, kwargs, 2, 2, node)
    classes = _classes(frame, args[1], node)
    match args[0]:
        case Static(obj):
            found = isinstance(obj, classes)
        case Struct(cls=cls):
            found = issubclass(cls, classes)
        case Ref(cell=cell) if cell.mixed:
            reason = "it depends on the arguments whether this is a number or a tensor"
            frame.refuse(node, reason, "start with a tensor, as in `torch.zeros(())`", code="KS200")
        case Array() | Ref():
            found = issubclass(torch.Tensor, classes)
        case Dynamic(atom=atom):
            found = issubclass({Float: float, Integer: int, Bool: bool}[atom.type], classes)
        case other:
            frame.refuse(node, f"isinstance() of {describe(other)}", "ask about numbers and tuples", code="KS200")
    return TRUE if found else FALSE


def _is_tensor(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
    _arity(frame, "is_tensor", args, kwargs, 1, 1, node)
    return _isinstance(frame, [args[0], Static(torch.Tensor)], {}, node)


def _classes(frame: Frame, value: Value, node: ast.AST) -> tuple[type, ...]:
    if isinstance(value, Struct):
        return tuple(cls for item in value.items for cls in _classes(frame, item, node))
    return (frame.require_static(value, node, "the class", "use classes known at compile time"),)


def _static(python: Callable[..., Any]) -> Handler:
    """A function of constants only."""

    def handler(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
        what = f"the argument of {python.__name__}()"
        instead = "text cannot depend on the arguments"
        values = tuple(frame.require_static(arg, node, what, instead) for arg in args)
        if any(map(is_left_to_caller, values)):
            frame.refuse(node, "a dtype or device is known when the kernel is called", instead, code="KS111")
        named = {key: frame.require_static(arg, node, what, instead) for key, arg in kwargs.items()}
        return operators.evaluate_static(frame, lambda *given: python(*given, **named), values, node)

    return handler


BUILTINS: dict[Any, Handler] = {
    range: _range,
    float: _float,
    int: _int,
    bool: _bool,
    abs: _abs,
    min: _extremum("min", ast.Lt(), min),
    max: _extremum("max", ast.Gt(), max),
    sum: _sum,
    any: _fold("any", operators.either, FALSE),
    all: _fold("all", operators.both, TRUE),
    len: _len,
    tuple: _sequence(tuple),
    list: _sequence(list),
    zip: _zip,
    enumerate: _enumerate,
    reversed: _reversed,
    map: _map,
    sorted: _sorted,
    round: _round,
    divmod: _divmod,
    pow: _pow,
    isinstance: _isinstance,
    torch.is_tensor: _is_tensor,
    str: _static(str),
    repr: _static(repr),
    **ITERATORS,
}
