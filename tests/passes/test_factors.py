"""What all terms of a sum of cotangents have in common is multiplied with the sum; derivatives stay PyTorch's."""

import math

import pytest
import torch
from torch import Tensor

import ksc as knossos
from ksc.ir.nodes import walk

NAN, INF = math.nan, math.inf
ROWS = torch.tensor([[0.3, -1.2, 0.8, 0.8], [0.1, 0.1, 0.1, -0.4], [-2.0, 1.0, 0.5, -0.1]], dtype=torch.float64)


def softmax(x: Tensor):
    e = torch.exp(x)
    return e / e.sum(1, keepdim=True)


def unit(x: Tensor):
    return x / torch.sqrt((x * x).sum(1, keepdim=True))


def normalised(x: Tensor):
    m = x.mean(1, keepdim=True)
    v = ((x - m) ** 2).mean(1, keepdim=True)
    return (x - m) / torch.sqrt(v + 1e-5)


def off_by_one(x: Tensor):
    """What is subtracted is no mean of what it is subtracted from."""
    m = x.sum(1, keepdim=True) / (x.shape[1] - 1)
    other = x.mean(0)
    return torch.sin(((x - m) ** 2).sum(1)), torch.sin(((x[:, : x.shape[0]] - other[: x.shape[0], None].T) ** 2).sum(1))


def weighted(x: Tensor):
    """Divisors that differ from term to term, and a factor that is a constant."""
    s = torch.exp(x[:, 0:1])
    return torch.sin((3.0 * x / (s * (2.0 + x * x))).sum(1))


FUNCTIONS = (softmax, unit, normalised, off_by_one, weighted)


def gradients(function, x):
    """The gradient of something of the results, and the derivative of that; a tangent."""
    x = x.clone().requires_grad_()
    results = function(x)
    results = results if isinstance(results, tuple) else (results,)
    total = sum((torch.cos(result).movedim(0, -1) * torch.tensor([0.7, -1.1, 0.4])).sum() for result in results)
    (first,) = torch.autograd.grad(total, x, create_graph=True)
    (second,) = torch.autograd.grad((first * torch.sin(ROWS + 1)).sum(), x)
    _, tangent = torch.func.jvp(function, (x.detach(),), (torch.cos(ROWS),))
    return first.detach(), second, *(tangent if isinstance(tangent, tuple) else (tangent,))


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_derivatives_are_those_of_pytorch(function):
    kernel = knossos.register(function, backend="interpret")
    for got, want in zip(gradients(kernel, ROWS), gradients(function, ROWS), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("function", [softmax, normalised], ids=lambda f: f.__name__)
@pytest.mark.parametrize("special", [NAN, INF, -INF])
def test_what_is_not_finite(function, special):
    kernel = knossos.register(function, backend="interpret")
    for place in ((0, 0), (1, slice(None))):
        x = ROWS.clone()
        x[place] = special
        for got, want in zip(gradients(kernel, x)[:1], gradients(function, x)[:1], strict=True):
            torch.testing.assert_close(got, want, equal_nan=True)


def sums(function, derivation):
    """The ops of the bodies of all sums of a derivation."""
    special, _ = knossos.register(function)._specialise((ROWS,), {})
    loops = [eqn for eqn in walk(special.program_of(derivation).main.body) if eqn.op == "reduce"]
    return [eqn.op for loop in loops for eqn in walk(loop.blocks[0])]


def test_nothing_is_divided_term_by_term():
    assert "div" not in sums(softmax, "v")
    assert "neg" not in sums(softmax, "v")
    assert "div" not in sums(normalised, "v")
    # The deviations add up to nothing, but for those that are squared, or multiplied, in one loop.
    assert sums(normalised, "v").count("sub") == 1


def test_sums_of_the_user_stay():
    def mean(x: Tensor):
        return (x / float(x.shape[1])).sum(1)

    assert "div" in sums(mean, "")
