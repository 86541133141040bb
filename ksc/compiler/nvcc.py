"""CUDA's compiler: where it is, and how kernels for GPUs are compiled."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ksc.compiler.driver import CompilationError
from ksc.compiler.toolchain import Compiler, compiler_of
from ksc.errors import BuildError

ARCHITECTURES_VARIABLE = "KSC_CUDA_ARCHITECTURES"
AHEAD_OF_TIME = (80, 90)
"""What is compiled for where no GPU is present and nothing is asked for."""


@dataclass(frozen=True, slots=True)
class CudaOptions:
    """What a build for GPUs may be asked for.

    Attributes:
        architectures: compute capabilities, as 90 for 9.0, to have machine code for; newer GPUs compile what is for the
            last one when they load it.
        contract: let the compiler fuse a multiplication and an addition into one rounding.
        extra: further flags, after all others.
    """

    architectures: tuple[int, ...] = AHEAD_OF_TIME
    contract: bool = True
    extra: tuple[str, ...] = ()

    @staticmethod
    def from_environment(environ: Mapping[str, str] = os.environ) -> CudaOptions:
        """The defaults, for the architectures of ``KSC_CUDA_ARCHITECTURES`` (``80,90``), else of the GPUs present.

        Raises BuildError where the variable is no list of numbers.
        """
        asked = environ.get(ARCHITECTURES_VARIABLE, "")
        if asked:
            parts = re.split(r"[,; ]+", asked.strip())
            if not all(re.fullmatch(r"\d\.?\d+", part) for part in parts):
                raise BuildError(
                    f"{ARCHITECTURES_VARIABLE} is {asked!r}, and not a list such as 80,90",
                    remedy="set it to compute capabilities, or leave it unset",
                    code="KS504",
                )
            return CudaOptions(tuple(sorted({int(part.replace(".", "")) for part in parts})))
        return CudaOptions(_present() or AHEAD_OF_TIME)

    def compile_flags(self) -> list[str]:
        """For nvcc. Never ``--use_fast_math``: it flushes subnormals, and breaks NaN and infinity."""
        flags = ["-std=c++20", "-O3", "-shared", "-Xcompiler", "-fPIC", "-Wno-deprecated-gpu-targets"]
        for number in self.architectures:
            flags += ["-gencode", f"arch=compute_{number},code=sm_{number}"]
        last = self.architectures[-1]
        flags += ["-gencode", f"arch=compute_{last},code=compute_{last}"]
        return [*flags, *([] if self.contract else ["-fmad=false"]), *self.extra]


def find_nvcc(environ: Mapping[str, str] = os.environ) -> Compiler:
    """The CUDA compiler: that named by ``CUDACXX``, that of ``CUDA_HOME``, or the one on the path.

    Raises BuildError, with the way to get one, where there is none.
    """
    for place in _places(environ):
        found = shutil.which(place)
        if found is not None:
            return compiler_of((found,))
    raise BuildError(
        "nvcc, the CUDA compiler, was not found",
        remedy="install the CUDA toolkit and set CUDA_HOME to its folder, or CUDACXX to its nvcc",
        code="KS504",
    )


def compile_cuda(source: Path, library: Path, *, nvcc: Compiler, options: CudaOptions, include: Path) -> list[str]:
    """Compile one source into a shared library; gives the flags used. Raises CompilationError with nvcc's output."""
    flags = [*options.compile_flags(), "-I", str(include)]
    done = subprocess.run(
        [*nvcc.command, *flags, source.name, "-o", library.name],
        cwd=library.parent,
        capture_output=True,
        text=True,
        errors="replace",
        env={**os.environ, "LC_ALL": "C", "GCC_COLORS": ""},
        check=False,
    )
    if done.returncode != 0 or not library.is_file():
        raise CompilationError(done.stdout + done.stderr)
    return flags


def _places(environ: Mapping[str, str]) -> Iterator[str]:
    if environ.get("CUDACXX"):
        yield environ["CUDACXX"]
        return
    for variable in ("CUDA_HOME", "CUDA_PATH"):
        if environ.get(variable):
            yield str(Path(environ[variable]) / "bin" / "nvcc")
    yield "nvcc"
    yield "/usr/local/cuda/bin/nvcc"


def _present() -> tuple[int, ...]:
    """The compute capabilities of the GPUs that PyTorch sees."""
    import torch

    if not torch.cuda.is_available():
        return ()
    found = (torch.cuda.get_device_capability(k) for k in range(torch.cuda.device_count()))
    return tuple(sorted({10 * major + minor for major, minor in found}))
