"""Largest and smallest elements: the value is a reduction, and the derivative is stored with what else a row has."""

import math

import pytest
import torch
from torch import Tensor

import ksc as knossos
from ksc.errors import KnossosError

NAN, INF = math.nan, math.inf


@knossos.register
def largest(x: Tensor):
    return torch.amax(x, 1)


@knossos.vmap
def smallest(x: Tensor):
    return torch.min(x)


@knossos.register
def first_largest(x: Tensor):
    return torch.max(x, 1)


@knossos.register
def softmax(x: Tensor):
    e = torch.exp(x - torch.amax(x, 1, keepdim=True))
    return e / e.sum(1, keepdim=True)


@knossos.register
def columns(x: Tensor):
    return torch.amax(x, 0), torch.argmin(x, 0)


TIES = torch.tensor([[1.0, 3.0, 3.0, 2.0], [0.0, -0.0, -1.0, 0.0], [5.0, 5.0, 5.0, 5.0], [4.0, 1.0, 0.0, 9.0]])
SPECIAL = torch.tensor(
    [[INF, INF, 1.0, 2.0], [-INF, -INF, -INF, -INF], [-INF, INF, 0.0, 0.0], [1e-40, 0.0, 1e-40, -1.0]]
)


@pytest.mark.parametrize(
    "x", [TIES, SPECIAL, torch.randn(6, 70), torch.zeros(0, 3)], ids=["ties", "inf", "long", "none"]
)
@pytest.mark.parametrize(
    "kernel, function",
    [(largest, lambda x: x.amax(1)), (smallest, lambda x: x.amin(1)), (first_largest, lambda x: torch.max(x, 1)[0])],
    ids=["amax", "min of lanes", "max"],
)
def test_elements_that_are_equal_share_the_derivative_as_in_pytorch(kernel, function, x):
    x = x.double().requires_grad_()
    value, want = kernel(x), function(x)
    value = value[0] if isinstance(value, tuple) else value
    torch.testing.assert_close(value, want)
    bar = torch.arange(1.0, 1.0 + len(x), dtype=torch.float64)
    mine, theirs = (torch.autograd.grad(v, x, bar)[0] for v in (value, want))
    torch.testing.assert_close(mine, theirs)


def test_nan_is_an_extreme_and_the_first_one_is_found():
    x = torch.tensor([[1.0, NAN, 3.0, NAN], [NAN, 1.0, 1.0, 1.0], [1.0, 2.0, 2.0, 0.0]], dtype=torch.float64)
    values, indices = first_largest(x)
    want = torch.max(x, 1)
    torch.testing.assert_close(values, want.values, equal_nan=True)
    assert indices.tolist() == want.indices.tolist() == [1, 0, 1]
    # As torch.max(x) of one row does.
    shared = largest.vjp(x, torch.ones(3, dtype=torch.float64))
    assert shared.tolist() == [[0.0, 0.5, 0.0, 0.5], [1.0, 0.0, 0.0, 0.0], [0.0, 0.5, 0.5, 0.0]]


def test_extremes_of_columns():
    x = torch.randn(40, 33, dtype=torch.float64)
    x[7] = x[3]
    x[5, 20] = NAN
    values, places = columns(x)
    torch.testing.assert_close(values, x.amax(0), equal_nan=True)
    assert places.tolist() == x.argmin(0).tolist()
    with pytest.raises(KnossosError, match="no elements"):
        columns(x[:0])


def test_second_derivatives_of_a_softmax_by_hand():
    x = torch.tensor([[0.3, 1.0, 1.0], [2.0, -1.0, 0.5]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(softmax, (x,))
    hessian = torch.func.hessian(lambda x: softmax(x)[:, 0].sum())(x.detach())
    torch.testing.assert_close(hessian, torch.func.hessian(lambda x: torch.softmax(x, 1)[:, 0].sum())(x.detach()))


def test_only_the_value_is_computed_where_no_derivative_is_asked_for():
    for kernel in (largest, softmax):
        kernel(TIES)
        assert "KS_MAX" in kernel.cpp
        assert "==" not in kernel.cpp.partition("namespace")[2]
