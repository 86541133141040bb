"""Sharding rules: how the operators of kernels run on DTensors without a gather, each rank on its lanes.

A mapped dimension may be sharded, since lanes know nothing of each other. What all lanes share is replicated, and its
cotangent, a sum over the lanes, is partial: each rank has the sum over its own. This holds for every derivation.

PyTorch registers rules by operator and takes a second to import what it keeps them in, so nothing is done until a
program has imported ``torch.distributed.tensor``.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ksc.torch.spec import OpSpec, derivation_steps

if TYPE_CHECKING:
    from torch.distributed.tensor.placement_types import Placement

    from ksc.torch.operator import Operator

    Rule = tuple[list[Placement], list[Placement | None]]
    """Placements of the results, and of the arguments; None for an argument that is no tensor."""

_DTENSOR = "torch.distributed.tensor"


@dataclass(frozen=True, slots=True)
class Role:
    """What a rule has to know of an argument or result.

    Attributes:
        mapped: at each level of mapping, the outermost first, whether the value has a dimension there. These dimensions
            are its first. A result that has none there is the sum over the lanes.
        is_float: whether it carries derivatives.
        is_tensor: whether the operator has a tensor there, not a number.
    """

    mapped: tuple[bool, ...]
    is_float: bool = True
    is_tensor: bool = True


@dataclass(frozen=True, slots=True)
class Roles:
    """Those of the arguments and results of one derivation."""

    args: tuple[Role, ...]
    results: tuple[Role, ...]

    def derived(self, letter: str, digits: str) -> Roles:
        """Those of the derivation with one more letter, ``digits`` being its seeds as in ``ksc.torch.spec.Loader``."""
        if letter == "m":
            flags = [digit == "1" for digit in digits] or [role.is_tensor for role in self.args]
            args = tuple(_mapped(role, flag) for role, flag in zip(self.args, flags, strict=True))
            return Roles(args, tuple(_mapped(role, True) for role in self.results))
        inner = tuple(role for role in self.args if role.is_float)
        outer = tuple(role for role in self.results if role.is_float)
        seeded, given = (inner, outer) if letter == "j" else (outer, inner)
        seeded = (*seeded, *seeded) if letter == "r" else seeded
        seeds = [role for k, role in enumerate(seeded) if not digits or digits[k] == "1"]
        return Roles((*self.args, *seeds), given)


def _mapped(role: Role, flag: bool) -> Role:
    return Role((flag, *role.mapped), role.is_float, role.is_tensor)


def roles(spec: OpSpec, derivation: str) -> Roles:
    """The roles of a derivation of a tensor operator."""
    depth = max((len(arg.mapped) for arg in spec.args), default=0)
    found = Roles(
        tuple(Role(arg.mapped or (False,) * depth, arg.kind == "float", not arg.is_number) for arg in spec.args),
        tuple(Role((True,) * depth, result.kind == "float") for result in spec.results),
    )
    for letter, digits in derivation_steps(derivation):
        found = found.derived(letter, digits)
    return found


def tensor_rules(found: Roles) -> list[Rule]:
    """All replicated, or one mapped dimension sharded."""
    from torch.distributed.tensor import Partial, Replicate, Shard

    rules: list[Rule] = [
        ([Replicate() for _ in found.results], [Replicate() if role.is_tensor else None for role in found.args])
    ]
    depth = max((len(role.mapped) for role in (*found.args, *found.results)), default=0)
    for level in range(depth):

        def axis(role: Role, level: int = level) -> int:
            return sum(role.mapped[:level])

        if not any(role.mapped[level] for role in found.args):
            continue
        results: list[Placement] = [Shard(axis(role)) if role.mapped[level] else Partial() for role in found.results]
        args: list[Placement | None] = [
            None if not role.is_tensor else Shard(axis(role)) if role.mapped[level] else Replicate()
            for role in found.args
        ]
        rules.append((results, args))
    return rules


def elementwise_rules(shapes: Sequence[Sequence[int]], results: int) -> list[Rule]:
    """All replicated, or one dimension of the broadcast shape sharded; ``shapes`` are the arguments'."""
    from torch.distributed.tensor import Replicate, Shard

    full = torch.broadcast_shapes(*shapes)  # type: ignore[no-untyped-call]
    rules: list[Rule] = [([Replicate() for _ in range(results)], [Replicate() for _ in shapes])]
    for dim, size in enumerate(full):
        if size == 1:
            continue
        axes = [dim - len(full) + len(shape) for shape in shapes]
        args: list[Placement | None] = [
            Shard(axis) if axis >= 0 and shape[axis] != 1 else Replicate()
            for axis, shape in zip(axes, shapes, strict=True)
        ]
        rules.append(([Shard(dim) for _ in range(results)], args))
    return rules


class _Registry:
    """Which operators have rules. Nothing has, until DTensors may exist."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._is_on = False
        self._known: set[tuple[str, str]] = set()

    def add(self, operator: Operator, derivation: str) -> None:
        """Give the rules of a derivation to PyTorch, where DTensors may exist."""
        if not self._is_on:
            return
        with self._lock:
            if (operator.spec.name, derivation) not in self._known:
                self._known.add((operator.spec.name, derivation))
                _register(operator, derivation)

    def look(self, operators: Mapping[str, Operator]) -> None:
        """Give those of all operators to PyTorch, when DTensors have come into the program since the last look."""
        if self._is_on or _DTENSOR not in sys.modules:
            return
        with self._lock:
            self._is_on = True
            for operator in tuple(operators.values()):
                for name in torch._C._jit_get_operation(f"knossos::{operator.spec.name}")[1]:
                    self.add(operator, name if name != "default" else "")


registry = _Registry()


def _register(operator: Operator, derivation: str) -> None:
    from torch.distributed.tensor.experimental import register_sharding

    spec, op = operator.spec, operator.overload(derivation)
    count = len(op._schema.returns)
    if spec.lift == "tensor":
        rules = tensor_rules(roles(spec, derivation))

        def strategy(*args: Any) -> list[Rule]:
            return rules
    else:

        def strategy(*args: Any) -> list[Rule]:
            return elementwise_rules([arg.shape for arg in args], count)

    register_sharding(op)(strategy)
