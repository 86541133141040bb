"""A program that puts a function of its own in the place of one of Python or torch means its own."""

from __future__ import annotations

import builtins
import math
from pathlib import Path
from typing import Any

import pytest
import torch

import ksc as knossos
from ksc.frontend import Abstract, trace
from ksc.ir.types import Float
from tests.processes import run_python


def of_math(x: float) -> float:
    return math.exp(x)


def of_builtins(x: float) -> float:
    return abs(x) * 2.0


def of_torch(x: torch.Tensor) -> torch.Tensor:
    return torch.sin(x).sum()


def of_functional(x: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.softplus(x).sum()


def line(x: Any) -> Any:
    return 3.0 * x + 1.0


@pytest.mark.parametrize(
    ("fn", "owner", "name"),
    [
        (of_math, math, "exp"),
        (of_torch, torch, "sin"),
        (of_functional, torch.nn.functional, "softplus"),
    ],
)
def test_between_calls_of_one_kernel(fn: Any, owner: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = knossos.register(fn)
    x = torch.tensor([-0.5, 2.0]) if fn in (of_torch, of_functional) else torch.tensor(-0.5)
    before = [kernel(x).clone() for _ in range(3)]
    expected = fn(x)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, line)
        replaced = fn(x)
        found = [kernel(x) for _ in range(3)]
    for value in (*before, kernel(x)):
        torch.testing.assert_close(value, torch.as_tensor(expected))
    for value in found:
        torch.testing.assert_close(value, torch.as_tensor(replaced))


def test_a_builtin_that_is_shadowed(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, x = knossos.register(of_builtins), torch.tensor(-0.5)
    assert kernel(x) == kernel(x) == 1.0
    with monkeypatch.context() as patch:
        patch.setitem(globals(), "abs", line)
        assert kernel(x) == kernel(x) == -1.0
    assert kernel(x) == 1.0


def test_a_builtin_that_is_replaced_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    traced = trace(of_builtins, [Abstract(Float)])
    monkeypatch.setattr(builtins, "abs", line)
    assert [guard.name for guard in traced.guards if not guard.holds()] == ["abs"]


def test_a_replacement_may_call_what_it_replaces(monkeypatch: pytest.MonkeyPatch) -> None:
    exp = math.exp
    monkeypatch.setattr(math, "exp", lambda x: 2.0 * exp(x))
    assert knossos.grad(of_math)(0.0) == 2.0


def test_a_method_that_is_replaced_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def f(x: torch.Tensor) -> torch.Tensor:
        return x.tanh().sum()

    kernel, x = knossos.register(f), torch.tensor([0.5, 2.0])
    torch.testing.assert_close(kernel(x), f(x))
    monkeypatch.setattr(torch.Tensor, "tanh", torch.Tensor.sin)
    torch.testing.assert_close(kernel(x), f(x))


def test_the_rules_of_derivatives_keep_their_own_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    def f(x: float) -> float:
        return 2.0**x

    monkeypatch.setattr(math, "log", lambda x: 100.0)
    assert knossos.grad(f)(1.0) == pytest.approx(1.3862943611198906)


def test_what_a_call_fills_in_is_noticed() -> None:
    def f(x: float, k: float = 2.0, *, n: float = 1.0) -> float:
        return k * x + n

    kernel, x = knossos.register(f), torch.tensor(3.0)
    assert kernel(x) == kernel(x) == 7.0
    f.__defaults__ = (4.0,)
    assert kernel(x) == kernel(x) == 13.0
    f.__kwdefaults__["n"] = 5.0
    assert kernel(x) == kernel(x) == 17.0
    f.__kwdefaults__ = {"n": 6.0}
    assert kernel(x) == 18.0


def test_a_callee_that_changes_is_noticed() -> None:
    def g(x: float, *, n: float = 1.0) -> float:
        return x + n

    def f(x: float) -> float:
        return g(x)

    kernel, x = knossos.register(f), torch.tensor(3.0)
    assert kernel(x) == kernel(x) == 4.0
    g.__kwdefaults__["n"] = 5.0
    assert kernel(x) == 8.0


def test_an_annotation_that_changes_is_noticed() -> None:
    def f(x: float) -> float:
        return x * 2

    kernel, x = knossos.register(f), torch.tensor(3.0)
    assert kernel(x) == 6.0
    f.__annotations__["x"] = int
    with pytest.raises(TypeError, match="annotated int"):
        kernel(x)


SCRIPT = """
import math, sys
import ksc as knossos
from model import f
if sys.argv[1:]:
    math.exp = lambda x: 3.0 * x + 1.0
print(knossos.grad(f)(0.0))
"""


def test_from_process_to_process(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("import math\ndef f(x: float) -> float:\n    return math.exp(x)\n")
    (tmp_path / "script.py").write_text(SCRIPT)

    def run(*args: str) -> float:
        return float(run_python(tmp_path / "script.py", *args).stdout)

    assert [run(), run("replaced"), run()] == [1.0, 3.0, 1.0]
