"""A host for compiled kernels in ctypes: what the torch core is in earnest."""

import ctypes
from collections.abc import Sequence

import numpy as np

from ksc.codegen import Dtype, GeneratedSource, Unit
from ksc.codegen.cpp import generate
from ksc.compiler import BuildOptions, LoadedKernel, build, build_many, load
from ksc.ir.nodes import Program
from ksc.ir.types import BoolType, FloatType, Type

EXACT = BuildOptions(contract=False)

_ALLOC = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_MARK = ctypes.CFUNCTYPE(ctypes.c_size_t, ctypes.c_void_p)
_RELEASE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_size_t)
_ERROR = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_char_p)


class _Runtime(ctypes.Structure):
    _fields_ = (
        ("ctx", ctypes.c_void_p),
        ("alloc", _ALLOC),
        ("mark", _MARK),
        ("release", _RELEASE),
        ("error", _ERROR),
        ("stack_limit", ctypes.c_void_p),
    )


class Host:
    """A ks_runtime whose arena is a list of buffers; keeps the first error as (code, line, message)."""

    def __init__(self, limit: int = 1 << 30, stack_limit: int = 0) -> None:
        self.blocks: list[ctypes.Array[ctypes.c_char]] = []
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
        self.blocks.append(ctypes.create_string_buffer(size + 64))
        self.peak = max(self.peak, len(self.blocks))
        address = ctypes.addressof(self.blocks[-1])
        return (address + 63) // 64 * 64

    def _mark(self, rt: int) -> int:
        return len(self.blocks)

    def _release(self, rt: int, mark: int) -> None:
        del self.blocks[mark:]

    def _error(self, rt: int, code: int, line: int, message: bytes) -> None:
        if self.error is None:
            self.error = (code, line, message.decode())


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
