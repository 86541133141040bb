"""What is kept for the reverse sweep, and how large derivatives grow."""

import pytest

from ksc.ir.interpret import interpret
from ksc.ir.nodes import const, walk
from ksc.ir.text import parse
from ksc.ir.types import Float, Integer
from ksc.passes import optimise
from ksc.transforms import jvp, vjp
from tests.transforms.oracle import check_derivatives, size
from tests.transforms.programs import PROGRAMS, RECURSIVE, VEC, function, one, program, while_


def stacked(derived):
    """The number of results that loops stack."""
    return sum(
        len(eqn.outs) - eqn.params["carries"]
        for f in derived.functions.values()
        for eqn in walk(f.body)
        if eqn.op in ("for", "while")
    )


def loops(derived):
    return [eqn for f in derived.functions.values() for eqn in walk(f.body) if eqn.op in ("for", "while")]


def test_a_linear_loop_tapes_nothing_and_is_run_once():
    derived = vjp(PROGRAMS["linear_loop"][0])
    assert stacked(derived) == 0
    assert len(loops(derived)) == 1


def test_a_product_tapes_the_product_once():
    derived = vjp(PROGRAMS["running_product"][0])
    assert stacked(derived) == 1


def test_only_the_carry_that_is_read_nonlinearly_is_taped():
    def body(b, x, n):
        def step(b, i, c):
            a, s, k = c
            return [b.apply("sin", a), b.apply("add", s, b.apply("mul", a, x)), b.apply("add", k, const(2))]

        return b.for_(n, [x, const(0.0), const(0)], step, names=["a", "s", "k"])[:2]

    derived = vjp(one({"x": Float, "n": Integer}, body))
    assert stacked(derived) == 1


def test_a_filled_vector_is_not_taped():
    derived = vjp(PROGRAMS["prefix_norms"][0])
    tapes = [out for eqn in loops(derived) for out in eqn.outs[eqn.params["carries"] :]]
    assert all(tape.type == VEC for tape in tapes)
    assert len(tapes) <= 2


def test_a_while_counts_only_where_it_is_reversed():
    def body(b, x):
        (v,) = while_(b, [x], lambda b, v: b.apply("lt", v, const(10.0)), lambda b, v: [b.apply("mul", v, v)])
        return [b.apply("mul", b.apply("floor", v), x)]

    derived = vjp(one({"x": Float}, body))
    assert [len(eqn.outs) for eqn in loops(derived)] == [1]


def test_a_counter_is_not_taped():
    def body(b, x):
        def step(b, v, k):
            scaled = b.apply("mul", v, b.apply("to_float", k))
            return [b.apply("add", scaled, x), b.apply("add", k, const(3))]

        return while_(b, [x, const(1)], lambda b, v, k: b.apply("lt", k, const(9)), step)[:1]

    source = one({"x": Float}, body)
    assert stacked(vjp(source)) == 0
    check_derivatives(source, (0.7,))


def test_carries_whose_cotangent_is_zero_have_none():
    def body(b, x, n):
        def step(b, i, c):
            return [b.apply("mul", c[0], x), b.apply("mul", c[1], c[1])]

        return b.for_(n, [const(1.0), x], step)[:1]

    derived = vjp(one({"x": Float, "n": Integer}, body))
    assert [eqn.params["carries"] for eqn in loops(derived)] == [1, 1]


def test_an_inactive_value_costs_nothing():
    program_ = parse("(def f Float ((x : Float) (y : Float)) (mul x (exp (sin (cos y)))))")
    derived = vjp(program_, wrt=[0])
    assert sorted(eqn.op for eqn in derived.main.body.eqns) == ["cos", "exp", "mul", "sin"]


def test_a_function_calls_itself_once_in_each_pass():
    derived = vjp(RECURSIVE)
    calls = {
        name: [eqn.params["callee"] for eqn in walk(f.body) if eqn.op == "call"]
        for name, f in derived.functions.items()
    }
    assert calls["[suffwdpass f]"] == ["[suffwdpass f]"]
    assert calls["[sufrevpass f]"] == ["[sufrevpass f]"]
    assert calls["[rev f]"] == ["[suffwdpass f]", "[sufrevpass f]"]
    assert set(derived.boxes) == {"f"}


def test_the_code_of_a_chain_of_calls_is_linear_in_its_length():
    def chain(n):
        functions = []
        for k in range(n):

            def body(b, x, k=k):
                v = x
                for _ in range(30):
                    v = b.apply("sin", v)
                for arg in (v, x) if k else ():
                    (w,) = b.emit("call", [arg], [Float], params={"callee": f"f{k - 1}"})
                    v = b.apply("mul", v, w)
                return [v]

            functions.append(function(f"f{k}", {"x": Float}, body))
        return program(*functions)

    sizes = [size(vjp(chain(n))) for n in (4, 8, 12)]
    assert sizes[2] - sizes[1] == sizes[1] - sizes[0]
    check_derivatives(chain(3), (0.7,), order=2)


def test_a_long_chain_of_elifs_is_linear_in_its_length():
    def elifs(n):
        text = "x"
        for k in reversed(range(n)):
            text = f"(if (lt x {float(k)}) (mul (sin x) {k + 0.5}) {text})"
        return parse(f"(def f Float (x : Float) {text})")

    sizes = [size(vjp(elifs(n))) for n in (20, 40, 60)]
    assert sizes[2] - sizes[1] == sizes[1] - sizes[0]
    assert interpret(vjp(elifs(100)), (98.5, 0.0)) == (0.0,)


RELU3 = parse(
    """(def relu3 Float (x : Float)
        (if (lt x 0.0) 0.0 (if (lt x 1.0) (mul 0.3333333333333333 (pow x 3.0)) (sub x 0.6666666666666666))))"""
)


@pytest.mark.parametrize(
    "program_, limits", [(RELU3, (6, 7, 7, 2)), (PROGRAMS["running_product"][0], (9, 30, 80, 220))]
)
def test_higher_orders_stay_small(program_, limits):
    reverse = forward = program_
    for limit in limits:
        reverse = optimise(vjp(reverse, wrt=[0]))
        forward = optimise(jvp(forward, wrt=[0]))
        assert size(reverse) <= limit
        assert size(forward) <= limit
