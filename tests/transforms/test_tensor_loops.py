"""Derivatives of loops that change tensors: the laws, and truths worked out by hand."""

import numpy as np
import pytest

from ksc.ir.interpret import interpret
from ksc.ir.text import parse
from ksc.passes import optimise
from ksc.transforms import vjp
from tests.transforms.oracle import check_derivatives
from tests.transforms.tensor_loops import LOOPS


@pytest.mark.parametrize("name", LOOPS)
def test_derivatives(name):
    program, args = LOOPS[name]
    check_derivatives(program, args, order=2)


@pytest.mark.parametrize(
    "name, args, bar, truth",
    [
        ("running_product", (np.array([2.0, 2.0, 2.0]),), 1.0, [4.0, 4.0, 4.0]),
        ("write_then_multiply", (np.array([5.0, -1.0, 7.0]),), np.ones(3), [3.0, 3.0, 3.0]),
        ("running_product", (np.zeros(0),), 1.0, []),
    ],
)
def test_truth(name, args, bar, truth):
    derived = vjp(LOOPS[name][0])
    for program in (derived, optimise(derived)):
        (gradient,) = interpret(program, (*args, bar))
        np.testing.assert_array_equal(gradient, truth)


X4 = np.array([0.3, 0.5, 0.7, 0.2])
SPECIAL = {
    "recursive_call": (
        """(def f Float ((x : Float) (n : Integer)) (if (lte n 0) x (mul x (f (sin x) (sub n 1)))))
        (def h (Tensor 1 Float) ((x : (Tensor 1 Float)))
          (for (i (size x)) ((t x))
            (for (j i) ((u t))
              (if (gt (f (index j u) 2) -9.0) (update i u (sin (add (f (index i u) j) (index j u)))) u))))""",
        (X4,),
    ),
    "assert": (
        """(def h (Tensor 1 Float) ((x : (Tensor 1 Float)))
          (for (i (size x)) ((t x))
            (for :checkpoint 2 (j i) ((u t))
              (let ((() (require (gt (index j u) -9.0) "too small")))
                (update i u (sin (add (mul (index i u) 2.0) (index j u))))))))""",
        (X4,),
    ),
    "ragged_rows": (
        """(def h (Tensor 2 Float) ((x : (Tensor 2 Float)) (n : Integer))
          (for (i n) ((t x))
            (for (j (sub i 2)) ((u t))
              (let (r (index (imod i 3) u))
                (update (imod j 3) u
                  (build (size r) (lam (k : Integer) (mul (index k r) (index (tuple (imod j 3) k) u)))))))))""",
        (np.array([[0.3, 0.8], [1.2, 0.4], [0.6, 0.9]]), 5),
    ),
    "rows_of_nothing": (
        """(def h (Tensor 2 Float) ((x : (Tensor 2 Float)) (n : Integer))
          (for (i n) ((t x)) (for (j (sub i 2)) ((u t)) (update (imod j 3) u (index (imod i 3) u)))))""",
        (np.zeros((3, 0)), 5),
    ),
}


@pytest.mark.parametrize("name", SPECIAL)
def test_derivatives_of_special_cases(name):
    text, args = SPECIAL[name]
    check_derivatives(parse(text), args, order=2)
