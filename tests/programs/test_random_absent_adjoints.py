"""Random programs at points where derivatives are infinite: where eager PyTorch's gradient is finite, it is ours."""

from __future__ import annotations

import math
import random

import pytest
import torch

from ksc.frontend import Abstract, trace
from ksc.ir.interpret import interpret
from ksc.ir.types import Float, Integer
from ksc.passes import optimise
from ksc.transforms import vjp
from tests.strategies.modules import SourceModule, torch_function

HEAD = """import math

def roots(x: float, y: float) -> tuple[float, float]:
    return math.sqrt(x), y / x

def powers(x: float, y: float, n: int) -> float:
    if n <= 0:
        return 1.0
    return x + y * powers(x, x**0.5, n - 1)

def f(x: float, y: float, a: float, b: float, n: int, m: int) -> float:
    s = x + y
    v = y
    w = x
"""
VALUES = ("x", "y", "v", "w")
EXPRESSIONS = (
    "math.sqrt({0})",
    "math.log({0})",
    "{0} / {1}",
    "{0} ** 1.5",
    "{0} * {1}",
    "{0} - 2.0 * {1}",
    "math.exp({0})",
    "math.tanh({0})",
    "roots({0}, {1})[0]",
    "roots({0}, {1})[1]",
    "powers({0}, {1}, m)",
)
CONDITIONS = ("a > 0.0", "b > 0.0", "a > b", "n > 1")


def block(choose: random.Random, depth: int, counter: str | None) -> list[str]:
    """A few random statements."""
    lines: list[str] = []
    for _ in range(choose.randint(1, 4 if depth == 0 else 2)):
        kind = choose.random()
        one, other = choose.choice(VALUES), choose.choice(VALUES)
        if kind < 0.3 and depth < 3:
            conditions = CONDITIONS if counter is None else (*CONDITIONS, f"{counter} > 0", f"{counter} > a")
            lines += [f"if {choose.choice(conditions)}:", *block(choose, depth + 1, counter)]
            if choose.random() < 0.3:
                lines += ["else:", *block(choose, depth + 1, counter)]
        elif kind < 0.5 and depth < 2:
            inner = f"i{depth}"
            lines += [f"for {inner} in range({choose.choice(('n', 'm', '2'))}):", *block(choose, depth + 1, inner)]
        elif kind < 0.7:
            lines.append(f"s = s + {choose.choice((one, f'{one} * {other}'))}")
        else:
            lines.append(f"{choose.choice('vw')} = {choose.choice(EXPRESSIONS).format(one, other)}")
    return [f"    {line}" for line in lines]


@pytest.mark.parametrize("seed", range(60))
def test_the_gradient_is_that_of_eager_pytorch_where_that_is_finite(seed: int) -> None:
    choose = random.Random(seed)
    lines = [line for _ in range(3) for line in block(choose, 0, None)]
    source = HEAD + "\n".join([*lines, "    return s"]) + "\n"
    with SourceModule(source) as module:
        ir = trace(module.f, [Abstract(Float)] * 4 + [Abstract(Integer)] * 2).program
    raw = vjp(ir, wrt=[0, 1])
    optimised = optimise(raw)
    twin = torch_function(source, "f")
    for _ in range(6):
        point = [choose.choice((0.0, 1.0, 4.0)), choose.choice((0.0, 2.25))]
        rest = [choose.choice((-1.0, 0.5)), choose.choice((-1.0, 0.7)), choose.randrange(4), choose.randrange(3)]
        leaves = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in point]
        found = torch.autograd.grad(twin(*leaves, *rest), leaves, allow_unused=True)
        want = [0.0 if bar is None else bar.item() for bar in found]
        for derived in (raw, optimised):
            got = interpret(derived, (*point, *rest, 1.0))
            for expected, bar in zip(want, got, strict=True):
                assert not math.isfinite(expected) or bar == pytest.approx(expected, rel=1e-9), (source, point, rest)
