"""Opening a built kernel."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from dataclasses import dataclass

from ksc.compiler.cached_build import BuiltKernel
from ksc.errors import BuildError


@dataclass(frozen=True, slots=True)
class LoadedKernel:
    """An open library; it is never closed, since ops may hold its addresses.

    Attributes:
        addresses: where the entry of each symbol stands in memory.
        library: the library as ctypes knows it, for tests.
    """

    addresses: Mapping[str, int]
    library: ctypes.CDLL


def load(built: BuiltKernel, suffix: str = "") -> LoadedKernel:
    """Open a kernel's library and find its entries, or what is called as they are with a ``suffix``.

    Raises BuildError where it cannot be opened.
    """
    try:
        library = ctypes.CDLL(os.fspath(built.library_path), mode=getattr(os, "RTLD_NOW", 0))
        addresses = {
            symbol: ctypes.cast(getattr(library, symbol + suffix), ctypes.c_void_p).value or 0
            for symbol in built.entry.entries.values()
        }
    except (OSError, AttributeError) as failed:
        raise BuildError(
            f"the compiled kernel {built.library_path} cannot be opened: {failed}",
            remedy="ksc cache clear, then run again",
            code="KS503",
        ) from failed
    return LoadedKernel(addresses, library)
