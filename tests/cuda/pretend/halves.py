"""Kernels of two halves, as NVRTC makes them: the shim has the device's, a driver that is pretended launches it."""

from __future__ import annotations

import ctypes
import functools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from ksc.codegen import GeneratedSource
from ksc.compiler import CudaOptions
from ksc.compiler.cached_build import BuiltKernel
from ksc.compiler.nvrtc import Nvrtc
from ksc.compiler.toolchain import Compiler
from ksc.paths import prelude_dir
from tests.cuda.pretend.install import build_with, compile_for_shim, run

DRIVER = Path(__file__).resolve().with_name("driver.cpp")
WRONG = b"an image for another device\0"


class Halves(Nvrtc):
    """The images are paths of libraries; one of them is for the device."""

    def images(self, source: Path, options: CudaOptions, include: Path) -> Iterator[tuple[int, bool, bytes]]:
        made = source.with_suffix(".device.so")
        compile_for_shim(source, made)
        yield 75, True, WRONG
        yield 80, True, str(made).encode() + b"\0"
        yield 89, True, WRONG
        yield 90, True, WRONG
        yield 80, False, WRONG


@functools.cache
def driver() -> ctypes.CDLL:
    """The driver, which those who open libcuda.so.1 from now on are given."""
    made = Path(tempfile.mkdtemp(prefix="ks-driver-")) / "libcuda.so.1"
    run("g++", "-std=c++20", "-fPIC", "-shared", "-Wl,-soname,libcuda.so.1", str(DRIVER), "-o", str(made))
    return ctypes.CDLL(str(made))


def build(name: str, identity: str, generate: Callable[[], GeneratedSource]) -> BuiltKernel:
    """What ``ksc.compiler.cached_build.find_or_build_cuda`` does with NVRTC."""
    driver()
    nvrtc = Halves("", Compiler(("g++", "-DKS_BLOCK_SIZE=64", "-Wall", "-Wextra", "-Werror"), ""), "")
    return build_with(
        lambda source, library: nvrtc.compile(source, library, CudaOptions(), prelude_dir()), name, identity, generate
    )
