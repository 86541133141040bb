"""Both modes, to the second order, over every construct; and the third for some."""

import pytest

from ksc.transforms import jvp, vjp
from tests.transforms.oracle import check_derivatives
from tests.transforms.programs import PROGRAMS


@pytest.mark.parametrize("name", PROGRAMS)
def test_derivatives_to_second_order(name):
    program, args = PROGRAMS[name]
    # The tensor of tangents of nothing has no entry to differ from.
    check_derivatives(program, args, order=1 if name == "empty" else 2, tolerance=2e-5)


@pytest.mark.parametrize("name", ["running_product", "squaring", "nested_loops", "recursive"])
@pytest.mark.parametrize("outer", [vjp, jvp])
@pytest.mark.parametrize("inner", [vjp, jvp])
def test_third_order(name, inner, outer):
    program, args = PROGRAMS[name]
    second = outer(inner(program, wrt=[0]), wrt=[0])
    check_derivatives(second, (*args, 0.8, -1.3), order=1, tolerance=2e-4)
