"""The abstract values of ``ksc.transforms.dependence``, and how they are joined, read and written.

A Float is a set of elements as the bits of an int. An Integer or Bool is its value, or None where it is unknown. A
tensor is a numpy array of such objects, a tuple or a box a ``tuple``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ksc.ir.interpret import SCALAR_MONOIDS
from ksc.ir.types import BoxType, FloatType, TensorType, TupleType, Type
from ksc.ir.values import Representation
from ksc.ops.record import wrap64

Value = Any
Join = Callable[[Value, Value, Type], Value]


class NotFollowedError(Exception):
    """What the function does cannot be told without its floats; mostly the size of a tensor."""


@dataclass(slots=True)
class Cell:
    """An accumulator, opened where ``unsure`` of the enclosing blocks may not be run."""

    value: Value
    unsure: int


def join(a: Value, b: Value, type_: Type) -> Value:
    """What is known of a value that is one of two. Raises NotFollowedError where the sizes of the two differ."""
    if a is b:
        return a
    match type_:
        case FloatType():
            return a | b
        case TensorType(elem=elem):
            if a.shape != b.shape:
                raise NotFollowedError(f"a tensor has sizes {list(a.shape)} or {list(b.shape)}, as the floats decide")
            return _elementwise(join, a, b, elem)
        case TupleType(elems=elems):
            return tuple(join(x, y, elem) for x, y, elem in zip(a, b, elems, strict=True))
        case BoxType():
            raise NotFollowedError("what the reverse of a recursion keeps depends on the floats")
        case _:
            return a if a == b else None


def combined(monoid: str, a: Value, b: Value, type_: Type) -> Value:
    """Two values combined by a monoid. Raises NotFollowedError where their sizes differ."""
    match type_:
        case FloatType():
            return a | b
        case TensorType(elem=elem):
            if a.shape != b.shape:
                raise NotFollowedError("tensors of different sizes are combined")
            return _elementwise(lambda x, y, t: combined(monoid, x, y, t), a, b, elem)
        case TupleType(elems=elems):
            return tuple(combined(monoid, x, y, elem) for x, y, elem in zip(a, b, elems, strict=True))
        case _:
            if a is None or b is None:
                return None
            value = SCALAR_MONOIDS[monoid](a, b)
            return value if isinstance(value, bool) else wrap64(value)


def _elementwise(function: Join, a: Value, b: Value, elem: Type) -> Value:
    if isinstance(elem, FloatType):
        return np.bitwise_or(a, b)
    result = np.empty(a.shape, dtype=object)
    for at in np.ndindex(a.shape):
        result[at] = function(a[at], b[at], elem)
    return result


def everything_in(types: Sequence[Type], values: Sequence[Value]) -> int:
    """The union of all sets in values of these types."""
    mask = 0
    for type_, value in zip(types, values, strict=True):
        match type_:
            case FloatType():
                mask |= value
            case TensorType(elem=elem):
                mask |= everything_in([elem] * value.size, list(value.flat))
            case TupleType(elems=elems):
                mask |= everything_in(elems, value)
            case BoxType() if value is not None:
                raise NotFollowedError("what the reverse of a recursion keeps is unknown")
    return mask


def bottom(type_: Type, represent: Representation, monoid: str) -> Value:
    """The neutral element of a monoid: a Float that depends on nothing; unknown sizes are 0."""
    match type_:
        case FloatType():
            return 0
        case TensorType(elem=elem):
            return _filled(tuple(size or 0 for size in type_.sizes), bottom(elem, represent, monoid))
        case TupleType(elems=elems):
            return tuple(bottom(elem, represent, monoid) for elem in elems)
        case _:
            return represent.identity(monoid, type_)


def _filled(sizes: Sequence[int], value: Value) -> Value:
    result = np.empty(tuple(sizes), dtype=object)
    for at in np.ndindex(*sizes):
        result[at] = value
    return result


def stacked(elements: Sequence[Value], sizes: Sequence[int], elem: Type, nested: bool) -> Value:
    """The tensor of the given leading sizes with these elements. Raises NotFollowedError where theirs differ."""
    inner: tuple[int, ...] = ()
    if isinstance(elem, TensorType) and not nested:
        inner = elements[0].shape if elements else tuple(size or 0 for size in elem.sizes)
        if any(element.shape != inner for element in elements):
            raise NotFollowedError("the elements of a tensor differ in size")
    array = np.empty((len(elements), *inner), dtype=object)
    for k, element in enumerate(elements):
        array[k] = element
    return array.reshape((*sizes, *inner))


def indexed(array: Value, at: Sequence[int | None], type_: Type) -> Value:
    """The element or part at some indices; at unknown ones all of them joined, out of range nothing."""
    where = _where(array, at)
    if where is not None and None not in at:
        return array[where]
    rest = array.shape[len(at) :]
    if isinstance(type_, FloatType) or (isinstance(type_, TensorType) and isinstance(type_.elem, FloatType)):
        candidates = array[where].reshape(-1, *rest) if where is not None else np.empty((0, *rest), dtype=object)
        found = np.bitwise_or.reduce(candidates, axis=0, initial=0)
        return found if rest else int(found)
    if isinstance(type_, TensorType | TupleType | BoxType) and not rest:
        raise NotFollowedError("an element of a tensor of tensors is read at an index that depends on floats")
    return np.full(rest, None, dtype=object) if rest else None


def updated(array: Value, at: Sequence[int | None], value: Value, type_: Type, replace: Join) -> Value:
    """``array``, changed in place: ``replace`` of what stands at the indices and ``value``; nothing out of range."""
    where = _where(array, at)
    if where is None:
        return array
    if None not in at:
        array[where] = replace(array[where], value, type_)
        return array
    spots = [range(size) if i is None else (i,) for i, size in zip(at, array.shape, strict=False)]
    for spot in np.ndindex(*(len(spot) for spot in spots)):
        place = tuple(own[k] for own, k in zip(spots, spot, strict=True))
        array[place] = join(array[place], replace(array[place], value, type_), type_)
    return array


def _where(array: Value, at: Sequence[int | None]) -> tuple[int | slice, ...] | None:
    if any(i is not None and not 0 <= i < size for i, size in zip(at, array.shape, strict=False)):
        return None
    return tuple(slice(None) if i is None else i for i in at)
