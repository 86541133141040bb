"""Content-addressed builds of generated sources.

The names below load what they need when they are first used: opening a kernel that is built takes little of it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ksc.compiler.cache import CachedKernel, clear, list_kernels
    from ksc.compiler.cached_build import BuiltKernel, build, build_cuda, build_many, find_or_build
    from ksc.compiler.cuda_options import CudaOptions
    from ksc.compiler.library import LoadedKernel, load
    from ksc.compiler.options import BuildOptions

_HOMES = {
    **dict.fromkeys(("CachedKernel", "clear", "list_kernels"), "cache"),
    **dict.fromkeys(("BuiltKernel", "build", "build_cuda", "build_many", "find_or_build"), "cached_build"),
    **dict.fromkeys(("LoadedKernel", "load"), "library"),
    "BuildOptions": "options",
    "CudaOptions": "cuda_options",
}

__all__ = [
    "BuildOptions",
    "BuiltKernel",
    "CachedKernel",
    "CudaOptions",
    "LoadedKernel",
    "build",
    "build_cuda",
    "build_many",
    "clear",
    "find_or_build",
    "list_kernels",
    "load",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
