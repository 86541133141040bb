"""Knossos: ahead-of-time, source-to-source automatic differentiation for PyTorch programmers.

>>> import ksc as knossos
>>> @knossos.elementwise
... def cube(x: float) -> float:
...     return x**3
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ksc.callback import callback
    from ksc.checkpointing import checkpoint
    from ksc.custom import custom_jvp, custom_vjp, stop_gradient
    from ksc.decorators import elementwise, register, vmap
    from ksc.exports import export, load
    from ksc.functional import block_csr, grad, gradcheck, hessian, hvp, jacobian, jvp, value_and_grad, vjp
    from ksc.kernel import Kernel
    from ksc.plotting import plot

__version__ = "0.1.0"

if os.environ.get("KSC_LOG"):
    from ksc.diagnostics import configure_logging

    configure_logging()

_HOMES = {
    **dict.fromkeys(("custom_jvp", "custom_vjp", "stop_gradient"), "custom"),
    **dict.fromkeys(("elementwise", "register", "vmap"), "decorators"),
    **dict.fromkeys(("grad", "gradcheck", "hessian", "hvp", "jacobian", "jvp", "value_and_grad", "vjp"), "functional"),
    "block_csr": "functional",
    "Kernel": "kernel",
    **dict.fromkeys(("export", "load"), "exports"),
    "callback": "callback",
    "checkpoint": "checkpointing",
    "plot": "plotting",
}

__all__ = [
    "Kernel",
    "block_csr",
    "callback",
    "checkpoint",
    "custom_jvp",
    "custom_vjp",
    "elementwise",
    "export",
    "grad",
    "gradcheck",
    "hessian",
    "hvp",
    "jacobian",
    "jvp",
    "load",
    "plot",
    "register",
    "stop_gradient",
    "value_and_grad",
    "vjp",
    "vmap",
]


def __getattr__(name: str) -> Any:
    # The parts of the compiler alone, such as ``ksc.ir``, are of use without torch and its runtime core.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"ksc.{_HOMES[name]}"), name)
    return value
