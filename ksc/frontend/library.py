"""Functions that are known by identity: Python's built-ins, math, and the scalar functions of torch."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import torch

from ksc.errors import KnossosError
from ksc.frontend import operators
from ksc.frontend.frame import Frame
from ksc.frontend.python import BUILTINS
from ksc.frontend.python.calls import Handler
from ksc.frontend.source import plain_function
from ksc.frontend.tensors import elementwise
from ksc.frontend.values import Dynamic, Static, Value, describe, is_number, scalar_type
from ksc.ir.types import Bool, Float, Integer, Type
from ksc.ops import Primitive, primitive
from ksc.ops.intrinsics import Intrinsic
from ksc.ops.names import Lowering, lowering_of


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
