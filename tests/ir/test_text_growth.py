"""Writing a program takes steps in proportion to its size, also where all of its variables have the same name."""

import itertools
import sys
from collections.abc import Callable

import pytest

from ksc.codegen.cpp.names import Scope
from ksc.ir.nodes import Block, Eqn, Function, Program, Span, Var
from ksc.ir.text import to_lines
from ksc.ir.types import Float


def lines_run(step: Callable[[], object]) -> int:
    """How many lines of Python a step runs: a loop without calls counts, too."""
    number = 0

    def trace(frame: object, event: str, arg: object) -> object:
        nonlocal number
        number += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        step()
    finally:
        sys.settrace(before)
    return number


def chain(length: int) -> Program:
    x = Var("x", Float)
    variables = [x, *(Var("x", Float) for _ in range(length))]
    eqns = tuple(
        Eqn((out,), "sin", (read,), span=Span("f.py", k + 2, 4, k + 2, 14, "x = sin(x)"))
        for k, (read, out) in enumerate(itertools.pairwise(variables))
    )
    return Program({"f": Function("f", Block((x,), eqns, (variables[-1],)))}, "f")


def declared(length: int) -> list[str]:
    scope = Scope()
    return [scope.declare("x") for _ in range(length)]


@pytest.mark.parametrize("step", [lambda n: to_lines(chain(n)), declared])
def test_twice_the_variables_of_one_name_take_twice_the_steps(step):
    few, many = (lines_run(lambda n=n: step(n)) for n in (150, 300))
    assert many < 2.2 * few


def test_numbers_are_those_that_are_free():
    scope = Scope()
    assert [scope.declare(name) for name in ("x", "x_2", "x", "x", "x_", "", "")] == [
        "x",
        "x_2",
        "x_3",
        "x_4",
        "x_",
        "t",
        "t2",
    ]
    inner = Scope(scope)
    assert [inner.declare(name) for name in ("x", "x_5", "x")] == ["x_5", "x_5_2", "x_6"]
    assert scope.declare("x") == "x_5"
    assert Scope(kept=frozenset({"t", "t3"})).declare("") == "t2"
