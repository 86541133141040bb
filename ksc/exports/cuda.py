"""The target ``cuda``: sources for GPUs that need nothing but a CUDA toolkit, with functions for C and C++ to call."""

from __future__ import annotations

import os
from pathlib import Path

from ksc.compiler.cuda_options import AHEAD_OF_TIME, ARCHITECTURES_VARIABLES, CudaOptions
from ksc.exports.c_library import comparisons, described
from ksc.exports.files import copy_prelude, write
from ksc.exports.manifest import manifest, save
from ksc.exports.model import Library
from ksc.exports.recorded import DeviceMemory, recorded_calls
from ksc.exports.rendering import render

SKIPPED = 77
"""What the test returns where there is no GPU."""


def write_cuda(library: Library, folder: Path, *, architectures: tuple[str | int, ...]) -> None:
    """Write the export into an empty folder.

    ``architectures`` are compute capabilities such as ``90``; by default what ``KSC_CUDA_ARCHITECTURES`` says.

    Raises ArgumentError where names of functions collide, UnsupportedError (KS119) where a kernel cannot run on a GPU,
    BuildError where the architectures are none.
    """
    units = library.units(cuda=True)
    chosen = _architectures(architectures)
    names = {**described(library, units), "architectures": chosen, "skipped": SKIPPED}
    for unit in units.values():
        write(folder, f"src/{unit.name}.cu", unit.text)
    write(folder, f"include/{library.name}.h", render("cuda/header.h.jinja", **names))
    write(folder, f"src/{library.name}.cpp", render("cuda/library.cpp.jinja", **names))
    write(folder, "CMakeLists.txt", render("cuda/CMakeLists.txt.jinja", **names))
    write(folder, "README.md", render("cuda/README.md.jinja", **names))
    calls = recorded_calls(library, DeviceMemory())
    test = render("cuda/test.cpp.jinja", calls=calls, **comparisons(calls), **names)
    write(folder, f"tests/{library.name}_test.cpp", test)
    copy_prelude(folder / "prelude", "ks/cuda/prelude.h", "ks/cuda/library.h")
    save(manifest(library, "cuda", header=f"include/{library.name}.h", architectures=chosen), folder)


def _architectures(asked: tuple[str | int, ...]) -> str:
    """As CMake takes them: machine code for all, and PTX of the last; never just for the GPUs present here."""
    environ = {ARCHITECTURES_VARIABLES[0]: ",".join(map(str, asked))} if asked else os.environ
    named = any(environ.get(variable, "").strip() for variable in ARCHITECTURES_VARIABLES)
    found = CudaOptions.from_environment(environ).architectures if named else AHEAD_OF_TIME
    return ";".join([*(f"{number}-real" for number in found[:-1]), str(found[-1])])
