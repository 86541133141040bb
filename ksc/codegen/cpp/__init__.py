"""C++ for the CPU."""

from ksc.codegen.cpp.generate import generate

__all__ = ["generate"]
