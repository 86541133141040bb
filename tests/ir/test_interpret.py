"""The reference interpreter: known values, edges, and every run-time error."""

import math

import numpy as np
import pytest

from ksc.errors import ArgumentError, KernelRuntimeError
from ksc.ir.builder import Builder
from ksc.ir.interpret import interpret
from ksc.ir.nodes import Block, Const, Eqn, Function, Program, Span, Var, const
from ksc.ir.text import parse
from ksc.ir.types import AccType, Bool, BoxType, Float, Integer, TensorType, TupleType
from ksc.ir.verify import verify

VEC = TensorType(1, Float)
MAT = TensorType(2, Float)
SPAN = Span("user.py", 7, 4, 7, 9, "    x / y")


def program(params, build, boxes=None):
    """The verified program of one function, ``build(builder, *params)`` giving its results."""
    builder = Builder(SPAN)
    params = [Var(f"p{k}", type_) for k, type_ in enumerate(params)]
    results = build(builder, *params)
    made = Program({"f": Function("f", builder.block(params, results))}, "f", boxes or {})
    verify(made)
    return made


def body(params, build):
    builder = Builder(SPAN)
    return builder.block(params, build(builder, *params))


def test_scalars_and_if():
    def relu3(b, x):
        return b.if_(
            b.apply("lt", x, const(0.0)),
            lambda _: [const(0.0)],
            lambda c: [c.apply("mul", x, c.apply("mul", x, x))],
        )

    f = program([Float], relu3)
    assert interpret(f, [2]) == (8.0,)
    assert interpret(f, [-1.0]) == (0.0,)


def test_f32_rounds_every_result():
    f = program([Float], lambda b, x: [b.apply("mul", b.apply("add", x, const(0.1)), x)])
    x = np.float32(0.7)
    assert interpret(f, [0.7], width="f32") == (float((x + np.float32(0.1)) * x),)
    assert interpret(f, [1e30], width="f32") == (math.inf,)


def test_integers_wrap_at_64_bits():
    f = program([Integer], lambda b, x: [b.apply("add", x, const(1))])
    assert interpret(f, [2**63 - 1]) == (-(2**63),)


@pytest.mark.parametrize("reverse", [False, True])
def test_for_carries_and_stacks(reverse):
    def running(b, n):
        return b.for_(n, [const(0)], lambda c, i, s: (t := c.apply("add", s[0], i), t), reverse=reverse)

    f = program([Integer], running)
    total, rows = interpret(f, [4])
    assert total == 6
    assert rows.tolist() == ([6, 6, 5, 3] if reverse else [0, 1, 3, 6])
    total, rows = interpret(f, [-3])
    assert total == 0 and rows.shape == (0,)


def test_while_squares_until_ten():
    def power(b, x):
        v, w, c = Var("v", Float), Var("w", Float), Var("c", Float)
        cond = body([v], lambda k, v: [k.apply("lt", v, const(10.0))])
        step = body([w], lambda k, w: [k.apply("mul", w, w), w])
        return b.emit("while", [x], [c.type, VEC], params={"carries": 1}, blocks=[cond, step])

    last, tape = interpret(program([Float], power), [2.0])
    assert last == 16.0 and tape.tolist() == [2.0, 4.0]


def test_build_index_update_size():
    def outer(b, v):
        n = b.emit("size", [v], [Integer], params={"dim": 0})[0]
        i, j = Var("i", Integer), Var("j", Integer)
        inner = body(
            [i, j],
            lambda k, i, j: [k.apply("mul", k.emit("index", [v, i], [Float])[0], k.emit("index", [v, j], [Float])[0])],
        )
        (m,) = b.emit("build", [n, n], [MAT], blocks=[inner])
        (row,) = b.emit("index", [m, const(1)], [VEC])
        (u,) = b.emit("update", [m, const(0), row], [MAT])
        return [u]

    (m,) = interpret(program([VEC], outer), [[1.0, 2.0, 3.0]])
    assert m.tolist() == [[2, 4, 6], [2, 4, 6], [3, 6, 9]]


def test_build_stacks_tensors_and_keeps_them_apart_when_nested():
    def build(b, nested):
        i, j = Var("i", Integer), Var("j", Integer)
        row = lambda k, i: k.emit("build", [i], [TensorType(1, Integer)], blocks=[body([j], lambda _, j: [j])])  # noqa: E731
        out = TensorType(1, TensorType(1, Integer)) if nested else TensorType(2, Integer)
        return b.emit("build", [const(3)], [out], blocks=[body([i], row)], params={"nested": nested})

    (ragged,) = interpret(program([], lambda b: build(b, True)), [])
    assert [row.tolist() for row in ragged] == [[], [0], [0, 1]]
    with pytest.raises(KernelRuntimeError, match="differ in size"):
        interpret(program([], lambda b: build(b, False)), [])


def test_what_has_no_rows_has_the_sizes_of_one():
    text = """(def f (Values (Tensor 1 Float) (Tensor 2 Float)) ((x : (Tensor 2 Float)) (at : (Tensor 1 Integer)))
      (let ((n (size x 0)) (m (size x 1)) (k (size at)))
        (values (reduce add n (lam (i : Integer) (build m (lam (j : Integer) (index (tuple i j) x)))))
                (build :nested false k (lam (i : Integer) (let ((r (index i at))) (index r x)))))))"""
    total, rows = interpret(parse(text), [np.empty((0, 2)), np.empty(0, np.int64)])
    assert total.tolist() == [0.0, 0.0]
    assert rows.shape == (0, 2)


@pytest.mark.parametrize(
    ("monoid", "full", "empty"),
    [("add", 3.0, 0.0), ("mul", -1.0 * 2.0 * 2.0, 1.0), ("min", -1.0, math.inf), ("max", 2.0, -math.inf)],
)
def test_reduce(monoid, full, empty):
    def run(b, v):
        n = b.emit("size", [v], [Integer], params={"dim": 0})[0]
        i = Var("i", Integer)
        inner = body([i], lambda k, i: k.emit("index", [v, i], [Float]))
        return b.emit("reduce", [n], [Float], params={"monoid": monoid}, blocks=[inner])

    f = program([VEC], run)
    assert interpret(f, [[-1.0, 2.0, 2.0]]) == (full,)
    assert interpret(f, [np.empty(0)]) == (empty,)
    if monoid in ("min", "max"):
        for bad in ([math.nan, 1.0], [1.0, math.nan]):
            assert math.isnan(interpret(f, [bad])[0])


def test_accumulators_do_not_change_their_initial_value():
    def scatter(b, v):
        acc, i = Var("v_bar", AccType(VEC)), Var("i", Integer)
        one = body([i], lambda k, i: k.emit("acc_add", [acc, const(1), const(2.5)], []))
        loop = body(
            [acc], lambda k, a: k.emit("for", [const(3)], [], params={"carries": 0, "reverse": False}, blocks=[one])
        )
        return [*b.emit("withacc", [v], [VEC], blocks=[loop]), v]

    given = np.zeros(2)
    final, v = interpret(program([VEC], scatter), [given])
    assert final.tolist() == [0.0, 7.5] and v.tolist() == [0.0, 0.0] and given.tolist() == [0.0, 0.0]


def test_tuples_and_boxes():
    pair = TupleType((Float, Integer))

    def run(b, x):
        (t,) = b.emit("tuple", [x, const(3)], [pair])
        (box,) = b.emit("box", [t], [BoxType("B")], params={"name": "B"})
        (u,) = b.emit("unbox", [box], [pair])
        return [*b.emit("get", [u], [Integer], params={"n": 1}), box, Const(None, BoxType("B"))]

    assert interpret(program([Float], run, {"B": (pair,)}), [1.5]) == (3, ((1.5, 3),), None)


def recursive(span=SPAN):
    n, s = Var("n", Integer), Var("s", Integer)
    m, r, c = Var("m", Integer), Var("r", Integer), Var("c", Bool)
    deeper = Block(
        (),
        (
            Eqn((m,), "sub", (n, const(1))),
            Eqn((r,), "call", (m,), {"callee": "f"}),
            Eqn((s,), "add", (r, n)),
        ),
        (s,),
    )
    out = Var("out", Integer)
    eqns = (Eqn((c,), "lte", (n, const(0))), Eqn((out,), "if", (c,), {}, (Block((), (), (const(0),)), deeper)))
    made = Program({"f": Function("f", Block((n,), eqns, (out,)), span)}, "f")
    verify(made)
    return made


def test_recursion_does_not_use_pythons_stack():
    assert interpret(recursive(), [20_000]) == (20_000 * 20_001 // 2,)


def test_recursion_too_deep_is_an_error_at_the_function():
    with pytest.raises(KernelRuntimeError, match="deeper than 100") as caught:
        interpret(recursive(), [1000], max_depth=100)
    assert caught.value.span == SPAN


@pytest.mark.parametrize(
    ("params", "build", "args", "message"),
    [
        ([Bool], lambda b, c: b.emit("assert", [c], [], params={"message": "x > 0"}), [False], "x > 0"),
        ([VEC], lambda b, v: b.emit("index", [v, const(2)], [Float]), [[1.0, 2.0]], "index 2 is out of range"),
        ([VEC], lambda b, v: b.emit("index", [v, const(-1)], [Float]), [[1.0, 2.0]], "index -1 is out of range"),
        ([VEC], lambda b, v: b.emit("update", [v, const(2), const(0.0)], [VEC]), [[1.0]], "out of range"),
        (
            [Integer],
            lambda b, n: b.emit("build", [n], [VEC], blocks=[body([Var("i", Integer)], lambda k, i: [const(1.0)])]),
            [-1],
            "size -1",
        ),
        (
            [BoxType("B")],
            lambda b, x: b.emit("unbox", [x], [Float]),
            [None],
            "null box",
        ),
        (
            [MAT, VEC],
            lambda b, m, v: b.emit("update", [m, const(0), v], [MAT]),
            [[[1.0, 2.0]], [1.0]],
            "sizes",
        ),
    ],
)
def test_run_time_errors_carry_the_span(params, build, args, message):
    with pytest.raises(KernelRuntimeError, match=message) as caught:
        interpret(program(params, build, {"B": (Float,)}), args)
    assert caught.value.span == SPAN


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (Float, "1"),
        (Float, True),
        (Integer, 1.5),
        (Bool, 1),
        (VEC, 1.0),
        (VEC, [[1.0]]),
        (TensorType(1, Float, (3,)), [1.0]),
        (TupleType((Float, Float)), (1.0,)),
    ],
)
def test_arguments_that_do_not_fit_are_refused(type_, value):
    with pytest.raises(ArgumentError, match="argument p0"):
        interpret(program([type_], lambda b, x: [x]), [value])


def test_argument_count():
    with pytest.raises(ArgumentError, match="takes 1 arguments, not 2"):
        interpret(program([Float], lambda b, x: [x]), [1.0, 2.0])


def test_print_writes_to_the_given_sink():
    written = []
    f = program([Float], lambda b, x: b.emit("print", [Const("x = ", const("").type), x, const(True)], []))
    interpret(f, [0.1], output=written.append)
    assert written == ["x = 0.1true"]
