"""Small sizes as a part of what a kernel is made for, so that a lane of a few elements is straight code.

    vmap(f)(torch.randn(1000, 4, 4))      # is compiled for lanes of 4 by 4

A kernel gets only a few programs of this kind; further sizes share the one whose sizes are known at run time.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace

import torch

from ksc.arguments import Leaf, key, map_leaves
from ksc.frontend.values import Abstract, Value
from ksc.ir.types import TensorType

SMALL_SIZE = 8
SMALL_COUNT = 64
"""A lane of at most this many elements in an argument, and at most ``SMALL_SIZE`` in a dimension, has known sizes."""

MAX_SMALL = 4
"""For how many combinations of small sizes one kernel is compiled, for each structure of arguments."""


class SmallSizes:
    """Decides for which small sizes a kernel gets a program of its own."""

    def __init__(self) -> None:
        self._admitted: dict[Hashable, dict[Hashable, bool]] = {}

    def refine(self, params: Sequence[Value], flat: Sequence[Leaf]) -> list[Value] | None:
        """The parameters with their small sizes, where the call maps lanes and some are admitted, else None."""
        if not any(True in leaf.mapped for leaf in flat):
            return None
        leaves = iter(flat)
        refined = [map_leaves(param, lambda leaf: _refined(leaf, leaves)) for param in params]
        general, exact = _keys(params), _keys(refined)
        if general == exact:
            return None
        admitted = self._admitted.setdefault(general, {})
        if exact not in admitted:
            admitted[exact] = len(admitted) < MAX_SMALL
        return refined if admitted[exact] else None

    def refuse(self, params: Sequence[Value], refined: Sequence[Value]) -> None:
        """Compile for these sizes no more."""
        self._admitted[_keys(params)][_keys(refined)] = False


def _keys(params: Sequence[Value]) -> Hashable:
    return tuple(map(key, params))


def _refined(leaf: Abstract, leaves: Iterator[Leaf]) -> Abstract:
    given = next(leaves)
    # What is traced with a subclass, a FakeTensor in an export, calls the operator for any sizes.
    if not isinstance(leaf.type, TensorType) or type(given.value) not in (torch.Tensor, torch.nn.Parameter):
        return leaf
    sizes = [given.value.shape[axis] for axis in given.order[sum(given.mapped) :]]
    if any(type(size) is not int or size > SMALL_SIZE for size in sizes) or not 0 < math.prod(sizes) <= SMALL_COUNT:
        return leaf
    return replace(leaf, type=TensorType(leaf.type.rank, leaf.type.elem, tuple(sizes)))
