"""Loops with checkpoints: the same derivatives, from less memory."""

import math

import numpy as np
import pytest

from ksc.errors import InvalidIRError
from ksc.ir.interpret import interpret
from ksc.ir.text import parse, to_text
from ksc.ir.verify import verify
from ksc.passes import optimise
from ksc.transforms import jvp, vjp
from tests.codegen.harness import Measured, call, compiled
from tests.transforms.oracle import check_derivatives
from tests.transforms.tapes import run_counting

FOR = """(def f Float ((x : Float) (n : Integer))
  (for :checkpoint {} (i n) ((p x)) (add (sin p) (mul x (div 1.0 (add 1.0 (to_float i)))))))"""
DOWN = FOR.replace("(i n)", "(i n down)")
WHILE = """(def f Float ((x : Float) (n : Integer))
  (let (((p i) (while :checkpoint {} ((p x) (i 0)) (and (lt i n) (lt p 9.0))
                 (values (add (mul p p) (mul x 0.125)) (add i 1)))))
    (mul p p)))"""
TENSOR = """(def f (Tensor 1 Float) ((x : (Tensor 1 Float)) (n : Integer))
  (for :checkpoint {} (k n) ((t x))
    (let (i (imod k (size x))) (update i t (mul (index i t) (cos (index 0 t)))))))"""
STATE = """(def f (Tensor 1 Float) ((x : (Tensor 1 Float)) (n : Integer))
  (for :checkpoint {} (k n) ((h x))
    (build (size x) (lam (i : Integer) (sin (add (index i x) (mul (index i h) (index 0 h))))))))"""
NESTED = """(def f Float ((x : Float) (n : Integer))
  (for :checkpoint {} (i n) ((p x))
    (if (lt p 0.9) (add (sin p) (for :checkpoint 2 (j i) ((q p)) (mul q (cos x)))) (mul p 0.5))))"""

X = np.array([0.7, 0.4, 1.1])


@pytest.mark.parametrize("length", [0, 1, 2, 3, 7, 50])
@pytest.mark.parametrize("n", [0, 1, 6, 7])
@pytest.mark.parametrize("text, x", [(FOR, 0.6), (DOWN, 0.6), (TENSOR, X), (STATE, X), (NESTED, 0.6)])
def test_derivatives_of_for(text, x, n, length):
    check_derivatives(parse(text.format(length)), (x, n), order=1)


@pytest.mark.parametrize("length", [1, 2, 3, 50])
@pytest.mark.parametrize("n", [0, 1, 6, 7])
def test_derivatives_of_while(n, length):
    check_derivatives(parse(WHILE.format(length)), (0.6, n), order=2)


@pytest.mark.parametrize("text, x", [(FOR, 0.6), (TENSOR, X), (STATE, X)])
def test_second_order(text, x):
    check_derivatives(parse(text.format(2)), (x, 5), order=2)


@pytest.mark.parametrize("n, length, limit", [(10_000, 0, 2 * 100), (10_000, 50, 200 + 50), (900, 1, 900)])
def test_a_long_loop_keeps_the_start_of_each_segment_and_one_segment(n, length, limit, monkeypatch):
    program = parse(FOR.format(length))
    (plain,) = interpret(vjp(parse(FOR.replace(":checkpoint {}", ""))), (0.6, n, 1.0))
    (bar,), tapes = run_counting(vjp(program), (0.6, n, 1.0), monkeypatch)
    assert bar == plain
    assert tapes.peak <= limit


def test_a_state_is_kept_at_the_start_of_each_segment(monkeypatch):
    program = parse(STATE.format(0))
    _, tapes = run_counting(vjp(program), (X, 400, X), monkeypatch)
    assert tapes.peak == 3 * (20 + 20)


def test_tensors_that_change_in_place_are_kept_whole_between_segments_only(monkeypatch):
    program = parse(TENSOR.format(10))
    _, tapes = run_counting(vjp(program), (X, 400, X), monkeypatch)
    assert tapes.peak <= 3 * 40 + 2 * 10


def test_the_second_derivative_of_a_long_loop_is_as_small(monkeypatch):
    program = optimise(vjp(optimise(vjp(parse(FOR.format(0)), wrt=[0])), wrt=[0]))
    _, tapes = run_counting(program, (0.6, 2500, 1.0, 1.0), monkeypatch)
    assert tapes.peak <= 16 * 50


def test_a_million_iterations_of_a_while():
    text = """(def f Float ((x : Float) (n : Integer))
      (let (((v i) (while :checkpoint {} ((v x) (i 0)) (lt i n) (values (add (sin v) (mul x 0.25)) (add i 1))))) v))"""
    n, x = 1_000_000, 0.5
    derived = optimise(vjp(parse(text.format(1000)), wrt=[0]))
    kernel = compiled("million", derived)
    host = Measured()
    status, (bar,) = call(kernel, "ks_million", derived, [np.array([x]), np.array([n]), np.array([1.0])], host=host)
    v, v_dot = x, 1.0
    for _ in range(n):
        v, v_dot = math.sin(v) + x * 0.25, math.cos(v) * v_dot + 0.25
    assert status == 0
    assert bar[0] == pytest.approx(v_dot, rel=1e-12)
    assert host.most <= 100_000


def test_text_and_forward_mode_keep_the_param():
    program = parse(FOR.format(12))
    assert to_text(parse(to_text(program))) == to_text(program)
    for derived in (jvp(program), optimise(jvp(program))):
        (loop,) = (eqn for eqn in derived.main.body.eqns if eqn.op == "for")
        assert loop.params["checkpoint"] == 12


@pytest.mark.parametrize(
    "text",
    [
        FOR.format(-1),
        FOR.format("true"),
        WHILE.format(0),
        "(def f (Tensor 1 Float) (n : Integer) (for :checkpoint 2 (i n) () (to_float i)))",
    ],
)
def test_the_verifier_refuses(text):
    with pytest.raises(InvalidIRError, match="checkpoint"):
        verify(parse(text))
