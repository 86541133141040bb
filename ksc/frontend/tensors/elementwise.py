"""Functions of numbers on tensors: traced on the elements, in the body of a ``build`` over the broadcast sizes."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType

from ksc.frontend import operators
from ksc.frontend.frame import Frame
from ksc.frontend.storage import storages
from ksc.frontend.tensors.inlining import inlined
from ksc.frontend.tensors.op import Op, Tensor
from ksc.frontend.tensors.scalars import Scalar
from ksc.frontend.tensors.table import Handler, torch_function
from ksc.frontend.values import Ref, Static, Struct, Value, describe, scalar_type
from ksc.ir.types import Bool, Float, Integer
from ksc.ops.library import integers

OfNumbers = Callable[[Sequence[Value]], Value]


def elementwise(op: Op, function: OfNumbers, values: Sequence[Value]) -> Value:
    """``function`` of the elements of the tensors among ``values``; what is not a tensor stays as it is.

    Where the function gives a tuple, so does this: of tensors.
    """
    tensors = [op.tensor(value) if op.is_tensor(value) else None for value in values]
    sizes = op.broadcast([tensor.sizes for tensor in tensors if tensor is not None])
    shape: list[Struct] = []

    def body(index: list[Scalar]) -> list[Scalar]:
        pairs = zip(values, tensors, strict=True)
        given = [value if tensor is None else element_of(tensor, index).value for value, tensor in pairs]
        found = function(given)
        if isinstance(found, Struct):
            shape.append(found)
            return [Scalar.of(op, item) for item in found.items]
        return [Scalar.of(op, found)]

    results = op.build_many(sizes, body)
    if shape:
        return op.results(shape[0].cls, results, shape[0].keys)
    return op.result(results[0])


def element_of(tensor: Tensor, index: Sequence[Scalar]) -> Scalar:
    """The element of a tensor that takes part in the element ``index`` of a broadcast result."""
    return tensor.spread(list(index))


def lifted(name: str, scalar: Handler, library: FunctionType | None = None) -> Handler:
    """A function of numbers as one that takes tensors too; ``library`` is it as a Python function, if it is one."""
    parameters = list(inspect.signature(library).parameters) if library is not None else []

    def handler(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
        op = Op(frame, name, node)
        if not any(op.is_tensor(value) for value in (*args, *kwargs.values())):
            return scalar(frame, args, kwargs, node)
        if "out" in kwargs:
            op.refuse("with out=", f"bind the result: `y = {name}(…)`", code="KS107")
        given = {**dict(zip(parameters, args, strict=False)), **kwargs}
        inplace = given.get("inplace")
        if isinstance(inplace, Static) and inplace.value:
            op.refuse("with inplace=True", f"bind the result: `x = {name}(x)`", code="KS107")
        names = list(kwargs)

        def function(elements: Sequence[Value]) -> Value:
            named = dict(zip(names, elements[len(args) :], strict=True))
            if library is not None and not _floats(elements):
                form = _form(library, elements)
                return as_written(frame, name, form, elements[: len(args)], named, node)
            return scalar(frame, elements[: len(args)], named, node)

        return elementwise(op, function, [*args, *kwargs.values()])

    return handler


def _floats(elements: Sequence[Value]) -> bool:
    """Whether the elements are of the type that the functions of the library are annotated with."""
    return all(scalar_type(value) in (Float, None) for value in elements if not isinstance(value, Static))


def _form(library: FunctionType, elements: Sequence[Value]) -> FunctionType:
    """The function of the library for such elements: of Integers it may have a form of its own."""
    types = {scalar_type(value) for value in elements if not isinstance(value, Static)}
    form = getattr(integers, library.__name__, library) if types == {Integer} else library
    assert isinstance(form, FunctionType)
    return form


def as_written(
    frame: Frame,
    name: str,
    library: FunctionType,
    args: Sequence[Value],
    kwargs: Mapping[str, Value],
    node: ast.AST,
) -> Value:
    """The value of a library function of numbers without regard to its annotations: of Integers it may be one."""
    from ksc.frontend.calls import bind_arguments, defaults_of
    from ksc.frontend.functions import locate

    _, definition, _ = locate(library)
    values = bind_arguments(frame, name, definition, args, kwargs, defaults_of(frame, library, node), node)
    return inlined(frame, library, values, node)


def binary(frame: Frame, op: ast.operator, left: Value, right: Value, node: ast.AST) -> Value:
    """``left op right`` where one is a tensor."""
    symbol = operators.SYMBOLS[type(op)]
    call = Op(frame, f"`{symbol}`", node)
    for side in (left, right):
        if not call.is_tensor(side) and scalar_type(side) is None:
            reason = f"`{symbol}` is not defined on {describe(left)} and {describe(right)}"
            frame.refuse(node, reason, "use tensors and numbers", code="KS200")
    rounding = call.is_tensor(right)
    return elementwise(
        call, lambda pair: binary_element(frame, op, pair[0], pair[1], node, rounding=rounding), [left, right]
    )


def binary_element(
    frame: Frame, op: ast.operator, left: Value, right: Value, node: ast.AST, *, rounding: bool = False
) -> Value:
    """``left op right`` for two elements, of which two truth values stay truth values as in torch.

    A negative power of an Integer is rounded towards 0 where ``rounding``, as with a tensor of exponents.
    """
    call = Op(frame, f"`{operators.SYMBOLS[type(op)]}`", node)
    if scalar_type(left) == scalar_type(right) == Bool:
        match op:
            case ast.Add():
                return operators.either(frame, left, right, node)
            case ast.Mult():
                return operators.both(frame, left, right, node)
            case ast.Sub():
                frame.refuse(node, "`-` is not defined on truth values", "use `^` or logical_xor()", code="KS200")
    if isinstance(op, ast.Pow) and Float not in (scalar_type(left), scalar_type(right)):
        base, exponent = Scalar.of(call, left).as_(Integer), Scalar.of(call, right).as_(Integer)
        if rounding:
            return _rounded_power(call, base, exponent).value
        if not (isinstance(right, Static) and right.value >= 0):
            call.require(exponent >= 0, "an Integer to a negative power is not an Integer")
        return call.apply("ipow", base, exponent).value
    return operators.binary(frame, op, left, right, node)


def _rounded_power(op: Op, base: Scalar, exponent: Scalar) -> Scalar:
    """``base ** exponent`` of Integers, rounded towards 0, and 0 for a negative power of 0."""
    whole = op.apply("ipow", base, op.apply("max", exponent, 0))
    sign = (exponent % 2).eq(0).select(1, base)
    inverse = (base.eq(1) | base.eq(-1)).select(sign, 0)
    return (exponent < 0).select(inverse, whole)


def unary(frame: Frame, op: ast.unaryop, value: Value, node: ast.AST) -> Value:
    """``op value`` of a tensor."""
    symbol = operators.SYMBOLS[type(op)]

    def element(values: Sequence[Value]) -> Value:
        if scalar_type(values[0]) == Bool:
            if isinstance(op, ast.Invert):
                return operators.negate(frame, values[0], node)
            frame.refuse(node, f"`{symbol}` is not defined on truth values", "use `~` or logical_not()", code="KS200")
        return operators.unary(frame, op, values[0], node)

    return elementwise(Op(frame, f"`{symbol}`", node), element, [value])


def compare(frame: Frame, op: ast.cmpop, left: Value, right: Value, node: ast.AST) -> Value:
    """``left op right`` where one is a tensor: a tensor of truth values."""
    symbol = operators.SYMBOLS[type(op)]
    call = Op(frame, f"`{symbol}`", node)
    for side in (left, right):
        if not call.is_tensor(side) and scalar_type(side) is None:
            reason = f"`{symbol}` is not defined on {describe(left)} and {describe(right)}"
            frame.refuse(node, reason, "use tensors and numbers", code="KS200")
    return elementwise(call, lambda pair: operators.compare(frame, op, pair[0], pair[1], node), [left, right])


def single(frame: Frame, value: Value, node: ast.AST) -> Value:
    """A tensor of one element as the number in it; any other value as it is."""
    if not operators.is_tensor(value):
        return value
    op = Op(frame, "item", node)
    x = op.tensor(value)
    if not all(size.is_(1) for size in x.sizes):
        reason = f"a tensor of rank {x.rank} is not a number"
        frame.refuse(node, reason, "use an element of it, or a reduction such as .sum()", code="KS200")
    return x[[op.number(0)] * x.rank].value


def first_or(frame: Frame, op: ast.cmpop, first: Value, second: Value, node: ast.AST) -> Value:
    """What Python's min and max give of two tensors of one element: one of them, the second only where it wins."""
    call = Op(frame, "max" if isinstance(op, ast.Gt) else "min", node)
    a, b = (Scalar.of(call, single(frame, value, node)) for value in (first, second))
    wins = Scalar.of(call, operators.compare(frame, op, b.value, a.value, node))
    made = call.result(call.rank_0(wins.select(b, a)))
    assert isinstance(made, Ref)
    for cell in {*storages(first), *storages(second)}:
        for one in (cell, *cell.others):
            made.cell.may_be(one)
    return made


def truth(frame: Frame, value: Value, node: ast.AST) -> Value:
    """``bool(value)`` of a tensor: it must have one element."""
    op = Op(frame, "bool", node)
    x = op.tensor(value)
    if not all(size.is_(1) for size in x.sizes):
        reason = "the truth value of a tensor of more than one element is ambiguous"
        frame.refuse(node, reason, "use .any() or .all(), or torch.where()", code="KS200")
    return operators.truth_of(frame, x[[op.number(0)] * x.rank].value, node)


# The functions that are operators.


def _scaled(op: Op, value: Value, alpha: Value) -> Value:
    if isinstance(alpha, Static) and alpha.value == 1:
        return value
    return operators.binary(op.frame, ast.Mult(), alpha, value, op.node)


@torch_function("add")
def add(op: Op, input: Value, other: Value, *, alpha: Value = Static(1)) -> Value:
    """``input + alpha * other``."""
    return operators.binary(op.frame, ast.Add(), input, _scaled(op, other, alpha), op.node)


@torch_function("sub", "subtract")
def sub(op: Op, input: Value, other: Value, *, alpha: Value = Static(1)) -> Value:
    """``input - alpha * other``."""
    return operators.binary(op.frame, ast.Sub(), input, _scaled(op, other, alpha), op.node)


def _enter_operators() -> None:
    table: dict[str, ast.operator] = {
        "mul": ast.Mult(),
        "multiply": ast.Mult(),
        "floor_divide": ast.FloorDiv(),
        "remainder": ast.Mod(),
        "bitwise_and": ast.BitAnd(),
        "bitwise_or": ast.BitOr(),
        "bitwise_xor": ast.BitXor(),
        "bitwise_left_shift": ast.LShift(),
        "bitwise_right_shift": ast.RShift(),
    }
    for name, symbol in table.items():
        torch_function(name)(_two(symbol))


def _two(symbol: ast.operator) -> Callable[..., Value]:
    def function(op: Op, input: Value, other: Value) -> Value:
        return operators.binary(op.frame, symbol, input, other, op.node)

    return function


_enter_operators()


@torch_function("pow")
def pow(op: Op, input: Value, exponent: Value) -> Value:
    """``input ** exponent``."""
    return operators.binary(op.frame, ast.Pow(), input, exponent, op.node)


@torch_function("bitwise_not")
def bitwise_not(op: Op, input: Value) -> Value:
    """``~input``."""
    return operators.unary(op.frame, ast.Invert(), input, op.node)


@torch_function("neg", "negative")
def neg(op: Op, input: Value) -> Value:
    """``-input``."""
    return operators.unary(op.frame, ast.USub(), input, op.node)
