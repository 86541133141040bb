"""What a build for GPUs may be asked for."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

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
        """For nvcc; NVRTC is told the same in its words.

        Never ``--use_fast_math``: it flushes subnormals, and breaks NaN and infinity.
        """
        flags = ["-std=c++20", "-O3", "-shared", "-Xcompiler", "-fPIC", "-Wno-deprecated-gpu-targets"]
        for number in self.architectures:
            flags += ["-gencode", f"arch=compute_{number},code=sm_{number}"]
        last = self.architectures[-1]
        flags += ["-gencode", f"arch=compute_{last},code=compute_{last}"]
        return [*flags, *([] if self.contract else ["-fmad=false"]), *self.extra]


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
