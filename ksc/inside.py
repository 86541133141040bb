"""What a kernel shows of itself as text: its IR at every stage, that of its derivatives, its C++ and CUDA."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ksc.mapping import Mapping
from ksc.specialise import Specialisation

if TYPE_CHECKING:
    from ksc.ir.nodes import Program


class Inside:
    """The stages of a kernel, for what its annotations say or for its latest call."""

    mapping: Mapping

    def _annotated(self) -> Specialisation:
        raise NotImplementedError

    @property
    def program(self) -> Program:
        """The optimised IR of the function as the kernel maps it."""
        return self._mapped("")

    def stages(self, derivation: str = "") -> Iterator[tuple[str, str]]:
        """The IR as text after each pass on the way to C++ in the default dtype, each with its title.

        See ``ksc.derive``; ``"backward"`` names the derivation that autograd takes.
        """
        from ksc.derive import stages

        special = self._annotated()
        steps = stages(special.program, special.named(derivation), special.last_passes(torch.get_default_dtype()))
        return ((title, _text(program)) for title, program in steps)

    @property
    def ir(self) -> str:
        """The IR as text; ``vjp_ir`` and ``jvp_ir`` are those of the derivatives."""
        return _text(self._mapped(""))

    @property
    def vjp_ir(self) -> str:
        """The IR of the vjp as text."""
        return _text(self._mapped("v"))

    @property
    def backward_ir(self) -> str:
        """The IR of what autograd runs as text: the vjp, or one that is handed results where that spares it work."""
        return _text(self._mapped("backward"))

    @property
    def jvp_ir(self) -> str:
        """The IR of the jvp as text."""
        return _text(self._mapped("j"))

    @property
    def cpp(self) -> str:
        """The generated C++ of the kernel, in the default dtype; of a kernel of numbers, that of its vjp too."""
        return self.cpp_of("")

    @property
    def cuda(self) -> str:
        """The generated CUDA of the kernel, in the default dtype; of a kernel of numbers, that of its vjp too.

        No GPU is needed for it, nor a compiler.

        Raises UnsupportedError (KS119) where a GPU cannot run it.
        """
        return self.cuda_of("")

    def cpp_of(self, derivation: str) -> str:
        """The generated C++ of a derivation: ``"v"`` its vjp, ``"j"`` its jvp, ``"vj"`` the jvp of that.

        ``"backward"`` names the derivation that autograd takes.
        """
        special = self._annotated()
        return special.source(special.named(derivation), torch.get_default_dtype()).text

    def cuda_of(self, derivation: str) -> str:
        """The same in CUDA. Raises UnsupportedError (KS119) where a GPU cannot run it."""
        special = self._annotated()
        return special.cuda_source(special.named(derivation), torch.get_default_dtype()).text

    @property
    def source_path(self) -> Path:
        """Where the C++ lies, below ``build/torch_extensions``; it is built if it was not yet."""
        return self._annotated().built("", torch.get_default_dtype()).source_path

    def _mapped(self, derivation: str) -> Program:
        from ksc.transforms import vmap

        special = self._annotated()
        program = special.program_of(special.named(derivation))
        return program if self.mapping.lift == "scalar" or special.takes_tensors else vmap(program)


def _text(program: Program) -> str:
    from ksc.ir.text import to_text

    return to_text(program)
