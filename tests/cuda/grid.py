"""Running generated CUDA on the CPU: the shim's threads take the place of a GPU's, and look for races.

With ``KSC_TEST_GPU=1`` the same kernels are compiled for the GPU and run on it, where nothing looks for races. Either
way operands are copied to memory of the device and back.
"""

from __future__ import annotations

import ctypes
import functools
import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from ksc.codegen import Dtype, GeneratedSource
from ksc.compiler.cuda import find_cuda_compiler
from ksc.compiler.cuda_options import CudaOptions
from ksc.ir.nodes import Program
from ksc.paths import prelude_dir
from tests.codegen.harness import _EDGE, _guarded, _Tensor, numpy_dtype, stored_as

ON_GPU = os.environ.get("KSC_TEST_GPU", "0") not in ("", "0")
SANITIZED = "undefined" in os.environ.get("KSC_COMPILE_FLAGS", "")
MARGIN = 0 if ON_GPU else 32
"""The bytes of nobody behind each piece of scratch memory: KS_MARGIN of the shim."""
SHIM = Path(__file__).resolve().parent / "shim"
FLAGS = ("-std=c++20", "-fPIC", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off", "-I", str(prelude_dir()))


class State(ctypes.Structure):
    """ks_cuda_state."""

    _fields_ = (
        ("arrived", ctypes.c_uint),
        ("phase", ctypes.c_uint),
        ("failed", ctypes.c_int),
        ("line", ctypes.c_int),
        ("message", ctypes.c_char * 240),
        ("scratch_wanted", ctypes.c_ulonglong),
        ("scratch_wanted_per_thread", ctypes.c_ulonglong),
    )


class _Device(ctypes.Structure):
    _fields_ = (
        ("stream", ctypes.c_void_p),
        ("state", ctypes.c_void_p),
        ("report", ctypes.c_void_p),
        ("owner", ctypes.c_void_p),
        ("traps", ctypes.c_int),
        ("scratch", ctypes.c_void_p),
        ("scratch_bytes", ctypes.c_size_t),
        ("scratch_per_thread", ctypes.c_size_t),
        ("deterministic", ctypes.c_int),
        ("most_blocks", ctypes.c_int),
    )


@dataclass
class Device:
    """What a host gives to a kernel, and what it finds afterwards."""

    scratch_bytes: int = 1 << 20
    scratch_per_thread: int = 1 << 10
    deterministic: bool = False
    most_blocks: int = 0

    def __post_init__(self) -> None:
        self.state = State()
        place = "cuda" if ON_GPU else "cpu"
        self._state = torch.zeros(ctypes.sizeof(State), dtype=torch.uint8, device=place)
        self._scratch = torch.full((self.scratch_bytes + 256,), 0xA5, dtype=torch.uint8, device=place)

    def synchronise(self) -> None:
        """Wait for the grid, and fetch the state."""
        ctypes.memmove(ctypes.addressof(self.state), self._state.cpu().numpy().tobytes(), ctypes.sizeof(State))

    def struct(self) -> _Device:
        """The ks_cuda of a launch."""
        return _Device(
            torch.cuda.current_stream().cuda_stream if ON_GPU else None,
            self._state.data_ptr(),
            None,
            None,
            0,
            (self._scratch.data_ptr() + 255) // 256 * 256,
            self.scratch_bytes,
            self.scratch_per_thread,
            int(self.deterministic),
            self.most_blocks,
        )

    @property
    def error(self) -> tuple[int, int, str] | None:
        """The code, line and text of what a kernel stopped for."""
        return (self.state.failed, self.state.line, self.state.message.decode()) if self.state.failed else None


class Copy:
    """The memory of an array, whatever its strides, on the device."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array
        low, high = np.lib.array_utils.byte_bounds(array)
        # Copies are aligned as their originals are, to packs of elements at least.
        self._low, self._size = low // 64 * 64, high - low // 64 * 64
        self._memory = torch.empty(self._size + 64, dtype=torch.uint8, device="cuda" if ON_GPU else "cpu")
        self._start = -self._memory.data_ptr() % 64
        if array.size > 0:
            held = np.frombuffer((ctypes.c_uint8 * (high - low)).from_address(low), np.uint8).copy()
            begin = self._start + low - self._low
            self._memory[begin : begin + len(held)] = torch.from_numpy(held).to(self._memory.device)
        self._first, self._bytes = self._start + low - self._low, high - low

    @property
    def address(self) -> int:
        """Where the array's first element is on the device."""
        return self._memory.data_ptr() + self._start + self._array.ctypes.data - self._low

    def span(self, edge: int = 0) -> tuple[int, int]:
        """Where its first byte is, and how many there are, without so many at both ends."""
        return self._memory.data_ptr() + self._first + edge, max(0, self._bytes - 2 * edge)

    def fetch(self) -> bytes:
        """What is there now, from the first byte to the last."""
        return self._memory[self._first : self._first + self._bytes].cpu().numpy().tobytes()


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="ks-shim-")


@functools.cache
def _shim() -> Path:
    made = Path(_folder().name) / "shim.o"
    _run("g++", "-std=c++20", "-O2", "-fPIC", "-I", str(SHIM), "-c", str(SHIM / "shim.cpp"), "-o", str(made))
    return made


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:8000]


@functools.cache
def _numbers() -> list[int]:
    return [0]


class Library:
    """Some sources, compiled for the shim as one: in half the time without optimisation, to run at half the speed.

    To look for ``undefined`` behaviour takes a fifth more; ``make sanitize`` does. ``few``: as if integers of 32 bits had
    fewer values, see the shim's few.h.
    """

    def __init__(
        self,
        sources: Sequence[GeneratedSource],
        optimised: bool = True,
        undefined: bool = SANITIZED,
        few: bool = False,
    ) -> None:
        _numbers()[0] += 1
        stem = Path(_folder().name) / f"kernels{_numbers()[0]}"
        text = stem.with_suffix(".cu")
        text.write_text(joined(sources), "utf-8")
        if ON_GPU:
            made = stem.with_suffix(".so")
            present = replace(CudaOptions.from_environment(), contract=False)
            find_cuda_compiler().compile(text, made, present, prelude_dir())
            self.library = ctypes.CDLL(str(made))
            return
        made = stem.with_suffix(".o")
        flags = [*FLAGS, "-O1" if optimised else "-O0", "-fsanitize=thread", "-I", str(SHIM)]
        flags += ["-fsanitize=undefined", "-fno-sanitize=vptr"] if undefined else []
        flags += ["-include", str(SHIM / "few.h")] if few else []
        _run("g++", *flags, "-x", "c++", "-c", str(text), "-o", str(made))
        _run(
            "g++",
            "-shared",
            str(made),
            str(_shim()),
            "-o",
            str(stem.with_suffix(".so")),
            "-Wl,--no-undefined,-Bsymbolic",
        )
        self.library = ctypes.CDLL(str(stem.with_suffix(".so")))
        self.library.shim_report.restype = ctypes.c_char_p

    def tensors(
        self,
        symbol: str,
        program: Program,
        args: Sequence[np.ndarray],
        shapes: Sequence[tuple[int, ...]],
        dtype: Dtype = "float64",
        device: Device | None = None,
        hosted: bool = False,
    ) -> tuple[Device, list[np.ndarray]]:
        """Run a tensor entry; it must not race, write outside of its results, or change an argument.

        Where they are ``hosted``, arguments without dimensions go along as numbers of the host.
        """
        types = program.main.result_types
        outs = [_guarded(shape, stored_as(type_, dtype)) for shape, type_ in zip(shapes, types, strict=True)]
        copies = [Copy(out.base) for out in outs] + [Copy(arg) for arg in args]
        places = [copy.address + (_EDGE if k < len(outs) else 0) for k, copy in enumerate(copies)]
        before = [copy.fetch() for copy in copies]
        descriptors = (_Tensor * max(1, len(outs) + len(args)))()
        kept = []
        for descriptor, array, place in zip(descriptors, [*outs, *args], places, strict=False):
            sizes = (ctypes.c_int64 * max(1, array.ndim))(*array.shape)
            steps = (ctypes.c_int64 * max(1, array.ndim))(*(s // array.itemsize for s in array.strides))
            kept += [sizes, steps]
            descriptor.data = place
            descriptor.sizes = ctypes.addressof(sizes)
            descriptor.strides = ctypes.addressof(steps)
        for descriptor, arg in zip(list(descriptors)[len(outs) :], args, strict=False):
            if hosted and arg.ndim == 0:
                kept.append((ctypes.c_int64 * 1).from_buffer_copy(arg.tobytes().ljust(8, b"\0")))
                descriptor.data, descriptor.sizes = None, ctypes.addressof(kept[-1])
        device = device or Device()
        struct = device.struct()
        entry = getattr(self.library, symbol)
        entry.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
        for k, copy in enumerate(copies):
            self.grant(*copy.span(_EDGE if k < len(outs) else 0), "write" if k < len(outs) else "read")
        self.grant(device.struct().state, ctypes.sizeof(State), "change")
        status = int(entry(ctypes.byref(struct), descriptors))
        self.assert_quiet(symbol)
        assert status == 0, f"{symbol} was refused: {status}"
        device.synchronise()
        for out, copy in zip(outs, copies, strict=False):
            out.base[:] = np.frombuffer(copy.fetch(), np.uint8)
            edge = out.base[:_EDGE].tobytes() + out.base[len(out.base) - _EDGE :].tobytes()
            assert edge == b"\xa5" * len(edge), "something was written outside of a result"
        for copy, was in zip(copies[len(outs) :], before[len(outs) :], strict=True):
            assert copy.fetch() == was, "an argument was changed"
        return device, outs

    def lanes(
        self,
        symbol: str,
        program: Program,
        args: Sequence[np.ndarray],
        dtype: Dtype = "float64",
        device: Device | None = None,
    ) -> tuple[Device, list[np.ndarray]]:
        """Run an elementwise entry on arrays of one shape, of any strides."""
        shape = np.broadcast_shapes(*(arg.shape for arg in args))
        outs = [_guarded(shape, numpy_dtype(type_, dtype)) for type_ in program.main.result_types]
        operands = [*outs, *(np.broadcast_to(arg, shape) for arg in args)]
        copies = [Copy(out.base) for out in outs] + [Copy(arg) for arg in operands[len(outs) :]]
        places = [copy.address + (_EDGE if k < len(outs) else 0) for k, copy in enumerate(copies)]
        data = (ctypes.c_void_p * len(operands))(*places)
        strides = [stride for a in operands for stride in reversed(a.strides)]
        device = device or Device()
        struct = device.struct()
        entry = getattr(self.library, symbol)
        entry.argtypes = [ctypes.c_void_p] * 4 + [ctypes.c_int, ctypes.c_void_p]
        for k, copy in enumerate(copies):
            self.grant(*copy.span(_EDGE if k < len(outs) else 0), "write" if k < len(outs) else "read")
        self.grant(device.struct().state, ctypes.sizeof(State), "change")
        status = int(
            entry(
                ctypes.byref(struct),
                data,
                (ctypes.c_int64 * max(1, len(strides)))(*strides),
                (ctypes.c_int64 * max(1, len(shape)))(*reversed(shape)),
                len(shape),
                None,
            )
        )
        self.assert_quiet(symbol)
        assert status == 0, f"{symbol} was refused: {status}"
        device.synchronise()
        for out, copy in zip(outs, copies, strict=False):
            out.base[:] = np.frombuffer(copy.fetch(), np.uint8)
        return device, outs

    def grant(self, address: int, size: int, use: Literal["read", "write", "change"]) -> None:
        """Let the next grid touch so many bytes, besides its scratch memory; what it may only write it may read then."""
        if not ON_GPU:
            self.library.shim_grant(
                ctypes.c_void_p(address), ctypes.c_size_t(size), ("read", "write", "change").index(use)
            )

    def assert_quiet(self, symbol: str) -> None:
        """Nothing was wrong with how the threads of the last grid worked together, as far as anybody looks."""
        if ON_GPU:
            return
        report = self.library.shim_report().decode()
        assert report == "", f"{symbol}:\n{report}"


def joined(sources: Sequence[GeneratedSource]) -> str:
    """Several sources as one file; none may be called as another is."""
    namespaces = [name for source in sources for name in re.findall(r"^namespace (\w+) \{", source.text, re.MULTILINE)]
    assert len(set(namespaces)) == len(namespaces)
    return "\n".join(source.text for source in sources)
