"""With ``KSC_DEBUG=1`` a debugger steps through the C++ of a kernel, below the Python line of each statement."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import run_python

SCRIPT = """\
import torch

import ksc as knossos


@knossos.register
def f(x: torch.Tensor):
    total = 0.0
    for i in range(x.shape[0]):
        y = x[i] * x[i]
        total += torch.exp(y)
    return total


x = torch.tensor([1.0, 2.0])
f(x), f.vjp(x, torch.tensor(1.0))
print(f.source_path)
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {
        **os.environ,
        "KSC_DEBUG": "1",
        "KSC_COMPILE_FLAGS": "-DBUILT_FOR_A_DEBUGGER",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("debugger") / "session.py"
    path.write_text(SCRIPT)
    return path


@pytest.fixture(scope="module")
def cpp(script: Path, environment: dict[str, str]) -> Path:
    return Path(run_python(script, environ=environment).stdout.strip())


def test_the_lines_of_the_source_are_in_the_library(cpp: Path) -> None:
    table = subprocess.run(
        ["objdump", "--dwarf=decodedline", str(cpp.with_suffix(".so"))], capture_output=True, text=True, check=True
    ).stdout
    known = {int(line) for line in re.findall(rf"^{re.escape(cpp.name)}\s+(\d+)\s", table, re.MULTILINE)}
    statements = [
        number
        for number, text in enumerate(cpp.read_text().split("\n"), start=1)
        if re.match(r"\s+(total \+=|const double y|return total|const float y)", text)
    ]
    assert statements
    assert set(statements) <= known
    folders = subprocess.run(
        ["objdump", "--dwarf=info", str(cpp.with_suffix(".so"))], capture_output=True, text=True, check=True
    ).stdout
    assert f": {cpp.parent}\n" in folders.replace("\t", " ") or str(cpp.parent) in folders


def test_gdb_stops_and_shows_the_python_line(script: Path, cpp: Path, environment: dict[str, str]) -> None:
    if shutil.which("gdb") is None:
        # What it would read is there all the same.
        assert "// total += torch.exp(y)" in cpp.read_text()
        return
    commands = [
        "set breakpoint pending on",
        "break f_kernel::f",
        "run",
        "next",
        "next",
        "next",
        "info locals",
        "list 1,40",
    ]
    told = subprocess.run(
        [
            "gdb",
            "-q",
            "-batch",
            *(part for text in commands for part in ("-ex", text)),
            "--args",
            sys.executable,
            script,
        ],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    ).stdout
    assert "f_kernel::f (rt=" in told
    assert re.search(r"^total = ", told, re.MULTILINE)
    assert "// total += torch.exp(y)" in told
    assert "No such file" not in told
