"""Loops that only add up, or look for an extreme, are reductions: with the same values, NaN and derivatives."""

import math

import pytest
import torch
from torch import Tensor

import ksc as knossos
from ksc.ir.nodes import walk
from ksc.ir.text import parse
from ksc.passes.elements import reuse_elements

NAN, INF = math.nan, math.inf


def ops(kernel, derivation, *args):
    """The ops of a derivation, without what says which index is out of range."""
    special, _ = kernel._specialise(args, {})
    return [eqn.op for eqn in walk(special.program_of(derivation).main.body)]


@knossos.vmap
def largest(x: Tensor):
    m = x[0]
    for v in x:
        if v > m:
            m = v
    return m


@knossos.vmap
def least(x: Tensor):
    m = 2.5
    for i in range(len(x)):
        if m > x[i] * x[i]:
            m = x[i] * x[i]
    return m


@knossos.vmap
def by_hand(x: Tensor):
    """A softmax in loops, of which the first looks at no element where there is one only."""
    m = x[0]
    for i in range(1, len(x)):
        m = max(m, x[i])
    total = 0.0
    for v in x:
        total += math.exp(v - m)
    y = torch.zeros_like(x)
    for i in range(len(x)):
        y[i] = math.exp(x[i] - m) / total
    return y


@knossos.register
def sums(x: Tensor, n: int):
    """What is added in branches, in loops inside, and taken away; loops that count to less than 0."""
    s, count = 1.5, 0
    for i in range(x.shape[0]):
        if x[i, 0] > 0:
            s += x[i, 0]
            count += 1
        for j in range(1, x.shape[1]):
            s -= x[i, j] * x[i, j]
    for _ in range(n):
        s += 3.0
    return s, count


def in_python(function, x):
    return torch.stack([torch.as_tensor(function(row)) for row in x.unbind()])


def test_loops_over_rows_are_reductions():
    x = torch.randn(3, 5)
    for kernel in (largest, least, by_hand):
        for derivation in ("", "v", "j"):
            assert "for" not in ops(kernel, derivation, x), (kernel, derivation)
    assert "for" not in ops(sums, "", x, 2)


ROWS = [
    torch.randn(4, 70, dtype=torch.float64, generator=torch.Generator().manual_seed(0)),
    torch.tensor([[NAN, 1.0, 2.0], [1.0, NAN, 0.5], [0.5, 1.0, NAN], [NAN, NAN, NAN]], dtype=torch.float64),
    torch.tensor([[-INF, -INF, NAN], [INF, NAN, INF], [-INF, 3.0, INF], [1.0, 1.0, 1.0]], dtype=torch.float64),
    torch.tensor([[2.0, 3.0, 3.0, 1.0], [3.0, 3.0, 3.0, 3.0], [-1.5, 1.5, 7.0, 1.5]], dtype=torch.float64),
    torch.tensor([[1.25]], dtype=torch.float64),
]


@pytest.mark.parametrize("x", ROWS, ids=["long", "nan", "infinite", "ties", "one"])
@pytest.mark.parametrize("kernel", [largest, least])
def test_extremes_are_those_of_the_loop_and_so_are_their_derivatives(kernel, x):
    given, wanted = x.clone().requires_grad_(), x.clone().requires_grad_()
    value, want = kernel(given), in_python(kernel.__wrapped__, wanted)
    torch.testing.assert_close(value, want, rtol=0, atol=0, equal_nan=True)
    weights = torch.arange(1.0, len(x) + 1, dtype=torch.float64)
    (got,) = torch.autograd.grad(value @ weights, given)
    (expected,) = torch.autograd.grad(want @ weights, wanted, allow_unused=True)
    expected = torch.zeros_like(x) if expected is None else expected
    torch.testing.assert_close(got, expected, rtol=0, atol=0, equal_nan=True)


def test_a_loop_that_finds_nothing_has_the_derivative_of_its_start():
    @knossos.register
    def f(x: Tensor, start: float):
        m = start
        for v in x:
            if v > m:
                m = v
        return m

    for x in (torch.empty(0), torch.tensor([NAN, -INF]), torch.tensor([1.0, 2.0])):
        _, (x_bar, start_bar) = f(x, 2.0), f.vjp(x, 2.0, 1.0)
        assert (x_bar.tolist(), start_bar) == ([0.0] * len(x), 1.0)
    assert f.vjp(torch.tensor([1.0, 2.0]), -INF, 1.0) == (pytest.approx([0.0, 1.0]), 0.0)


def test_softmax_by_hand_is_softmax():
    x = torch.randn(6, 33, dtype=torch.float64, requires_grad=True)
    value, want = by_hand(x), torch.softmax(x, 1)
    torch.testing.assert_close(value, want)
    weights = torch.randn_like(x)
    (got,) = torch.autograd.grad((value * weights).sum(), x)
    (expected,) = torch.autograd.grad((want * weights).sum(), x)
    torch.testing.assert_close(got, expected)
    assert torch.autograd.gradgradcheck(by_hand, x.detach()[:2, :5].clone().requires_grad_())


@pytest.mark.parametrize("n", [-3, 0, 4])
def test_sums_in_branches_and_nests(n):
    x = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    value, count = sums(x, n)
    positive = x[:, 0] > 0
    want = 1.5 + x[:, 0][positive].sum() - (x[:, 1:] ** 2).sum() + 3.0 * max(n, 0)
    torch.testing.assert_close(value, want)
    assert count == int(positive.sum())
    (got,), (expected,) = torch.autograd.grad(value, x), torch.autograd.grad(want, x)
    torch.testing.assert_close(got, expected)


SAME = """
(def f (Tensor 1 Float) ((x : (Tensor 1 Float)) (y : (Tensor 1 Float)) (n : Integer))
  (build n (lam (k : Integer)
    (let ((s (reduce add n (lam (i : Integer) (let ((a (index i x)) (b (index i y))) (tanh (mul a b))))))
          (t (reduce add n (lam (j : Integer) (let ((b (index j y)) (a (index j x))) (mul s (tanh (mul b a))))))))
      (add s t)))))
"""


def test_equal_elements_are_known_whatever_the_identities_of_variables():
    for _ in range(20):
        program = reuse_elements(parse(SAME))
        assert [eqn.op for eqn in walk(program.main.body)].count("tanh") == 1
