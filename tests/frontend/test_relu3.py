"""The first program of all."""

import math

import pytest

from ksc.frontend import Abstract, trace
from ksc.ir.interpret import interpret
from ksc.ir.types import Float
from ksc.ir.verify import verify


def relu3(x: float) -> float:
    """Like ReLU, but smoother. Like GELU, but cheaper."""
    if x < 0.0:
        return 0.0
    elif x < 1.0:
        return 1 / 3 * x**3
    else:
        return x - 2 / 3


@pytest.mark.parametrize("x", [-math.inf, -1.0, -0.0, 0.0, 0.5, 1.0, 2.5, math.inf])
def test_relu3(x):
    traced = trace(relu3, [Abstract(Float)])
    verify(traced.program)
    assert interpret(traced.program, [x]) == (relu3(x),)
    assert traced.program.entry == "relu3"
    assert traced.span.line == relu3.__code__.co_firstlineno
