"""Triangular loops that only add run along rows, in memory and in what they collect."""

import numpy as np
import pytest
import torch
from torch import Tensor

import ksc as knossos
from ksc.ir.interpret import interpret
from ksc.ir.nodes import walk
from ksc.ir.text import parse
from ksc.ir.verify import verify
from ksc.passes.triangles import turn_triangles

PROGRAM = """
(def f (Values (Tensor 2 Float) (Tensor 1 Float) (Tensor 1 Float))
 ((a : (Tensor 2 Float)) (x : (Tensor 1 Float)) (y : (Tensor 1 Float)))
  (let ((n (size x))
        (rows (size a 0)) (square (eq rows n)) (() (require square "a has as many rows"))
        (cols (size a 1)) (as_wide (eq cols n)) (() (require as_wide "and columns"))
        (numbers (size y)) (as_long (eq numbers n)) (() (require as_long "as y has numbers"))
        (starts (build (tuple n n) (lam ((k : Integer) (l : Integer)) 0.0)))
        (zeros (build n (lam (k : Integer) 0.0)))
        ((a_bar x_bar y_bar) (withacc ((p starts) (q x) (r zeros))
          (build n (lam (i : Integer)
            (let ((own (index i x))
                  (doubled (mul 2.0 own))
                  {more}
                  (count {count})
                  (()
                   (build count (lam (j : Integer)
                     (let ((other (index j y))
                           (element (index {at} a))
                           (t (mul doubled other))
                           (u (mul doubled element))
                           {inside}
                           (() (acc_add {at} p t)))
                       (acc_add j r u))))))
              (acc_add i q doubled)))))))
    (values a_bar x_bar y_bar)))
"""
ORDINARY = {"more": "", "count": "(add i 0)", "at": "(tuple j i)", "inside": ""}


@pytest.mark.parametrize(
    ("parts", "turned"),
    [
        ({}, True),
        ({"count": "(add i 1)"}, True),
        ({"count": "(sub n i)"}, True),
        ({"more": "(rest (sub n i))", "count": "(sub rest 1)"}, True),
        # Rows already, no triangle, terms that are dear to compute again, or may stop the kernel.
        ({"at": "(tuple i j)"}, False),
        ({"count": "(idiv i 2)"}, False),
        ({"more": "(w (exp own))", "inside": "(() (acc_add j r w))"}, False),
        ({"more": "(k (to_int own))", "inside": "(v (index k y)) (() (acc_add j r v))"}, False),
    ],
)
def test_a_triangle_by_columns_is_turned(parts, turned):
    program = parse(PROGRAM.format(**{**ORDINARY, **parts}))
    changed = turn_triangles(program)
    verify(changed)
    assert (changed is not program) == turned
    if turned:
        # What is collected for a column is a number while its rows are gone through.
        assert sum(eqn.op == "withacc" for eqn in walk(changed.main.body)) == 2
    random = np.random.default_rng(0)
    for n in range(5):
        given = random.normal(size=(n, n)), random.uniform(0.0, 0.9, size=n), random.normal(size=n)
        for a, b in zip(interpret(program, given), interpret(changed, given), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)


def test_the_gradient_of_a_packed_triangle_is_that_of_the_matrix():
    @knossos.register
    def packed(lower: Tensor, x: Tensor):
        """|L x| for a matrix with the columns of its strict lower triangle in ``lower``."""
        d = x.shape[1]
        total = 0.0
        for p in range(x.shape[0]):
            for i in range(d):
                r = 1.0 * x[p, i]
                for j in range(i):
                    r += lower[j * (2 * d - j - 1) // 2 + i - j - 1] * x[p, j]
                total += r * r
        return total

    generator = torch.Generator().manual_seed(0)
    for n, d in ((70, 9), (3, 1), (2, 2)):
        lower = torch.randn(d * (d - 1) // 2, dtype=torch.float64, generator=generator, requires_grad=True)
        x = torch.randn(n, d, dtype=torch.float64, generator=generator, requires_grad=True)
        columns, rows = torch.triu_indices(d, d, 1)
        whole = torch.eye(d, dtype=torch.float64).index_put((rows, columns), lower)
        want = ((x @ whole.T) ** 2).sum()
        value = packed(lower, x)
        torch.testing.assert_close(value, want)
        grads = (torch.autograd.grad(total, (lower, x)) for total in (value, want))
        for got, expected in zip(*grads, strict=True):
            torch.testing.assert_close(got, expected)
