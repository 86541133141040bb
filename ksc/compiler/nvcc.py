"""CUDA's compiler: where it is, and how it compiles kernels for GPUs."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ksc.compiler.cuda_options import CudaOptions
from ksc.compiler.driver import CompilationError
from ksc.compiler.toolchain import compiler_of


@dataclass(frozen=True, slots=True)
class Nvcc:
    """CUDA's compiler, which compiles both halves of a source."""

    path: str
    identity: str

    def compile(self, source: Path, library: Path, options: CudaOptions, include: Path) -> list[str]:
        """Compile one source into a shared library; gives the command. Raises CompilationError with nvcc's output."""
        command = [self.path, *options.compile_flags(), "-I", str(include)]
        done = subprocess.run(
            [*command, source.name, "-o", library.name],
            cwd=library.parent,
            capture_output=True,
            text=True,
            errors="replace",
            env={**os.environ, "LC_ALL": "C", "GCC_COLORS": ""},
            check=False,
        )
        if done.returncode != 0 or not library.is_file():
            raise CompilationError(done.stdout + done.stderr)
        return command


def find_nvcc(environ: Mapping[str, str] = os.environ) -> Nvcc | None:
    """That named by ``CUDACXX``, of ``CUDA_HOME``, on the path, or of NVIDIA's wheels.

    Raises BuildError where it does not run.
    """
    for place in nvcc_places(environ):
        found = shutil.which(place)
        if found is not None:
            return Nvcc(found, compiler_of((found,)).identity)
    return None


def nvcc_places(environ: Mapping[str, str]) -> Iterator[str]:
    """Where it may be, the first to be tried first."""
    if environ.get("CUDACXX"):
        yield environ["CUDACXX"]
        return
    for variable in ("CUDA_HOME", "CUDA_PATH"):
        if environ.get(variable):
            yield str(Path(environ[variable]) / "bin" / "nvcc")
    yield "nvcc"
    yield "/usr/local/cuda/bin/nvcc"
    wheels = importlib.util.find_spec("nvidia")
    for folder in (wheels.submodule_search_locations or ()) if wheels is not None else ():
        yield from sorted(map(str, Path(folder).glob("cu*/bin/nvcc")), reverse=True)
