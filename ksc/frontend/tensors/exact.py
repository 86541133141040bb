"""Functions of elements that keep integers and truth values exact, as torch's do."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType

from ksc.frontend import operators
from ksc.frontend.tensors.elementwise import as_written, elementwise
from ksc.frontend.tensors.op import Op
from ksc.frontend.tensors.scalars import Scalar
from ksc.frontend.tensors.table import torch_function
from ksc.frontend.values import NONE, Static, Value
from ksc.ir.types import Bool, Float, Integer
from ksc.ops.library import activations
from ksc.ops.library import elementwise as library


def _rounded(primitive: str) -> Callable[..., Value]:
    def function(op: Op, input: Value) -> Value:
        x = op.tensor(input)
        if x.type == Bool:
            op.refuse("is not defined on truth values", "convert with .long()")
        if x.type == Integer:
            return op.result(op.copied(x))
        return op.result(op.build(x.sizes, lambda index: op.apply(primitive, x[index])))

    return function


def _written(op: Op, function: object, args: Sequence[Value], kwargs: Mapping[str, Value]) -> Value:
    assert isinstance(function, FunctionType)
    return as_written(op.frame, op.name, function, args, kwargs, op.node)


floor = torch_function("floor")(_rounded("floor"))
ceil = torch_function("ceil")(_rounded("ceil"))
trunc = torch_function("trunc", "fix")(_rounded("trunc"))


@torch_function("round", "special.round")
def round(op: Op, input: Value, *, decimals: Value = Static(0)) -> Value:
    """To the nearest number with so many decimals; Integers stay what they are."""
    x = op.tensor(input)
    if x.type == Float:
        named = {"decimals": decimals}
        return elementwise(op, lambda at: _written(op, library.round, at, named), [input])
    if x.type == Bool or op.static(decimals, "decimals") != 0:
        op.refuse("of such elements", "convert them to floats, as in `x * 1.0`")
    return op.result(op.copied(x))


@torch_function("sign", "sgn")
def sign(op: Op, input: Value) -> Value:
    """-1, 0 or 1; a truth value is its own sign."""
    x = op.tensor(input)
    if x.type == Bool:
        return op.result(op.copied(x))
    return op.result(op.build(x.sizes, lambda index: op.apply("sign", x[index])))


def _larger(primitive: str, *, largest: bool) -> Callable[[Op, Sequence[Value]], Value]:
    def function(op: Op, pair: Sequence[Value]) -> Value:
        a, b = (Scalar.of(op, value) for value in pair)
        if a.type == b.type == Bool:
            return (a | b if largest else a & b).value
        type_ = operators.wider(a.type, b.type)
        return op.apply(primitive, a.as_(type_), b.as_(type_)).value

    return function


_max, _min = _larger("max", largest=True), _larger("min", largest=False)
_clamp_min, _clamp_max = _larger("clamp_min", largest=True), _larger("clamp_max", largest=False)


@torch_function("maximum")
def maximum(op: Op, input: Value, other: Value) -> Value:
    """The larger one, NaN where one is."""
    return elementwise(op, lambda pair: _max(op, pair), [input, other])


@torch_function("minimum")
def minimum(op: Op, input: Value, other: Value) -> Value:
    """The smaller one, NaN where one is."""
    return elementwise(op, lambda pair: _min(op, pair), [input, other])


@torch_function("clamp_min")
def clamp_min(op: Op, input: Value, min: Value) -> Value:
    """``input``, or the bound where that is larger."""
    return elementwise(op, lambda pair: _clamp_min(op, pair), [input, min])


@torch_function("clamp_max")
def clamp_max(op: Op, input: Value, max: Value) -> Value:
    """``input``, or the bound where that is smaller."""
    return elementwise(op, lambda pair: _clamp_max(op, pair), [input, max])


def _quotient(op: Op, symbol: ast.operator, a: Scalar, b: Scalar) -> Scalar:
    return Scalar.of(op, operators.binary(op.frame, symbol, a.value, b.value, op.node))


def _away_from_zero(op: Op, rest: Scalar, divisor: Scalar, dividend: Scalar) -> Scalar:
    """Whether the quotient of two Integers, rounded down, is not the one rounded towards zero."""
    return rest.ne(0) & Scalar.of(op, (dividend < 0).ne(divisor < 0).value)


@torch_function("fmod")
def fmod(op: Op, input: Value, other: Value) -> Value:
    """The rest of the division rounded towards zero, which has the sign of ``input``."""

    def element(pair: Sequence[Value]) -> Value:
        a, b = (Scalar.of(op, value) for value in pair)
        if Float in (a.type, b.type):
            return op.apply("fmod", a.float, b.float).value
        a, b = a.as_(Integer), b.as_(Integer)
        rest = _quotient(op, ast.Mod(), a, b)
        return _away_from_zero(op, rest, b, a).select(rest - b, rest).value

    return elementwise(op, element, [input, other])


@torch_function("div", "divide")
def div(op: Op, input: Value, other: Value, *, rounding_mode: Value = NONE) -> Value:
    """``input / other``, rounded as told; of Integers that is an Integer."""
    mode = op.static(rounding_mode, "rounding_mode")
    if mode is None:
        return operators.binary(op.frame, ast.Div(), input, other, op.node)
    if op.choice(rounding_mode, "rounding_mode", ("trunc", "floor")) == "floor":
        return operators.binary(op.frame, ast.FloorDiv(), input, other, op.node)

    def element(pair: Sequence[Value]) -> Value:
        a, b = (Scalar.of(op, value) for value in pair)
        if Float in (a.type, b.type):
            return op.apply("trunc", a.float / b.float).value
        a, b = a.as_(Integer), b.as_(Integer)
        rest = _quotient(op, ast.Mod(), a, b)
        down = _quotient(op, ast.FloorDiv(), a, b)
        return _away_from_zero(op, rest, b, a).select(down + 1, down).value

    return elementwise(op, element, [input, other])


@torch_function("torch.prelu", "F.prelu")
def prelu(op: Op, input: Value, weight: Value) -> Value:
    """``input`` above 0, else a weight times it: the same for all, or one for each channel, the second dimension."""
    x, w = op.float_tensor(input), op.float_tensor(weight)
    if w.rank > 1:
        op.refuse("needs a weight of one dimension", "reshape the weight")
    one = w.rank == 0 or w.sizes[0].is_(1)
    if not one:
        if x.rank == 0:
            op.refuse("has a weight for each channel of a tensor without channels", "give one weight")
        channels = x.sizes[1] if x.rank > 1 else op.number(1)
        op.same(channels, w.sizes[0])

    def element(index: list[Scalar]) -> Scalar:
        place = op.number(0) if one or x.rank < 2 else index[1]
        at = x[index]
        factor = w[[place][: w.rank]]
        return Scalar.of(op, _written(op, activations.prelu, [at.value, factor.value], {}))

    return op.result(op.build(x.sizes, element))
