"""Tensor programs that were once refused or computed wrongly: each compared with PyTorch, to the second order."""

from __future__ import annotations

import pytest

from tests.strategies.tensors import TensorProgram
from tests.strategies.tensors_cases import TensorCase
from tests.strategies.tensors_checks import check_derivatives, check_optimised, check_value
from tests.strategies.tensors_compiled import compare_compiled

X, XA = (("n",),), (("n",), ("n", "m"))

# The comparisons of a chain give tensors of one element.
CHAIN_OF_COMPARISONS = """
import torch
def entry(x):
    inside = -0.5 < x.sum() < 2.0
    if -2.0 < x[0] * x[1] < x.sum():
        x = x * x
    return torch.where(inside, x, 2.0 * x)
"""

# A size of 0 on both sides says nothing of the sizes beside it.
FLATTENED_NOTHING = """
import torch
def entry(x, a):
    return torch.cat([a[:, 1:].flatten(), x]) * x.sum(), a[:, 1:].reshape(0, 3)
"""

# Rows of which there are none have sizes all the same.
NO_ROWS = """
import torch
def entry(x, a):
    b = a.clone()
    view = b[:-1]
    for j in range(0, a.shape[1], 2):
        view.T[j] = x[1:] * x[:-1]
    return torch.sum(torch.sin(b)), a @ torch.ones(a.shape[1])
"""

# The distance of neighbours is a quotient by 0 where there is one number only, which is found out when it runs.
ONE_NUMBER_FROM_A_RANGE = """
import torch
def entry(x):
    return x[1:] * torch.linspace(-1.0, 1.0, max(x.shape[0] - 1, 0)), torch.logspace(0.5, 1.0, len(x[1:]), 2.0)
"""

# The reverse of the choice adds to the cotangent of `x` on one side, and gives a number to be added on both.
CUMSUM_OF_ONE_OR_THE_OTHER = """
import torch
def entry(x):
    y = 2.0 * x
    return torch.cumsum(y if x.sum() > 0.0 else x, 0)
"""

# The sizes that must agree say of `n` that it is a sum with `min(n, 1)`: what is known of one was asked of the other for ever.
DIFFERENCES_OF_NEIGHBOURS = """
import torch
def entry(x):
    y = torch.sigmoid(x) * 2.0
    steps = torch.cat([y[:1], y[1:] - y[:-1]])
    return torch.dot(torch.relu(x), steps)
"""

# The same where the size is that of a sorted tensor.
STEPS_OF_A_SUM_IN_ORDER = """
import torch
def entry(x):
    order = torch.argsort(x)
    y = 1.0 / (1.0 + torch.cumsum(x[order] ** 2, 0))
    steps = torch.cat([y[:1], y[1:] - y[:-1]])
    return torch.dot(torch.relu(x[order]), steps)
"""

# The cotangent that the reverse loop carries is what iterations of another add to.
FIRST_ROW_THAT_IS_LARGE = """
import torch
def entry(x):
    out = x
    for row in torch.outer(x, x):
        if row[0] > 0.1:
            out = row
            break
    return torch.sum(out)
"""

# The first row has nothing below its diagonal, so what the reverse of its loop adds up has no place.
ROW_BEFORE_THE_FIRST = """
import torch
def entry(x, a):
    total = 0.0
    for r in range(x.shape[0]):
        y = 0.5 * x[r]
        for j in range(r):
            y += a[r, 0] * x[j] * a[r - 1, 1]
        total += torch.tanh(y)
    return total
"""

PROGRAMS = {
    "row_before_the_first": TensorProgram(ROW_BEFORE_THE_FIRST, XA, ((3, 2, 0), (1, 2, 1), (0, 2, 2))),
    "first_row_that_is_large": TensorProgram(FIRST_ROW_THAT_IS_LARGE, X, ((3, 1, 0), (4, 1, 1), (2, 1, 2))),
    "differences_of_neighbours": TensorProgram(DIFFERENCES_OF_NEIGHBOURS, X, ((3, 1, 0), (0, 1, 1), (1, 1, 2))),
    "steps_of_a_sum_in_order": TensorProgram(STEPS_OF_A_SUM_IN_ORDER, X, ((4, 1, 0), (0, 1, 1), (1, 1, 2))),
    "cumsum_of_one_or_the_other": TensorProgram(
        CUMSUM_OF_ONE_OR_THE_OTHER, X, ((1, 1, 0), (1, 1, 1), (1, 1, 2), (3, 1, 0))
    ),
    "chain_of_comparisons": TensorProgram(CHAIN_OF_COMPARISONS, X, ((3, 2, 0), (2, 2, 1), (4, 1, 7))),
    "flattened_nothing": TensorProgram(FLATTENED_NOTHING, XA, ((3, 1, 0), (0, 1, 1))),
    "one_number_from_a_range": TensorProgram(ONE_NUMBER_FROM_A_RANGE, X, ((2, 1, 0), (0, 1, 1), (3, 1, 2), (1, 1, 2))),
    "no_rows": TensorProgram(NO_ROWS, XA, ((3, 2, 0), (0, 2, 1), (1, 1, 2))),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_means_what_pytorch_means(name: str) -> None:
    with TensorCase(PROGRAMS[name]) as case:
        points = case.points()
        assert len(points) == len(case.random.points)
        for point in points:
            check_value(point)
            check_derivatives(point)
            check_optimised(point)


def test_compiled_is_interpreted() -> None:
    compare_compiled(PROGRAMS.values())
