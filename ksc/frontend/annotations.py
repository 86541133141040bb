"""Annotations of parameters and results, read as types of the IR."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from types import FunctionType, GenericAlias, NoneType
from typing import Any

import torch

from ksc.frontend.values import NONE, Abstract, Struct, Value
from ksc.ir.types import Bool, Float, Integer, TensorType, Type


@dataclasses.dataclass(frozen=True, slots=True)
class TensorOf:
    """A tensor whose rank and element type the call tells."""


def is_namedtuple_class(cls: object) -> bool:
    """Whether ``cls`` is a namedtuple's class."""
    return isinstance(cls, type) and issubclass(cls, tuple) and hasattr(cls, "_fields")


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


@dataclasses.dataclass(frozen=True, slots=True)
class TensorAnnotation:
    """``Annotated[torch.Tensor, ("n", 3)]``: a size each, by number, by a name that is the same size throughout a
    function, or None; and the type of the elements, as in ``Annotated[torch.Tensor, ("n",), torch.int64]``."""

    sizes: tuple[int | str | None, ...]
    elem: Type

    @property
    def template(self) -> Abstract:
        """The template of such a tensor."""
        if not self.sizes:
            return Abstract(self.elem, tensor=True)
        known = tuple(size if isinstance(size, int) else None for size in self.sizes)
        return Abstract(TensorType(len(known), self.elem, known))


_ELEMENTS: dict[object, Type] = {
    torch.int64: Integer,
    int: Integer,
    torch.bool: Bool,
    bool: Bool,
    float: Float,
}


def tensor_annotation(annotation: Any) -> TensorAnnotation | None:
    """The sizes that an annotation tells of a tensor, None where it tells none."""
    if typing.get_origin(annotation) is not typing.Annotated:
        return None
    kind, *extras = typing.get_args(annotation)
    sizes = next((extra for extra in extras if isinstance(extra, tuple)), None)
    if not is_tensor(kind) or sizes is None:
        return None
    if not all(size is None or (isinstance(size, int | str) and not isinstance(size, bool)) for size in sizes):
        return None
    elems = [_ELEMENTS[extra] for extra in extras if isinstance(extra, type | torch.dtype) and extra in _ELEMENTS]
    return TensorAnnotation(sizes, elems[0] if elems else Float)


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
    tensor = tensor_annotation(annotation)
    if tensor is not None:
        return tensor.template
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
        return typing.get_type_hints(cls, include_extras=True)
    except (NameError, TypeError):
        return dict(getattr(cls, "__annotations__", {}))


def parts_of(annotation: Any) -> list[Any]:
    """The annotations of the parts of an annotated tuple, namedtuple or dataclass, in order; none for others."""
    if typing.get_origin(annotation) is tuple:
        return [arg for arg in typing.get_args(annotation) if arg is not Ellipsis]
    if isinstance(annotation, type) and is_namedtuple_class(annotation):
        hints = _class_hints(annotation)
        return [hints.get(name) for name in annotation._fields]  # type: ignore[attr-defined]
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        hints = _class_hints(annotation)
        return [hints.get(field.name) for field in dataclasses.fields(annotation)]
    return []


def is_tensor(annotation: Any) -> bool:
    """Whether the annotation is torch.Tensor or a subclass such as Parameter."""
    return isinstance(annotation, type) and issubclass(annotation, torch.Tensor)
