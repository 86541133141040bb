"""A result of a call that nobody reads sends no cotangent back, so an infinite derivative of it can do no harm."""

import math
from itertools import pairwise

import numpy as np
import pytest

from ksc.ir.interpret import interpret
from ksc.ir.text import parse
from ksc.ir.verify import verify
from ksc.passes import optimise
from ksc.passes.flatten_tuples import flatten_tuples
from ksc.passes.inline import SMALL
from ksc.transforms import jvp, vjp
from tests.codegen.harness import call, compiled
from tests.transforms.oracle import check_derivatives

BOTH = """(def f (Tuple Float Float) ((x : Float) (n : Integer))
  (if (lte n 0) (tuple (mul 2.0 x) (sqrt x))
    (let (((a b) (f (mul 3.0 x) (sub n 1)))) (tuple (mul 2.0 a) (mul 5.0 b)))))"""
"""Recursive; (2 * 6^n x, 5^n sqrt(3^n x))."""

APART = """(def f (Tuple Float Float) ((x : Float) (y : Float) (n : Integer))
  (if (lte n 0) (tuple (mul 2.0 x) (mul 3.0 y))
    (let (((a b) (f x y (sub n 1)))) (tuple (mul 2.0 a) (mul 3.0 b)))))"""
"""Recursive; each result depends on one argument alone."""

CONSTANT = """(def f (Tuple Float Float) ((x : Float) (n : Integer))
  (if (lte n 0) (tuple x 0.0) (let (((a b) (f x (sub n 1)))) (tuple (mul 2.0 a) b))))"""
"""Recursive; the second result is always 0."""

MUTUAL = """(def f (Tuple Float Float) ((x : Float) (n : Integer))
  (if (lte n 0) (tuple (mul 2.0 x) (sqrt x)) (let (((a b) (g x (sub n 1)))) (tuple b a))))
(def g (Tuple Float Float) ((x : Float) (n : Integer))
  (if (lte n 0) (tuple (sqrt x) (mul 3.0 x)) (let (((a b) (f x (sub n 1)))) (tuple b a))))"""
"""The first result of f is linear, the second a root."""


def _large(of, size):
    """The body of a function that is too large to be inlined: ``size + 1`` times ``of``, written as additions."""
    names = [of, *(f"a{k}" for k in range(size))]
    steps = " ".join(f"({new} (add {old} {of}))" for old, new in pairwise(names))
    return f"(let ({steps}) (tuple {names[-1]} (sqrt {of})))"


LARGE = f"(def f (Tuple Float Float) ((x : Float) (n : Integer)) {_large('x', SMALL + 1)})"
TENSORS = f"""(def f (Tuple Float (Tensor 1 Float)) ((x : Float) (n : Integer))
  (let (((a b) {_large("x", SMALL + 1)}) (v (build n (lam (i : Integer) (sqrt x))))) (tuple a v)))"""

PROGRAMS = {
    "large": (LARGE, "(let (((a b) (f x n)) ((c d) (f (sin x) n))) (add a c))", 2.0 * (SMALL + 2)),
    "large_in_loop": (LARGE, "(for (i n) ((c x)) (let ((a b) (f c i)) (add a x)))", 1.0 + (SMALL + 2) * (SMALL + 3)),
    "tensors": (TENSORS, "(let (((a b) (f x n)) ((c d) (f (sin x) n))) (add a c))", 2.0 * (SMALL + 2)),
    "tensors_read": (
        TENSORS,
        "(let (((a b) (f x n)) ((c d) (f (add 4.0 x) n))) (add a (index 0 d)))",
        SMALL + 2.25,
    ),
    "called": (BOTH, "(let (((a b) (f x n))) a)", 72.0),
    "called_twice": (BOTH, "(let (((a b) (f x n)) ((c d) (f (sin x) n))) (add a c))", 144.0),
    "in_if": (BOTH, "(if (lt n 9) (let (((a b) (f x n))) (mul a a)) x)", 0.0),
    "in_loop": (BOTH, "(for (i n) ((c x)) (let ((a b) (f c i)) (add a x)))", 37.0),
    "in_build": (BOTH, "(sumbuild n (lam (i : Integer) (let (((a b) (f x i))) a)))", 14.0),
    "mutual": (MUTUAL, "(let (((a b) (f x n))) a)", 2.0),
    "mutual_odd": (MUTUAL, "(let (((a b) (f x (add n 1)))) a)", 3.0),
    "argument_apart": (APART, "(let (((a b) (f (sqrt x) x n))) b)", 27.0),
    "constant_result": (CONSTANT, "(let (((a b) (f x n))) (add a (sqrt b)))", 4.0),
}


def source(name):
    functions, body, gradient = PROGRAMS[name]
    return flatten_tuples(parse(f"{functions}\n(def h Float ((x : Float) (n : Integer)) {body})")), gradient


@pytest.mark.parametrize("optimised", [False, True])
@pytest.mark.parametrize("name", PROGRAMS)
def test_an_infinite_derivative_that_is_not_asked_for_is_not_met(name, optimised):
    program, gradient = source(name)
    for derived in (vjp(program), jvp(program), vjp(program, with_value=True)):
        derived = optimise(derived) if optimised else derived
        verify(derived)
        assert interpret(derived, (0.0, 2, 1.0))[-1] == gradient


@pytest.mark.parametrize("name", PROGRAMS)
def test_second_order_at_the_same_place(name):
    program, _ = source(name)
    for second in (jvp(vjp(program), wrt=[0]), vjp(jvp(program), wrt=[0])):
        assert math.isfinite(interpret(optimise(second), (0.0, 2, 1.0, 1.0))[-1])


@pytest.mark.parametrize("name", PROGRAMS)
def test_derivatives_elsewhere(name):
    program, _ = source(name)
    check_derivatives(program, (0.3, 2))


@pytest.mark.parametrize("name", PROGRAMS)
def test_compiled(name):
    program, gradient = source(name)
    derived = optimise(vjp(program))
    columns = [np.array([0.0, 0.25]), np.array([2, 2]), np.array([1.0, 1.0])]
    status, (given,) = call(compiled("missing", derived), "ks_missing", derived, columns)
    assert status == 0
    assert given[0] == gradient
    assert given[1] == pytest.approx(interpret(derived, (0.25, 2, 1.0))[0], rel=1e-14)
