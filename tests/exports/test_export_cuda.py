"""The target cuda: what is exported runs on the shim's GPU as it did in Python, and nvcc compiles it where there is one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import ksc as knossos
from ksc.cli import main
from ksc.errors import ArgumentError, BuildError, UnsupportedError
from ksc.exports.cuda import SKIPPED
from ksc.exports.manifest import read
from tests.passes.test_strips import arguments, mixture

sys.path.append(str(Path(__file__).parent))

import kernels

HERE = Path(__file__).parent
SHIM = HERE.parent / "cuda" / "shim"
STRICT = ("-O1", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off")
NVCC, CMAKE = shutil.which("nvcc"), shutil.which("cmake")
ON_GPU = os.environ.get("KSC_TEST_GPU", "0") not in ("", "0")

X = torch.linspace(-1.0, 1.0, 12, dtype=torch.float64)


def run(*command: object) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[:4000]
    return done.stdout


def test_recorded_values_hold_and_a_c_program_calls_it(tmp_path: Path) -> None:
    folder = knossos.export(
        [kernels.relu3, kernels.prefix],
        tmp_path / "edges",
        target="cuda",
        name="edges",
        dtypes=[torch.float32, torch.float64],
        example_inputs=[None, (X, 2, 0.5)],
    )
    assert "torch" not in (folder / "CMakeLists.txt").read_text().lower()
    out = tmp_path / "out"
    out.mkdir()
    units = sorted((folder / "src").glob("*.cu"))
    assert len(units) == 4
    (out / "all.cpp").write_text("".join(f'#include "{unit}"\n' for unit in units))
    places = ("-I", SHIM, "-I", folder / "include", "-I", folder / "prelude")
    sources = [folder / "src" / "edges.cpp", folder / "tests" / "edges_test.cpp"]
    run("g++", "-std=c++20", *STRICT, "-fsanitize=thread", *places, "-c", out / "all.cpp", "-o", out / "all.o")
    run("g++", "-std=c++20", "-O2", "-I", SHIM, "-c", SHIM / "shim.cpp", "-o", out / "shim.o")
    for source in sources:
        run("g++", "-std=c++17", *STRICT, *places, "-c", source, "-o", out / f"{source.stem}.o")
    include = ("-I", folder / "include")
    run("gcc", "-std=c11", *STRICT, *include, "-c", HERE / "edges_cuda.c", "-o", out / "program.o")
    library = [out / f"{name}.o" for name in ("edges", "all", "shim")]
    run("g++", out / "edges_test.o", *library, "-o", out / "test")
    assert run(out / "test") == "8 calls agree\n"
    run("g++", out / "program.o", *library, "-o", out / "program")
    assert run(out / "program") == "fine\n"


if NVCC is not None and CMAKE is not None:

    def test_nvcc_builds_it_and_a_test_without_a_gpu_is_skipped(tmp_path: Path) -> None:
        folder = knossos.export(
            [kernels.relu3, kernels.sqrl], tmp_path / "a", target="cuda", example_inputs=[None, (torch.rand(4),)]
        )
        build = tmp_path / "build"
        flags = (f"-DCMAKE_CUDA_ARCHITECTURES={'native' if ON_GPU else 90}", "-DRELU3_WERROR=ON")
        flags += ("-DCMAKE_CUDA_FLAGS=-Xcicc -O1 -Xptxas -O0",)
        run(CMAKE, "-S", folder, "-B", build, *flags)
        run(CMAKE, "--build", build)
        told = run("ctest", "--test-dir", build)
        done = subprocess.run([build / "relu3_test"], capture_output=True, text=True, check=False)
        if done.returncode == SKIPPED and not ON_GPU:
            assert "there is no GPU" in done.stdout
            assert "(Skipped)" in told
        else:
            assert done.stdout == "4 calls agree\n"
            assert done.returncode == 0


def test_it_multiplies_by_tiles_as_in_python(tmp_path: Path) -> None:
    kernel = mixture(triangular=True, weighted=False, curved=True, several=True)
    args = tuple(arguments(0))
    special, _ = kernel.example(args)
    call = "ks::multiply_all("
    assert call in special.cuda_source("", torch.float64).text
    folder = knossos.export(
        kernel, tmp_path / "f", target="cuda", example_inputs=args, dtypes=torch.float64, derivations=[""]
    )
    (unit,) = (folder / "src").glob("*.cu")
    assert call in unit.read_text()


def test_what_a_gpu_cannot_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="KS119"):
        knossos.export(kernels.depth, tmp_path / "out", target="cuda")
    with pytest.raises(UnsupportedError, match="calls back into Python"):
        knossos.export(kernels.calls_back, tmp_path / "out", target="cuda")
    with pytest.raises(BuildError, match="not a list such as"):
        knossos.export(kernels.once, tmp_path / "out", target="cuda", architectures=("hopper",))
    assert list(tmp_path.iterdir()) == []


def test_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(os.environ, "KSC_CUDA_ARCHITECTURES", "80,90")
    out = tmp_path / "out"
    assert main(["export", f"{HERE / 'kernels.py'}:once", "--target", "cuda", "-o", str(out)]) == 0
    assert read(out)["architectures"] == "80-real;90"
    knossos.export(kernels.once, out, target="cuda", architectures=(90, 100))
    assert read(out)["architectures"] == "90-real;100"
    capsys.readouterr()
    assert main(["export", "--list", str(out)]) == 0
    assert "cuda" in capsys.readouterr().out
    with pytest.raises(ArgumentError, match="export for cuda, which Python does not load"):
        knossos.load(out)
