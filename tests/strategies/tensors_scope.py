"""What the generator of tensor programs knows while it writes: the tensors in sight, their sizes, and which indices fit.

A size is a symbol: ``n`` and ``m`` are the sizes of arguments, ``n1`` is one less than ``n`` (of ``x[1:]``), at least 0,
and ``2`` is a constant. A variable keeps its sizes, told by its name, so sizes always fit and indices are in range.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import strategies as st

from tests.strategies.scope import Chooser

Dims = tuple[str, ...]

CAP = 4.0
SCALAR: Dims = ()


def size_code(dim: str) -> str:
    """The Python expression of a size."""
    return f"max({dim[0]} - 1, 0)" if dim.endswith("1") and len(dim) == 2 else dim


def is_constant(dim: str) -> bool:
    return dim.isdigit()


@dataclass(frozen=True, slots=True)
class Tensor:
    """A variable of these sizes; ``owned`` tensors share no storage with an argument and may be changed."""

    dims: Dims
    owned: bool = True


@dataclass(frozen=True, slots=True)
class Tensors:
    """A list of tensors of these sizes and a length that is written down."""

    dims: Dims
    length: int


@dataclass(frozen=True, slots=True)
class Helper:
    """A function that can be called: the sizes of its parameters and of its result, in its own symbols.

    One with ``changes`` writes into its first argument.
    """

    name: str
    params: tuple[Dims, ...]
    result: Dims
    cost: int
    changes: bool = False


@dataclass(slots=True)
class TensorScope:
    """The names in sight at one point of a function, and the codes of the indices that are below a size there."""

    variables: dict[str, Tensor]
    sizes: tuple[str, ...]
    helpers: tuple[Helper, ...]
    result: tuple[Dims, ...]
    lists: dict[str, Tensors] = field(default_factory=dict)
    indices: dict[str, tuple[str, ...]] = field(default_factory=dict)
    counts: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    mult: int = 1
    in_loop: bool = False

    def inner(self, **changes: Any) -> TensorScope:
        """A copy whose variables can change without this one's."""
        values: dict[str, Any] = {"variables": dict(self.variables), "lists": dict(self.lists), **changes}
        return replace(self, **values)

    def with_index(self, dim: str, *codes: str, **changes: Any) -> TensorScope:
        """An inner scope in which these are below a size."""
        return self.inner(indices={**self.indices, dim: (*codes, *self.indices.get(dim, ()))}, **changes)

    def of(self, dims: Dims, *, owned: bool = False) -> list[str]:
        """The variables of these sizes."""
        return [name for name, t in self.variables.items() if t.dims == dims and (t.owned or not owned)]

    def index(self, dim: str) -> tuple[str, ...]:
        """Codes of indices below a size, maybe none."""
        if is_constant(dim):
            return (*self.indices.get(dim, ()), *map(str, range(int(dim))), "-1")
        return self.indices.get(dim, ())

    def names(self, dims: Dims) -> list[str]:
        """The names for tensors of these sizes."""
        stem = {SCALAR: "s", ("n",): "u", ("m",): "v", ("n", "m"): "A"}.get(dims, "w_" + "".join(dims))
        return [f"{stem}{k}" for k in (1, 2, 3)]

    def join(self, *others: TensorScope) -> None:
        """After a join: what every side has bound."""
        for name in list(self.variables):
            found = [other.variables.get(name) for other in others]
            if None in found:
                del self.variables[name]
            elif not all(t is not None and t.owned for t in found):
                self.variables[name] = replace(self.variables[name], owned=False)
        for name in list(self.lists):
            if any(other.lists.get(name) != self.lists[name] for other in others):
                del self.lists[name]


class SeededChooser(Chooser):
    """Choices by a seed: a hundred times as fast as hypothesis draws them, for long sweeps."""

    __slots__ = ("_random",)

    def __init__(self, seed: int | str, nodes: int, calls: int) -> None:
        super().__init__(_no_draw, nodes, calls)
        self._random = random.Random(seed)

    def up_to(self, k: int) -> int:
        return self._random.randint(0, k)

    def coin(self) -> bool:
        return self._random.random() < 0.5


def _no_draw(strategy: st.SearchStrategy[Any]) -> Any:
    raise AssertionError(strategy)


Draw = Callable[[st.SearchStrategy[Any]], Any]
