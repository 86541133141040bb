"""Reading attributes: of modules and classes, of dataclasses and namedtuples, of numbers."""

from __future__ import annotations

import ast
import dataclasses
import enum
from types import FunctionType, ModuleType

import torch

from ksc.frontend.capture import capture
from ksc.frontend.frame import Frame
from ksc.frontend.guards import MISSING
from ksc.frontend.lists import DICT_METHODS, LIST_METHODS, ListMethod
from ksc.frontend.rows import GrowingList, is_growing, refuse_growing
from ksc.frontend.storage import from_outside
from ksc.frontend.tensors.dtypes import is_left_to_caller, member
from ksc.frontend.values import Array, BoundMethod, Closure, Ref, Rows, Static, Struct, Value, describe, scalar_type
from ksc.originals import has_original, original


def attribute(frame: Frame, value: Value, name: str, node: ast.expr) -> Value:
    """``value.name``.

    Raises UnsupportedError (KS115) where the value has no such attribute.
    """
    if isinstance(value, Ref | Array):
        from ksc.frontend.tensors.members import tensor_attribute

        return tensor_attribute(frame, value, name, node)
    if scalar_type(value) is not None:
        return _of_number(frame, value, name, node)
    if isinstance(value, Struct):
        if value.cls is not GrowingList and is_growing(value):
            refuse_growing(frame, node)
        return _of_struct(frame, value, name, node)
    if isinstance(value, Rows):
        reason = f"{describe(value)} has no attribute {name!r} here"
        frame.refuse(node, reason, "append in one loop alone, or use torch.stack()", code="KS107")
    if isinstance(value, Static):
        if is_left_to_caller(value.value):
            return member(frame, value.value, name, node)
        fixed = frame.is_ours and has_original(value.value, name)
        found = original(value.value, name) if fixed else getattr(value.value, name, MISSING)
        if found is MISSING:
            reason = f"{_title(value.value)} has no attribute {name!r}"
            frame.refuse(node, reason, "check the spelling", code="KS115")
        if not fixed and isinstance(value.value, ModuleType | type) and not isinstance(value.value, enum.EnumMeta):
            frame.guards.record(value.value, name, found)
        return from_outside(frame, found, f"{_title(value.value)}.{name}", node)
    what = describe(value) if not isinstance(value, Closure) else f"the local function {value.name}"
    frame.refuse(node, f"{what} has no attribute {name!r} here", "call it, or pass values as arguments", code="KS115")


def _title(obj: object) -> str:
    if isinstance(obj, ModuleType | type | FunctionType):
        return obj.__name__
    return type(obj).__name__


def _of_number(frame: Frame, value: Value, name: str, node: ast.expr) -> Value:
    from ksc.frontend.library import NumberMethod, method_of_number

    if not frame.is_ours and hasattr(torch.Tensor, name):
        frame.guards.record(torch.Tensor, name, getattr(torch.Tensor, name))
    method = method_of_number(name)
    if method is None:
        reason = f"a number ({describe(value)}) has no attribute {name!r} in a kernel"
        frame.refuse(node, reason, "use a function of math or torch", code="KS115")
    return Static(NumberMethod(method, value))


def _of_struct(frame: Frame, value: Struct, name: str, node: ast.expr) -> Value:
    from ksc.frontend.calls import call_method

    if value.cls is not dict:
        found = value.field(name)
        if found is not None:
            return found
    elif name in ("keys", "values", "items"):
        return Static(DictView(value, name))
    elif name in DICT_METHODS:
        return Static(BoundDictMethod(name, value))
    if value.cls is GrowingList and name != "append":
        refuse_growing(frame, node)
    if value.cls in (list, GrowingList) and name in LIST_METHODS:
        return Static(ListMethod(name, value))
    member = _class_member(value.cls, name)
    if isinstance(member, property) and isinstance(member.fget, FunctionType):
        return call_method(frame, member.fget, value, [], node)
    if isinstance(member, staticmethod) and isinstance(member.__func__, FunctionType):
        return Static(member.__func__)
    if isinstance(member, FunctionType):
        return BoundMethod(member, value)
    if member is not MISSING and not callable(member) and dataclasses.is_dataclass(value.cls):
        return capture(member, f"{value.cls.__name__}.{name}", frame.span(node))
    reason = f"{describe(value)} has no attribute {name!r} that kernels know"
    instead = "check the spelling"
    if value.cls in (list, dict):
        instead = "build a new one, with a comprehension or as in `xs = xs + [x]`"
    frame.refuse(node, reason, instead, code="KS115")


def _class_member(cls: type, name: str) -> object:
    for base in cls.__mro__:
        if name in vars(base):
            return vars(base)[name]
    return MISSING


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class BoundDictMethod:
    """A method of a dict, to be called."""

    name: str
    owner: Struct


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class DictView:
    """The method ``keys``, ``values`` or ``items`` of a dict, to be called."""

    owner: Struct
    name: str

    def items(self) -> Struct:
        """What the call gives."""
        keys = tuple(capture(key, "a key", None) for key in self.owner.keys)
        match self.name:
            case "keys":
                return Struct(tuple, keys)
            case "values":
                return Struct(tuple, self.owner.items)
            case _:
                pairs = zip(keys, self.owner.items, strict=True)
                return Struct(tuple, tuple(Struct(tuple, pair) for pair in pairs))
