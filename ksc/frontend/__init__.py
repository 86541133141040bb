"""Python source to IR."""

from ksc.frontend.trace import Traced, trace
from ksc.frontend.values import Abstract, Static, Struct

__all__ = ["Abstract", "Static", "Struct", "Traced", "trace"]
