"""Loops with checkpoints in Python: what is traced, what is refused, and that Python itself sees nothing of them."""

import math

import pytest

import ksc as knossos
from ksc.errors import UnsupportedError
from ksc.frontend import Abstract, trace
from ksc.ir.interpret import interpret
from ksc.ir.nodes import walk
from ksc.ir.types import Float, Integer
from ksc.ir.verify import verify
from ksc.transforms import vjp
from tests.transforms.oracle import check_derivatives

EVERY = 7


def ranged(x: float, n: int) -> float:
    s = x
    for _ in knossos.checkpoint(range(n), every=EVERY):
        s = math.sin(s) + 0.1 * x
    return s


def unsaid(x: float, n: int) -> float:
    s = x
    for i in knossos.checkpoint(range(1, n, 2)):
        s = math.sin(s) + 0.01 * i * x
    return s


def left(x: float, n: int) -> float:
    s = x
    for _ in knossos.checkpoint(range(n)):
        s = s * s + 0.1
        if s > 2.0:
            break
    return s


def asked(x: float, n: int) -> float:
    k = 0
    while knossos.checkpoint(x < 2.0 and k < n, every=3):
        x = x * x + 0.3
        k += 1
    return x


def nested(x: float, n: int) -> float:
    s = x
    for i in knossos.checkpoint(range(n), every=2):
        for _ in range(i):
            s = math.sin(s) * x
    return s


def traced(function):
    program = trace(function, [Abstract(Float), Abstract(Integer)]).program
    verify(program)
    return program


def lengths(program):
    loops = [eqn for f in program.functions.values() for eqn in walk(f.body) if eqn.op in ("for", "while")]
    return [(eqn.op, eqn.params.get("checkpoint")) for eqn in loops]


@pytest.mark.parametrize(
    "function, expected",
    [
        (ranged, [("for", 7)]),
        (unsaid, [("for", 0)]),
        (left, [("while", 1000)]),
        (asked, [("while", 3)]),
        (nested, [("for", 2), ("for", None)]),
    ],
)
def test_the_loop_has_segments(function, expected):
    program = traced(function)
    assert lengths(program) == expected
    for args in ((0.6, 9), (0.6, 0), (0.9, 1)):
        assert interpret(program, args)[0] == pytest.approx(function(*args), rel=1e-14)
    check_derivatives(program, (0.6, 9), order=2)


def test_a_short_range_known_at_compile_time_is_a_loop_too():
    def f(x: float) -> float:
        for _ in knossos.checkpoint(range(10), every=2):
            x = math.sin(x)
        return x

    program = trace(f, [Abstract(Float)]).program
    assert lengths(program) == [("for", 2)]
    assert interpret(vjp(program), (0.5, 1.0))[0] > 0


def test_another_function_of_that_name_is_that_function():
    def checkpoint(n: int) -> int:
        return 2 * n

    def f(x: float, n: int) -> float:
        for _ in range(checkpoint(n)):
            x = math.sin(x)
        return x

    assert lengths(traced(f)) == [("for", None)]


def zero(x: float, n: int) -> float:
    for _ in knossos.checkpoint(range(n), every=0):
        x = math.sin(x)
    return x


def unknown(x: float, n: int) -> float:
    for _ in knossos.checkpoint(range(n), every=n):
        x = math.sin(x)
    return x


def misplaced(x: float, n: int) -> float:
    return knossos.checkpoint(x)


def crowded(x: float, n: int) -> float:
    for _ in knossos.checkpoint(range(n), 3):
        x = math.sin(x)
    return x


@pytest.mark.parametrize(
    "function, message",
    [
        (zero, "cannot be 0 iterations apart"),
        (unknown, "must be known at compile time"),
        (misplaced, "in the head of a loop only"),
        (crowded, "takes a range or a test"),
    ],
)
def test_refused(function, message):
    with pytest.raises(UnsupportedError, match=message) as refused:
        traced(function)
    assert refused.value.span.text.strip()


def test_outside_of_a_kernel_it_does_nothing():
    assert knossos.checkpoint(range(3), every=2) == range(3)
    assert knossos.checkpoint(False) is False
