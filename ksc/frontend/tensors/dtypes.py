"""The dtype and the device of a tensor, as far as they are known while it is traced.

A kernel serves several floating dtypes and any device that it is called on: what only the caller knows can be passed
on, as in ``dtype=x.dtype``, but not be compared with a constant.
"""

from __future__ import annotations

import ast

import torch

from ksc.frontend.frame import Frame
from ksc.frontend.values import FALSE, TRUE, Static, Value
from ksc.ir.types import Bool, Float, FloatType, Integer, Type

FLOAT_DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
DTYPES: dict[Type, object] = {Float: Float, Integer: torch.int64, Bool: torch.bool}
"""What ``x.dtype`` is; that of Floats is left to the caller, so it is the type of the IR."""


class CallersDevice:
    """Stands for the device of the arguments."""

    __slots__ = ()


DEVICE = Static(CallersDevice())
"""What ``x.device`` is."""


def is_left_to_caller(obj: object) -> bool:
    """Whether an object stands for a dtype or device that only the caller knows."""
    return isinstance(obj, CallersDevice | FloatType)


def require_comparable(frame: Frame, a: object, b: object, node: ast.AST) -> None:
    """Refuse (KS111) a comparison of two constants whose outcome only the caller knows."""
    for left, right in ((a, b), (b, a)):
        if isinstance(left, FloatType) and isinstance(right, torch.dtype) and right.is_floating_point:
            reason = f"a floating dtype is compared with {right}: a kernel serves several floating dtypes"
            instead = "ask `x.dtype == y.dtype` or `x.is_floating_point()`, or choose before the kernel is called"
            frame.refuse(node, reason, instead, code="KS111")
        if isinstance(left, CallersDevice) and isinstance(right, torch.device | str):
            reason = f"the device of a tensor is compared with {right}: it is known when the kernel is called"
            frame.refuse(node, reason, "choose before the kernel is called", code="KS111")


def member(frame: Frame, obj: object, name: str, node: ast.AST) -> Value:
    """An attribute of ``x.dtype`` or ``x.device``; raises UnsupportedError (KS115) where the caller alone knows it."""
    if isinstance(obj, FloatType):
        known = {"is_floating_point": TRUE, "is_signed": TRUE, "is_complex": FALSE}
        if name in known:
            return known[name]
    what = "dtype" if isinstance(obj, FloatType) else "device"
    reason = f"the {name!r} of a tensor's {what} is known when the kernel is called"
    frame.refuse(node, reason, "pass what depends on it as an argument", code="KS115")
