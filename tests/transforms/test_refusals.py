"""What has no derivative is refused, with the user's line; what does not matter is not."""

import pytest

from ksc.errors import DifferentiationError
from ksc.ir.builder import Builder
from ksc.ir.interpret import interpret
from ksc.ir.nodes import Function, Var, const
from ksc.ir.text import parse
from ksc.ir.types import AccType, Float, Integer, TupleType
from ksc.ops import PRIMITIVES, NonDifferentiable
from ksc.transforms import jvp, seed_ones, vjp, vmap
from tests.transforms.programs import function, one, program

WITHOUT = sorted(
    (name, k)
    for name, record in PRIMITIVES.items()
    for k, partial in enumerate(record.partials)
    if isinstance(partial, NonDifferentiable)
)


@pytest.mark.parametrize("name, k", WITHOUT)
@pytest.mark.parametrize("transform", [vjp, jvp])
def test_a_primitive_without_a_derivative_says_why(name, k, transform):
    record = PRIMITIVES[name]
    types = record.overloads[0].args

    def body(b, *args):
        return [b.apply(name, *args)]

    source = one({f"a{j}": type_ for j, type_ in enumerate(types)}, body)
    with pytest.raises(DifferentiationError, match="has no derivative"):
        transform(source, wrt=[k])


@pytest.mark.parametrize("transform", [vjp, jvp])
def test_the_error_carries_the_line(transform):
    text = "(def f Float (x : Float)\n  (get$1$2 (tuple x x)))"
    source = parse(text, file="f.ks")
    if not any(eqn.op == "tuple" for eqn in source.main.body.eqns):
        source = _with_tuple()
    with pytest.raises(DifferentiationError, match="flatten tuples"):
        transform(source)


def _with_tuple():
    def body(b, x):
        pair = b.emit("tuple", [x, x], [TupleType((Float, Float))])[0]
        return b.emit("get", [pair], [Float], params={"n": 1})

    return one({"x": Float}, body)


def _adding_to_the_callers_accumulator(sines):
    def body(b, acc, x):
        for _ in range(sines):
            x = b.apply("sin", x)
        b.emit("acc_add", [acc, x], [])
        return [x]

    def main(b, y):
        inner = Builder()
        a = Var("a", AccType(Float))
        results = [inner.emit("call", [a, y], [Float], params={"callee": "add"})[0] for _ in range(2)]
        return b.emit("withacc", [const(0.0)], [Float, Float], blocks=[inner.block([a], results[:1])])

    return program(function("add", {"a": AccType(Float), "x": Float}, body), function("f", {"y": Float}, main))


def test_a_function_that_adds_to_the_callers_accumulator_is_inlined_or_refused():
    small, large = _adding_to_the_callers_accumulator(0), _adding_to_the_callers_accumulator(40)
    assert interpret(small, (3.0,)) == (6.0, 3.0)
    assert interpret(vjp(small), (3.0, 1.0, 10.0)) == (12.0,)
    assert interpret(jvp(small), (3.0, 1.0)) == (2.0, 1.0)
    for transform in (vjp, jvp):
        with pytest.raises(DifferentiationError, match="accumulator of its caller"):
            transform(large)


@pytest.mark.parametrize("transform", [vjp, jvp])
def test_wrt_is_checked(transform):
    source = one({"x": Float, "n": Integer}, lambda b, x, n: [x])
    with pytest.raises(ValueError, match="no tangent"):
        transform(source, wrt=[1])
    with pytest.raises(ValueError, match="none with index 2"):
        transform(source, wrt=[2])


def test_wrt_leaves_out_what_is_not_asked_for():
    source = parse("(def f Float ((x : Float) (y : Float)) (mul (sin x) (exp y)))")
    derived = vjp(source, wrt=[1])
    assert len(derived.main.result_types) == 1
    assert [eqn.op for eqn in derived.main.body.eqns].count("cos") == 0
    assert interpret(derived, (0.0, 1.0, 1.0)) == (0.0,)
    assert [param.name for param in jvp(source, wrt=[0]).main.params] == ["x", "y", "x_dot"]


def test_seed_ones_makes_a_gradient():
    source = parse("(def f Float ((x : Float) (y : Float)) (mul x y))")
    gradient = seed_ones(vjp(source))
    assert [param.name for param in gradient.main.params] == ["x", "y"]
    assert interpret(gradient, (3.0, 5.0)) == (5.0, 3.0)
    with pytest.raises(ValueError, match="no cotangent"):
        seed_ones(one({"n": Integer}, lambda b, n: [n]))


def test_vmap_checks_its_axes():
    source = one({"x": Float, "n": Integer}, lambda b, x, n: [x])
    for axes, message in (([0], "2 parameters"), ([0, 1], "0 or None"), ([None, None], "at least")):
        with pytest.raises(ValueError, match=message):
            vmap(source, axes)


def test_vmap_stops_where_sizes_differ():
    from ksc.errors import KernelRuntimeError

    source = vmap(one({"x": Float, "y": Float}, lambda b, x, y: [b.apply("add", x, y)]))
    assert list(interpret(source, ([1.0, 2.0], [3.0, 4.0]))[0]) == [4.0, 6.0]
    assert list(interpret(source, ([], []))[0]) == []
    with pytest.raises(KernelRuntimeError, match="differ in size"):
        interpret(source, ([1.0, 2.0], [3.0]))


def test_names_say_what_was_derived():
    f = parse("(def f Float (x : Float) (sin x))")
    assert vjp(f).entry == "[rev f]"
    assert jvp(f).entry == "[fwd f]"
    assert vjp(f, with_value=True).entry == "[valrev f]"
    assert jvp(f, with_value=True).entry == "[valfwd f]"
    assert jvp(vjp(vmap(f))).entry == "[fwd [rev [vmap f]]]"
    assert isinstance(vjp(f).main, Function)
    assert [p.name for p in vjp(f).main.params] == ["x", "y_bar"]
