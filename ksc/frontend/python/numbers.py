"""Built-in functions of Python that take numbers: ``range``, the conversions, ``abs``, ``round``, ``isinstance``."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from ksc.frontend import operators
from ksc.frontend.frame import Frame
from ksc.frontend.python.calls import Handler, require_arity, tensor_function
from ksc.frontend.tensors import elementwise
from ksc.frontend.tensors.dtypes import is_left_to_caller
from ksc.frontend.values import (
    FALSE,
    TRUE,
    Array,
    Dynamic,
    Range,
    Ref,
    Static,
    Struct,
    Value,
    describe,
    is_weak,
    scalar_type,
)
from ksc.ir.nodes import const
from ksc.ir.types import Bool, Float, Integer


def _range(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
    require_arity(frame, "range", args, kwargs, 1, 3, node)
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
    require_arity(frame, "float", args, kwargs, 0, 1, node)
    if all(isinstance(arg, Static) for arg in args):
        return operators.evaluate_static(frame, float, tuple(arg.value for arg in args), node)  # type: ignore[attr-defined]
    number = elementwise.single(frame, args[0], node)
    return Dynamic(frame.cast(frame.atom(number, node), Float, node))


def _int(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
    require_arity(frame, "int", args, kwargs, 0, 1, node)
    if all(isinstance(arg, Static) for arg in args):
        return operators.evaluate_static(frame, int, tuple(arg.value for arg in args), node)  # type: ignore[attr-defined]
    atom = frame.atom(elementwise.single(frame, args[0], node), node)
    return Dynamic(frame.apply(node, "to_int", atom) if atom.type == Float else frame.cast(atom, Integer, node))


def _bool(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
    require_arity(frame, "bool", args, kwargs, 0, 1, node)
    return operators.truth_of(frame, args[0], node) if args else FALSE


def _abs(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
    require_arity(frame, "abs", args, kwargs, 1, 1, node)
    if isinstance(args[0], Static):
        return operators.evaluate_static(frame, abs, (args[0].value,), node)
    if operators.is_tensor(args[0]):
        of_tensor = tensor_function(torch.abs)
        return of_tensor(frame, args, kwargs, node)
    atom = frame.atom(args[0], node)
    return Dynamic(frame.apply(node, "abs", frame.cast(atom, operators.wider(atom.type, least=Integer), node)))


def _round(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
    args = [*args, kwargs["ndigits"]] if "ndigits" in kwargs else args
    require_arity(frame, "round", args, {}, 1, 2, node)
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
    require_arity(frame, "divmod", args, kwargs, 2, 2, node)
    quotient = operators.binary(frame, ast.FloorDiv(), args[0], args[1], node)
    return Struct(tuple, (quotient, operators.binary(frame, ast.Mod(), args[0], args[1], node)))


def _pow(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
    require_arity(frame, "pow", args, kwargs, 2, 2, node)
    return operators.binary(frame, ast.Pow(), args[0], args[1], node)


def _isinstance(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
    require_arity(frame, "isinstance", args, kwargs, 2, 2, node)
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
    require_arity(frame, "is_tensor", args, kwargs, 1, 1, node)
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


NUMBERS: dict[Any, Handler] = {
    range: _range,
    float: _float,
    int: _int,
    bool: _bool,
    abs: _abs,
    round: _round,
    divmod: _divmod,
    pow: _pow,
    isinstance: _isinstance,
    torch.is_tensor: _is_tensor,
    str: _static(str),
    repr: _static(repr),
}
