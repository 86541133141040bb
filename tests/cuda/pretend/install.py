"""The pretend device, made known to PyTorch; kernels for it are those of CUDA, compiled for the shim."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import torch
from torch.utils.cpp_extension import include_paths, library_paths

from ksc.codegen import GeneratedSource
from ksc.compiler.cached_build import BuiltKernel
from ksc.compiler.lock import exclusive
from ksc.compiler.store import Entry, file_stem
from ksc.paths import prelude_dir
from ksc.torch.build_core import build_folder
from ksc.torch.devices import ACCELERATORS
from tests.cuda.grid import SHIM

NAME = "pretend"
SOURCE = Path(__file__).resolve().with_name("device.cpp")
KERNEL = ("-std=c++20", "-O0", "-fPIC", "-ffp-contract=off", "-I", str(prelude_dir()), "-I", str(SHIM))


def run(*command: str) -> None:
    """Run a compiler."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:8000]


def built() -> Path:
    """The library of the device; built once for its source and torch."""
    folder = build_folder()
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(SOURCE.read_bytes() + torch.__version__.encode()).hexdigest()
    library = folder / f"pretend-{digest[:16]}.so"
    with exclusive(folder / ".lock-pretend"):
        if not library.is_file():
            made = library.with_suffix(".new")
            includes = [part for place in include_paths() for part in ("-isystem", place)]
            links = [*(f"-L{place}" for place in library_paths()), "-ltorch", "-ltorch_cpu", "-lc10"]
            abi = f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}"
            run(
                *("g++", "-std=c++20", "-O0", "-fPIC", "-shared", abi, *includes, str(SOURCE), "-o", str(made)),
                *("-Wl,-z,nodelete", *links),
            )
            os.replace(made, library)
    return library


@functools.cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="ks-pretend-"))


@functools.cache
def _shim() -> str:
    made = _folder() / "shim.o"
    run("g++", *KERNEL, "-c", str(SHIM / "shim.cpp"), "-o", str(made))
    return str(made)


def build(name: str, identity: str, generate: Callable[[], GeneratedSource]) -> BuiltKernel:
    """What ``ksc.compiler.cached_build.find_or_build_cuda`` does with nvcc."""
    return build_with(compile_for_shim, name, identity, generate)


def compile_for_shim(source: Path, library: Path) -> None:
    """Compile a kernel; each has a grid of its own, so a shim of its own."""
    run("g++", *KERNEL, "-shared", "-x", "c++", str(source), "-x", "none", _shim(), "-o", str(library))


def build_with(
    compiles: Callable[[Path, Path], object], name: str, identity: str, generate: Callable[[], GeneratedSource]
) -> BuiltKernel:
    """The kernel that ``compiles`` makes of a source."""
    key = hashlib.sha256(identity.encode()).hexdigest()
    source = generate()
    folder = _folder() / key[:16]
    folder.mkdir()
    entry = Entry(name, key, folder, source.entries, source.dtype, "the shim", ".cu")
    entry.source_path.write_text(source.text, "utf-8")
    compiles(entry.source_path, folder / f"{file_stem(name)}.so")
    return BuiltKernel(entry, 1.0)


def install() -> ctypes.CDLL:
    """Make it known; the library has what tests ask the device."""
    # Kernels look here for what the shim's driver has to be told.
    library = ctypes.CDLL(str(built()), mode=ctypes.RTLD_GLOBAL)
    for function in ("synchronisations", "allocated", "launches", "products_of_halves"):
        getattr(library, f"pretend_{function}").restype = ctypes.c_longlong
    library.pretend_install()
    torch.utils.rename_privateuse1_backend(NAME)
    module = ModuleType(NAME)
    for name, found in {
        "is_available": True,
        "is_initialized": True,
        "_is_in_bad_fork": False,
        "device_count": 2,
        "get_amp_supported_dtype": [torch.bfloat16],
    }.items():
        setattr(module, name, lambda found=found: found)
    module._lazy_init = lambda: None  # type: ignore[attr-defined]
    torch._register_device_module(NAME, module)
    ACCELERATORS[NAME] = build
    return library
