import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from ksc.cli import main
from ksc.cli.target import load_kernel
from ksc.compiler import list_kernels
from ksc.torch import build_core
from tests.processes import run_python

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "shapes.py"
    path.write_text(
        "def area(width: float, height: float, count: int = 1, square: bool = False) -> float:\n"
        "    return (width * width if square else width * height) * count\n"
    )
    return path


def test_builds_for_each_dtype(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", f"{file}:area", "--dtype", "float32", "--dtype", "float64", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [built["dtype"] for built in report] == ["float32", "float64"]
    assert all(Path(built["source"]).is_file() for built in report)


def test_says_where_the_source_lies(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", f"{file}:area"]) == 0
    shown = capsys.readouterr().out.split()
    assert shown[0] == "float32"
    assert Path(shown[-1]).is_file()


def test_gpus_are_built_for_as_well(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A script stands in for nvcc."""
    nvcc = tmp_path / "nvcc"
    nvcc.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo nvcc && exit\nwhile [ "$1" != -o ]; do shift; done\necho > "$2"\n'
    )
    nvcc.chmod(0o755)
    monkeypatch.setenv("CUDACXX", str(nvcc))
    monkeypatch.setenv("KSC_CUDA_ARCHITECTURES", "90")
    assert main(["build", f"{file}:area", "--cuda"]) == 0
    assert any((kernel.path / "area.cu").is_file() for kernel in list_kernels())
    source, cuda = (Path(line.split()[-1]) for line in capsys.readouterr().out.splitlines())
    assert (source.suffix, cuda.suffix) == (".cpp", ".cu")
    assert source.is_file() and cuda.is_file()
    monkeypatch.setenv("CUDACXX", "/nowhere/nvcc")
    monkeypatch.setenv("KSC_CUDA_ARCHITECTURES", "80")
    assert main(["build", f"{file}:area", "--cuda"]) == 1
    assert "KS504" in capsys.readouterr().err


def test_a_refused_function_is_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "refused.py"
    file.write_text("def f(x: float) -> float:\n    with open(x):\n        return x\n")
    assert main(["build", f"{file}:f"]) == 1
    assert capsys.readouterr().err.startswith(f"{file}:2:5: [KS1")


def test_a_parameter_without_a_type_cannot_be_built(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "untyped.py"
    file.write_text("def f(x):\n    return x\n")
    assert main(["build", f"{file}:f"]) == 1
    message = capsys.readouterr().err
    assert "the annotations of f(x) do not tell the types of its parameters" in message
    assert "instead: annotate numbers with float" in message


def test_the_default_dtype_stays_as_it_was(file: Path) -> None:
    before = torch.get_default_dtype()
    assert main(["build", f"{file}:area", "--dtype", "float64"]) == 0
    assert torch.get_default_dtype() == before


def test_what_was_built_is_found_in_the_cache(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", f"{file}:area", "--dtype", "bfloat16", "--json"]) == 0
    (built,) = json.loads(capsys.readouterr().out)
    kernel = load_kernel(f"{file}:area")
    width = torch.ones(3, dtype=torch.bfloat16)
    assert kernel(width, width).dtype == torch.bfloat16
    assert Path(built["source"]).parent in [cached.path for cached in list_kernels()]


POINTS = """
from dataclasses import dataclass

@dataclass
class Point:
    x: float
    y: float

def norm(p: Point, scale: tuple[float, int]) -> float:
    return (p.x * p.x + p.y * p.y) * scale[0]
"""


def test_structured_parameters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "points.py"
    file.write_text(POINTS)
    assert main(["build", f"{file}:norm"]) == 0
    assert "norm" in capsys.readouterr().out


def test_tensors_are_built_for_the_arguments_of_a_call(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "total.py"
    file.write_text("import torch\n\ndef sum_of_squares(x: torch.Tensor):\n    return (x * x).sum()\n")
    assert main(["build", f"{file}:sum_of_squares", "--args", "torch.rand(3)", "--dtype", "float64", "--json"]) == 0
    (built,) = json.loads(capsys.readouterr().out)
    assert "double sum_of_squares(" in Path(built["source"]).read_text()
    # The value and its vjp; other processes may build kernels of other names meanwhile.
    assert len([kernel for kernel in list_kernels() if kernel.name.startswith("sum_of_squares")]) == 2


def test_timings_of_each_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "total.py"
    file.write_text("import torch\n\ndef sum_of_cubes(x: torch.Tensor):\n    return (x * x * x).sum()\n")
    command = ["build", f"{file}:sum_of_cubes", "--args", "torch.rand(3)", "--timings"]
    for _ in range(2):
        assert main([*command, "--json"]) == 0
        rows = {row["step"]: row["ms"] for row in json.loads(capsys.readouterr().out)}
        steps = ["import torch", "import ksc", "import the file", "trace", "transform vjp", "pass fuse"]
        steps += ["pass columns", "codegen"]
        assert set(steps) < set(rows)
        # Made anew each time, whatever the cache has.
        assert rows["C++ compiler"] > 1.0
        assert rows["load"] > 0.0
        assert sum(rows.values()) > 0.0
    assert main(command) == 0
    assert "C++ compiler" in capsys.readouterr().out


MODULE = """
import torch
import ksc as knossos

@knossos.vmap
def cube(x: float) -> float:
    return x**3

@knossos.register
def total(x: torch.Tensor):
    return (x * x).sum()

def total_bench_configs():
    yield torch.rand(2, 3)
    yield (torch.rand(3),)

also = cube
"""

RANK = """
import torch
import kernels
x = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
(kernels.total(x) + kernels.total(x.detach()[0]) + kernels.cube(x).sum()).backward()
print(x.grad.tolist())
"""


def test_all_kernels_of_a_module(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kernels.py").write_text(MODULE)
    shared = tmp_path / "shared"
    (shared / "core").mkdir(parents=True)
    shutil.copy(build_core.load().__file__, shared / "core")
    monkeypatch.setenv("KSC_BUILD_DIR", str(shared))
    assert main(["build", "--all", str(tmp_path / "kernels.py"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [(built["name"], built["dtype"], built["error"]) for built in report] == [
        ("cube", "float32", None),
        ("total", "float32", None),
    ]
    # A process elsewhere, without a compiler, finds all that it needs in the shared folder.
    environ = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(tmp_path))),
        "KSC_BUILD_DIR": str(tmp_path / "own"),
        "KSC_CACHE_PATH": str(shared),
        "CXX": str(tmp_path / "no_compiler"),
    }
    done = run_python("-c", RANK, environ=environ)
    assert done.stdout == "[[5.0, 16.0], [33.0, 56.0]]\n", done.stderr


def test_a_kernel_that_cannot_be_built_is_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "untold.py"
    file.write_text(MODULE.replace("total_bench_configs", "other"))
    assert main(["build", "--all", str(file)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["cube", "float32"]
    assert lines[1].split() == ["total", "float32", "not", "built"]
    assert lines[2].startswith("[KS300] the annotations of total(x: torch.Tensor) do not tell")


@pytest.mark.parametrize("module", ["no_such_module", "json", "no_such_file.py"])
def test_a_module_without_kernels_is_wrong_usage(module: str) -> None:
    assert main(["build", "--all", module]) == 2
