"""The functions of math and torch as they came, whatever a program puts in their places.

A kernel knows ``math.exp`` by identity. Where a program replaces it, what it finds there is a function of the user's.
"""

from __future__ import annotations

import math
import types
from collections.abc import Iterable
from typing import Any

import torch
from torch.nn import functional

_OWNERS = (math, torch, torch.Tensor, functional, torch.special, torch.linalg)
_OF_C = (types.BuiltinFunctionType, types.MethodDescriptorType)


def is_original(owner: object, name: str, found: object) -> bool:
    """Whether the function ``found`` under ``owner.name`` is what the library itself has put there."""
    if isinstance(found, types.FunctionType):
        return str(found.__globals__.get("__name__")).partition(".")[0] == "torch"
    if isinstance(found, _OF_C):
        # torch.special.exp2 calls itself special_exp2, torch.nn.functional.logsigmoid log_sigmoid.
        known = found.__name__.replace("_", "").endswith(name.replace("_", ""))
        return known and (owner is not math or getattr(found, "__self__", None) is math)
    return type(found).__module__.partition(".")[0] in ("builtins", "torch") and owner is not math


def _snapshot(owner: Any) -> dict[str, object]:
    places: Iterable[Any] = reversed(owner.__mro__) if isinstance(owner, type) else (owner,)
    held = {name: found for place in places for name, found in vars(place).items()}
    return {name: found for name, found in held.items() if is_original(owner, name, found)}


_HELD = {id(owner): _snapshot(owner) for owner in _OWNERS}


def has_original(owner: Any, name: str) -> bool:
    """Whether a module or class of a library had this name, and its own function there, when this was imported."""
    return name in _HELD.get(id(owner), ())


def original(owner: Any, name: str) -> Any:
    """What a module or class of a library held under ``name`` at first. Raises AttributeError where it had nothing."""
    try:
        return _HELD[id(owner)][name]
    except KeyError:
        raise AttributeError(f"{owner.__name__} has no {name} of its own") from None
