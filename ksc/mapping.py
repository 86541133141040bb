"""How a function meets the tensors of a call: as it is, mapped over dimensions, or broadcasting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from ksc.errors import ArgumentError
from ksc.torch.spec import Lift

InDims = int | None | tuple["InDims", ...]
OutDims = int | tuple[int, ...]
Flags = tuple[bool, ...]
Backend = Literal["compile", "interpret"]


@dataclass(frozen=True, slots=True)
class Level:
    """One ``vmap``: ``in_dims`` and ``out_dims`` as in ``torch.func.vmap``."""

    in_dims: InDims = 0
    out_dims: OutDims = 0

    @property
    def is_plain(self) -> bool:
        """Whether the mapped dimension is the first one everywhere, so that tensors pass as they are."""
        out_dims = self.out_dims if isinstance(self.out_dims, tuple) else (self.out_dims,)
        return _all_first(self.in_dims) and all(dim == 0 for dim in out_dims)

    def of_parameters(self, count: int) -> tuple[InDims, ...]:
        """The in_dims of each of ``count`` parameters. Raises ArgumentError for another count."""
        dims = self.in_dims if isinstance(self.in_dims, tuple) else (self.in_dims,) * count
        if len(dims) != count:
            raise ArgumentError(f"in_dims names {len(dims)} parameters, and the function has {count}")
        return dims

    def of_results(self, count: int) -> list[int]:
        """The dimension at which each of ``count`` flat results is mapped. Raises ArgumentError for another count."""
        dims = self.out_dims if isinstance(self.out_dims, tuple) else (self.out_dims,) * count
        if len(dims) != count:
            raise ArgumentError(f"out_dims names {len(dims)} results, and the function has {count}")
        return list(dims)


@dataclass(frozen=True, slots=True)
class Mapping:
    """``lift`` as in ``ksc.torch.spec``, of a function of numbers; ``levels`` are the vmaps, the outermost first.

    ``backend`` says whether operators are compiled, or interpreted in Python.
    """

    lift: Lift
    levels: tuple[Level, ...] = ()
    backend: Backend = "compile"

    @property
    def name(self) -> str:
        """The decorator's name."""
        return {"scalar": "register", "same": "vmap", "broadcast": "elementwise"}[self.lift]

    @property
    def is_plain(self) -> bool:
        """Whether the mapped dimensions are the first ones everywhere, so that tensors pass as they are."""
        return all(level.is_plain for level in self.levels)

    def over(self, level: Level) -> Mapping:
        """The same, mapped once more."""
        return Mapping("same", (level, *self.levels), self.backend)

    def in_dims(self, count: int) -> list[tuple[InDims, ...]]:
        """For each of ``count`` parameters its in_dims at each level."""
        levels = [level.of_parameters(count) for level in self.levels]
        return [tuple(dims[k] for dims in levels) for k in range(count)]

    def result_orders(self, ranks: Sequence[int]) -> list[Sequence[int]]:
        """How the axes of results, each of that rank in a lane, are permuted from having the mapped ones first."""
        levels = [level.of_results(len(ranks)) for level in self.levels]
        orders: list[Sequence[int]] = []
        for k, rank in enumerate(ranks):
            order = list(range(len(levels), len(levels) + rank))
            for depth in range(len(levels) - 1, -1, -1):
                order.insert(_position(levels[depth][k], len(order) + 1, "out_dims"), depth)
            orders.append(order)
        return orders


def entry(dims: InDims, k: int, count: int, path: str) -> InDims:
    """The in_dims of the k-th part of a tuple or dataclass. Raises ArgumentError where they name another count."""
    if not isinstance(dims, tuple):
        return dims
    if len(dims) != count:
        raise ArgumentError(f"in_dims names {len(dims)} parts of argument {path!r}, which has {count}")
    return dims[k]


def lane_axes(dims: Sequence[int | None], rank: int, path: str) -> tuple[list[int], list[int]]:
    """The axes of a tensor that are mapped, the outermost level's first, and those that each lane keeps.

    ``dims`` has an entry for each level, None where it is not mapped. Raises ArgumentError where there is no such axis.
    """
    rest, mapped = list(range(rank)), []
    for dim in dims:
        if dim is not None:
            mapped.append(rest.pop(_position(dim, len(rest), f"in_dims of argument {path!r}")))
    return mapped, rest


def permuted(value: Any, order: Sequence[int]) -> Any:
    """The tensor with its axes in this order; a number or 0-d tensor as it is."""
    if not isinstance(value, torch.Tensor) or value.dim() == 0 or list(order) == list(range(len(order))):
        return value
    return value.permute(*order)


def inverse(order: Sequence[int]) -> list[int]:
    """The order that undoes one."""
    return sorted(range(len(order)), key=lambda k: order[k])


def _position(dim: int, rank: int, what: str) -> int:
    if not -rank <= dim < rank:
        raise ArgumentError(f"{what} names dimension {dim}, and there are {rank}: it is out of range")
    return dim % rank


def _all_first(dims: InDims) -> bool:
    if isinstance(dims, tuple):
        return all(_all_first(dim) for dim in dims)
    return dims in (0, None)
