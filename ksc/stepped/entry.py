"""Entries that are written in Python: what an operator calls where the kernel is interpreted.

They have the calling convention of compiled ones (prelude/ks/runtime.h), so all that PyTorch does with an operator
works alike. What Python raises travels as that of a callback does.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import ksc.callback  # noqa: F401  it tells the core what callbacks run
from ksc.codegen.unit import Dtype, Kind
from ksc.errors import KernelRuntimeError
from ksc.ir.host import offer
from ksc.ir.interpret import MAX_DEPTH, Machine
from ksc.ir.nodes import Program
from ksc.ir.types import BoolType, IntegerType, TensorType, Type
from ksc.ir.values import Representation
from ksc.stepped.code import python_function
from ksc.torch.spec import LoadedEntry

Array = np.ndarray[Any, Any]

_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_int
)


class _Runtime(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("ctx", "alloc", "mark", "release", "error", "stack_limit")),
        ("callback", _Callback),
        ("threads", ctypes.c_void_p),
        ("parallel", ctypes.c_void_p),
    )


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("sizes", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
    )


_TensorEntry = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(_Runtime), ctypes.POINTER(_Tensor))
_ElementwiseEntry = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.POINTER(_Runtime),
    ctypes.POINTER(ctypes.c_void_p),
    ctypes.POINTER(ctypes.c_int64),
    ctypes.c_int64,
)

_waiting = threading.local()
_FLOATS: dict[Dtype, type[Any]] = {
    "float32": np.float32,
    "float64": np.float64,
    "float16": np.float16,
    "bfloat16": np.uint16,
}


def python_entry(program: Program, dtype: Dtype, kind: Kind) -> LoadedEntry:
    """An entry that runs ``program`` in Python, its Floats stored as ``dtype``."""
    machine = Machine(program, Representation("f64" if dtype == "float64" else "f32"), MAX_DEPTH, sys.stdout.write, {})
    function = python_function(program, machine)

    def call(values: Sequence[Any]) -> tuple[Any, ...]:
        params = program.main.params
        given = [
            machine.represent.from_argument(value, param.type, param.name)
            for value, param in zip(values, params, strict=True)
        ]
        try:
            return function(*given)
        except RecursionError:
            message = f"recursion is too deep in {program.main.name}"
            raise KernelRuntimeError(message, span=program.main.span) from None

    results = program.main.result_types
    params = tuple(param.type for param in program.main.params)
    made: Any
    if kind == "tensor":
        made = _TensorEntry(lambda rt, operands: _run(rt, lambda: _tensors(call, results, params, operands, dtype)))
    else:
        made = _ElementwiseEntry(
            lambda rt, data, strides, n: _run(rt, lambda: _lanes(call, results, params, data, strides, n, dtype))
        )
    return LoadedEntry(ctypes.cast(made, ctypes.c_void_p).value or 0, (made, function))


def _run(runtime: Any, work: Callable[[], None]) -> int:
    """Do the work inside a callback, so that what it raises reaches whoever called the operator."""
    stack = _waiting.__dict__.setdefault("stack", [])
    stack.append(work)
    depth = len(stack)
    try:
        stopped: int = runtime.contents.callback(ctypes.addressof(runtime.contents), _HOST, None, 0, None, 0)
    finally:
        del stack[depth - 1 :]
    return stopped


def _do_waiting(given: Sequence[Any], places: Sequence[Any]) -> None:
    _waiting.stack[-1]()


_HOST = offer("ksc.stepped", _do_waiting).encode()


Types = Sequence[Type]


def _tensors(call: Callable[..., Any], results: Types, params: Types, operands: Any, dtype: Dtype) -> None:
    views = [_view(operands[k], type_, dtype) for k, type_ in enumerate((*results, *params))]
    given = [_read(view, type_, dtype) for view, type_ in zip(views[len(results) :], params, strict=True)]
    for view, value, type_ in zip(views, call(given), results, strict=False):
        found = np.asarray(value)
        if found.shape != view.shape:
            raise KernelRuntimeError(f"a result has sizes {list(found.shape)}, and {list(view.shape)} were expected")
        view[...] = _stored(found, type_, dtype)


def _lanes(
    call: Callable[..., Any], results: Types, params: Types, data: Any, strides: Any, n: int, dtype: Dtype
) -> None:
    views = [
        _array(data[k], (n,), (strides[k],), _stored_dtype(type_, dtype)) for k, type_ in enumerate((*results, *params))
    ]
    arguments = [_read(view, type_, dtype) for view, type_ in zip(views[len(results) :], params, strict=True)]
    for lane in range(n):
        found = call([argument[lane].item() for argument in arguments])
        for view, value, type_ in zip(views, found, results, strict=False):
            view[lane] = _stored(np.asarray(value), type_, dtype)


def _view(operand: Any, type_: Type, dtype: Dtype) -> Array:
    stored = _stored_dtype(type_, dtype)
    rank = type_.rank if isinstance(type_, TensorType) else 0
    sizes = tuple(operand.sizes[dim] for dim in range(rank))
    if operand.strides:
        strides = tuple(operand.strides[dim] * stored.itemsize for dim in range(rank))
    else:
        strides = tuple(int(np.prod(sizes[dim + 1 :])) * stored.itemsize for dim in range(rank))
    return _array(operand.data, sizes, strides, stored)


def _array(address: int | None, sizes: tuple[int, ...], strides: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """The array that lies at an address; it is written in place."""
    if address is None or 0 in sizes:
        return np.empty(sizes, dtype)
    extent = sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True)) + dtype.itemsize
    memory = (ctypes.c_char * extent).from_address(address)
    return np.ndarray(sizes, dtype, memoryview(memory).cast("B"), strides=strides)


def _element(type_: Type) -> Type:
    return type_.elem if isinstance(type_, TensorType) else type_


def _stored_dtype(type_: Type, dtype: Dtype) -> np.dtype[Any]:
    match _element(type_):
        case IntegerType():
            return np.dtype(np.int64)
        case BoolType():
            return np.dtype(np.bool_)
        case _:
            return np.dtype(_FLOATS[dtype])


def _is_bfloat(type_: Type, dtype: Dtype) -> bool:
    return dtype == "bfloat16" and not isinstance(_element(type_), IntegerType | BoolType)


def _read(view: Array, type_: Type, dtype: Dtype) -> Array:
    """What an operand holds, its Floats in a dtype that numpy computes in."""
    if _is_bfloat(type_, dtype):
        return (view.astype(np.uint32) << 16).view(np.float32)
    return view


def _stored(value: Array, type_: Type, dtype: Dtype) -> Array:
    """A result as it is stored."""
    if not _is_bfloat(type_, dtype):
        return value
    import torch

    # Rounding is PyTorch's.
    rounded = torch.from_numpy(np.array(value, np.float32)).to(torch.bfloat16)
    return rounded.view(torch.int16).numpy().view(np.uint16)
