"""From the IR to source text that compiles on its own."""

from ksc.codegen.unit import GeneratedSource, Unit

__all__ = ["GeneratedSource", "Unit"]
