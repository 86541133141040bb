"""Python source to IR."""

from ksc.frontend.guards import Guard
from ksc.frontend.signature import NO_DEFAULT, Parameter, Signature, signature
from ksc.frontend.trace import Traced, rebuild_python, trace
from ksc.frontend.values import Abstract, Static, Struct, Value

__all__ = [
    "NO_DEFAULT",
    "Abstract",
    "Guard",
    "Parameter",
    "Signature",
    "Static",
    "Struct",
    "Traced",
    "Value",
    "rebuild_python",
    "signature",
    "trace",
]
