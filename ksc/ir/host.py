"""Functions of the host that a program calls by name: the op ``callback``.

A program says of a callback its name, how many of the arguments are operands, and its results: one letter for each,
f, i or b, followed by the rank of a tensor. The arguments after the operands are the sizes of the tensors, in order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ksc.ir.nodes import Atom, Const
from ksc.ir.types import Bool, Float, Integer, TensorType, Type

HostFunction = Callable[[Sequence[Any], Sequence[Any]], None]
"""Takes the operands and the places for the results, all as tensors of torch, those of numbers of rank 0."""

_FUNCTIONS: dict[str, HostFunction] = {}
_TYPES: dict[str, Type] = {"f": Float, "i": Integer, "b": Bool}
_LETTERS = {type_: letter for letter, type_ in _TYPES.items()}


def offer(name: str, function: HostFunction) -> str:
    """Let programs call ``function``; the name by which they do, a new one where ``name`` is taken."""
    free, k = name, 2
    while free in _FUNCTIONS:
        free, k = f"{name}#{k}", k + 1
    _FUNCTIONS[free] = function
    return free


def host_function(name: str) -> HostFunction:
    """The function that was offered under a name. Raises KeyError where there is none."""
    return _FUNCTIONS[name]


def encoded(types: Sequence[Type]) -> str:
    """The results of a callback as its param ``results`` says them."""
    return " ".join(
        f"{_LETTERS[type_.elem]}{type_.rank}" if isinstance(type_, TensorType) else _LETTERS[type_] for type_ in types
    )


def result_types(results: str, sizes: Sequence[Atom]) -> tuple[Type, ...]:
    """The types of the results. Raises ValueError where the text, or the number of sizes, is none of a callback."""
    left = iter(sizes)
    types: list[Type] = []
    for code in results.split():
        letter, rank = code[0], int(code[1:] or 0)
        if letter not in _TYPES:
            raise ValueError(f"there is no result {code}")
        known = [next(left, None) for _ in range(rank)]
        if None in known:
            raise ValueError("a size is missing")
        static = tuple(int(size.value) if isinstance(size, Const) else None for size in known)
        types.append(TensorType(rank, _TYPES[letter], static) if rank else _TYPES[letter])
    if next(left, None) is not None:
        raise ValueError("there are more sizes than dimensions")
    return tuple(types)
