"""The accelerators that kernels run on, and what builds kernels for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ksc.compiler.cached_build import BuiltKernel, find_or_build_cuda

if TYPE_CHECKING:
    from ksc.codegen.unit import GeneratedSource

Builder = Callable[[str, str, "Callable[[], GeneratedSource]"], BuiltKernel]
"""``builder(name, identity, generate)``: the built kernel of the CUDA source that ``identity`` stands for."""

ACCELERATORS: dict[str, Builder] = {"cuda": find_or_build_cuda}
"""By PyTorch's name for the kind of device. A backend that understands CUDA's calling convention can be added."""
