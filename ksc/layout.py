"""The layout of a call for the core's fast path, which makes structures flat and flat results structures.

The plain tuples that ``csrc/layout.h`` describes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from inspect import Parameter
from typing import Any

import torch

from ksc.arguments import KINDS, Template, element
from ksc.frontend.annotations import TensorOf
from ksc.frontend.values import Abstract, Static, Struct, Value
from ksc.interface import Interface

Part = tuple[Any, ...]
Layout = tuple[Part, ...]

_LEAF, _OBJECT, _ITEMS, _FIELDS = range(4)
_ANY_LEAF: Part = (_LEAF, True, True, None)


def parameters_layout(interface: Interface, params: Sequence[Value], reserved: Collection[str] = ()) -> Layout:
    """The layout of a call with arguments as ``params`` describes; by name, ``reserved`` ones mean something else."""
    found = []
    pairs = zip(interface.signature.parameters.values(), params, interface.templates, strict=True)
    for parameter, value, template in pairs:
        named = parameter.kind is not Parameter.POSITIONAL_ONLY and parameter.name not in reserved
        by_position = parameter.kind is not Parameter.KEYWORD_ONLY
        default = () if parameter.default is Parameter.empty else (parameter.default,)
        found.append((parameter.name if named else None, by_position, argument_part(value, template), *default))
    return tuple(found)


def derivative_layout(interface: Interface, params: Sequence[Value], seeds: Sequence[Any]) -> Layout:
    """The same where all arguments come by position, and behind them seeds of the structure of these."""
    own = [argument_part(value, template) for value, template in zip(params, interface.templates, strict=True)]
    return tuple((None, True, part) for part in (*own, *map(_seed_part, seeds)))


def argument_part(value: Value, template: Template) -> Part:
    """The layout of an argument as ``value`` describes it, annotated as ``template`` says."""
    if isinstance(value, Static):
        return _OBJECT, value.value
    if isinstance(value, Struct):
        inner = template.items if isinstance(template, Struct) else (None,) * len(value.items)
        parts = tuple(argument_part(item, of) for item, of in zip(value.items, inner, strict=True))
        if issubclass(value.cls, tuple):
            return _ITEMS, value.cls, parts
        return _FIELDS, value.cls, value.keys, parts
    if not isinstance(value, Abstract):
        raise TypeError(f"{type(value).__name__} is no argument")
    integer = KINDS[element(value.type)] == "int"
    is_number = not (isinstance(template, TensorOf) or (isinstance(template, Abstract) and template.is_tensor))
    # A number that nothing is said of is an int or a float as it comes; narrow integers have programs of their own.
    dtype = (value.narrow or torch.int64) if integer else None
    return _LEAF, is_number, integer or template is not None, dtype


def result_part(value: Value) -> Part:
    """The layout of results as ``value`` describes them."""
    if isinstance(value, Static):
        return _OBJECT, value.value
    if isinstance(value, Struct):
        return _ITEMS, value.cls, tuple(value.keys), tuple(map(result_part, value.items))
    return (_LEAF,)


def _seed_part(seed: Any) -> Part:
    if seed is None:
        return _OBJECT, None
    if isinstance(seed, tuple):
        return _ITEMS, type(seed), tuple(map(_seed_part, seed))
    if dataclasses.is_dataclass(seed) and not isinstance(seed, type):
        names = tuple(field.name for field in dataclasses.fields(seed))
        return _FIELDS, type(seed), names, tuple(_seed_part(getattr(seed, name)) for name in names)
    return _ANY_LEAF
