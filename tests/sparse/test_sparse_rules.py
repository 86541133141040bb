"""Sparse Jacobians of functions with rules by hand, and inside kernels, where they are refused."""

import pytest
import torch

import ksc as knossos
from ksc.errors import UnsupportedError


@knossos.custom_vjp
def straight_through(x: float) -> float:
    return torch.round(x)


def round_forward(x):
    return torch.round(x), None


def round_backward(_, bar):
    return bar


straight_through.defvjp(round_forward, round_backward)


def rounded(x: torch.Tensor):
    y = torch.zeros_like(x)
    for i in range(x.shape[0]):
        y[i] = 3.0 * straight_through(x[i])
    return y


def square(x: torch.Tensor):
    return x * x


@pytest.mark.parametrize("mode", ["auto", "reverse"])
def test_a_rule_may_tell_what_the_function_does_not_show(mode):
    sparse = knossos.jacobian(rounded, mode=mode, sparse="csr")
    x = torch.tensor([0.2, 1.7, -2.4], dtype=torch.float64)
    assert sparse(x).to_dense().tolist() == (3.0 * torch.eye(3)).tolist()
    assert sparse.directions(x) == 1


def test_inside_a_kernel_there_are_no_sparse_matrices():
    def outer(x: torch.Tensor):
        return torch.sum(knossos.jacobian(square, sparse="csr")(x))

    with pytest.raises(UnsupportedError):
        knossos.register(outer)(torch.ones(2))
