"""Programs that the frontend once refused or read wrongly: each compared with Python."""

from __future__ import annotations

import pytest

from ksc.ir.verify import verify
from tests.strategies.cases import Case, assert_close, run
from tests.strategies.programs import RandomProgram

# One side of the inner `if` leaves the loop, so `b` is bound wherever it is read.
BOUND_UNLESS_THE_LOOP_IS_LEFT = """
def entry(x: float) -> float:
    n = 3
    while True:
        n -= 1
        if n < 0:
            break
        if x > 2.0:
            if x > 3.0:
                break
            b = x
        else:
            b = 2.0 * x
        x = 0.5 * b + 0.25
    return x
"""

BOUND_UNLESS_CONTINUED = """
def entry(x: float) -> float:
    for k in range(4):
        if x > 0.5:
            if k == 1:
                continue
            a = b = x * k
        else:
            a = b = x + k
        x = 0.5 * a + b
    return x
"""

# Every iteration leaves the loop, and what it wrote is read by none.
WRITTEN_BEFORE_THE_LOOP_IS_LEFT = """
def entry(x: float) -> float:
    p = 1.0
    for k in range(int(x), 5):
        if x > 3.0:
            break
        p *= x
        x += p
        break
    return x
"""

PROGRAMS = {
    "written_before_the_loop_is_left": WRITTEN_BEFORE_THE_LOOP_IS_LEFT,
    "bound_unless_the_loop_is_left": BOUND_UNLESS_THE_LOOP_IS_LEFT,
    "bound_unless_continued": BOUND_UNLESS_CONTINUED,
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_means_what_python_means(name: str) -> None:
    with Case(RandomProgram(PROGRAMS[name], ("float",), ((0.7,), (2.5,), (3.5,), (-1.0,)))) as case:
        verify(case.ir)
        for point in case.points():
            assert_close(run(case.ir, point.args), point.values, 1e-13)
