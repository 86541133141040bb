"""``slice(…)`` as a value: named, chosen, captured, and used on tensors and on containers."""

import pytest
import torch
from tensor_oracle import check, check_derivatives

from ksc.errors import TypeMismatchError, UnsupportedError
from ksc.frontend import trace
from ksc.frontend.values import Abstract
from ksc.ir.types import Float, TensorType

ODD = slice(1, None, 2)
INNER = (slice(1, -1), slice(None))
MATRIX = Abstract(TensorType(2, Float))


def named(x):
    rows, cols = slice(2), slice(1, 3)
    return x[rows, cols] * x[ODD, cols].sum() + x[INNER].sum()


def heads(x):
    y = torch.zeros_like(x)
    for h in range(2):
        cols = slice(2 * h, 2 * h + 2)
        y[:, cols] = torch.softmax(x[:, cols], 1)
        y[slice(cols.start, None), cols.stop - 1] += x[0, 0]
    return y


def chosen(x):
    part = slice(0, 2) if x[0, 0] > 0.5 else slice(1, 3)
    return x[part].sum() + helper(x, slice(-2, None))


def helper(x, place):
    return x[:, place].prod()


def of_containers(x):
    rows = [x[0], x[1], x[2]]
    rows[slice(1, 2)] = [x[0] * 2.0, x[1] * 3.0]
    (a, b) = rows[slice(1, None, 2)]
    return a * b + (x[2], x[1])[ODD][0]


@pytest.mark.parametrize("fn", [named, heads, chosen, of_containers])
def test_slices_are_values(fn):
    torch.manual_seed(0)
    x = torch.rand(4, 4, dtype=torch.float64)
    check(fn, x)
    check_derivatives(fn, x)


def one_after_the_other(x):
    return x[slice(1)].sum() + slice(3)


def test_they_are_no_numbers():
    with pytest.raises(TypeMismatchError, match="a slice"):
        trace(one_after_the_other, [MATRIX])


def returned(x):
    return x, (slice(2),)


def test_they_are_not_returned():
    with pytest.raises(UnsupportedError, match="a slice"):
        trace(returned, [MATRIX])
