"""Content-addressed builds of generated sources."""

from ksc.compiler.cache import CachedKernel, clear, list_kernels
from ksc.compiler.cached_build import BuiltKernel, build, build_many, find_or_build
from ksc.compiler.library import LoadedKernel, load
from ksc.compiler.options import BuildOptions

__all__ = [
    "BuildOptions",
    "BuiltKernel",
    "CachedKernel",
    "LoadedKernel",
    "build",
    "build_many",
    "clear",
    "find_or_build",
    "list_kernels",
    "load",
]
