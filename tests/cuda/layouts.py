"""The same tensors laid out in memory in other ways, and kernels that are given more memory until they have enough."""

from __future__ import annotations

from typing import Any

import numpy as np

from ksc.codegen import Dtype
from tests.cuda.grid import Device, Library

WAYS = 4
THREADS = 192
"""Of the shim's grid."""


def stored(array: np.ndarray, dtype: Dtype) -> np.ndarray:
    """Floats of the dtype, other elements as they are."""
    return array.astype(dtype) if array.dtype.kind == "f" else array


def laid_out(array: np.ndarray, way: int) -> np.ndarray:
    """A view with gaps, transposed, one element off alignment, or with one row for all: which has other values."""
    if array.ndim == 0 or array.size == 0:
        return array
    if way == 0:
        wide = np.zeros([2 * size for size in array.shape], array.dtype)[(slice(None, None, 2),) * array.ndim]
        wide[...] = array
        return wide
    if way == 1:
        return np.asfortranarray(array)
    if way == 2:
        memory = np.zeros(array.nbytes + 128, np.uint8)
        moved = np.ndarray(array.shape, array.dtype, memory, -memory.ctypes.data % 64 + array.itemsize)
        moved[...] = array
        return moved
    return np.broadcast_to(array[:1], array.shape)


def with_enough(library: Library, *call: Any, hosted: bool = False) -> tuple[Device, list[np.ndarray]]:
    """``Library.tensors`` as a host does it: first with little memory, then with what the kernel has asked for."""
    size, each = 1024, 16
    while True:
        device, outs = library.tensors(*call, device=Device(size, each), hosted=hosted)
        if device.error is None or device.error[0] != 5:
            return device, outs
        wanted, wanted_each = device.state.scratch_wanted, device.state.scratch_wanted_per_thread
        assert wanted or wanted_each, device.error
        each = max(wanted_each, 2 * each) if wanted_each else each
        size = max(wanted, 2 * size, THREADS * each if wanted_each else 0)
