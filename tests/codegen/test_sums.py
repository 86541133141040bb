"""Loops of sums begin with what their sum is added to, where that is known before them."""

import numpy as np

from ksc.ir.text import parse
from tests.codegen.harness import build, call_tensors, load, tensor_source

ROWS = """
(def f (Values (Tensor 1 Float) (Tensor 1 Float) (Tensor 1 Float) (Tensor 1 Float)) ((x : (Tensor 2 Float)))
  (let ((n (size x 0)) (m (size x 1))
        ((begun late twice counted) (build n (lam (i : Integer)
          (let ((first (mul (index (tuple i 0) x) 3.0))
                ((a b) (reduce add m (lam (j : Integer)
                  (let ((v (index (tuple i j) x))) (values v (mul v v))))))
                (begun (add a first))
                (after (mul first 2.0))
                (late (add b after))
                (c (reduce add m (lam (j : Integer) (index (tuple i j) x))))
                (twice (add c c))
                (k (reduce add m (lam (j : Integer) j))))
            (values begun late twice (to_float (add i k))))))))
    (values begun late twice counted)))
"""


def test_sums_begin_with_what_they_are_added_to():
    program = parse(ROWS)
    source = tensor_source("f", program, "float64")
    assert "double begun_2 = first_2;" in source.text
    assert "int64_t t = i;" in source.text
    assert source.text.count("= 0.0;") == 2, "b is added to what follows it, c to itself"
    kernel = load(build(source))
    for columns in (1, 2, 9, 40):
        x = np.random.default_rng(columns).standard_normal((5, columns))
        x[1, 0], x[2, 0], x[3, -1] = np.inf, -0.0, np.nan
        status, results = call_tensors(kernel, "ks_f", program, [x], [(5,)] * 4, "float64")
        assert status == 0
        first = 3.0 * x[:, 0]
        expected = (
            x.sum(1) + first,
            (x * x).sum(1) + 2.0 * first,
            2.0 * x.sum(1),
            np.arange(5.0) + columns * (columns - 1) // 2,
        )
        for result, one in zip(results, expected, strict=True):
            np.testing.assert_allclose(result, one, rtol=1e-13, atol=1e-13)
