"""A loop returns a view that depends on the iteration: the element or row of that iteration, and its gradient."""

import pytest
import torch

from ksc.errors import KnossosError
from ksc.frontend import Abstract, trace
from ksc.ir.interpret import interpret
from ksc.ir.types import Float, TensorType
from ksc.ir.verify import verify
from ksc.transforms import vjp

X = torch.tensor([1.0, 5.0, 7.0, 9.0], dtype=torch.float64)
CASES = {}


def case(fn):
    CASES[fn.__name__] = fn
    return fn


@case
def element_of_the_iteration(x):
    for value in x:
        if value > 4.0:
            return value
    return x[0]


@case
def element_by_index(x):
    for i in range(x.shape[0]):
        if x[i] > 4.0:
            return x[i]
    return x[0]


@case
def element_at_a_computed_place(x):
    for i in range(x.shape[0] - 1):
        if x[i] > 4.0:
            return x[i + 1]
    return x[0]


@case
def element_of_an_inner_loop(x):
    for i in range(x.shape[0]):
        for k in range(i):
            if x[i - k] > 6.0:
                return x[i - k]
    return x[0]


@case
def element_of_a_while(x):
    i = 0
    while i < x.shape[0]:
        value = x[i]
        i += 1
        if value > 4.0:
            return value
    return x[0]


@case
def element_and_its_place(x):
    for i, value in enumerate(x):
        if value > 4.0:
            return value * i
    return x[0]


@case
def returned_by_a_helper(x):
    def first(bound):
        for value in x:
            if value > bound:
                return value
        return x[0]

    return first(4.0) * first(6.0)


@pytest.mark.parametrize("name", CASES)
def test_value_and_gradient_are_those_of_pytorch(name):
    fn = CASES[name]
    program = trace(fn, [Abstract(TensorType(1, Float))]).program
    verify(program)
    x = X.clone().requires_grad_()
    expected = fn(x)
    (value,) = interpret(program, [X.numpy()])
    torch.testing.assert_close(torch.as_tensor(value, dtype=torch.float64), expected.detach())
    seed = torch.ones_like(expected)
    (x_bar,) = interpret(vjp(program), [X.numpy(), seed.numpy() if seed.dim() else 1.0])
    torch.testing.assert_close(torch.from_numpy(x_bar), torch.autograd.grad(expected, x, seed)[0])


def test_a_row_of_the_iteration():
    def fn(x):
        table = torch.outer(x, x)
        for row in table:
            if row[0] > 4.0:
                return row
        return table[0]

    program = trace(fn, [Abstract(TensorType(1, Float))]).program
    verify(program)
    torch.testing.assert_close(torch.from_numpy(interpret(program, [X.numpy()])[0]), fn(X))


def test_a_returned_view_of_an_argument_is_not_written():
    def fn(x):
        def first(bound):
            for row in x:
                if row[0] > bound:
                    return row
            return x[0]

        row = first(4.0)
        row += 1.0
        return row

    with pytest.raises(KnossosError, match=r"KS12\d"):
        trace(fn, [Abstract(TensorType(2, Float))])
