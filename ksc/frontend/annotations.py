"""Annotations of parameters and results, read as types of the IR."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from types import FunctionType, GenericAlias, NoneType
from typing import Any

import torch

from ksc.frontend.capture import is_namedtuple_class
from ksc.frontend.values import NONE, Abstract, Struct, Value
from ksc.ir.types import Bool, Float, Integer


@dataclasses.dataclass(frozen=True, slots=True)
class TensorOf:
    """A tensor whose rank and element type the call tells."""


def parameter_annotations(fn: FunctionType) -> dict[str, Any]:
    """The annotations of ``fn``, those given as text evaluated; one that cannot be is left out."""
    found: dict[str, Any] = {}
    scope = {**fn.__globals__, **_cells(fn)}
    for name, annotation in fn.__annotations__.items():
        if isinstance(annotation, str):
            try:
                found[name] = eval(annotation, scope)
            except (NameError, SyntaxError, AttributeError, TypeError):
                continue
        else:
            found[name] = annotation
    return found


def _cells(fn: FunctionType) -> dict[str, Any]:
    found = inspect.getclosurevars(fn) if fn.__closure__ else None
    return dict(found.nonlocals) if found is not None else {}


_SCALARS: dict[object, Value] = {
    float: Abstract(Float),
    int: Abstract(Integer),
    bool: Abstract(Bool),
    None: NONE,
    NoneType: NONE,
}


def annotated_template(annotation: Any) -> Value | None:
    """The template of an annotation, None where it does not tell the type fully."""
    if isinstance(annotation, type | NoneType) and annotation in _SCALARS:
        return _SCALARS[annotation]
    if isinstance(annotation, GenericAlias) or typing.get_origin(annotation) is tuple:
        args = typing.get_args(annotation)
        if typing.get_origin(annotation) is not tuple or Ellipsis in args:
            return None
        return _struct(tuple, (), list(args))
    if isinstance(annotation, type) and is_namedtuple_class(annotation):
        hints = _class_hints(annotation)
        fields: tuple[str, ...] = annotation._fields  # type: ignore[attr-defined]
        return _struct(annotation, fields, [hints.get(name) for name in fields], required=True)
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        hints = _class_hints(annotation)
        keys = tuple(field.name for field in dataclasses.fields(annotation))
        return _struct(annotation, keys, [hints.get(name) for name in keys], required=True)
    return None


def _struct(cls: type, keys: tuple[str, ...], annotations: list[Any], *, required: bool = False) -> Value | None:
    items = []
    for annotation in annotations:
        item = None if required and annotation is None else annotated_template(annotation)
        if item is None:
            return None
        items.append(item)
    return Struct(cls, tuple(items), keys)


def _class_hints(cls: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(cls)
    except (NameError, TypeError):
        return dict(getattr(cls, "__annotations__", {}))


def is_tensor(annotation: Any) -> bool:
    """Whether the annotation is torch.Tensor or a subclass such as Parameter."""
    return isinstance(annotation, type) and issubclass(annotation, torch.Tensor)
