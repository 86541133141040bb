"""From the IR to source text that compiles on its own."""

from ksc.codegen.unit import Dtype, GeneratedSource, Unit

__all__ = ["Dtype", "GeneratedSource", "Unit"]
