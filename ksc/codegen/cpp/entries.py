"""The entries of a file: what lies between the host's calling convention and the functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ksc.codegen.cpp.function import CppFunction
from ksc.codegen.cpp.names import Scope
from ksc.codegen.cpp.parallel import hands_on_runtime
from ksc.codegen.cpp.types import COMPUTE, STORAGE, cpp_type
from ksc.codegen.target import Target
from ksc.codegen.unit import Unit
from ksc.errors import InvalidIRError, UnsupportedError
from ksc.ir.nodes import Function
from ksc.ir.types import FloatType, TensorType, Type, is_scalar

MOST_DIMENSIONS = 8
"""KS_CUDA_MOST_DIMENSIONS of prelude/ks/cuda/device.h."""


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
class Entry:
    """An entry for the template.

    Attributes:
        symbol: the C symbol.
        function: the function behind it.
        results: what it writes.
        arguments: what it reads.
        parameters: of the lambda that an elementwise entry maps over its lanes.
        call: the expression that calls the function.
        allocates: whether that may need scratch memory.
    """

    symbol: str
    function: CppFunction
    results: Sequence[Operand]
    arguments: Sequence[Operand]
    parameters: Sequence[str]
    call: str
    allocates: bool


def make_entry(symbol: str, function: CppFunction, main: Function, unit: Unit, target: Target) -> Entry:
    """The entry of a unit's kind for a function.

    Raises InvalidIRError where an operand has no form in it, UnsupportedError where the target takes fewer dimensions.
    """
    callee, compute = function.callee, COMPUTE[unit.dtype]
    taken = {callee.name, "results", "arguments", "all", "lane", "operands", "host"}
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
    names = [argument.name for argument in arguments]
    parameters = [f"{cpp_type(p.type, compute)} {name}" for p, name in zip(main.params, names, strict=True)]
    parameters += [f"{result.stored} &{result.name}" for result in results]
    if callee.needs_runtime:
        names.insert(0, "rt")
        parameters.insert(0, "ks::runtime &rt")
    call = f"{callee.name}({', '.join(names)})"
    allocates = any(hands_on_runtime(line.text) for line in function.lines)
    return Entry(symbol, function, results, arguments, parameters, call, allocates)


def _operand(name: str, type_: Type, unit: Unit) -> Operand:
    if unit.kind == "elementwise" and not is_scalar(type_):
        raise InvalidIRError(f"an elementwise entry takes and gives scalars, not {type_}")
    elem, rank = (type_.elem, type_.rank) if isinstance(type_, TensorType) else (type_, 0)
    if not is_scalar(elem):
        raise InvalidIRError(f"an entry takes and gives scalars and tensors of them, not {type_}")
    stored = STORAGE[unit.dtype] if isinstance(elem, FloatType) else cpp_type(elem, "float")
    sizes = type_.sizes if isinstance(type_, TensorType) and any(size is not None for size in type_.sizes) else ()
    return Operand(name, stored, rank, ", ".join("-1" if size is None else str(size) for size in sizes))
