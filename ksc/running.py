"""Running a specialisation on the flat arguments of a call: numbers as tensors, mapped dimensions in front."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch

from ksc.arguments import NUMBER_DTYPES, Leaf
from ksc.frontend.values import Abstract, leaves
from ksc.mapping import Mapping, inverse, permuted

if TYPE_CHECKING:
    from ksc.specialise import Specialisation

CallKind = Literal["primal", "vjp", "jvp"]


def run(
    mapping: Mapping, special: Specialisation, given: Sequence[Leaf], seeds: Sequence[Any], kind: CallKind
) -> Sequence[Any]:
    """The flat results; numbers alone are computed in float64 and give numbers."""
    values = [leaf.value for leaf in given]
    numbers = not any(isinstance(value, torch.Tensor) for value in (*values, *seeds))
    if numbers:
        values = [torch.tensor(leaf.value, dtype=NUMBER_DTYPES[leaf.kind]) for leaf in given]
        seeds = [torch.tensor(seed, dtype=torch.float64) for seed in seeds]
    if not mapping.is_plain:
        if kind == "primal":
            return permuted_call(mapping, special, given)(*values)
        return _permuted_derivative(mapping, special, given, values, seeds, kind)
    results = special.call(kind)(*values, *seeds)
    flat = results if isinstance(results, tuple) else (results,)
    return _as_numbers(special, flat, kind) if numbers else flat


def _permuted_derivative(
    mapping: Mapping,
    special: Specialisation,
    given: Sequence[Leaf],
    values: Sequence[Any],
    seeds: Sequence[Any],
    kind: Literal["vjp", "jvp"],
) -> Sequence[Any]:
    """The flat results of a derivative in which the mapped dimensions are not the first ones."""
    spec = special.spec
    arg_orders = [leaf.order for leaf in given]
    float_arg_orders = [arg_orders[k] for k in spec.float_args]
    values = [permuted(value, order) for value, order in zip(values, arg_orders, strict=True)]
    if kind == "jvp":
        seeds = [permuted(seed, order) for seed, order in zip(seeds, float_arg_orders, strict=True)]
    else:
        orders = _float_result_orders(mapping, special, [_dimensions(seed) for seed in seeds])
        seeds = [permuted(seed, inverse(order)) for seed, order in zip(seeds, orders, strict=True)]
    results = special.call(kind)(*values, *seeds)
    flat = results if isinstance(results, tuple) else (results,)
    if kind == "vjp":
        return [permuted(bar, inverse(order)) for bar, order in zip(flat, float_arg_orders, strict=True)]
    orders = _float_result_orders(mapping, special, [result.dim() for result in flat])
    return [permuted(result, order) for result, order in zip(flat, orders, strict=True)]


def permuted_call(mapping: Mapping, special: Specialisation, given: Sequence[Leaf]) -> Callable[..., tuple[Any, ...]]:
    """The operator for flat arguments like ``given``, whose mapped dimensions are not the first ones, as a function.

    What depends on the numbers of dimensions is settled here, so that Dynamo traces calls.
    """
    call, arg_orders = special.call("primal"), [tuple(leaf.order) for leaf in given]
    lane_ranks = special.lane_ranks
    if not special.takes_tensors:
        # A function of numbers gives tensors of the dimensions of its arguments.
        rank = max((len(order) for order in arg_orders), default=0)
        lane_ranks = (max(rank - len(mapping.levels), 0),) * len(lane_ranks)
    orders = [tuple(order) for order in mapping.result_orders(lane_ranks)]

    def call_permuted(*flat: Any) -> tuple[Any, ...]:
        results = call(*[permuted(value, order) for value, order in zip(flat, arg_orders, strict=True)])
        results = results if isinstance(results, tuple) else (results,)
        return tuple([permuted(result, order) for result, order in zip(results, orders, strict=True)])

    return call_permuted


def _float_result_orders(mapping: Mapping, special: Specialisation, ranks: Sequence[int]) -> list[Sequence[int]]:
    """How the float results, of these ranks, are permuted from having the mapped axes first."""
    positions, lane_ranks = special.spec.float_results, list(special.lane_ranks)
    for position, rank in zip(positions, ranks, strict=True):
        # A function of numbers is mapped over every dimension, so a lane of its vmap may have some left.
        lane_ranks[position] = max(rank - len(mapping.levels), 0)
    orders = mapping.result_orders(lane_ranks)
    return [orders[position] for position in positions]


def float_dtype(leaves: Iterable[Leaf]) -> torch.dtype:
    """The dtype that PyTorch promotes the float tensors among ``leaves`` to; float64 where there is no tensor."""
    tensors = [leaf.value for leaf in leaves if isinstance(leaf.value, torch.Tensor)]
    floats = [tensor for tensor in tensors if tensor.is_floating_point()]
    if not floats:
        return torch.get_default_dtype() if tensors else torch.float64
    result = floats[0]
    dtype = result.dtype
    for tensor in floats[1:]:
        dtype = torch.result_type(torch.empty(result.shape, dtype=dtype), tensor)
    return dtype


def _dimensions(value: Any) -> int:
    return value.dim() if isinstance(value, torch.Tensor) else 0


def _as_numbers(special: Specialisation, flat: Sequence[torch.Tensor], kind: CallKind) -> list[Any]:
    """Results of a call with numbers alone: numbers, but for what the function makes a tensor of."""
    if kind == "vjp":
        return [result.item() for result in flat]
    templates = [leaf for leaf in leaves(special.result) if isinstance(leaf, Abstract)]
    positions = range(len(templates)) if kind == "primal" else special.spec.float_results
    return [
        result if templates[position].is_tensor else result.item()
        for position, result in zip(positions, flat, strict=True)
    ]
