"""The entries of a file: what lies between the host's calling convention and the functions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ksc.codegen.cpp.function import CppFunction
from ksc.codegen.cpp.names import Scope
from ksc.codegen.cpp.parallel import hands_on_runtime
from ksc.codegen.cpp.types import COMPUTE, STORAGE, cpp_type
from ksc.codegen.demand import memory_varies
from ksc.codegen.target import Target
from ksc.codegen.unit import Unit
from ksc.errors import InvalidIRError, UnsupportedError
from ksc.ir.nodes import Program
from ksc.ir.types import FloatType, TensorType, Type, is_scalar

MOST_DIMENSIONS = 8
"""KS_CUDA_MOST_DIMENSIONS of prelude/ks/cuda/device.h."""
MOST_OPERANDS = 240
"""Their descriptors, of 136 bytes each, are parameters of a kernel, which has 32764 bytes for all."""


@dataclass(frozen=True, slots=True)
class Operand:
    """A result or argument of an entry.

    Attributes:
        name: the variable that holds it.
        stored: the type of its elements in the host's memory.
        rank: 0 for a scalar.
        sizes: those of a tensor as template arguments, -1 where any will do; empty if all are such.
    """

    name: str
    stored: str
    rank: int
    sizes: str = ""


@dataclass(frozen=True, slots=True)
class Lane:
    """A lambda that an elementwise entry maps over its lanes, one after the other or side by side.

    Attributes:
        name: the variable that holds it.
        parameters: what it takes; results are references.
        function: the function that it calls.
        call: the expression that does.
    """

    name: str
    parameters: Sequence[str]
    function: CppFunction
    call: str


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry for the template.

    Attributes:
        symbol: the C symbol.
        function: the function behind it.
        results: what it writes.
        arguments: what it reads.
        lane: what an elementwise entry maps over its lanes.
        packs: what it maps over packs of lanes, if that is another.
        call: the expression that calls the function.
        allocates: whether that may need scratch memory.
        file: the user's.
        needs: of an entry for a GPU, what a launch takes: some of ``ks_cuda_needs``.
    """

    symbol: str
    function: CppFunction
    results: Sequence[Operand]
    arguments: Sequence[Operand]
    lane: Lane
    packs: Lane | None
    call: str
    allocates: bool
    file: str
    needs: Sequence[str]


def make_entry(symbol: str, function: CppFunction, program: Program, unit: Unit, target: Target) -> Entry:
    """The entry of a unit's kind for a program, whose main function is the one printed.

    Raises InvalidIRError where an operand has no form in it, UnsupportedError where the target takes fewer dimensions.
    """
    callee, compute, main = function.callee, COMPUTE[unit.dtype], program.main
    taken = {callee.name, "results", "arguments", "all", "lane", "lanes", "operands", "host"}
    scope = Scope(reserved=frozenset(taken | ({"about", "device"} if target.is_grid else set())))
    arguments = [_operand(scope.declare(param.name), param.type, unit) for param in main.params]
    results = [
        _operand(scope.declare(name), type_, unit)
        for name, type_ in zip(callee.results, main.result_types, strict=True)
    ]
    if target.is_grid and any(operand.rank > MOST_DIMENSIONS for operand in (*arguments, *results)):
        raise UnsupportedError(
            f"a tensor of more than {MOST_DIMENSIONS} dimensions is taken or given by a kernel for a GPU",
            remedy="join dimensions with reshape before and after, or run it on the CPU",
            span=main.span,
            code="KS119",
        )
    count = len(arguments) + len(results)
    if target.is_grid and count > MOST_OPERANDS:
        raise UnsupportedError(
            f"a kernel for a GPU takes and gives {count} values, and can {MOST_OPERANDS} at most",
            remedy="join tensors with torch.stack or torch.cat before, or run it on the CPU",
            span=main.span,
            code="KS119",
        )
    given = [f"{cpp_type(p.type, compute)} {argument.name}" for p, argument in zip(main.params, arguments, strict=True)]
    given += [f"{result.stored} &{result.name}" for result in results]
    lane = _lane("lane", function, given, arguments, checked=function.packed is not None)
    packs = None
    if function.packed is not None:
        pack = function.packed.width
        side_by_side = [
            f"{pack if isinstance(p.type, FloatType) else cpp_type(p.type, compute)} {argument.name}"
            for p, argument in zip(main.params, arguments, strict=True)
        ]
        side_by_side += [f"{cpp_type(t, pack)} &{r.name}" for t, r in zip(main.result_types, results, strict=True)]
        packs = _lane("lanes", function.packed, side_by_side, arguments, checked=True)
    allocates = any(hands_on_runtime(line.text) for line in function.lines)
    file = (unit.source.rpartition(":")[0] or unit.name).replace("\\", "\\\\").replace('"', '\\"')
    needs = tuple(_needs(program, unit, function, allocates)) if target.is_grid else ()
    return Entry(symbol, function, results, arguments, lane, packs, lane.call, allocates, file, needs)


def _lane(
    name: str, function: CppFunction, parameters: Sequence[str], arguments: Sequence[Operand], *, checked: bool
) -> Lane:
    names = [argument.name for argument in arguments]
    if function.callee.needs_runtime:
        names.insert(0, "rt")
        parameters = ["ks::runtime &rt", *parameters]
    elif checked:
        parameters = ["ks::runtime &", *parameters]
    return Lane(name, parameters, function, f"{function.callee.name}({', '.join(names)})")


def _operand(name: str, type_: Type, unit: Unit) -> Operand:
    if unit.kind == "elementwise" and not is_scalar(type_):
        raise InvalidIRError(f"an elementwise entry takes and gives scalars, not {type_}")
    elem, rank = (type_.elem, type_.rank) if isinstance(type_, TensorType) else (type_, 0)
    if not is_scalar(elem):
        raise InvalidIRError(f"an entry takes and gives scalars and tensors of them, not {type_}")
    stored = STORAGE[unit.dtype] if isinstance(elem, FloatType) else cpp_type(elem, "float")
    sizes = type_.sizes if isinstance(type_, TensorType) and any(size is not None for size in type_.sizes) else ()
    return Operand(name, stored, rank, ", ".join("-1" if size is None else str(size) for size in sizes))


def _needs(program: Program, unit: Unit, function: CppFunction, allocates: bool) -> Iterator[str]:
    """What a launch takes, by the names of ``ks_cuda_needs``."""
    if unit.kind == "tensor" or function.callee.needs_runtime:
        yield "KS_CUDA_STATE"
    if allocates:
        yield "KS_CUDA_MEMORY"
        if memory_varies(program, numbers_vary=unit.kind == "elementwise"):
            yield "KS_CUDA_VARYING"
        if unit.kind == "elementwise" or any("ks::own_memory" in line.text for line in function.lines):
            yield "KS_CUDA_PRIVATE"
