"""What has no derivative is refused, with the user's line; what does not matter is not."""

import pytest

from ksc.errors import DifferentiationError
from ksc.ir.interpret import interpret
from ksc.ir.nodes import Function, Program, Var, const
from ksc.ir.text import parse
from ksc.ir.types import AccType, Float, Integer, TupleType
from ksc.ops import PRIMITIVES, NonDifferentiable
from ksc.transforms import jvp, seed_ones, vjp, vmap
from tests.transforms.programs import one

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

    program = one({f"a{j}": type_ for j, type_ in enumerate(types)}, body)
    with pytest.raises(DifferentiationError, match="has no derivative"):
        transform(program, wrt=[k])


@pytest.mark.parametrize("transform", [vjp, jvp])
def test_the_error_carries_the_line(transform):
    text = "(def f Float (x : Float)\n  (get$1$2 (tuple x x)))"
    program = parse(text, file="f.ks")
    if not any(eqn.op == "tuple" for eqn in program.main.body.eqns):
        program = _with_tuple()
    with pytest.raises(DifferentiationError, match="flatten tuples"):
        transform(program)


def _with_tuple():
    def body(b, x):
        pair = b.emit("tuple", [x, x], [TupleType((Float, Float))])[0]
        return b.emit("get", [pair], [Float], params={"n": 1})

    return one({"x": Float}, body)


def test_an_addition_to_the_callers_accumulator_is_refused():
    acc = Var("a", AccType(Float))
    x = Var("x", Float)

    def body(b, acc, x):
        b.emit("acc_add", [acc, x], [])
        return [x]

    from tests.transforms.programs import function

    add = function("add", {acc.name: acc.type, x.name: x.type}, body)

    def main(b, y):
        from ksc.ir.builder import Builder

        inner = Builder()
        a = Var("a", AccType(Float))
        r = inner.emit("call", [a, y], [Float], params={"callee": "add"})
        return b.emit("withacc", [const(0.0)], [Float, Float], blocks=[inner.block([a], r)])

    program = Program({"add": add, "f": function("f", {"y": Float}, main)}, "f")
    assert interpret(program, (3.0,)) == (3.0, 3.0)
    # Small enough to be inlined, so there is an accumulator of its own to differentiate.
    assert interpret(vjp(program), (3.0, 1.0, 10.0)) == (11.0,)


@pytest.mark.parametrize("transform", [vjp, jvp])
def test_wrt_is_checked(transform):
    program = one({"x": Float, "n": Integer}, lambda b, x, n: [x])
    with pytest.raises(ValueError, match="no tangent"):
        transform(program, wrt=[1])
    with pytest.raises(ValueError, match="none with index 2"):
        transform(program, wrt=[2])


def test_wrt_leaves_out_what_is_not_asked_for():
    program = parse("(def f Float ((x : Float) (y : Float)) (mul (sin x) (exp y)))")
    derived = vjp(program, wrt=[1])
    assert len(derived.main.result_types) == 1
    assert [eqn.op for eqn in derived.main.body.eqns].count("cos") == 0
    assert interpret(derived, (0.0, 1.0, 1.0)) == (0.0,)
    assert [param.name for param in jvp(program, wrt=[0]).main.params] == ["x", "y", "x_dot"]


def test_seed_ones_makes_a_gradient():
    program = parse("(def f Float ((x : Float) (y : Float)) (mul x y))")
    gradient = seed_ones(vjp(program))
    assert [param.name for param in gradient.main.params] == ["x", "y"]
    assert interpret(gradient, (3.0, 5.0)) == (5.0, 3.0)
    with pytest.raises(ValueError, match="no cotangent"):
        seed_ones(one({"n": Integer}, lambda b, n: [n]))


def test_vmap_checks_its_axes():
    program = one({"x": Float, "n": Integer}, lambda b, x, n: [x])
    for axes, message in (([0], "2 parameters"), ([0, 1], "0 or None"), ([None, None], "at least")):
        with pytest.raises(ValueError, match=message):
            vmap(program, axes)


def test_vmap_stops_where_sizes_differ():
    from ksc.errors import KernelRuntimeError

    program = vmap(one({"x": Float, "y": Float}, lambda b, x, y: [b.apply("add", x, y)]))
    assert list(interpret(program, ([1.0, 2.0], [3.0, 4.0]))[0]) == [4.0, 6.0]
    assert list(interpret(program, ([], []))[0]) == []
    with pytest.raises(KernelRuntimeError, match="differ in size"):
        interpret(program, ([1.0, 2.0], [3.0]))


def test_names_say_what_was_derived():
    f = parse("(def f Float (x : Float) (sin x))")
    assert vjp(f).entry == "[rev f]"
    assert jvp(f).entry == "[fwd f]"
    assert vjp(f, with_value=True).entry == "[valrev f]"
    assert jvp(f, with_value=True).entry == "[valfwd f]"
    assert jvp(vjp(vmap(f))).entry == "[fwd [rev [vmap f]]]"
    assert isinstance(vjp(f).main, Function)
    assert [p.name for p in vjp(f).main.params] == ["x", "y_bar"]
