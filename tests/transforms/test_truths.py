"""Programs on which gradients are easily got wrong, with the truth worked out by hand; and edges of IEEE numbers."""

import math

import pytest

from ksc.ir.builder import Builder
from ksc.ir.interpret import interpret
from ksc.ir.nodes import const
from ksc.ir.text import parse
from ksc.ir.types import Bool, Float, Integer
from ksc.ir.verify import verify
from ksc.passes import optimise
from ksc.transforms import jvp, vjp
from tests.transforms.programs import VEC, at, build, one, reduce, size_of, while_


def _guarded_sum(b, x, n):
    """``for i in range(n): if i == 3: break; s += x``, as the frontend lowers it."""

    def body(b, s, i, running):
        (next_s, next_running) = b.if_(
            b.apply("eq", i, const(3)),
            lambda b: [s, const(False)],
            lambda b: [b.apply("add", s, x), running],
        )
        return [next_s, b.apply("add", i, const(1)), next_running]

    def cond(b, s, i, running):
        return b.apply("and", running, b.apply("lt", i, n))

    return while_(b, [const(0.0), const(0), const(True)], cond, body)[:1]


def _product_of_row(b, x):
    def body(b, i, c):
        return [b.apply("mul", c[0], at(b, x, i))]

    return b.for_(size_of(b, x), [const(1.0)], body)


def _overwritten(b, x):
    """``y[i] = 3; y[i] *= x[i]``."""
    n = size_of(b, x)

    def body(b, i, c):
        y = b.emit("update", [c[0], i, const(3.0)], [VEC])[0]
        return [b.emit("update", [y, i, b.apply("mul", at(b, y, i), at(b, x, i))], [VEC])[0]]

    (y,) = b.for_(n, [build(b, [n], lambda b, i: const(0.0))], body)
    return [reduce(b, "add", [n], lambda b, i: at(b, y, i))]


SQUARING = one(
    {"x": Float},
    lambda b, x: while_(b, [x], lambda b, v: b.apply("lt", v, const(10.0)), lambda b, v: [b.apply("mul", v, v)]),
)


@pytest.mark.parametrize(
    "program, args, gradient",
    [
        (SQUARING, (2.0,), 32.0),
        (SQUARING, (11.0,), 1.0),
        (one({"x": Float, "n": Integer}, _guarded_sum), (5.0, 10), 3.0),
        (one({"x": Float, "n": Integer}, _guarded_sum), (5.0, 2), 2.0),
        (one({"x": VEC}, _product_of_row), ([2.0, 2.0, 2.0],), [4.0, 4.0, 4.0]),
        (one({"x": VEC}, _product_of_row), ([0.0, 2.0, 3.0],), [6.0, 0.0, 0.0]),
        (one({"x": VEC}, _overwritten), ([5.0, 7.0],), [3.0, 3.0]),
    ],
)
@pytest.mark.parametrize("optimised", [False, True])
def test_truth(program, args, gradient, optimised):
    derived = vjp(program)
    if optimised:
        derived = optimise(derived)
    verify(derived)
    assert list(
        interpret(derived, (*args, 1.0))[0].ravel()
        if isinstance(gradient, list)
        else [interpret(derived, (*args, 1.0))[0]]
    ) == (gradient if isinstance(gradient, list) else [gradient])


UNTAKEN = [
    ("(def f Float (x : Float) (if (gt x 0.0) (log x) (mul 3.0 x)))", 0.0, 3.0),
    ("(def f Float (x : Float) (if (gt x 0.0) (sqrt x) 0.0))", 0.0, 0.0),
    ("(def f Float (x : Float) (if (eq x 0.0) (mul 2.0 x) (div (sin x) x)))", 0.0, 2.0),
    ("(def f Float (x : Float) (if (lt x 1.0) x (exp (exp (exp x)))))", 0.5, 1.0),
    ("(def f Float (x : Float) (if (lt x 1.0) x (exp (mul x 1e308))))", 0.5, 1.0),
    ("(def f Float (x : Float) (let ((y (sqrt x))) (if (gt x 0.0) y (mul 2.0 x))))", 0.0, 2.0),
    ("(def f Float (x : Float) (let ((y (log x))) (if (gt x 0.0) (if (gt x 1.0) y 0.0) (mul 2.0 x))))", 0.0, 2.0),
    ("(def f Float (x : Float) (let ((s (sin x)) (y (sqrt s)) (z (log y))) (if (gt x 0.0) z s)))", 0.0, 1.0),
]


@pytest.mark.parametrize("text, x, slope", UNTAKEN)
@pytest.mark.parametrize("transform", [vjp, jvp])
def test_nothing_leaks_from_the_side_not_taken(text, x, slope, transform):
    derived = transform(parse(text))
    for program in (derived, optimise(derived)):
        assert interpret(program, (x, 1.0)) == (slope,)


@pytest.mark.parametrize("transform", [vjp, jvp])
def test_nothing_leaks_from_the_value_not_selected(transform):
    def body(b, x):
        bad = b.apply("log", x)
        return [b.apply("select", b.apply("gt", x, const(0.0)), bad, b.apply("mul", x, const(5.0)))]

    # The mask is zero, but the chain rule multiplies it by 1 / 0 within the branch that is evaluated all the same.
    program = one({"x": Float}, body)
    derived = transform(program)
    assert interpret(derived, (2.0, 1.0)) == (0.5,)
    result = interpret(derived, (-1.0, 1.0))[0]
    assert result == 5.0


def test_nan_and_infinity_reach_the_gradient_where_they_belong():
    derived = vjp(parse("(def f Float ((x : Float) (y : Float)) (mul x y))"))
    assert interpret(derived, (math.inf, 2.0, 1.0)) == (2.0, math.inf)
    x_bar, y_bar = interpret(derived, (math.nan, 2.0, 1.0))
    assert x_bar == 2.0
    assert math.isnan(y_bar)


def test_an_if_that_gives_no_float_has_no_derivative_code():
    def body(b, x):
        (k,) = b.if_(b.apply("lt", x, const(0.0)), lambda b: [const(1)], lambda b: [const(2)])
        return [b.apply("mul", b.apply("to_float", k), x)]

    derived = vjp(one({"x": Float}, body))
    assert interpret(derived, (3.0, 1.0)) == (2.0,)
    assert sum(eqn.op == "if" for eqn in derived.main.body.eqns) == 1


def test_results_may_be_parameters_constants_or_twice_the_same():
    builder_program = one({"x": Float, "b": Bool}, lambda b, x, c: [x, x, const(2.0), c])
    derived = vjp(builder_program)
    assert interpret(derived, (3.0, True, 10.0, 7.0, 5.0)) == (17.0,)
    assert interpret(jvp(builder_program), (3.0, True, 1.5)) == (1.5, 1.5, 0.0)


def test_a_function_without_floats_has_an_empty_derivative():
    program = one({"n": Integer}, lambda b, n: [b.apply("add", n, const(1))])
    assert interpret(vjp(program), (3,)) == ()
    assert interpret(jvp(program), (3,)) == ()
    assert interpret(vjp(program, with_value=True), (3,)) == (4,)


def test_a_builder_gives_every_equation_the_span_of_its_primal():
    program = parse("(def f Float (x : Float) (sin (mul x x)))", file="f.ks")
    spans = {eqn.span for eqn in program.main.body.eqns}
    assert None not in spans
    assert {eqn.span for eqn in vjp(program).main.body.eqns} == spans
    assert Builder().span is None
