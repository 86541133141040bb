"""Programs that were once compiled wrongly: each compared with Python, with torch's gradient, and interpreted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ksc.codegen import Unit
from ksc.codegen.cpp import generate
from ksc.compiler import build, load
from ksc.derive import derive
from ksc.passes import optimise
from tests.codegen.harness import EXACT, Host, call, numpy_dtype
from tests.strategies.cases import Case, assert_close
from tests.strategies.programs import RandomProgram

STRICT = replace(EXACT, extra=("-Wall", "-Wextra", "-Werror"))

# The test of a `while` ends with an `if` that is too long for a conditional expression.
WHILE_WITH_LONG_TEST = """
import math
def entry(x: float, n: int) -> float:
    k = 4
    while k > 0 and math.exp(-abs(x)) * math.sin(x + k) < math.log(abs(x) + 0.5) * math.cos(x - k) + math.tanh(x * k) + 2.0:
        k -= 1
        x = x * 0.5 + n
    return x
"""

# Two comparisons that say the same, compared: the C++ compiler takes offence.
COMPARISON_AND_ITS_MIRROR = """
def entry(x: float, n: int) -> float:
    if (x > 2.0 * n) == (2.0 * n < x):
        return x * x
    return x + n
"""

# Whole numbers chosen by a condition and used at once.
CHOSEN_WHOLE_NUMBERS = """
def entry(x: float, n: int) -> float:
    k = abs(-1 if x > 1.0 else 2) % 4
    return x ** (abs(n if x < 0.0 else 0) + k) + max(3 if n > 0 else 0, n)
"""

PROGRAMS = {
    "chosen_whole_numbers": (CHOSEN_WHOLE_NUMBERS, ("float", "int"), ((0.37, 1), (-1.9, 0), (2.3, 1))),
    "comparison_and_its_mirror": (COMPARISON_AND_ITS_MIRROR, ("float", "int"), ((0.37, 1), (-1.9, 0), (2.3, 1))),
    "while_with_long_test": (WHILE_WITH_LONG_TEST, ("float", "int"), ((0.37, 1), (-1.9, 0), (2.3, 3))),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_compiled(name: str) -> None:
    source, kinds, points = PROGRAMS[name]
    with Case(RandomProgram(source, kinds, points)) as case:
        derived = {letters: optimise(derive(case.ir, letters)) for letters in ("", "v", "j")}
        generated = generate(Unit(name, list(derived.items()), "float64"))
        kernel = load(build(generated, STRICT))
        for point in case.points():
            wanted = {"": point.values, "v": point.gradient, "j": point.slope}
            seeds = {"": [], "v": point.cotangents, "j": case.direction}
            for letters, program in derived.items():
                row = (*point.args, *seeds[letters])
                params = program.main.params
                columns = [np.array([v], numpy_dtype(p.type, "float64")) for v, p in zip(row, params, strict=True)]
                host = Host()
                status, outs = call(kernel, generated.entries[letters], program, columns, "float64", host)
                assert (status, host.error) == (0, None)
                assert_close([out[0].item() for out in outs], wanted[letters], 1e-10)
