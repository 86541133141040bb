"""The CUDA code generator: the printers are those of C++, for another target; ``generate`` is its entry."""

from ksc.codegen.cuda.generate import generate

__all__ = ["generate"]
