"""What a kernel can be exported to: one row a target."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ksc.errors import ArgumentError
from ksc.exports.model import Library


@dataclass(frozen=True, slots=True)
class Target:
    """A kind of export.

    Attributes:
        summary: what it is for, in a line.
        write: ``write(library, folder, **options)`` writes it into an empty folder.
        options: the options that it knows, each with its default.
        maps: whether the vmap of a kernel may be asked for as a derivation.
    """

    summary: str
    write: Callable[..., None]
    options: Mapping[str, Any]
    maps: bool = False


def _cpp(library: Library, folder: Path, *, march: str) -> None:
    from ksc.exports.cpp import write_cpp

    write_cpp(library, folder, march=march)


def _cuda(library: Library, folder: Path, *, architectures: tuple[str | int, ...]) -> None:
    from ksc.exports.cuda import write_cuda

    write_cuda(library, folder, architectures=architectures)


def _python(library: Library, folder: Path, *, isa: tuple[str, ...], version: str, wheel: bool) -> None:
    from ksc.exports.python import write_python

    write_python(library, folder, isa=isa, version=version, wheel=wheel)


def _libtorch(library: Library, folder: Path, *, isa: tuple[str, ...]) -> None:
    from ksc.exports.libtorch import write_libtorch

    write_libtorch(library, folder, isa=isa)


TARGETS: Mapping[str, Target] = {
    "cpp": Target(
        "C++ sources with a header for C and C++, a CMakeLists and a test; needs no run time", _cpp, {"march": ""}
    ),
    "cuda": Target(
        "CUDA sources with a header for C and C++, a CMakeLists and a test; needs the CUDA run time alone",
        _cuda,
        {"architectures": ()},
    ),
    "python": Target(
        "a package, and a wheel of it, that needs PyTorch alone; kernels for several instruction sets",
        _python,
        {"isa": (), "version": "0.1.0", "wheel": True},
        maps=True,
    ),
    "libtorch": Target(
        "a library of operators for C++ programs with torch:: and for Python, with a header and an example",
        _libtorch,
        {"isa": ()},
        maps=True,
    ),
}
"""By the name that ``export`` and ``ksc export --target`` take."""


def find_target(name: str) -> Target:
    """The target of that name. Raises ArgumentError where there is none."""
    if name not in TARGETS:
        raise ArgumentError(f"there is no target {name!r}", remedy=f"one of {', '.join(TARGETS)}")
    return TARGETS[name]
