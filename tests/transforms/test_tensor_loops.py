"""Derivatives of loops that change tensors: the laws, and truths worked out by hand."""

import numpy as np
import pytest

from ksc.ir.interpret import interpret
from ksc.passes import optimise
from ksc.transforms import vjp
from tests.transforms.oracle import check_derivatives
from tests.transforms.tensor_loops import LOOPS


@pytest.mark.parametrize("name", LOOPS)
def test_derivatives(name):
    program, args = LOOPS[name]
    check_derivatives(program, args, order=2)


@pytest.mark.parametrize(
    "name, args, bar, truth",
    [
        ("running_product", (np.array([2.0, 2.0, 2.0]),), 1.0, [4.0, 4.0, 4.0]),
        ("write_then_multiply", (np.array([5.0, -1.0, 7.0]),), np.ones(3), [3.0, 3.0, 3.0]),
        ("running_product", (np.zeros(0),), 1.0, []),
    ],
)
def test_truth(name, args, bar, truth):
    derived = vjp(LOOPS[name][0])
    for program in (derived, optimise(derived)):
        (gradient,) = interpret(program, (*args, bar))
        np.testing.assert_array_equal(gradient, truth)
