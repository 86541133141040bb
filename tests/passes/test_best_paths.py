"""Extremes of columns, and where they stand: what a best path through states takes of each step."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

import ksc as knossos
from ksc.errors import KernelRuntimeError
from ksc.ir.interpret import interpret
from ksc.ir.nodes import walk
from ksc.ir.text import parse
from ksc.ir.types import TensorType
from ksc.ir.verify import verify
from ksc.passes.columns import sum_by_rows
from ksc.passes.kept import keep_sums


def in_loops(emit: Tensor, trans: Tensor):
    score = emit[0].clone()
    back = torch.zeros(emit.shape, dtype=torch.int64)
    for t in range(1, emit.shape[0]):
        step = torch.empty_like(score)
        for j in range(emit.shape[1]):
            best = score[0] + trans[0, j]
            arg = 0
            for i in range(1, emit.shape[1]):
                c = score[i] + trans[i, j]
                if c > best:
                    best = c
                    arg = i
            step[j] = best + emit[t, j]
            back[t, j] = arg
        score = step
    return score.max(), back


def by_rows(emit: Tensor, trans: Tensor):
    score = emit[0]
    back = torch.zeros(emit.shape, dtype=torch.int64)
    for t in range(1, emit.shape[0]):
        best, arg = torch.max(score[:, None] + trans, dim=0)
        score = best + emit[t]
        back[t] = arg
    return score.max(), back


@pytest.mark.parametrize("function", [in_loops, by_rows])
def test_best_paths_go_through_the_matrix_row_by_row(function):
    special, _ = knossos.register(function)._specialise((torch.zeros(4, 3), torch.zeros(3, 3)), {})
    random = np.random.default_rng(0)
    for derivation, weights in (("", ()), ("v", (1.5,))):
        program = special.program_of(derivation)
        rows = sum_by_rows(keep_sums(program))
        verify(rows)
        found = [eqn for eqn in walk(rows.main.body) if eqn.op == "reduce" and eqn.params["monoid"] in ("max", "min")]
        whole = [eqn.params["monoid"] for eqn in found if isinstance(eqn.outs[0].type, TensorType)]
        # The best one of each column once, forward; which one it is where it is asked for.
        assert sorted(whole) == ["max", "min"]
        for steps, states in ((4, 3), (1, 2), (5, 6)):
            # Some are equal.
            given = random.integers(-2, 3, (steps, states)) / 1.0, random.integers(-2, 3, (states, states)) / 1.0
            for a, b in zip(interpret(program, (*given, *weights)), interpret(rows, (*given, *weights)), strict=True):
                np.testing.assert_array_equal(a, b)


def test_the_gradient_goes_along_the_best_path():
    kernels = [knossos.register(function) for function in (in_loops, by_rows)]
    generator = torch.Generator().manual_seed(0)
    for steps, states in ((9, 20), (1, 3), (4, 1)):
        leaves = [
            torch.randn(n, states, dtype=torch.float64, generator=generator).requires_grad_() for n in (steps, states)
        ]
        want, path = by_rows(*leaves)
        expected = torch.autograd.grad(want, leaves, allow_unused=True, materialize_grads=True)
        for kernel in kernels:
            value, found = kernel(*leaves)
            torch.testing.assert_close(value, want)
            assert torch.equal(found, path)
            for got, one in zip(torch.autograd.grad(value, leaves), expected, strict=True):
                torch.testing.assert_close(got, one)


@knossos.register
def nearest(x: Tensor, start: float):
    """What comes with the best element: where it stands, what it is twice, whether there is any."""
    best, at, twice, hit = start, -1, 0.0, False
    for i in range(x.shape[0]):
        if x[i] < best:
            best = x[i]
            at = i + 1
            twice = 2.0 * x[i]
            hit = True
    return best + twice, at, hit


@pytest.mark.parametrize("start", [2.5, -9.0, math.inf, math.nan])
def test_what_comes_with_an_extreme_is_that_of_the_first(start):
    special, _ = nearest._specialise((torch.zeros(3), 1.0), {})
    assert all(eqn.op != "for" for d in ("", "v") for eqn in walk(special.program_of(d).main.body))
    for row in ([3.0, 1.0, 4.0, 1.0], [], [math.nan, 2.0, math.nan], [math.nan], [math.inf, -math.inf]):
        x = torch.tensor(row, dtype=torch.float64)
        want = nearest.__wrapped__(x, start)
        got = nearest(x, start)
        assert (got[1], got[2]) == want[1:]
        assert got[0] == pytest.approx(float(want[0]), nan_ok=True)
        x_bar, start_bar = nearest.vjp(x, start, 1.0)
        assert x_bar.tolist() == [3.0 * (k == want[1] - 1) for k in range(len(row))]
        assert start_bar == (not want[2])


@knossos.register
def looked_up(x: Tensor, y: Tensor, runner_up: bool):
    """What comes with an element is out of range maybe, or the best one before: these loops stay."""
    best, other, second, at = -9.0, 0.0, 0.0, 0
    for i in range(x.shape[0]):
        if x[i] > best:
            best = x[i]
            other = y[i]
    if runner_up:
        best = -9.0
        for i in range(x.shape[0]):
            if x[i] > best:
                second = best
                best = x[i]
                at = i
    return best + other, second, at


def test_loops_that_do_more_than_look_for_an_extreme_stay():
    x, y = torch.tensor([1.0, 3.0, 2.0]), torch.tensor([5.0, 7.0])
    assert looked_up(x, y, True) == (10.0, 1.0, 1)
    with pytest.raises(KernelRuntimeError, match="out of range"):
        looked_up(torch.tensor([1.0, 2.0, 3.0]), y, True)


@pytest.mark.parametrize(("terms", "moved"), [("3", False), ("(size y)", True)])
def test_few_terms_stay_in_the_loop_over_columns(terms, moved):
    program = parse(f"""
(def f (Tensor 1 Float) ((x : (Tensor 2 Float)) (y : (Tensor 1 Float)))
  (let ((n {terms})
        (rows (size x 0)) (has_rows (eq rows n)) (() (require has_rows "rows of x"))
        (cols (size x 1)) (has_cols (eq cols 26)) (() (require has_cols "columns of x"))
        (size_of_y (size y)) (as_long (eq size_of_y n)) (() (require as_long "numbers of y")))
    (build 26 (lam (j : Integer)
      (reduce max n (lam (i : Integer) (add (index (tuple i j) x) (index i y))))))))
""")
    assert (sum_by_rows(program) is not program) == moved
