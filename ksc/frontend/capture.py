"""Objects from outside the function: which ones may be read, and as what."""

from __future__ import annotations

import dataclasses
import enum
import functools
from collections.abc import Iterable
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType

import torch

from ksc.frontend.annotations import is_namedtuple_class as is_namedtuple_class
from ksc.frontend.guards import GuardSet
from ksc.frontend.refuse import refuse
from ksc.frontend.source import plain_function
from ksc.frontend.special import derived_function, directional_function
from ksc.frontend.values import BoundMethod, Partial, Static, Struct, Value
from ksc.ir.nodes import Span
from ksc.ops.intrinsics import Intrinsic

_CONSTANTS = (
    bool, int, float, complex, str, bytes, range, slice, type(None), type(...), type(NotImplemented), type, ModuleType,
    FunctionType, BuiltinFunctionType, functools.partial, enum.Enum, torch.dtype, torch.device, torch.layout,
    torch.memory_format,
)  # fmt: skip
_MUTABLE_REMEDY = "pass it as an argument, or use a tuple or a frozen dataclass"


def capture(obj: object, name: str, where: Span | None, guards: GuardSet | None = None) -> Value:
    """The value of an object found outside the function under ``name``.

    What a list, a dict or a dataclass that is not frozen holds is noted in ``guards``; without these they are refused.

    Raises UnsupportedError (KS110) for other objects that can change, and for objects of unknown kinds.
    """
    if isinstance(obj, torch.Tensor):
        refuse(where, f"{name!r} is a tensor captured from outside", "pass it as an argument", code="KS110")
    if isinstance(obj, torch.nn.Module):
        refuse(where, f"{name!r} is a module captured from outside", "pass its parameters as arguments", code="KS110")
    if isinstance(obj, Intrinsic) or (not isinstance(obj, type) and hasattr(obj, "__knossos_function__")):
        return Static(obj)
    if derived_function(obj) is not None or directional_function(obj) is not None:
        return Static(obj)
    if type(obj) is tuple:
        return Struct(tuple, _items(obj, name, where, guards))
    if type(obj) is list and guards is not None:
        return Struct(list, _items(guards.record_contents(obj), name, where, guards))
    if type(obj) is dict and guards is not None:
        return _capture_dict(guards.record_contents(obj), name, where, guards)
    if isinstance(obj, tuple) and is_namedtuple_class(type(obj)):
        fields: tuple[str, ...] = obj._fields  # type: ignore[attr-defined]
        parts = zip(fields, obj, strict=True)
        return Struct(type(obj), tuple(capture(item, f"{name}.{key}", where, guards) for key, item in parts), fields)
    if dataclasses.is_dataclass(obj) and not isinstance(obj, type):
        return _capture_dataclass(obj, name, where, guards)
    if isinstance(obj, float):
        return Static(float(obj))
    if isinstance(obj, MethodType) and isinstance(obj.__func__, FunctionType):
        return BoundMethod(obj.__func__, capture(obj.__self__, f"{name}.__self__", where, guards))
    if isinstance(obj, functools.partial):
        args = tuple(capture(arg, f"an argument of {name}", where, guards) for arg in obj.args)
        kwargs = {key: capture(arg, f"argument {key!r} of {name}", where, guards) for key, arg in obj.keywords.items()}
        return Partial(capture(obj.func, name, where, guards), args, kwargs)
    if isinstance(obj, frozenset):
        for item in obj:
            capture(item, name, where)
        return Static(obj)
    if isinstance(obj, _CONSTANTS) or plain_function(obj) or _is_callable(obj):
        return Static(obj)
    kind = "a mutable object" if _is_mutable(obj) else "an object of a kind that kernels do not know"
    refuse(where, f"{name!r} is {kind} ({type(obj).__name__}) captured from outside", _MUTABLE_REMEDY, code="KS110")


def _is_callable(obj: object) -> bool:
    """Whether ``obj`` is made for being called; whether that call is known is seen there."""
    return callable(obj) and type(obj).__module__ in ("builtins", "functools", "torch", "torch._ops", "numpy")


def _is_mutable(obj: object) -> bool:
    return getattr(type(obj), "__hash__", None) is None


def _items(items: Iterable[object], name: str, where: Span | None, guards: GuardSet | None) -> tuple[Value, ...]:
    return tuple(capture(item, f"{name}[{k}]", where, guards) for k, item in enumerate(items))


def _capture_dict(held: tuple[object, ...], name: str, where: Span | None, guards: GuardSet) -> Value:
    """The dict that holds these keys, and then their values."""
    keys, values = held[: len(held) // 2], held[len(held) // 2 :]
    for key in keys:
        if not isinstance(key, bool | int | float | str | bytes | tuple | frozenset | type(None) | enum.Enum):
            reason = f"{name!r} is a dict with a key that kernels do not know ({type(key).__name__})"
            refuse(where, reason, "use texts or numbers as keys", code="KS110")
    parts = zip(keys, values, strict=True)
    return Struct(dict, tuple(capture(value, f"{name}[{key!r}]", where, guards) for key, value in parts), keys)


def _capture_dataclass(obj: object, name: str, where: Span | None, guards: GuardSet | None) -> Value:
    frozen: bool = obj.__dataclass_params__.frozen  # type: ignore[attr-defined]
    if not frozen and guards is None:
        reason = f"{name!r} is a dataclass that is not frozen ({type(obj).__name__}), captured from outside"
        refuse(where, reason, "pass it as an argument, or declare the dataclass frozen=True", code="KS110")
    keys = tuple(field.name for field in dataclasses.fields(obj))  # type: ignore[arg-type]
    values = [getattr(obj, key) for key in keys]
    if guards is not None and not frozen:
        for key, value in zip(keys, values, strict=True):
            guards.record(obj, key, value)
    parts = zip(keys, values, strict=True)
    return Struct(type(obj), tuple(capture(value, f"{name}.{key}", where, guards) for key, value in parts), keys)
