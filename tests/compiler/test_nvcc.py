"""Builds for GPUs: a script stands in for nvcc, and where there is one it is tried too."""

from __future__ import annotations

import ctypes
import shutil
from pathlib import Path

import pytest
import torch

from ksc.codegen import GeneratedSource, Unit
from ksc.codegen.cuda import generate
from ksc.compiler import CudaOptions, build_cuda, list_kernels, load
from ksc.compiler.nvcc import find_nvcc, nvcc_places
from ksc.errors import BuildError
from ksc.ir.text import parse

SOURCE = GeneratedSource("sums", "int ks_sums;\n", {"": "ks_sums"})
SCRIPT = """#!/bin/sh
if [ "$1" = --version ]; then
    printf 'nvcc: a script\\nrelease 13.0\\nbuild {build}\\n'
    exit 0
fi
{body}
while [ "$1" != -o ]; do shift; done
echo library > "$2"
"""


@pytest.fixture
def nvcc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "nvcc"
    write(place)
    monkeypatch.setenv("CUDACXX", str(place))
    monkeypatch.setenv("KSC_BUILD_DIR", str(tmp_path / "build"))
    return place


def write(place: Path, body: str = "", build: str = "1") -> None:
    place.write_text(SCRIPT.format(body=body, build=build))
    place.chmod(0o755)


def test_a_source_is_built_once(nvcc: Path) -> None:
    built = build_cuda(SOURCE)
    assert not built.from_cache
    assert built.source_path.name == "sums.cu"
    assert built.source_path.read_text() == SOURCE.text
    again = build_cuda(SOURCE)
    assert again.from_cache
    assert again.library_path == built.library_path
    assert [kernel.name for kernel in list_kernels()] == ["sums"]


def test_another_compiler_or_architecture_is_another_build(nvcc: Path) -> None:
    first = build_cuda(SOURCE, CudaOptions((80,)))
    assert not build_cuda(SOURCE, CudaOptions((90,))).from_cache
    write(nvcc, build="2")
    assert not build_cuda(SOURCE, CudaOptions((80,))).from_cache
    assert "build 1" in first.entry.compiler


def test_what_nvcc_refuses_is_said_with_the_generated_line(nvcc: Path) -> None:
    write(nvcc, 'echo "sums.cu(1): error: identifier \\"x\\" is undefined" >&2; exit 2')
    with pytest.raises(BuildError, match=r'identifier "x" is undefined\n  sums\.cu:1: int ks_sums;') as refused:
        build_cuda(SOURCE)
    assert refused.value.code == "KS502"


def test_without_nvcc_the_way_to_get_one_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDACXX", "/nowhere/nvcc")
    with pytest.raises(BuildError, match="install the CUDA toolkit") as refused:
        find_nvcc()
    assert refused.value.code == "KS504"


def test_architectures_are_those_asked_for() -> None:
    options = CudaOptions.from_environment({"KSC_CUDA_ARCHITECTURES": "9.0, 80"})
    assert options.architectures == (80, 90)
    flags = " ".join(options.compile_flags())
    assert "arch=compute_80,code=sm_80" in flags
    assert "arch=compute_90,code=compute_90" in flags
    assert "arch=compute_80,code=compute_80" not in flags
    with pytest.raises(BuildError, match="not a list such as 80,90"):
        CudaOptions.from_environment({"KSC_CUDA_ARCHITECTURES": "hopper"})
    assert CudaOptions.from_environment({"TORCH_CUDA_ARCH_LIST": "8.0;9.0a 10.0+PTX"}).architectures == (80, 90, 100)
    both = {"TORCH_CUDA_ARCH_LIST": "8.0", "KSC_CUDA_ARCHITECTURES": "90"}
    assert CudaOptions.from_environment(both).architectures == (90,)


def test_wheels_bring_nvcc_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "nvidia" / "cu13" / "bin" / "nvcc"
    place.parent.mkdir(parents=True)
    write(place)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert str(place) in nvcc_places({})


if shutil.which("nvcc") is not None:

    def test_a_kernel_is_built_opened_and_says_where_no_gpu_is() -> None:
        program = parse("(def doubled Float (x : Float) (add x x))")
        built = build_cuda(generate(Unit("doubled", [("", program)], "float32")), CudaOptions((90,)))
        entry = load(built).library.ks_doubled
        entry.argtypes = [ctypes.c_void_p] * 4 + [ctypes.c_int, ctypes.c_void_p]
        device, data = (ctypes.c_void_p * 16)(), (ctypes.c_void_p * 2)(256, 256)
        sizes, strides = (ctypes.c_int64 * 1)(1), (ctypes.c_int64 * 2)(4, 4)
        if not torch.cuda.is_available():
            assert entry(device, data, strides, sizes, 1, None) > 0
