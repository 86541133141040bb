"""Every record of the registry: its value and its derivatives to order two, against torch and finite differences."""

import math
import operator
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from ksc.errors import DifferentiationError, InvalidIRError, KernelRuntimeError, TypeMismatchError
from ksc.ir.interpret import interpret
from ksc.ir.nodes import Function, Program
from ksc.ir.types import Bool, Float, Integer
from ksc.ir.verify import verify
from ksc.ops import PRIMITIVES, NonDifferentiable, Primitive, primitive
from ksc.ops.record import Value
from ksc.transforms import jvp, vjp, vmap
from tests.ops.calculus import application, gradient, run, tangent
from tests.ops.samples import edge_samples, random_samples, samples_of

RECORDS = list(PRIMITIVES.values())
# Their derivatives are what their names say, not what their values say.
DECLARED = {"stop_gradient", "with_value"}
SMOOTH = [
    r
    for r in RECORDS
    if r.name not in DECLARED and r.overloads[0].result == Float and any(r.is_differentiable(k) for k in range(r.arity))
]
IN_TORCH = [r for r in SMOOTH if r.reference and r.name != "floordiv"]
DTYPES = {Float: torch.float64, Integer: torch.int64, Bool: torch.bool}

INF = math.inf

# Where a value or a derivative is meant to differ from torch's.
OTHER_VALUES = {
    # Python's, as -1.0 // inf is -1.0 and -1.0 % inf is inf.
    "floormod": lambda a, b: math.isinf(b) or b == 0.0,
    "floordiv": lambda a, b: math.isinf(a) or math.isinf(b),
    # Zero, where torch gives sin of the rounded pi.
    "sinc": lambda a: abs(a) == 1.0 or abs(a) > 1e15,
    # An odd pole, where torch takes one side; the limit at infinity, zero; an order that torch refuses.
    "polygamma": lambda n, a: n < 0 or (n == 2 and (a == -1.0 or math.isinf(a))),
}
OTHER_PARTIALS = {
    # A finite sign rather than inf / inf.
    "copysign": lambda a, b: not math.isfinite(a + b),
    # NaN like the value itself, where torch gives infinities.
    "floormod": lambda a, b: b == 0.0 or math.isinf(a) or math.isinf(b),
    "fmod": lambda a, b: b == 0.0 or math.isinf(a),
    # Infinite rather than the reference's 0 * inf.
    "cbrt": lambda a: a == 0.0,
    # Outside the domain, where the value is NaN.
    "acosh": lambda a: a < 1.0,
    # Poles, which torch's reflection misses, and an infinite argument.
    "digamma": lambda a: a == -INF or (a <= 0.0 and a == math.floor(a)),
    "polygamma": lambda n, a: n < 0 or a == INF,
    # torch's formula cancels.
    "sinc": lambda a: 0.0 < abs(a) < 1e-2,
}
# How far torch's own formulas can be trusted; tests/ops/test_special.py is stricter.
TORCH_ACCURACY = {
    "acosh": 1e-9,
    "atanh": 1e-9,
    "digamma": 1e-8,
    "erfcx": 1e-9,
    "lgamma": 1e-8,
    "polygamma": 1e-8,
    "sinc": 1e-7,
}


def by_name(record: Primitive) -> str:
    return record.name


def torch_value(record: Primitive, args: Sequence[Any]) -> Any:
    reference = record.reference
    if isinstance(reference, str):
        path = reference.removeprefix("torch.")
        return operator.attrgetter(path)(torch)(*args)
    assert reference is not None
    return reference(torch, *args)


def tensors(args: Sequence[Value]) -> list[torch.Tensor]:
    types = {bool: torch.bool, int: torch.int64, float: torch.float64}
    return [torch.tensor(a, dtype=types[type(a)], requires_grad=type(a) is float) for a in args]


def torch_partials(record: Primitive, args: Sequence[Value], order: int) -> list[float]:
    """All derivatives of this order with respect to Floats, by PyTorch's autograd."""
    inputs = tensors(args)
    floats = [t for t in inputs if t.requires_grad]
    values = [torch_value(record, inputs)]
    for _ in range(order):
        following = []
        for value in values:
            if not value.requires_grad:
                following += [torch.zeros(())] * len(floats)
                continue
            grads = torch.autograd.grad(value, floats, create_graph=True, allow_unused=True)
            following += [torch.zeros(()) if grad is None else grad for grad in grads]
        values = following
    return [value.item() for value in values]


def float_positions(record: Primitive) -> list[int]:
    return [k for k, type_ in enumerate(record.overloads[0].args) if type_ == Float]


def our_partials(record: Primitive, args: Sequence[Value], order: int) -> list[Value]:
    blocks = [application(record, record.overloads[0].args)]
    for _ in range(order):
        blocks = [tangent(block, k) for block in blocks for k in float_positions(record)]
    return [run(block, args)[0] for block in blocks]


def same(a: float, b: float, rel: float, size: float = 0.0) -> bool:
    if math.isnan(a) or math.isnan(b) or math.isinf(a) or math.isinf(b):
        return (math.isnan(a) and math.isnan(b)) or a == b
    return abs(a - b) <= rel * max(abs(a), abs(b), size)


@pytest.mark.parametrize("record", RECORDS, ids=by_name)
def test_record_is_complete(record: Primitive) -> None:
    overload = record.overloads[0]
    assert record.doc and record.domain and len(record.domain) == record.arity
    assert len(overload.cpp.operands) == record.arity
    for type_, bounds in zip(overload.args, record.domain, strict=True):
        assert type(bounds[0]) is {Float: float, Integer: int, Bool: bool}[type_]
    if overload.result == Float:
        assert len(record.partials) == record.arity
        for type_, partial in zip(overload.args, record.partials, strict=True):
            assert (partial is None) == (type_ != Float)
    else:
        assert not record.partials
    assert primitive(record.name) is record


@pytest.mark.parametrize("record", [r for r in RECORDS if r.reference], ids=by_name)
def test_value_is_that_of_torch(record: Primitive) -> None:
    differs = OTHER_VALUES.get(record.name, lambda *_: False)
    accuracy = TORCH_ACCURACY.get(record.name, 1e-12)
    for args in random_samples(record) + edge_samples(record):
        if differs(*args):
            continue
        value = record.evaluate(*args)
        with torch.no_grad():
            expected = torch_value(record, tensors(args)).item()
        assert type(value) is type(expected)
        assert same(value, expected, accuracy, 1e-300), (args, value, expected)


@pytest.mark.parametrize("record", IN_TORCH, ids=by_name)
def test_partials_are_those_of_torch(record: Primitive) -> None:
    differs = OTHER_PARTIALS.get(record.name, lambda *_: False)
    accuracy = TORCH_ACCURACY.get(record.name, 1e-11)
    for args in random_samples(record) + edge_samples(record):
        if differs(*args):
            continue
        ours, theirs = our_partials(record, args, 1), torch_partials(record, args, 1)
        for a, b in zip(ours, theirs, strict=True):
            assert same(a, b, accuracy, 1e-6), (args, ours, theirs)


@pytest.mark.parametrize("record", IN_TORCH, ids=by_name)
def test_second_order_is_that_of_torch(record: Primitive) -> None:
    for args in random_samples(record):
        ours, theirs = our_partials(record, args, 2), torch_partials(record, args, 2)
        for a, b in zip(ours, theirs, strict=True):
            assert same(a, b, 1e-7, 1e-3), (args, ours, theirs)


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("record", SMOOTH, ids=by_name)
def test_partials_are_finite_differences(record: Primitive, order: int) -> None:
    types, positions = record.overloads[0].args, float_positions(record)
    blocks = [application(record, types)]
    for _ in range(order - 1):
        blocks = [tangent(block, positions[-1]) for block in blocks]
    (block,) = blocks
    for args in random_samples(record, 6):
        for k in positions:
            step = 1e-5
            low, high = (tuple(a + sign * step if j == k else a for j, a in enumerate(args)) for sign in (-1, 1))
            slope = (run(block, high)[0] - run(block, low)[0]) / (2.0 * step)
            (value,) = run(tangent(block, k), args)
            assert same(value, slope, 1e-5, 1e-3), (args, k, value, slope)


@pytest.mark.parametrize("record", SMOOTH, ids=by_name)
def test_reverse_is_the_transpose_of_forward(record: Primitive) -> None:
    block = application(record, record.overloads[0].args)
    for args in random_samples(record, 5) + edge_samples(record):
        forward = [run(tangent(block, k), args)[0] for k in float_positions(record)]
        for a, b in zip(forward, run(gradient(block), args), strict=True):
            assert same(a, b, 1e-15), args


def program_of(record: Primitive) -> Program:
    return Program({"f": Function("f", application(record, record.overloads[0].args))}, "f")


@pytest.mark.parametrize("record", SMOOTH, ids=by_name)
def test_the_transforms_agree(record: Primitive) -> None:
    forward, reverse = jvp(program_of(record)), vjp(program_of(record))
    verify(forward)
    verify(reverse)
    positions = float_positions(record)
    directions = [0.75, -1.25, 0.5][: len(positions)]
    for args in random_samples(record, 5):
        (out_dot,) = interpret(forward, (*args, *directions))
        bars = interpret(reverse, (*args, 2.0))
        assert same(2.0 * out_dot, sum(map(operator.mul, directions, bars)), 1e-12, 1e-6), args


@pytest.mark.parametrize("record", RECORDS, ids=by_name)
def test_vmap_is_a_loop(record: Primitive) -> None:
    samples = random_samples(record, 4)
    program = vmap(program_of(record))
    verify(program)
    (results,) = interpret(program, [list(column) for column in zip(*samples, strict=True)])
    assert list(results) == [record.evaluate(*args) for args in samples]


@pytest.mark.parametrize("record", SMOOTH, ids=by_name)
def test_the_reverse_transform_to_order_two(record: Primitive) -> None:
    block = application(record, record.overloads[0].args)
    positions = float_positions(record)
    reverse = vjp(program_of(record))
    again = vjp(reverse)
    verify(again)
    weights = [0.75, -1.25, 0.5][: len(positions)]
    for args in random_samples(record, 4):
        bars = interpret(reverse, (*args, 2.0))
        for k, bar in zip(positions, bars, strict=True):
            assert same(bar, 2.0 * run(tangent(block, k), args)[0], 1e-13)
        seconds = interpret(again, (*args, 2.0, *weights))
        for j, second in zip(positions, seconds, strict=False):
            truth = sum(
                2.0 * weight * run(tangent(tangent(block, k), j), args)[0]
                for k, weight in zip(positions, weights, strict=True)
            )
            assert same(second, truth, 1e-9, 1e-6), (args, j)


@pytest.mark.parametrize("record", SMOOTH, ids=by_name)
def test_a_second_derivative_by_forward_over_reverse(record: Primitive) -> None:
    positions = float_positions(record)
    block = application(record, record.overloads[0].args)
    for args in random_samples(record, 5):
        for k in positions:
            for j, m in enumerate(positions):
                mixed = run(gradient(tangent(block, k)), args)[j]
                (again,) = run(tangent(tangent(block, m), k), args)
                assert same(mixed, again, 1e-9, 1e-6), (args, k, m)


# Kinks and edges where a convention had to be chosen, with the derivatives by hand.
CONVENTIONS = [
    ("max", (1.0, 1.0), [0.5, 0.5]),
    ("min", (-1.0, -1.0), [0.5, 0.5]),
    ("abs", (0.0,), [0.0]),
    ("clamp", (1.0, 1.0, 2.0), [1.0, 0.0, 0.0]),
    ("clamp", (3.0, 2.0, 1.0), [0.0, 0.0, 1.0]),
    ("sqrt", (0.0,), [INF]),
    ("pow", (0.0, 0.0), [0.0, 0.0]),
    ("pow", (0.0, 1.0), [1.0, 0.0]),
    ("pow", (2.0, 0.0), [0.0, math.log(2.0)]),
    ("powi", (0.0, 0), [0.0]),
    ("powi", (0.0, 1), [1.0]),
    ("atan2", (0.0, 0.0), [0.0, 0.0]),
    ("xlogy", (0.0, 0.0), [0.0, math.nan]),
    ("cbrt", (0.0,), [INF]),
    ("sinc", (0.0,), [0.0]),
    ("floor", (1.0,), [0.0]),
    ("copysign", (0.0, -1.0), [0.0, 0.0]),
]


@pytest.mark.parametrize(("name", "args", "expected"), CONVENTIONS)
def test_conventions(name: str, args: tuple[Value, ...], expected: list[float]) -> None:
    for a, b in zip(our_partials(primitive(name), args, 1), expected, strict=True):
        assert same(a, b, 1e-15)


@pytest.mark.parametrize(
    ("name", "args", "wrt", "order", "expected"),
    [
        ("pow", (0.0, 3.0), 0, 3, 6.0),
        ("pow", (0.0, 2.0), 0, 4, 0.0),
        ("pow", (0.0, 2.0), 1, 2, 0.0),
        ("powi", (0.0, 3), 0, 3, 6.0),
        ("powi", (0.0, 3), 0, 5, 0.0),
        ("powi", (0.0, 0), 0, 2, 0.0),
        ("sinc", (0.0,), 0, 2, -(math.pi**2) / 3.0),
        ("sinc", (1e-9,), 0, 4, math.pi**4 / 5.0),
        ("softplus", (-800.0,), 0, 3, 0.0),
        ("max", (0.0, 0.0), 0, 2, 0.0),
    ],
)
def test_no_order_meets_zero_times_infinity(
    name: str, args: tuple[Value, ...], wrt: int, order: int, expected: float
) -> None:
    record = primitive(name)
    block = application(record, record.overloads[0].args)
    for _ in range(order):
        block = tangent(block, wrt)
    assert same(run(block, args)[0], expected, 1e-12)


def test_mixed_derivative_of_a_power_at_exponent_zero() -> None:
    block = tangent(tangent(application(primitive("pow"), [Float, Float]), 0), 1)
    assert run(block, (4.0, 0.0)) == (0.25,)


def test_a_derivative_that_is_not_there_is_refused() -> None:
    block = application(primitive("nextafter"), [Float, Float])
    with pytest.raises(DifferentiationError, match=r"nextafter has no derivative: .* number format"):
        tangent(block, 0)
    assert isinstance(primitive("nextafter").partials[0], NonDifferentiable)


def test_wrong_types_are_refused() -> None:
    with pytest.raises(TypeMismatchError, match=r"idiv takes \(Integer, Integer\), not \(Float, Integer\)"):
        primitive("idiv").result_types([Float, Integer])
    assert primitive("select").result_types([Bool, Integer, Integer]) == (Integer,)
    with pytest.raises(InvalidIRError, match="no scalar operation 'frobnicate'"):
        primitive("frobnicate")


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("idiv", (1, 0)),
        ("imod", (1, 0)),
        ("ipow", (2, -1)),
        ("shl", (1, -1)),
        ("to_int", (math.nan,)),
        ("to_int", (1e19,)),
    ],
)
def test_failures(name: str, args: tuple[Value, ...]) -> None:
    record = primitive(name)
    assert record.can_fail and not record.speculatable
    with pytest.raises(KernelRuntimeError) as caught:
        record.evaluate(*args)
    assert record.failure is not None and record.failure.message in str(caught.value)


@pytest.mark.parametrize("record", RECORDS, ids=by_name)
def test_every_overload_evaluates(record: Primitive) -> None:
    for overload in record.overloads:
        for args in samples_of(record, overload):
            if record.failure is None or not record.failure.fails(*args):
                value = record.evaluate(*args)
                assert type(value) is {Float: float, Integer: int, Bool: bool}[overload.result]
                if overload.result == Integer:
                    assert -(2**63) <= value < 2**63


def test_float32_results_are_rounded() -> None:
    assert primitive("add").evaluate(1.0, 2.0**-30, width="f32") == 1.0
    assert primitive("exp").evaluate(100.0, width="f32") == INF
    assert primitive("nextafter").evaluate(1.0, 2.0, width="f32") == 1.0 + 2.0**-23
