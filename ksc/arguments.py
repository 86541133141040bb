"""The arguments of a kernel call: bound to the parameters, flattened to leaves, and classified.

A leaf that varies from call to call, a tensor or a number, becomes a parameter of the program. What cannot vary, such
as None, a string or a function, is known when the program is traced and selects it.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ksc.errors import ArgumentError
from ksc.frontend.values import Abstract, Static, Struct, Value
from ksc.ir.types import Bool, Float, Integer, Type
from ksc.torch.spec import Kind

TYPES: dict[Kind, Type] = {"float": Float, "int": Integer, "bool": Bool}
KINDS: dict[Type, Kind] = {type_: kind for kind, type_ in TYPES.items()}
NUMBER_DTYPES: dict[Kind, torch.dtype] = {"float": torch.float64, "int": torch.int64, "bool": torch.bool}
_WIDENING: tuple[Kind, ...] = ("bool", "int", "float")


@dataclass(frozen=True, slots=True)
class Leaf:
    """A tensor or number of a call; ``path`` is how a person names it, such as ``camera.focal``."""

    path: str
    kind: Kind
    value: Any


def bind(signature: inspect.Signature, name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Any]:
    """The arguments in the order of the parameters, defaults filled in. Raises ArgumentError where they do not fit."""
    # Annotations kept as text would show in quotes.
    written = name + str(signature).replace("'", "")
    unknown = [key for key in kwargs if key not in signature.parameters]
    if unknown:
        raise ArgumentError(f"{written}: got an unexpected keyword argument {unknown[0]!r}")
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        raise ArgumentError(f"{written}: {error}") from None
    bound.apply_defaults()
    return list(bound.arguments.values())


def flatten(value: Any, template: Value | None, path: str, flat: list[Leaf]) -> Value:
    """The abstract value of one argument; its leaves are appended to ``flat``.

    ``template`` is what the annotation says, None where it says nothing. Raises ArgumentError where the value does not
    fit it, or has no place in a kernel.
    """
    if isinstance(value, torch.Tensor | bool | int | float):
        kind = _leaf_kind(value, template, path)
        flat.append(Leaf(path, kind, value))
        return Abstract(TYPES[kind])
    members = _members(value)
    if members is not None:
        parts = _templates(template, value, path, len(members))
        items = [flatten(v, part, f"{path}.{name}", flat) for (name, v), part in zip(members, parts, strict=True)]
        return Struct(type(value), tuple(items), () if type(value) is tuple else tuple(name for name, _ in members))
    if value is None or isinstance(value, str) or callable(value):
        if template is None or (isinstance(template, Static) and template.value is value):
            return Static(value)
        wanted = KINDS[template.type] if isinstance(template, Abstract) else "otherwise"
        raise ArgumentError(
            f"argument {path!r} is annotated {wanted}, and {_shown(value)} was given",
            remedy="pass a tensor or a number",
        )
    raise ArgumentError(
        f"argument {path!r} is a {type(value).__name__}, which a kernel cannot take",
        remedy="pass tensors, numbers, tuples, namedtuples or dataclasses of these",
    )


def key(value: Value) -> Hashable:
    """What tells apart the abstract values that need programs of their own."""
    match value:
        case Abstract(type=type_):
            return type_
        case Struct(cls=cls, items=items, keys=keys):
            return cls, keys, tuple(key(item) for item in items)
        case Static(obj):
            return type(obj), obj
        case _:
            raise TypeError(f"{type(value).__name__} is no argument")


def abstract_leaves(value: Value, path: str = "") -> Iterator[tuple[str, Type]]:
    """The path and type of each leaf, depth first."""
    match value:
        case Abstract(type=type_):
            yield path, type_
        case Struct(items=items, keys=keys):
            for k, item in enumerate(items):
                yield from abstract_leaves(item, f"{path}.{keys[k] if keys else k}")


def rebuild(value: Value, leaves: Iterator[Any]) -> Any:
    """The Python value that an abstract one describes, its leaves taken in order."""
    match value:
        case Abstract():
            return next(leaves)
        case Static(obj):
            return obj
        case Struct(cls=cls, items=items, keys=keys):
            parts = [rebuild(item, leaves) for item in items]
            if cls is dict:
                return dict(zip(keys, parts, strict=True))
            return cls(**dict(zip(keys, parts, strict=True))) if keys else cls(parts)
        case _:
            raise TypeError(f"{type(value).__name__} is no result")


def map_leaves(value: Value, replace: Callable[[Type], Value]) -> Value:
    """The same structure with each leaf replaced."""
    match value:
        case Abstract(type=type_):
            return replace(type_)
        case Struct(items=items):
            return value.with_items(tuple(map_leaves(item, replace) for item in items))
        case _:
            return value


def _members(value: Any) -> list[tuple[str, Any]] | None:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
    if isinstance(value, tuple):
        return list(zip(getattr(value, "_fields", map(str, range(len(value)))), value, strict=True))
    return None


def _shown(value: Any) -> str:
    return repr(value) if value is None or isinstance(value, str) else f"a {type(value).__name__}"


def _templates(template: Value | None, value: Any, path: str, count: int) -> Sequence[Value | None]:
    if template is None:
        return [None] * count
    if isinstance(template, Struct) and isinstance(value, template.cls) and len(template.items) == count:
        return template.items
    wanted = template.cls.__name__ if isinstance(template, Struct) else "number"
    raise ArgumentError(f"argument {path!r} is annotated as a {wanted}, and a {type(value).__name__} was given")


def _leaf_kind(value: Any, template: Value | None, path: str) -> Kind:
    given = _kind_of(value, path)
    if template is None:
        return given
    if not isinstance(template, Abstract) or template.type not in KINDS:
        raise ArgumentError(f"argument {path!r} is a number or tensor, and its annotation says otherwise")
    wanted = KINDS[template.type]
    # A Python number widens as in Python; a tensor's dtype is the user's choice and is not changed silently.
    widens = not isinstance(value, torch.Tensor) and _WIDENING.index(given) < _WIDENING.index(wanted)
    if wanted == given or widens:
        return wanted
    what = f"a tensor of {value.dtype}" if isinstance(value, torch.Tensor) else f"the {type(value).__name__} {value}"
    dtype = {"float": "float32", "int": "int64", "bool": "bool"}[wanted]
    raise ArgumentError(
        f"argument {path!r} is annotated {wanted}, and {what} was given",
        remedy=f"convert it, for example with {path}.to(torch.{dtype})",
    )


def _kind_of(value: Any, path: str) -> Kind:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int"
    if isinstance(value, float) or value.dtype.is_floating_point:
        return "float"
    if value.dtype.is_complex:
        raise ArgumentError(
            f"argument {path!r} is a tensor of {value.dtype}; kernels compute with real numbers",
            remedy="pass x.real and x.imag as two arguments",
        )
    return "bool" if value.dtype == torch.bool else "int"
