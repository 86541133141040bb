"""What compiles CUDA here: nvcc, else NVRTC."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ksc.compiler.nvcc import Nvcc, find_nvcc
from ksc.compiler.nvrtc import Nvrtc, find_nvrtc
from ksc.errors import BuildError

REMEDY = (
    "pip install nvidia-cuda-nvrtc, which comes with PyTorch for CUDA, or pip install nvidia-cuda-nvcc,"
    " or install the CUDA toolkit and set CUDA_HOME to its folder"
)


def find_cuda_compiler(environ: Mapping[str, str] = os.environ) -> Nvcc | Nvrtc:
    """The nvcc that is found, else NVRTC; ``CUDACXX`` names the one nvcc, or says ``nvrtc``.

    Raises BuildError (KS504), with the ways to get one, where there is neither, or not the one that is named.
    """
    asked = environ.get("CUDACXX", "")
    found: Nvcc | Nvrtc | None = None if asked == "nvrtc" else find_nvcc(environ)
    if found is None and asked in ("", "nvrtc"):
        found = find_nvrtc(environ)
    if found is not None:
        return found
    if asked:
        raise BuildError(f"{asked}, which CUDACXX names, was not found", remedy=REMEDY, code="KS504")
    raise BuildError("neither nvcc nor NVRTC, which compile CUDA, was found", remedy=REMEDY, code="KS504")
