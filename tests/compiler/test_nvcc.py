"""Builds for GPUs: a script stands in for nvcc and a class for NVRTC; where there is one it is tried too."""

from __future__ import annotations

import ctypes
import re
import shutil
from pathlib import Path

import pytest
import torch

from ksc.codegen import GeneratedSource, Unit
from ksc.codegen.cuda import generate
from ksc.compiler import CudaOptions, build_cuda, list_kernels, load
from ksc.compiler.cuda import find_cuda_compiler
from ksc.compiler.cuda_options import AHEAD_OF_TIME
from ksc.compiler.driver import CompilationError
from ksc.compiler.nvcc import Nvcc, nvcc_places
from ksc.compiler.nvrtc import HEADERS, Nvrtc, find_nvrtc, nvrtc_places
from ksc.errors import BuildError
from ksc.ir.text import parse
from ksc.paths import prelude_dir

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


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no nvcc, nor NVRTC."""
    monkeypatch.delenv("CUDACXX", raising=False)
    monkeypatch.setattr("ksc.compiler.nvcc.nvcc_places", lambda _: iter(("/nowhere/nvcc",)))
    monkeypatch.setattr("ksc.compiler.nvrtc.nvrtc_places", lambda _: iter(("/nowhere/libnvrtc.so.13",)))


def test_without_a_compiler_the_ways_to_get_one_are_said(without: None) -> None:
    with pytest.raises(BuildError, match=r"nvidia-cuda-nvrtc.*nvidia-cuda-nvcc.*CUDA_HOME") as refused:
        build_cuda(SOURCE)
    assert refused.value.code == "KS504"


def test_nvcc_comes_first_then_nvrtc(nvcc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ksc.compiler.nvrtc._version", lambda _: (13, 0))
    monkeypatch.setattr("ksc.compiler.nvrtc.nvrtc_places", lambda _: iter((__file__,)))
    assert isinstance(find_cuda_compiler(), Nvcc)
    monkeypatch.setenv("CUDACXX", "nvrtc")
    chosen = find_cuda_compiler()
    assert isinstance(chosen, Nvrtc) and chosen.identity.startswith("NVRTC 13.0 ")
    monkeypatch.setattr("ksc.compiler.nvrtc._version", lambda _: (13, 1))
    assert find_cuda_compiler().identity != chosen.identity
    monkeypatch.setenv("CUDACXX", "/nowhere/nvcc")
    with pytest.raises(BuildError, match="/nowhere/nvcc, which CUDACXX names, was not found") as refused:
        find_cuda_compiler()
    assert refused.value.code == "KS504"


def test_nvrtc_of_torchs_version_of_cuda_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("cuda_nvrtc/lib/libnvrtc.so.12", "cu13/lib/libnvrtc.so.13", "cu13/lib/libnvrtc-builtins.so.13.0"):
        file = tmp_path / "nvidia" / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    for version, first in {"12.8": "libnvrtc.so.12", "13.0": "libnvrtc.so.13"}.items():
        monkeypatch.setattr(torch.version, "cuda", version)
        assert Path(next(nvrtc_places({}))).name == first


def test_nvrtc_is_given_all_of_the_standard_library_that_kernels_use() -> None:
    """Headers by their names, and what is in them."""
    folder, pending, texts = prelude_dir() / "ks", ["cuda/prelude.h"], {}
    while pending:
        name = pending.pop()
        if name not in texts and name not in ("cuda/enter.h", "cuda/launch.h"):  # the host's
            texts[name] = re.sub(r"#ifndef KS_CUDA\n.*?#endif", "", (folder / name).read_text(), flags=re.DOTALL)
            pending += re.findall(r'#include "ks/(.*)"', texts[name])
    text = "".join(texts.values())
    assert set(re.findall("#include <(.*)>", text)) <= set(HEADERS)
    # It has this one of its own.
    used = set(re.findall(r"std::(\w+)", text)) - {"initializer_list"}
    assert {"is_same_v", "index_sequence"} <= used
    assert used <= set(re.findall(r"\w+", (folder / "cuda" / "nvrtc.h").read_text()))


def test_what_nvrtc_refuses_is_said_with_the_generated_line(nvcc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise CompilationError('sums.cu(1): error: identifier "x" is undefined\n')

    monkeypatch.setattr("ksc.compiler.nvrtc._version", lambda _: (13, 0))
    monkeypatch.setattr("ksc.compiler.nvrtc.nvrtc_places", lambda _: iter((__file__,)))
    monkeypatch.setattr("ksc.compiler.nvrtc._architectures", lambda _: AHEAD_OF_TIME)
    monkeypatch.setattr("ksc.compiler.nvrtc.compile_program", refuse)
    monkeypatch.setenv("CUDACXX", "nvrtc")
    with pytest.raises(BuildError, match=r'identifier "x" is undefined\n  sums\.cu:1: int ks_sums;') as refused:
        build_cuda(SOURCE)
    assert refused.value.code == "KS502"


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


def opened(dtype: str) -> int:
    """What a launch of a kernel gives that is built by the compiler there is; above zero where no GPU is."""
    program = parse("(def doubled Float (x : Float) (add x x))")
    built = build_cuda(generate(Unit("doubled", [("", program)], dtype)), CudaOptions((90,)))
    entry = load(built).library.ks_doubled
    entry.argtypes = [ctypes.c_void_p] * 4 + [ctypes.c_int, ctypes.c_void_p]
    device, data = (ctypes.c_void_p * 16)(), (ctypes.c_void_p * 2)(256, 256)
    sizes, strides = (ctypes.c_int64 * 1)(1), (ctypes.c_int64 * 2)(4, 4)
    return 1 if torch.cuda.is_available() else int(entry(device, data, strides, sizes, 1, None))


if shutil.which("nvcc") is not None:

    def test_nvcc_builds_what_is_opened_and_says_where_no_gpu_is() -> None:
        assert opened("float32") > 0


if find_nvrtc() is not None:

    def test_nvrtc_builds_what_is_opened_and_says_where_no_gpu_is(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CUDACXX", "nvrtc")
        assert opened("float64") > 0

    def test_what_nvrtc_itself_says_is_found_in_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CUDACXX", "nvrtc")
        wrong = GeneratedSource("wrong", '#include <cstdint>\nextern "C" __global__ void k(int64_t n) { n = m; }\n', {})
        with pytest.raises(BuildError, match=r'identifier "m" is undefined\n  wrong\.cu:2: extern "C"') as refused:
            build_cuda(wrong)
        assert refused.value.code == "KS502"
        with pytest.raises(BuildError, match=r"sm_1\n.* some of .*90.*") as refused:
            build_cuda(wrong, CudaOptions((1,)))
        assert refused.value.code == "KS504"
