"""A loop that fills a tensor and adds up beside it is fused, and a sum; with the same values, errors and derivatives."""

import pytest
import torch
from torch import Tensor

import ksc as knossos
from ksc.ir.nodes import walk


def softmax(x: Tensor):
    y = torch.zeros_like(x)
    for i in range(x.shape[0]):
        m = x[i, 0]
        for j in range(x.shape[1]):
            if x[i, j] > m:
                m = x[i, j]
        total = 0.0
        for j in range(x.shape[1]):
            y[i, j] = torch.exp(x[i, j] - m)
            total += y[i, j]
        for j in range(x.shape[1]):
            y[i, j] = y[i, j] / total
    return y


def several(x: Tensor):
    """Two tensors and two sums, one of them of what is not stored."""
    row = x[0]
    y, z = torch.zeros_like(row), torch.zeros_like(row)
    s, t = 0.5 * x[1, 1], 0.0
    for j in range(len(row)):
        e = torch.sin(row[j])
        y[j] = e * row[j]
        z[j] = e - y[j]
        s -= e * z[j]
        t += row[j] * row[j]
    return y * s + z * t


def running(x: Tensor):
    """What is stored needs what is added up so far."""
    row = x[0]
    y = torch.zeros_like(row)
    s = 0.0
    for j in range(len(row)):
        s += row[j] * row[j]
        y[j] = torch.sin(s)
    return y * s


def looks_back(x: Tensor):
    """What is added up needs what was stored before."""
    row = x[0]
    y = torch.ones_like(row)
    s = 0.0
    for j in range(1, len(row)):
        s += y[j - 1] * row[j]
        y[j] = torch.cos(row[j])
    return y * s


def several_pt(x: Tensor):
    e = torch.sin(x[0])
    y = e * x[0]
    z = e - y
    return y * (0.5 * x[1, 1] - (e * z).sum()) + z * (x[0] * x[0]).sum()


def running_pt(x: Tensor):
    s = torch.cumsum(x[0] * x[0], 0)
    return torch.sin(s) * s[-1]


def looks_back_pt(x: Tensor):
    y = torch.cat([torch.ones(1), torch.cos(x[0, 1:])])
    return y * (y[:-1] * x[0, 1:]).sum()


@pytest.mark.parametrize(
    ("function", "reference", "parted"),
    [
        (softmax, lambda x: torch.softmax(x, 1), True),
        (several, several_pt, True),
        (running, running_pt, False),
        (looks_back, looks_back_pt, False),
    ],
)
def test_values_and_derivatives(function, reference, parted):
    kernel = knossos.register(function, backend="interpret")
    x = torch.tensor([[0.3, -1.2, 0.8, 0.8], [0.1, 0.4, 0.1, -0.4]], dtype=torch.float64)
    special, _ = kernel._specialise((x,), {})
    for derivation in ("", "v", "j") if parted else ("",):
        ops = [eqn.op for eqn in walk(special.program_of(derivation).main.body)]
        assert ("for" in ops) != parted, derivation
    found = []
    for each in (kernel, reference):
        own = x.clone().requires_grad_()
        (first,) = torch.autograd.grad(torch.sin(each(own)).sum(), own, create_graph=True)
        (second,) = torch.autograd.grad(torch.cos(first).sum(), own)
        found.append((each(x), first.detach(), second, torch.func.jvp(each, (x,), (torch.cos(x),))[1]))
    for got, want in zip(*found, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-13)


def taken(x: Tensor, at: Tensor, also: Tensor):
    y = torch.zeros_like(x)
    s = 0.0
    for j in range(len(x)):
        y[j] = torch.exp(x[at[j]])
        s += x[also[j]]
    return y * s


def test_the_first_error_stays_the_first():
    kernel = knossos.register(taken, backend="interpret")
    x, right = torch.randn(4), torch.arange(4)
    torch.testing.assert_close(kernel(x, right, right.flip(0)), taken(x, right, right))
    with pytest.raises(RuntimeError, match="index 7 is out of range"):
        kernel(x, torch.tensor([0, 1, 2, 9]), torch.tensor([0, 7, 1, 2]))
