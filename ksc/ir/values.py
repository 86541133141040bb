"""Run-time values of the reference interpreter.

Float, Integer and Bool are Python's ``float``, ``int`` (wrapped to 64 bits) and ``bool``. A tensor of scalars is a
numpy array, any other tensor a numpy array of objects. A tuple is a ``tuple``; a box is a ``tuple`` of its fields, or
None.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ksc.errors import ArgumentError
from ksc.ir.types import (
    BoolType,
    BoxType,
    FloatType,
    IntegerType,
    StringType,
    TensorType,
    TupleType,
    Type,
    is_scalar,
)
from ksc.ops.record import Width, round_to, wrap64

Value = Any

INTEGER_MIN = -(2**63)
INTEGER_MAX = 2**63 - 1


class Representation:
    """How values of each type are held when ``Float`` has the given width, ``"f32"`` or ``"f64"``."""

    def __init__(self, width: Width) -> None:
        if width not in ("f32", "f64"):
            raise ValueError(f"the width is 'f32' or 'f64', not {width!r}")
        self.width: Width = width
        self.float_dtype: type[np.generic] = np.float32 if width == "f32" else np.float64

    def dtype(self, elem: Type) -> type[Any]:
        """The numpy dtype that holds elements of type ``elem``."""
        match elem:
            case FloatType():
                return self.float_dtype
            case IntegerType():
                return np.int64
            case BoolType():
                return np.bool_
            case _:
                return object

    def scalar(self, value: Value, type_: Type) -> Value:
        """A result of type ``type_`` as it is held: Float rounded to the width, Integer wrapped, Bool exact."""
        match type_:
            case FloatType():
                return round_to(float(value), self.width)
            case IntegerType():
                return wrap64(int(value))
            case BoolType():
                return bool(value)
            case _:
                return value

    def from_argument(self, value: Value, type_: Type, name: str) -> Value:
        """An argument given from Python as a value of ``type_``.

        Raises ArgumentError where it has another kind, rank or size.
        """
        match type_:
            case FloatType() | IntegerType() | BoolType():
                return self._scalar_argument(value, type_, name)
            case TensorType():
                return self._tensor_argument(value, type_, name)
            case TupleType(elems=elems):
                if not isinstance(value, tuple | list) or len(value) != len(elems):
                    raise ArgumentError(f"argument {name} must be a tuple of {len(elems)}, as its type is {type_}")
                return tuple(
                    self.from_argument(v, t, f"{name}[{k}]") for k, (v, t) in enumerate(zip(value, elems, strict=True))
                )
            case BoxType():
                if value is not None and not isinstance(value, tuple):
                    raise ArgumentError(f"argument {name} must be a box: a tuple, or None")
                return value
            case StringType():
                if not isinstance(value, str):
                    raise ArgumentError(f"argument {name} must be a str")
                return value
            case _:
                raise ArgumentError(f"argument {name} has type {type_}, which no value from outside can have")

    def _scalar_argument(self, value: Value, type_: Type, name: str) -> Value:
        item = value.item() if hasattr(value, "item") and getattr(value, "ndim", 1) == 0 else value
        accepted = {FloatType: (int, float), IntegerType: (int,), BoolType: (bool,)}[type(type_)]
        if not isinstance(item, accepted) or (isinstance(item, bool) and not isinstance(type_, BoolType)):
            raise ArgumentError(f"argument {name} must be of type {type_}, not {type(value).__name__}")
        return self.scalar(item, type_)

    def _tensor_argument(self, value: Value, type_: TensorType, name: str) -> np.ndarray[Any, Any]:
        if is_scalar(type_.elem):
            array = np.array(value, dtype=self.dtype(type_.elem))
        elif isinstance(value, np.ndarray) and value.dtype == object:
            array = np.empty(value.shape, dtype=object)
            for at in np.ndindex(value.shape):
                array[at] = self.from_argument(value[at], type_.elem, f"{name}{list(at)}")
        else:
            array = self._nested_argument(value, type_, name)
        if array.ndim != type_.rank:
            raise ArgumentError(f"argument {name} must have {type_.rank} dimensions, not {array.ndim}")
        for have, want in zip(array.shape, type_.sizes, strict=True):
            if want is not None and have != want:
                raise ArgumentError(f"argument {name} has sizes {list(array.shape)} where {type_} is needed")
        return array

    def _nested_argument(self, value: Value, type_: TensorType, name: str) -> np.ndarray[Any, Any]:
        """A tensor of tuples or of tensors, given as sequences nested ``rank`` deep."""
        shape: list[int] = []
        level = value
        for _ in range(type_.rank):
            shape.append(len(level))
            level = level[0] if len(level) else ()
        array = np.empty(shape, dtype=object)
        for at in np.ndindex(*shape):
            element = value
            for k in at:
                element = element[k]
            array[at] = self.from_argument(element, type_.elem, f"{name}{list(at)}")
        return array

    def stack(self, elements: Sequence[Value], sizes: Sequence[int], elem: Type, *, nested: bool) -> Value:
        """The tensor of the given leading sizes with these elements in row-major order.

        A tensor element gives further dimensions, unless ``nested``. Where there is no element, those of its
        sizes that its type does not have are 0. Raises ValueError where elements differ in size.
        """
        if isinstance(elem, TensorType) and not nested:
            inner = elements[0].shape if elements else tuple(size or 0 for size in elem.sizes)
            array = np.empty((len(elements), *inner), dtype=self.dtype(elem.elem))
            for k, element in enumerate(elements):
                if element.shape != inner:
                    raise ValueError(f"sizes {list(inner)} and {list(element.shape)} differ")
                array[k] = element
            return array.reshape((*sizes, *inner))
        array = np.empty(len(elements), dtype=self.dtype(elem))
        for k, element in enumerate(elements):
            array[k] = element
        return array.reshape(tuple(sizes))

    def combine(self, scalar: Callable[[Value, Value], Value], a: Value, b: Value, type_: Type) -> Value:
        """``a`` and ``b`` of one type combined leaf by leaf. Raises ValueError where sizes differ."""
        match type_:
            case TensorType(elem=elem):
                if a.shape != b.shape:
                    raise ValueError(f"sizes {list(a.shape)} and {list(b.shape)} differ")
                array = np.empty(a.shape, dtype=self.dtype(elem))
                for at in np.ndindex(a.shape):
                    array[at] = self.combine(scalar, element(a, at), element(b, at), elem)
                return array
            case TupleType(elems=elems):
                return tuple(self.combine(scalar, x, y, t) for x, y, t in zip(a, b, elems, strict=True))
            case _:
                return self.scalar(scalar(a, b), type_)

    def identity(self, monoid: str, type_: Type) -> Value:
        """The neutral element of a monoid; unknown sizes are 0."""
        match type_:
            case TensorType(elem=elem):
                array = np.empty(tuple(size or 0 for size in type_.sizes), dtype=self.dtype(elem))
                for at in np.ndindex(array.shape):
                    array[at] = self.identity(monoid, elem)
                return array
            case TupleType(elems=elems):
                return tuple(self.identity(monoid, elem) for elem in elems)
            case BoolType():
                return monoid == "and"
            case IntegerType():
                return {"add": 0, "mul": 1, "min": INTEGER_MAX, "max": INTEGER_MIN}[monoid]
            case _:
                return {"add": 0.0, "mul": 1.0, "min": math.inf, "max": -math.inf}[monoid]


def element(array: np.ndarray[Any, Any], at: tuple[int, ...]) -> Value:
    """The element, or with fewer indices the subtensor, as a value."""
    value = array[at]
    return value.item() if isinstance(value, np.generic) else value


def copied(value: Value) -> Value:
    """A copy that shares no array with ``value``."""
    if isinstance(value, np.ndarray):
        fresh = value.copy()
        if fresh.dtype == object:
            for at in np.ndindex(fresh.shape):
                fresh[at] = copied(fresh[at])
        return fresh
    if isinstance(value, tuple):
        return tuple(copied(part) for part in value)
    return value
