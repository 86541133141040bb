"""Python source to IR.

The names below load what traces functions when they are first used: a call of a kernel that was traced by an earlier
process needs only what describes arguments.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ksc.frontend.guards import Guard
    from ksc.frontend.signature import NO_DEFAULT, Parameter, Signature, signature
    from ksc.frontend.trace import Traced, rebuild_python, trace
    from ksc.frontend.values import Abstract, Static, Struct, Value

_HOMES = {
    "guards": ("Guard",),
    "signature": ("NO_DEFAULT", "Parameter", "Signature", "signature"),
    "trace": ("Traced", "rebuild_python", "trace"),
    "values": ("Abstract", "Static", "Struct", "Value"),
}

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


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            module = importlib.import_module(f"{__name__}.{home}")
            # All at once, as two functions have the name of their module, which the import has put here.
            globals().update({each: getattr(module, each) for each in names})
            return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
