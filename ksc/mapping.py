"""How a scalar function meets tensors: not at all, lane by lane, or broadcasting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ksc.errors import ArgumentError
from ksc.torch.spec import Lift

InDims = int | None | tuple[int | None, ...]
OutDims = int | tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Mapping:
    """``lift`` as in ``ksc.torch.spec``; ``in_dims`` and ``out_dims`` as in ``torch.func.vmap``."""

    lift: Lift
    in_dims: InDims = 0
    out_dims: OutDims = 0

    @property
    def name(self) -> str:
        """The decorator's name."""
        return {"scalar": "register", "same": "vmap", "broadcast": "elementwise"}[self.lift]

    @property
    def is_plain(self) -> bool:
        """Whether the mapped dimension is the first one everywhere, so that tensors pass as they are."""
        in_dims = self.in_dims if isinstance(self.in_dims, tuple) else (self.in_dims,)
        out_dims = self.out_dims if isinstance(self.out_dims, tuple) else (self.out_dims,)
        return all(dim in (0, None) for dim in in_dims) and all(dim == 0 for dim in out_dims)

    def shared(self, count: int) -> list[bool]:
        """For each of ``count`` parameters, whether all lanes share it. Raises ArgumentError for another count."""
        return [dim is None for dim in self._in_dims(count)]

    def arg_dims(self, owners: Sequence[int], count: int) -> list[int]:
        """The mapped dimension of each leaf, ``owners`` being the parameters of ``count`` that the leaves belong to."""
        dims = self._in_dims(count)
        return [dims[owner] or 0 for owner in owners]

    def result_dims(self, count: int) -> list[int]:
        """The dimension at which each of ``count`` flat results is mapped. Raises ArgumentError for another count."""
        dims = self.out_dims if isinstance(self.out_dims, tuple) else (self.out_dims,) * count
        if len(dims) != count:
            raise ArgumentError(f"out_dims names {len(dims)} results, and the function has {count}")
        return list(dims)

    def _in_dims(self, count: int) -> tuple[int | None, ...]:
        dims = self.in_dims if isinstance(self.in_dims, tuple) else (self.in_dims,) * count
        if len(dims) != count:
            raise ArgumentError(f"in_dims names {len(dims)} parameters, and the function has {count}")
        return dims


def to_front(values: Sequence[Any], dims: Sequence[int]) -> list[Any]:
    """The tensors with dimension ``dims`` moved to the front. Raises ArgumentError where there is no such dimension."""
    return [_moved(value, dim, 0) for value, dim in zip(values, dims, strict=True)]


def from_front(values: Sequence[Any], dims: Sequence[int]) -> list[Any]:
    """The inverse of ``to_front``."""
    return [_moved(value, 0, dim) for value, dim in zip(values, dims, strict=True)]


def _moved(value: Any, source: int, destination: int) -> Any:
    if source == destination or not isinstance(value, torch.Tensor) or value.dim() == 0:
        return value
    try:
        return value.movedim(source, destination)
    except IndexError as error:
        raise ArgumentError(f"a mapped dimension is out of range: {error}") from None
