"""Slices that have one element, whatever the size of what they are taken from, are broadcast as in PyTorch."""

import pytest
import torch
from tensor_oracle import check, check_derivatives

from ksc.errors import KernelRuntimeError
from ksc.frontend import trace
from ksc.frontend.values import Abstract
from ksc.ir.interpret import interpret
from ksc.ir.types import Float, TensorType


def rows_and_columns(x):
    return x - x[:1] + x[:, :1] * 2.0 + x[:, -1:] - x[1:2]


def each_row(x):
    s = x[0, 0] * 0.0
    for k in range(x.shape[0]):
        s = s + (x * x[k : k + 1]).sum() * x[-2:-1].sum()
    return s


def written(x):
    y = x.clone()
    y[:, 1:] = x[:, :1]
    y[:] += x[1:2]
    return y


def other_functions(x):
    return torch.where(x > 0.5, x[:1], x[:, 1:2]), torch.maximum(x[:1], x), x[:1] @ x.T, x[:1].expand(3, x.shape[1])


@pytest.mark.parametrize("fn", [rows_and_columns, each_row, written, other_functions])
@pytest.mark.parametrize("sizes", [(4, 5), (3, 3), (2, 2)])
def test_they_are_stretched(fn, sizes):
    torch.manual_seed(0)
    x = torch.rand(sizes, dtype=torch.float64)
    check(fn, x)
    check_derivatives(fn, x)


@pytest.mark.parametrize("sizes", [(0, 3), (3, 0), (0, 0)])
def test_of_nothing(sizes):
    check(lambda x: (x - x[:1], x + x[:, -1:]), torch.zeros(sizes, dtype=torch.float64))


def test_a_slice_of_nothing_is_not_stretched():
    matrix = Abstract(TensorType(2, Float))
    program = trace(lambda x, y: y - x[:1], [matrix, matrix]).program
    with pytest.raises(KernelRuntimeError, match=r"must be 1, or y\.shape\[0\]"):
        interpret(program, [torch.zeros(0, 3).numpy(), torch.zeros(2, 3).numpy()])


@pytest.mark.parametrize("part", [lambda x: x[:2], lambda x: x[1:3], lambda x: x[-2:]])
def test_longer_slices_are_not(part):
    program = trace(lambda x: part(x) + x, [Abstract(TensorType(1, Float))]).program
    with pytest.raises(KernelRuntimeError, match="must agree"):
        interpret(program, [[1.0, 2.0, 3.0]])
