"""A host for compiled kernels in ctypes: what the torch core is in earnest."""

import ctypes
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from ksc.codegen import Dtype, GeneratedSource, Unit
from ksc.codegen.cpp import generate
from ksc.compiler import BuildOptions, LoadedKernel, build, build_many, load
from ksc.ir.nodes import Program
from ksc.ir.types import BoolType, FloatType, TensorType, Type

EXACT = replace(BuildOptions.from_environment(), contract=False)
STRICT = replace(EXACT, extra=("-Wall", "-Wextra", "-Werror", "-O1", *EXACT.extra))

_ALLOC = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_MARK = ctypes.CFUNCTYPE(ctypes.c_size_t, ctypes.c_void_p)
_RELEASE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_size_t)
_ERROR = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_char_p)


PADDING = 64


class _Runtime(ctypes.Structure):
    _fields_ = (
        ("ctx", ctypes.c_void_p),
        ("alloc", _ALLOC),
        ("mark", _MARK),
        ("release", _RELEASE),
        ("error", _ERROR),
        ("stack_limit", ctypes.c_void_p),
        ("callback", ctypes.c_void_p),
        ("threads", ctypes.c_void_p),
        ("parallel", ctypes.c_void_p),
    )


class Host:
    """A ks_runtime whose arena is a list of buffers; keeps the first error as (code, line, message).

    The buffers come from malloc and go back to it: under AddressSanitizer what a kernel gave back stays poisoned, which
    memory that Python hands out again must not be.
    """

    def __init__(self, limit: int = 1 << 30, stack_limit: int = 0) -> None:
        self.blocks: list[torch.Tensor] = []
        self.error: tuple[int, int, str] | None = None
        self.allocated = 0
        self.peak = 0
        self._limit = limit
        self.struct = _Runtime(
            None, _ALLOC(self._alloc), _MARK(self._mark), _RELEASE(self._release), _ERROR(self._error), stack_limit
        )

    def _alloc(self, rt: int, size: int) -> int | None:
        self.allocated += size
        if self.allocated > self._limit:
            self._error(rt, 5, 0, b"out of memory")
            return None
        self.blocks.append(torch.empty(size + PADDING, dtype=torch.uint8))
        self.peak = max(self.peak, len(self.blocks))
        address = self.blocks[-1].data_ptr()
        return (address + 63) // 64 * 64

    def _mark(self, rt: int) -> int:
        return len(self.blocks)

    def _release(self, rt: int, mark: int) -> None:
        del self.blocks[mark:]

    def _error(self, rt: int, code: int, line: int, message: bytes) -> None:
        if self.error is None:
            self.error = (code, line, message.decode())


class Measured(Host):
    """A host that knows the most bytes that it was asked for at once."""

    most = 0

    def _alloc(self, rt: int, size: int) -> int | None:
        address = super()._alloc(rt, size)
        self.most = max(self.most, sum(map(len, self.blocks)) - PADDING * len(self.blocks))
        return address


def numpy_dtype(type_: Type, dtype: Dtype) -> np.dtype:
    """How an operand of an entry is stored, except bfloat16."""
    if isinstance(type_, FloatType):
        return np.dtype(dtype)
    return np.dtype(np.bool_ if isinstance(type_, BoolType) else np.int64)


def call(
    kernel: LoadedKernel,
    symbol: str,
    program: Program,
    columns: Sequence[np.ndarray],
    dtype: Dtype = "float64",
    host: Host | None = None,
) -> tuple[int, list[np.ndarray]]:
    """Run an entry over lanes; each column holds one argument of all lanes, with whatever stride."""
    n = max((len(column) for column in columns), default=1)
    outs = [np.zeros(n, numpy_dtype(type_, dtype)) for type_ in program.main.result_types]
    host = host or Host()
    return invoke(kernel, symbol, outs, columns, n, host), outs


def invoke(
    kernel: LoadedKernel, symbol: str, outs: Sequence[np.ndarray], args: Sequence[np.ndarray], n: int, host: Host
) -> int:
    """Call an entry with these arrays, whatever their strides."""
    operands = [*outs, *args]
    data = (ctypes.c_void_p * len(operands))(*(a.ctypes.data for a in operands))
    strides = (ctypes.c_int64 * len(operands))(*(a.strides[0] for a in operands))
    entry = getattr(kernel.library, symbol)
    entry.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
    return int(entry(ctypes.byref(host.struct), data, strides, n))


def source_of(name: str, program: Program, dtype: Dtype = "float64") -> GeneratedSource:
    return generate(Unit(name, [("", program)], dtype))


def compiled(name: str, program: Program, dtype: Dtype = "float64") -> LoadedKernel:
    """Build and open a kernel whose only entry is ``ks_NAME``, without fused multiply-add."""
    return load(build(source_of(name, program, dtype), EXACT))


def compiled_many(programs: dict[str, Program], dtype: Dtype) -> dict[str, LoadedKernel]:
    built = build_many([source_of(name, program, dtype) for name, program in programs.items()], EXACT)
    return {name: load(kernel) for name, kernel in zip(programs, built, strict=True)}


class _Tensor(ctypes.Structure):
    _fields_ = (("data", ctypes.c_void_p), ("sizes", ctypes.c_void_p), ("strides", ctypes.c_void_p))


def call_tensors(
    kernel: LoadedKernel,
    symbol: str,
    program: Program,
    args: Sequence[np.ndarray],
    shapes: Sequence[tuple[int, ...]],
    dtype: Dtype = "float64",
    host: Host | None = None,
    strides: bool = True,
) -> tuple[int, list[np.ndarray]]:
    """Run a tensor entry; ``shapes`` are the sizes of its results, between whose elements nothing may be written.

    Without ``strides`` the descriptors have none, which says that they are contiguous.
    """
    types = program.main.result_types
    outs = [_guarded(shape, stored_as(type_, dtype)) for shape, type_ in zip(shapes, types, strict=True)]
    operands = [*outs, *args]
    before = [arg.copy() for arg in args]
    kept = []
    descriptors = (_Tensor * max(1, len(operands)))()
    for descriptor, array in zip(descriptors, operands, strict=False):
        sizes = (ctypes.c_int64 * max(1, array.ndim))(*array.shape)
        steps = (ctypes.c_int64 * max(1, array.ndim))(*(s // array.itemsize for s in array.strides))
        kept += [sizes, steps]
        descriptor.data = array.ctypes.data
        descriptor.sizes = ctypes.addressof(sizes)
        descriptor.strides = ctypes.addressof(steps) if strides else None
    host = host or Host()
    entry = getattr(kernel.library, symbol)
    entry.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    status = int(entry(ctypes.byref(host.struct), descriptors))
    for out in outs:
        edge = out.base[:_EDGE].tobytes() + out.base[len(out.base) - _EDGE :].tobytes()
        assert edge == b"\xa5" * len(edge), "something was written outside of a result"
    for arg, was in zip(args, before, strict=True):
        assert arg.tobytes() == was.tobytes(), "an argument was changed"
    return status, outs


_EDGE = 64


def _guarded(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array of garbage with known bytes before and behind it."""
    size = math.prod(shape) * dtype.itemsize
    memory = np.full(size + 2 * _EDGE, 0xA5, np.uint8)
    return np.ndarray(shape, dtype, memory, _EDGE)


def stored_as(type_: Type, dtype: Dtype) -> np.dtype:
    """How the elements of an operand are stored, except bfloat16."""
    return numpy_dtype(type_.elem if isinstance(type_, TensorType) else type_, dtype)


def tensor_source(name: str, program: Program, dtype: Dtype = "float64") -> GeneratedSource:
    return generate(Unit(name, [("", program)], dtype, kind="tensor"))
