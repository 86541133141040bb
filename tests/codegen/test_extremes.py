"""The largest and smallest numbers, found in several lanes, are those found in order, NaN and infinities included."""

import numpy as np
import pytest

from ksc.ir.text import parse
from tests.codegen.harness import build, call_tensors, load, tensor_source

EXTREMES = """
(def f (Values (Tensor 1 Float) (Tensor 1 Float)) ((x : (Tensor 2 Float)))
  (let ((n (size x 0)) (m (size x 1))
        (most (build n (lam (i : Integer) (reduce max m (lam (j : Integer) (index (tuple i j) x))))))
        (least (build n (lam (i : Integer) (reduce min m (lam (j : Integer) (index (tuple i j) x)))))))
    (values most least)))
"""


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_extremes_of_rows(dtype):
    program = parse(EXTREMES)
    source = tensor_source("f", program, dtype)
    assert "KS_MAX(" in source.text and "KS_MIN(" in source.text
    kernel = load(build(source))
    for columns in (1, 7, 37, 64):
        x = np.random.default_rng(columns).standard_normal((columns + 3, columns)).astype(dtype)
        x[range(columns), range(columns)] = np.nan
        x[columns] = np.inf
        x[columns + 1] = -np.inf
        status, (most, least) = call_tensors(kernel, "ks_f", program, [x], [(columns + 3,)] * 2, dtype)
        assert status == 0
        np.testing.assert_array_equal(most, x.max(axis=1))
        np.testing.assert_array_equal(least, x.min(axis=1))
