"""The PyTorch side of a kernel: one dispatcher operator, and what is called in front of it.

The names below load the runtime core (and build it, the first time) when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ksc.torch.module import KernelModule
    from ksc.torch.operator import FastCallable, Operator, OperatorCall, declare, declared
    from ksc.torch.spec import ArgSpec, LoadedEntry, Loader, OpSpec, ResultSpec

_HOMES = {
    "KernelModule": "module",
    **dict.fromkeys(("FastCallable", "Operator", "OperatorCall", "declare", "declared"), "operator"),
    **dict.fromkeys(("ArgSpec", "LoadedEntry", "Loader", "OpSpec", "ResultSpec"), "spec"),
}

__all__ = [
    "ArgSpec",
    "FastCallable",
    "KernelModule",
    "LoadedEntry",
    "Loader",
    "OpSpec",
    "Operator",
    "OperatorCall",
    "ResultSpec",
    "declare",
    "declared",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
