"""Derivatives know the sizes of their seeds, so that no element of a seed is checked, and refuse seeds of others."""

import numpy as np
import pytest

from ksc.derive import derive
from ksc.errors import KernelRuntimeError
from ksc.ir.interpret import interpret
from ksc.ir.text import parse
from ksc.ir.verify import verify
from ksc.passes import optimise
from tests.passes.temporaries import temporaries

OUTER = """
(def f (Values (Tensor 2 Float) (Tensor 1 Float)) ((x : (Tensor 1 Float)) (w : (Tensor 1 Float)) (k : Integer))
  (let ((n (size x)) (m (size w)) (l (add m k))
        (a (build (tuple n m) (lam ((i : Integer) (j : Integer))
             (let ((e (index i x)) (f (index j w)) (s (sin e))) (mul s f)))))
        (b (build l (lam (i : Integer) 1.0))))
    (values a b)))
"""


def test_cotangents_of_other_sizes_stop_the_kernel():
    derived = derive(parse(OUTER), "v")
    verify(derived)
    x, w = np.array([0.5, 2.0]), np.array([1.0, 2.0, 3.0])
    x_bar, w_bar = interpret(optimise(derived), [x, w, 1, np.ones((2, 3)), np.ones(4)])
    np.testing.assert_allclose(x_bar, 6 * np.cos(x))
    np.testing.assert_allclose(w_bar, np.full(3, np.sin(x).sum()))
    for wrong in ([np.ones((3, 3)), np.ones(4)], [np.ones((2, 4)), np.ones(4)], [np.ones((2, 3)), np.ones(3)]):
        with pytest.raises(KernelRuntimeError, match="a cotangent has the sizes of its result"):
            interpret(optimise(derived), [x, w, 1, *wrong])


def test_tangents_of_other_sizes_stop_the_kernel():
    derived = derive(parse(OUTER), "j01")
    x, w = np.array([0.5, 2.0]), np.array([1.0, 2.0, 3.0])
    a_dot, _ = interpret(optimise(derived), [x, w, 0, np.ones(3)])
    np.testing.assert_allclose(a_dot, np.outer(np.sin(x), np.ones(3)))
    with pytest.raises(KernelRuntimeError, match="a tangent those of its parameter"):
        interpret(optimise(derived), [x, w, 0, np.ones(2)])


@pytest.mark.parametrize("derivation", ["v", "j", "vj", "jv"])
def test_a_chain_with_known_seeds_has_no_temporary(derivation):
    chain = """
    (def f (Tensor 1 Float) ((x : (Tensor 1 Float)))
      (let ((n (size x)) (a (build n (lam (i : Integer) (let ((e (index i x))) (sin e))))))
        (build n (lam (i : Integer) (let ((e (index i a))) (mul e e))))))
    """
    assert temporaries(optimise(derive(parse(chain), derivation))) == []
