"""Derivatives of reductions by every monoid, of numbers and of tensors, to the second order."""

import numpy as np
import pytest

from ksc.errors import DifferentiationError
from ksc.ir.text import parse
from ksc.transforms import jvp, vjp
from tests.transforms.oracle import check_derivatives

X = np.array([[0.3, 0.7, 1.1], [0.4, -0.9, 1.2], [0.8, 0.5, -0.6], [1.3, 0.2, 0.1]])

ROWS = """(def f (Tensor 1 Float) (x : (Tensor 2 Float))
  (reduce {} (get$1$2 (size x)) (lam (i : Integer)
    (let (r (index i x)) (build (size r) (lam (j : Integer) (sin (mul (index j r) (index (tuple i 0) x)))))))))"""
ALL = """(def f Float (x : (Tensor 2 Float))
  (reduce {} (size x) (lam (ij : (Tuple Integer Integer)) (sin (index ij x)))))"""
NESTED = """(def f Float (x : (Tensor 2 Float))
  (reduce add (get$1$2 (size x)) (lam (i : Integer)
    (reduce {} (get$2$2 (size x)) (lam (j : Integer) (exp (index (tuple i j) x)))))))"""
BOTH = """(def f (Values Float (Tensor 1 Float)) (x : (Tensor 2 Float))
  (reduce {} (get$1$2 (size x)) (lam (i : Integer) (values (sin (index (tuple i 1) x)) (index i x)))))"""


@pytest.mark.parametrize("monoid", ["add", "mul", "min", "max"])
@pytest.mark.parametrize(("rows", "order"), [(4, 2), (1, 1)])
@pytest.mark.parametrize("text", [ROWS, ALL, NESTED, BOTH])
def test_derivatives(text, monoid, rows, order):
    check_derivatives(parse(text.format(monoid)), (X[:rows],), order=order)


@pytest.mark.parametrize("monoid", ["add", "mul"])
@pytest.mark.parametrize("text", [ALL, NESTED])
def test_nothing_to_reduce(text, monoid):
    check_derivatives(parse(text.format(monoid)), (X[:0],), order=1)


@pytest.mark.parametrize("derive", [jvp, vjp])
def test_tensors_of_tensors_are_refused(derive):
    text = """(def f (Tensor 1 (Tensor 1 Float)) (x : (Tensor 1 Float))
      (reduce mul (size x) (lam (i : Integer)
        (build :nested true 2 (lam (j : Integer) (build (add j 1) (lam (k : Integer) (index i x))))))))"""
    with pytest.raises(DifferentiationError):
        derive(parse(text))
