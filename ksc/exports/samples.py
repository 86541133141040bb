"""Calls with their results, as Python computes them, for an exported library to be tested with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from ksc.errors import ArgumentError, KernelRuntimeError
from ksc.exports.model import ExportedKernel
from ksc.exports.signature import Slot

LARGEST = 1 << 16
"""How many numbers a recorded call may hold."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One call of one derivation: arguments and results in the order of its signature, Floats of ``dtype``."""

    kernel: ExportedKernel
    dtype: torch.dtype
    derivation: str
    args: tuple[torch.Tensor, ...]
    results: tuple[torch.Tensor, ...]


def samples(kernel: ExportedKernel, dtype: torch.dtype) -> Iterator[Sample]:
    """A call of each derivation, with the example's arguments or, where there is no example, with some numbers.

    Raises ArgumentError for an example that is too large, and KernelRuntimeError where the kernel stops at it.
    """
    given = kernel.inputs if kernel.inputs is not None else _made_up(kernel)
    primals = [value.to(dtype) if value.is_floating_point() else _plain(value) for value in given]
    if not kernel.takes_tensors:
        primals = _lanes(kernel, primals)
    if sum(primal.numel() for primal in primals) > LARGEST:
        raise ArgumentError(
            f"the example of {kernel.name} holds more than {LARGEST} numbers, all of which a test would repeat",
            remedy="give a smaller one: only the number of dimensions, and which sizes are 1, count",
        )
    try:
        values = _call(kernel, "", primals)
    except KernelRuntimeError:
        if kernel.inputs is not None:
            raise
        return
    for derivation in kernel.derivations:
        signature = kernel.signature(derivation)
        generator = torch.Generator().manual_seed(0)
        sizes = [_seed_sizes(kernel, slot, primals, values) for slot in signature.args[len(primals) :]]
        args = [*primals, *(torch.randn(size, generator=generator, dtype=torch.float64).to(dtype) for size in sizes)]
        if derivation.endswith("b"):
            # The operator has no such overload, only its halves.
            before = derivation[:-1]
            count = len(kernel.signature(before).args)
            results = [*_call(kernel, before, args[:count]), *_call(kernel, before + "v", args)]
        else:
            results = _call(kernel, derivation, args)
        yield Sample(kernel, dtype, derivation, tuple(args), tuple(results))


def _call(kernel: ExportedKernel, derivation: str, args: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    numbers = [
        value.item() if k < len(kernel.spec.args) and kernel.spec.args[k].is_number else value
        for k, value in enumerate(args)
    ]
    with torch.no_grad():
        results = kernel.special.operator.overload(derivation)(*numbers)
    return list(results) if isinstance(results, tuple | list) else [results]


def _seed_sizes(
    kernel: ExportedKernel, slot: Slot, primals: Sequence[torch.Tensor], values: Sequence[torch.Tensor]
) -> Sequence[int]:
    if not kernel.takes_tensors:
        # Every lane has one.
        return () if slot.shared else max((primal.shape for primal in primals), key=len, default=())
    return [(primals if owner == "arg" else values)[k].shape[dim] for owner, k, dim in slot.sizes]


def _plain(value: torch.Tensor) -> torch.Tensor:
    return value if value.dtype == torch.bool else value.to(torch.int64)


def _lanes(kernel: ExportedKernel, primals: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """One dimension of lanes, or none where the function takes numbers alone."""
    if kernel.spec.lift == "scalar":
        return list(primals)
    mapped = [k for k, arg in enumerate(kernel.spec.args) if not arg.shared]
    spread = torch.broadcast_tensors(*(primals[k] for k in mapped))  # type: ignore[no-untyped-call]
    found = list(primals)
    for k, lanes in zip(mapped, spread, strict=True):
        found[k] = lanes.reshape(-1)
    return found


def _made_up(kernel: ExportedKernel) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    found = []
    for k, arg in enumerate(kernel.spec.args):
        sizes: tuple[int, ...] = tuple(3 if size is None else size for size in arg.sizes)
        if not kernel.takes_tensors:
            sizes = () if arg.shared or kernel.spec.lift == "scalar" else (9,)
        if arg.kind == "float":
            value = 2 * torch.rand(sizes, generator=generator, dtype=torch.float64) - (0.5 if not sizes else 1)
        elif arg.kind == "int":
            value = torch.randint(1, 5, sizes, generator=generator)
        else:
            value = torch.rand(sizes, generator=generator) < 0.5
        found.append(value if k or not sizes else value.sort(0).values)
    return tuple(found)
