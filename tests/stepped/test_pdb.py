"""``pdb`` in an interpreted kernel: it stops at the user's lines, in the function and in its derivative."""

import os
import sys
from pathlib import Path

import pytest

from tests.processes import run_python

SCRIPT = """\
import torch

import ksc as knossos


def scale(x: float) -> float:
    half = x / 2
    return half * half


@knossos.register(backend="interpret")
def f(x: torch.Tensor):
    total = 0.0
    for i in range(x.shape[0]):
        y = scale(x[i])
        total += torch.exp(y)
    return total


x = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
value = f(x)
print("value", value.item())
value.backward()
print("gradient", x.grad.tolist())
"""
LINES = SCRIPT.split("\n")


def line(text: str) -> int:
    return next(number for number, found in enumerate(LINES, start=1) if text in found)


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "session.py"
    path.write_text(SCRIPT)
    return path


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def session(script: Path, *commands: str) -> list[str]:
    """What pdb says after each command."""
    done = run_python("-m", "pdb", script, said="\n".join([*commands, "q", ""]), environ=environment())
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout.split("(Pdb) ")[1:]


def test_it_stops_in_the_function(script: Path) -> None:
    said = session(script, f"b {line('total +=')}", "c", "p y, i", "p x", "c", "p float(y), i, total > 1")
    assert f"session.py({line('total +=')})f()" in said[1]
    assert "-> total += torch.exp(y)" in said[1]
    assert said[2].split() == ["(0.25,", "0)"]
    assert "array([1., 2.])" in said[3]
    assert "(1.0, 1, True)" in said[5]


def test_it_stops_in_a_helper_and_shows_its_source(script: Path) -> None:
    said = session(script, f"b {line('return half')}", "c", "p half", "ll", "w", "u", "p i")
    assert f"session.py({line('return half')})scale()" in said[1]
    assert said[2].strip() == "0.5"
    assert "def scale(x: float) -> float:" in said[3]
    assert f"session.py({line('y = scale')})f()" in said[4]
    assert said[6].strip() == "0"


def test_it_stops_in_the_derivative(script: Path) -> None:
    said = session(script, f"b {line('value.backward()')}", "c", f"b {line('total +=')}", "c", "w", "p total_bar")
    assert "value 4.00" in said[1]
    assert "-> total += torch.exp(y)" in said[3]
    assert "f_vjp()" in said[3]
    assert said[5].strip() == "1.0"


def test_it_steps_line_by_line(script: Path) -> None:
    said = session(script, f"b {line('total = 0.0') + 2}", "c", "n", "n", "n")
    at = [int(text.split("session.py(")[1].split(")")[0]) for text in said[1:5]]
    assert at == [line("y = scale"), line("total +="), line("for i in"), line("y = scale")]


def test_it_goes_on_to_the_end(script: Path) -> None:
    said = session(script, f"b {line('return half')}, i_never_exists_here_is_false if False else False", "c")
    assert "gradient [0.64" in said[1]


def test_quitting_leaves_the_call(tmp_path: Path) -> None:
    script = tmp_path / "session.py"
    script.write_text(SCRIPT.replace("value = f(x)", "import pdb\npdb.Pdb(nosigint=True).set_trace()\nvalue = f(x)"))
    done = run_python(script, said=f"b {line('total +=')}\nc\nq\n", environ=environment())
    assert done.returncode == 1
    assert "bdb.BdbQuit" in done.stderr
    assert "gradient" not in done.stdout


def test_a_traceback_names_the_users_line(tmp_path: Path) -> None:
    script = tmp_path / "session.py"
    script.write_text(SCRIPT.replace("y = scale(x[i])", "y = scale(x[i + 5])"))
    done = run_python(script, environ=environment())
    assert "out of range" in done.stderr
    assert f'session.py", line {line("y = scale")}, in f' in done.stderr
