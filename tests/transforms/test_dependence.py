"""Which results depend on which arguments: programs in KS text, their sets worked out by hand."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from ksc.errors import DifferentiationError
from ksc.ir.interpret import interpret
from ksc.ir.text import parse
from ksc.transforms import dependence as module
from ksc.transforms import jvp
from ksc.transforms.dependence import dependence
from tests.transforms.oracle import active, flat, float_results
from tests.transforms.tensor_strategy import arguments, tensor_programs


def sets(text, *args, wrt=(0,)):
    found = dependence(parse(text), args, wrt)
    return [[bin(s) for s in part] if isinstance(part, np.ndarray) else bin(part) for part in found]


def test_floats_pass_what_has_a_derivative():
    text = "(def f Float ((x : Float) (y : Float)) (add (mul x 2.0) (floor y)))"
    assert sets(text, (), (), wrt=(0, 1)) == ["0b1"]
    assert sets(text, (), (), wrt=(1,)) == ["0b0"]


def test_an_unknown_condition_joins_both_sides():
    text = "(def f Float ((x : Float) (y : Float) (n : Integer)) (if (gt {} 0{}) (sin x) (cos y)))"
    assert sets(text.format("x", ".0"), (), (), 1, wrt=(0, 1)) == ["0b11"]
    assert sets(text.format("n", ""), (), (), 1, wrt=(0, 1)) == ["0b1"]
    assert sets(text.format("n", ""), (), (), None, wrt=(0, 1)) == ["0b11"]


def test_indices_and_updates():
    text = "(def f (Tensor 1 Float) ((x : (Tensor 1 Float)) (i : Integer)) (update i x (index 0 x)))"
    assert sets(text, (3,), 2) == [["0b1", "0b10", "0b1"]]
    assert sets(text, (3,), None) == [["0b1", "0b11", "0b101"]]
    assert sets(text, (3,), 7) == [["0b1", "0b10", "0b100"]]


def test_reductions():
    program = "(def f Float ((x : (Tensor 1 Float))) (reduce add (size x) (lam (i : Integer) (index i x))))"
    assert sets(program, (3,)) == ["0b111"]
    assert sets(program, (0,)) == ["0b0"]


def test_what_cannot_be_followed_is_refused(monkeypatch):
    monkeypatch.setattr(module, "MAX_STEPS", 10_000)
    text = "(def f (Tensor 1 Float) ((x : Float)) (build (to_int x) (lam (i : Integer) x)))"
    with pytest.raises(DifferentiationError, match="depends on floats"):
        sets(text, ())
    endless = "(def f Float ((x : Float)) (while ((y x)) true (add y 1.0)))"
    with pytest.raises(DifferentiationError, match="too long"):
        sets(endless, ())
    with pytest.raises(DifferentiationError, match="too many"):
        sets("(def f Float ((x : (Tensor 1 Float))) (index 0 x))", (60_000,))


def test_recursion_that_floats_may_continue():
    text = """
    (def f Float ((x : Float) (y : Float) (n : Integer))
      (if (lt x 3.0) (f (mul x 2.0) y n) (mul x 1.0)))
    """
    assert sets(text, (), (), 1, wrt=(0, 1)) == ["0b11"]
    counted = """
    (def f Float ((x : Float) (y : Float) (n : Integer))
      (if (gt n 0) (f (mul x 2.0) y (sub n 1)) (mul x 1.0)))
    """
    assert sets(counted, (), (), 5, wrt=(0, 1)) == ["0b1"]


def derivative(program, args):
    """All float results by all float arguments, exactly, a direction after the other."""
    forward = jvp(program)
    wrt = active(program)
    zeros = [np.zeros(np.shape(args[k])) for k in wrt]
    columns = []
    for n, zero in enumerate(zeros):
        for at in np.ndindex(zero.shape):
            dots = [np.zeros(z.shape) for z in zeros]
            dots[n][at] = 1.0
            columns.append(flat(interpret(forward, [*args, *(d if d.shape else float(d) for d in dots)])))
    return np.array(columns).T


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(tensor_programs())
def test_no_dependence_of_a_random_program_is_missed(program):
    rng = np.random.default_rng(1)
    for _ in range(2):
        args = arguments(rng)
        matrix = derivative(program, args)
        sizes = [np.shape(arg) for arg in args]
        integers = args[3]
        for known in (integers, np.full(integers.shape, None)):
            found = float_results(program, dependence(program, [*sizes[:3], known, ()], active(program)))
            rows = [s for part in found for s in (part.flat if isinstance(part, np.ndarray) else [part])]
            assert len(rows) == len(matrix)
            for row, bits in zip(matrix, rows, strict=True):
                assert not any(value != 0.0 and not bits >> j & 1 for j, value in enumerate(row))
