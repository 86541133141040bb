"""The runtime core without Python, as an object file that exported libraries are linked with; built once per torch."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

import torch

from ksc.compiler.lock import exclusive
from ksc.compiler.trust import require_trusted
from ksc.exports.levels import compile_with, compiler_for, this_machine
from ksc.paths import prelude_dir
from ksc.torch.build_core import SOURCES, build_folder, core_flags, source_digest

_log = logging.getLogger("ksc")


def torch_version() -> str:
    """The version of torch as far as its C++ interface goes: ``2.13``."""
    return ".".join(torch.__version__.split(".")[:2])


def standalone_object(machine: str) -> Path:
    """The object file for a kind of processor. Raises BuildError, CacheError."""
    folder = build_folder()
    folder.mkdir(parents=True, exist_ok=True)
    require_trusted(folder)
    version = torch.__version__.replace("+", "_")
    target = folder / f"standalone-torch{version}-{machine}-{source_digest(standalone=True)[:16]}.o"
    with exclusive(folder / f".lock-standalone-{machine}"):
        if not target.is_file():
            _log.warning("building the core of exported libraries for torch %s; this is done once", torch.__version__)
            with tempfile.TemporaryDirectory(dir=folder, prefix="building-") as scratch:
                output = Path(scratch) / target.name
                _compile(SOURCES / "standalone.cpp", output, machine)
                os.replace(output, target)
    require_trusted(target)
    return target


def _compile(source: Path, output: Path, machine: str) -> None:
    from torch.utils.cpp_extension import include_paths

    flags = [flag for flag in core_flags() if flag != "-shared"]
    flags.append(f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}")
    places = [part for folder in include_paths() for part in ("-isystem", folder)]
    shims = ["-idirafter", str(SOURCES / "shims")]
    compile_with(compiler_for(machine), *flags, f"-I{prelude_dir()}", *places, *shims, "-c", source, "-o", output)


def link_library(registration: Path, library: Path, machine: str) -> None:
    """Make a library of the core and the registration of its kernels. Raises BuildError."""
    from torch.utils.cpp_extension import library_paths

    flags = [flag for flag in core_flags() if flag != "-shared"]
    torch_libraries: list[str] = []
    if machine == this_machine():
        # What uses the library brings torch along; so its place is not written down.
        torch_libraries = [*(f"-L{folder}" for folder in library_paths()), "-ltorch", "-ltorch_cpu", "-lc10"]
    compile_with(
        compiler_for(machine),
        *flags,
        "-shared",
        f"-I{SOURCES}",
        registration,
        standalone_object(machine),
        "-o",
        library,
        *torch_libraries,
        "-ldl",
    )
