"""Every statement of the generated C++ says which line of the user's program it came from."""

import math
import re

import pytest
import torch

import ksc as knossos
from ksc.codegen.unit import GeneratedSource


def relu3(x: float) -> float:
    if x < 0.0:
        return 0.0
    elif x < 1.0:
        return 1 / 3 * x**3
    else:
        return x - 2 / 3


def newton(x: float) -> float:
    y = 1.0
    while abs(y * y - x) > 1e-9:
        y = 0.5 * (y + x / y)
        if y > 1e6:
            break
    return y


def power(x: float, n: int) -> float:
    if n == 0:
        return 1.0
    return x * power(x, n - 1)


def both(x: float, y: float) -> tuple[float, float]:
    return y, x


def sqrl(x: torch.Tensor):
    y = torch.sum(x)
    if y < 0.0:
        t = -0.125 * x
    else:
        t = 1 / 2 * x**2
    return torch.mean(torch.sin(t) * t)


def prefix_norms(x: torch.Tensor):
    out = torch.zeros(x.shape[0])
    s = 0.0
    for i in range(x.shape[0]):
        s += x[i] * x[i]
        if s > 100.0:
            break
        out[i] = math.sqrt(s)
    return out


def largest(x: torch.Tensor):
    best = x[0]
    for i in range(1, x.shape[0]):
        if x[i] > best:
            best = x[i]
    rows = [x * float(k) for k in range(3)]
    return best, torch.stack(rows).sum(0), torch.zeros(3)


KERNELS = [
    (relu3, (0.5,)),
    (newton, (2.0,)),
    (power, (2.0, 3)),
    (both, (2.0, 3.0)),
    (sqrl, (torch.ones(4, 5),)),
    (prefix_norms, (torch.ones(9),)),
    (largest, (torch.ones(9),)),
]


def statements(source: GeneratedSource) -> list[tuple[int, str]]:
    """The lines of function bodies that say something."""
    found = []
    inside = False
    for number, line in enumerate(source.text.split("\n"), start=1):
        if re.match(r"(static|extern)", line):
            inside = line.startswith("static")
        elif line == "}":
            inside = False
        elif inside and line.startswith("    ") and not line.startswith("  " * 10) and re.search(r"\w", line):
            found.append((number, line))
    return found


def own_lines(fn) -> range:
    code = fn.__code__
    return range(code.co_firstlineno, max(line for _, _, line in code.co_lines() if line) + 1)


@pytest.mark.parametrize("derivation", ["", "v", "b", "j", "vj", "jv"])
@pytest.mark.parametrize(("fn", "args"), KERNELS, ids=[fn.__name__ for fn, _ in KERNELS])
def test_every_statement_has_its_python_line(fn, args, derivation):
    kernel = knossos.register(fn)
    kernel.compile(args, derivations=())
    source = kernel._annotated().source(derivation, torch.float64)
    lines = statements(source)
    assert lines
    unknown = [line for number, line in lines if number not in source.line_map]
    assert not unknown
    for number, _ in lines:
        assert source.line_map[number].file == __file__
        assert source.line_map[number].line in own_lines(fn)


@pytest.mark.parametrize("derivation", ["", "v"])
def test_what_is_folded_into_a_line_is_told_too(derivation):
    kernel = knossos.register(sqrl)
    kernel.compile((torch.ones(4, 5),), derivations=())
    source = kernel._annotated().source(derivation, torch.float64)
    known = {span.text for spans in (*source.folded.values(), source.line_map.values()) for span in spans}
    assert {"y = torch.sum(x)", "t = -0.125 * x", "t = 1 / 2 * x**2"} <= known


def test_constants_are_known_by_the_statement_that_gives_them():
    kernel = knossos.elementwise(relu3)
    source = kernel._annotated().source("v", torch.float64)
    zeros = [number for number, line in enumerate(source.text.split("\n"), start=1) if "return 0.0;" in line]
    assert len(zeros) == 2
    assert {source.line_map[number].text for number in zeros} == {"return 0.0"}
