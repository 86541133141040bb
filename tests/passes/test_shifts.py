"""An extreme that is subtracted and cancels has no derivative; with any other use it has the one that PyTorch gives it."""

import math

import pytest
import torch
from torch import Tensor

import ksc as knossos
from ksc.passes.pipeline import PREPARE

NAN, INF = math.nan, math.inf


def softmax(x: Tensor):
    e = torch.exp(x - x.amax(1, keepdim=True))
    return e / e.sum(1, keepdim=True)


def of_columns(x: Tensor):
    e = torch.exp(x - x.max(0).values)
    return e / e.sum(0)


def of_all(x: Tensor):
    e = torch.exp((x - torch.max(x)) / 0.7)
    return e / torch.sum(e)


def with_temperature(x: Tensor):
    t = 1.5 + x[0, 0] * x[0, 0]
    e = torch.exp((x - x.amax(1, keepdim=True)) / t)
    return e / e.sum(1, keepdim=True)


def softmin(x: Tensor):
    e = torch.exp(x.amin(1, keepdim=True) - x)
    return e / e.sum(1, keepdim=True)


def log_softmax(x: Tensor):
    y = x - x.amax(1, keepdim=True)
    return y - torch.log(torch.exp(y).sum(1, keepdim=True))


def logsumexp(x: Tensor):
    m = x.amax(1)
    return m + torch.log(torch.exp(x - m[:, None]).sum(1))


def masked(x: Tensor):
    e = torch.where(x > -0.5, torch.exp(x - x.amax(1, keepdim=True)), 0.0)
    return e / e.sum(1, keepdim=True)


def in_loops(x: Tensor):
    y = torch.zeros_like(x)
    for i in range(x.shape[0]):
        m = x[i, 0]
        for j in range(x.shape[1]):
            if x[i, j] > m:
                m = x[i, j]
        s = 0.0
        for j in range(x.shape[1]):
            s = s + torch.exp(x[i, j] - m)
        for j in range(x.shape[1]):
            y[i, j] = torch.exp(x[i, j] - m) / s
    return y


CANCEL = (softmax, of_columns, of_all, with_temperature, softmin, log_softmax, logsumexp, masked, in_loops)


def unnormalised(x: Tensor):
    return torch.exp(x - x.amax(1, keepdim=True))


def one_more(x: Tensor):
    e = torch.exp(x - x.amax(1, keepdim=True))
    return e / (1.0 + e.sum(1, keepdim=True))


def two_temperatures(x: Tensor):
    y = x - x.amax(1, keepdim=True)
    return torch.exp(y) / torch.exp(0.5 * y).sum(1, keepdim=True)


def of_another_row(x: Tensor):
    m = x.amax(1)
    e = torch.exp(x - m[:, None])
    return e / torch.exp(x - m.flip(0)[:, None]).sum(1, keepdim=True)


def of_other_columns(x: Tensor):
    e = torch.exp(x[:, : x.shape[0]] - x[:, : x.shape[0]].amax(0))
    return e / e.sum(1, keepdim=True)


def sum_of_shifted(x: Tensor):
    return (x - x.amax(1, keepdim=True)).sum(1)


def given_too(x: Tensor):
    m = x.amax(1, keepdim=True)
    e = torch.exp(x - m)
    return e / e.sum(1, keepdim=True), m


def only_one_side(x: Tensor):
    m = x.amax(1, keepdim=True)
    e = torch.exp(torch.where(x > 0.0, x - m, x))
    return e / e.sum(1, keepdim=True)


def relative_to_a_bound(x: Tensor):
    y = torch.maximum(x - x.amax(1, keepdim=True), torch.full_like(x, -1.0))
    return torch.exp(y) / torch.exp(y).sum(1, keepdim=True)


STAY = (
    unnormalised,
    one_more,
    two_temperatures,
    of_another_row,
    of_other_columns,
    sum_of_shifted,
    given_too,
    only_one_side,
    relative_to_a_bound,
)

ROWS = torch.tensor([[0.3, -1.2, 0.8, 0.8], [0.1, 0.1, 0.1, -0.4], [-2.0, 1.0, 0.5, -0.1]], dtype=torch.float64)


def gradients(function):
    """The gradient of something of the results, and the derivative of that."""
    x = ROWS.clone().requires_grad_()
    results = function(x)
    results = results if isinstance(results, tuple) else (results,)
    total = sum((torch.cos(result).movedim(0, -1) * torch.tensor([0.7, -1.1, 0.4])).sum() for result in results)
    (first,) = torch.autograd.grad(total, x, create_graph=True)
    (second,) = torch.autograd.grad((first * torch.sin(ROWS + 1)).sum(), x)
    return first.detach(), second


@pytest.mark.parametrize("function", [*CANCEL, *STAY], ids=lambda f: f.__name__)
def test_derivatives_are_those_of_pytorch(function):
    kernel = knossos.register(function, backend="interpret")
    special, _ = kernel._specialise((ROWS,), {})
    program = special.program
    for step in PREPARE:
        before, program = program, step.run(program)
        if step.name == "shifts":
            assert (program is not before) == (function in CANCEL)
    for got, want in zip(gradients(kernel), gradients(function), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("function", [softmax, of_columns, logsumexp, log_softmax, in_loops], ids=lambda f: f.__name__)
def test_what_is_not_finite(function):
    kernel = knossos.register(function, backend="interpret")
    for special in (NAN, INF, -INF):
        for place in ((0, 0), (1, slice(None)), (slice(None), 2)):
            x = ROWS.clone()
            x[place] = special
            ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
            got, want = kernel(ours), function(theirs)
            torch.testing.assert_close(got, want, equal_nan=True)
            got.sum().backward()
            want.sum().backward()
            torch.testing.assert_close(ours.grad, theirs.grad, equal_nan=True)
