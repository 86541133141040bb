"""CUDA's compiler: where it is, and how kernels for GPUs are compiled."""

from __future__ import annotations

import importlib.util
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

ARCHITECTURES_VARIABLES = ("KSC_CUDA_ARCHITECTURES", "TORCH_CUDA_ARCH_LIST")
"""The second is that of PyTorch's own extensions."""
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
        """The defaults, for the architectures that the environment names, else for the GPUs present.

        ``KSC_CUDA_ARCHITECTURES`` (``80,90``) is looked at first, then ``TORCH_CUDA_ARCH_LIST`` (``8.0;9.0+PTX``).
        Raises BuildError where it is no list of numbers.
        """
        for variable in ARCHITECTURES_VARIABLES:
            asked = environ.get(variable, "")
            if asked.strip():
                return CudaOptions(_parsed(variable, asked))
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
    """The CUDA compiler: that named by ``CUDACXX``, of ``CUDA_HOME``, on the path, or of NVIDIA's wheels.

    Raises BuildError, with the way to get one, where there is none.
    """
    for place in nvcc_places(environ):
        found = shutil.which(place)
        if found is not None:
            return compiler_of((found,))
    raise BuildError(
        "nvcc, the CUDA compiler, was not found",
        remedy="pip install nvidia-cuda-nvcc, or install the CUDA toolkit and set CUDA_HOME to its folder",
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


def _parsed(variable: str, asked: str) -> tuple[int, ...]:
    parts = re.split(r"[,; ]+", asked.strip(",; "))
    if not all(re.fullmatch(r"\d+\.?\d[af]?(\+PTX)?", part) for part in parts):
        raise BuildError(
            f"{variable} is {asked!r}, and not a list such as 80,90",
            remedy="set it to compute capabilities, or leave it unset",
            code="KS504",
        )
    return tuple(sorted({int(re.sub(r"\D", "", part.removesuffix("+PTX"))) for part in parts}))


def _present() -> tuple[int, ...]:
    """The compute capabilities of the GPUs that PyTorch sees."""
    import torch

    if not torch.cuda.is_available():
        return ()
    found = (torch.cuda.get_device_capability(k) for k in range(torch.cuda.device_count()))
    return tuple(sorted({10 * major + minor for major, minor in found}))
