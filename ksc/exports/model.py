"""What is exported: kernels, each for one structure of arguments, some dtypes and some derivations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ksc.arguments import abstract_leaves
from ksc.exports.signature import Signature, signature
from ksc.specialise import DTYPES, Specialisation
from ksc.torch.spec import OpSpec

if TYPE_CHECKING:
    from ksc.codegen.unit import Dtype, GeneratedSource
    from ksc.kernel import Kernel

SUFFIXES: dict[torch.dtype, str] = {
    torch.float32: "f32",
    torch.float64: "f64",
    torch.float16: "f16",
    torch.bfloat16: "bf16",
}
"""What names of exported functions end in."""


@dataclass(frozen=True, eq=False)
class ExportedKernel:
    """A kernel under the name that it is exported by.

    Attributes:
        name: an identifier, unique in the library.
        kernel: the kernel.
        special: its program for the structure of arguments that is exported.
        derivations: the primal, ``""``, first; see ``ksc.derive``.
        dtypes: of its floats.
        inputs: the flat arguments of an example call as the operator takes them, None where there is no example.
        orders: of each of them the order of its dimensions, those that are mapped first.
    """

    name: str
    kernel: Kernel
    special: Specialisation
    derivations: tuple[str, ...]
    dtypes: tuple[torch.dtype, ...]
    inputs: tuple[torch.Tensor, ...] | None
    orders: tuple[tuple[int, ...], ...] | None

    @property
    def spec(self) -> OpSpec:
        """The operator."""
        return self.special.spec

    @property
    def takes_tensors(self) -> bool:
        """Whether the function itself takes or gives tensors; else it is mapped over lanes."""
        return self.special.takes_tensors

    @property
    def doc(self) -> str:
        """The user's docstring."""
        return self.spec.doc

    @property
    def source(self) -> str:
        """Where the user's function stands, such as ``relu3.py:9``."""
        span = self.spec.span
        return f"{Path(span.file).name}:{span.line}" if span is not None else ""

    def signature(self, derivation: str) -> Signature:
        """The operands of a derivation."""
        return signature(self.spec, derivation, self._result_names)

    @cached_property
    def _result_names(self) -> Sequence[str]:
        paths = [path.strip(".").replace(".", "_") for path, _ in abstract_leaves(self.special.result)]
        if len(paths) != len(self.spec.results):
            paths = [""] * len(self.spec.results)
        if len(paths) == 1:
            return [paths[0] or "result"]
        return [path if path and not path.isdigit() else f"result{path or k}" for k, path in enumerate(paths)]

    def unit(self, library: str, dtype: torch.dtype, *, cuda: bool = False) -> GeneratedSource:
        """The source of all derivations in one dtype, in C++ or in CUDA.

        Raises UnsupportedError (KS119) where a GPU cannot run the kernel.
        """
        from ksc.codegen import cpp
        from ksc.codegen import cuda as gpu
        from ksc.codegen.unit import Unit

        programs = [(derivation, self.special.program_of(derivation)) for derivation in self.derivations]
        name = f"{library}_{self.name}_{SUFFIXES[dtype]}"
        kind: Any = "tensor" if self.takes_tensors else "elementwise"
        unit = Unit(name, programs, self.storage(dtype), kind, self.doc, self.source, offsets=64)
        return gpu.generate(unit) if cuda else cpp.generate(unit)

    def storage(self, dtype: torch.dtype) -> Dtype:
        """The dtype as the code generator calls it."""
        return DTYPES[dtype]


@dataclass(frozen=True, eq=False)
class Library:
    """Kernels that are exported together.

    Attributes:
        name: an identifier, which functions, files and the namespace of operators are named after.
        kernels: in the order given.
    """

    name: str
    kernels: tuple[ExportedKernel, ...]

    def kernel(self, name: str) -> ExportedKernel:
        """The kernel of that name."""
        return next(kernel for kernel in self.kernels if kernel.name == name)

    def units(self, *, cuda: bool = False) -> dict[tuple[str, torch.dtype], GeneratedSource]:
        """The source of each kernel, by its name, in each dtype. Raises as ``ExportedKernel.unit`` does."""
        return {
            (kernel.name, dtype): kernel.unit(self.name, dtype, cuda=cuda)
            for kernel in self.kernels
            for dtype in kernel.dtypes
        }
