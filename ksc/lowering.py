"""From a Python function to a kernel's program: traced, then stepped, then mapped where it is a tensor operator."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

from ksc.arguments import KINDS, abstract_leaves, element
from ksc.errors import ArgumentError, UnsupportedError
from ksc.frontend import trace
from ksc.frontend.values import Value
from ksc.ir.nodes import Program, walk
from ksc.ir.sizes import ShapeProgram
from ksc.ir.text import exact_fingerprint, fingerprint
from ksc.ir.types import TensorType, Type
from ksc.mapping import Backend, Mapping
from ksc.recall.facts import Facts
from ksc.timings import timed
from ksc.torch.spec import ArgSpec, OpSpec, ResultSpec
from ksc.transforms import vmap
from ksc.transforms.shapes import shapes

if TYPE_CHECKING:
    from ksc.specialise import Lanes
    from ksc.steps import Step


_BACKENDS: dict[Backend, str] = {"compile": "", "interpret": "interpreted"}
"""What the name of an operator says of its backend."""


@dataclass(frozen=True, slots=True, eq=False)
class Lowered:
    """The program of a kernel before any pass, and what calls need to know of it."""

    program: Program
    facts: Facts


def lower(
    fn: Callable[..., Any],
    params: Sequence[Value],
    names: Sequence[str],
    steps: Sequence[Step],
    mapping: Mapping,
    lanes: Sequence[Lanes],
    added: Sequence[Lanes],
) -> Lowered:
    """The program of ``fn`` for one structure of arguments.

    Args:
        fn: the user's function.
        params: the abstract value of each parameter.
        names: the names of the parameters.
        steps: what is done to the traced program before all else.
        mapping: how the function meets tensors.
        lanes: for each leaf of the parameters how it is mapped.
        added: likewise for the leaves that the last step adds.

    Raises what ``trace`` and the steps do; ArgumentError or UnsupportedError where the mapping does not fit.
    """
    with timed("trace"):
        traced = trace(fn, params)
    program, result = traced.program, traced.result
    sizes = shapes(program) if steps and (added or _has_tensors(program)) else None
    for step in steps:
        before = program
        with timed(f"transform {step.name}"):
            program, result = step(before, params, result)
        sizes = step.sizes(params, before, sizes) if sizes is not None else None
    lane_ranks = tuple(_rank(type_) for type_ in program.main.result_types)
    for level in mapping.levels:
        level.of_results(len(lane_ranks))
    lanes = (*lanes, *added)
    takes_tensors = _has_tensors(program) or not _is_one_map(mapping, lanes)
    if takes_tensors and mapping.lift == "broadcast":
        raise UnsupportedError(
            f"elementwise maps functions of numbers, and {program.main.name} takes or gives a tensor",
            remedy="use vmap, which maps over a leading dimension, or register",
            span=traced.span,
        )
    found: ShapeProgram | None = None
    if takes_tensors:
        program, found = _mapped(program, sizes, mapping, lanes)
    lift = "tensor" if takes_tensors else mapping.lift
    numbers = found.values_used if found is not None else ()
    spec = OpSpec(
        name=f"{kernel_name(fn)}_{fingerprint(program)[:12]}_{lift}{_BACKENDS[mapping.backend]}",
        args=tuple(
            ArgSpec(
                path.replace(".", "_"),
                KINDS[element(param.type)],
                lane.shared,
                _sizes(param.type),
                lane.mapped if takes_tensors else (),
                k in numbers,
            )
            for k, (path, lane, param) in enumerate(
                zip(_paths(params, names, len(added)), lanes, program.main.params, strict=True)
            )
        ),
        results=tuple(ResultSpec(KINDS[element(type_)], rank=_rank(type_)) for type_ in program.main.result_types),
        lift=lift,
        partial_seeds=True,
        shapes=found,
        doc=inspect.cleandoc(fn.__doc__ or ""),
        span=traced.span,
    )
    calls_back = any(eqn.op == "callback" for f in program.functions.values() for eqn in walk(f.body))
    facts = Facts(spec, result, lane_ranks, exact_fingerprint(program), traced.guards, calls_back=calls_back)
    return Lowered(program, facts)


def kernel_name(fn: Callable[..., Any]) -> str:
    """What the kernel of a function is called."""
    name = getattr(fn, "__name__", "")
    return name if name.isidentifier() else "kernel"


def _paths(params: Sequence[Value], names: Sequence[str], added: int) -> list[str]:
    """How a person names each leaf; those that a step adds have names that no parameter has."""
    paths = [path for param, name in zip(params, names, strict=True) for path, _ in abstract_leaves(param, name)]
    prefixes = ("seeds" + "_" * n for n in count(1))
    seeds = next(prefix for prefix in prefixes if not any(path.startswith(prefix) for path in paths))
    return [*paths, *(f"{seeds}{k}" for k in range(added))]


def _rank(type_: Type) -> int:
    return type_.rank if isinstance(type_, TensorType) else 0


def _sizes(type_: Type) -> tuple[int | None, ...]:
    return type_.sizes if isinstance(type_, TensorType) else ()


def _has_tensors(program: Program) -> bool:
    types = [*(param.type for param in program.main.params), *program.main.result_types]
    return any(isinstance(type_, TensorType) for type_ in types)


def _is_one_map(mapping: Mapping, lanes: Sequence[Lanes]) -> bool:
    """Whether a function of numbers, mapped like this, is applied to each element of tensors of one shape."""
    if len(mapping.levels) <= 1:
        return True
    return mapping.is_plain and all(all(lane.mapped) or not any(lane.mapped) for lane in lanes)


def _mapped(
    program: Program, sizes: ShapeProgram | None, mapping: Mapping, lanes: Sequence[Lanes]
) -> tuple[Program, ShapeProgram]:
    """The program of a tensor operator, the mapped dimensions being the first ones, and the sizes of its results."""
    found = sizes if sizes is not None else shapes(program)
    for depth in range(len(mapping.levels) - 1, -1, -1):
        flags = [lane.mapped[depth] for lane in lanes]
        if not any(flags):
            raise ArgumentError("vmap has no tensor to map over", remedy="pass one tensor at least; a number is shared")
        try:
            found = found.mapped(flags)
        except ValueError:
            raise ArgumentError(
                "a size depends on an int that differs between the lanes of vmap",
                remedy="share it with in_dims=None",
            ) from None
        with timed("transform vmap"):
            program = vmap(program, [0 if flag else None for flag in flags])
    return program, found
