"""Recorded calls as C: arrays of what is given and of what is expected, the call, and the comparison."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch

from ksc.codegen.cpp.generate import derivation_suffix
from ksc.exports.c_api import element, element_suffix
from ksc.exports.model import SUFFIXES, Library
from ksc.exports.samples import Sample, samples
from ksc.exports.signature import Slot

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-11}
"""Of the largest expected number: C libraries differ in the last places. Half precision is not compared."""


@dataclass
class RecordedCall:
    """A function of the test."""

    name: str
    lines: list[str] = field(default_factory=list)
    checks: set[str] = field(default_factory=set)


class HostMemory:
    """How a test in C calls functions with memory of the host."""

    null = "0"

    def given(self, array: str) -> str:
        """The pointer to an argument's numbers."""
        return array

    def place(self, array: str) -> str:
        """The pointer to the place for a result."""
        return array

    def struct(self, name: str, *members: str) -> str:
        """A struct among the arguments."""
        return f"({name}){{{', '.join(members)}}}"

    def call(self, library: str, stem: str, arguments: Sequence[str]) -> Iterator[str]:
        """The lines that call a function, and leave the test where it stops."""
        yield f"{library}_context context = {{0}};"
        yield f"if ({library}_{stem}({', '.join(['&context', *arguments])}) != 0) {{"
        yield f'    stopped("{stem}", &context);'
        yield "    return;"
        yield "}"


class DeviceMemory(HostMemory):
    """The same in C++ with memory of a GPU, which arguments are copied to and results from."""

    null = "nullptr"

    def given(self, array: str) -> str:
        """The pointer to an argument's numbers."""
        return f"gpu::given({array})"

    def place(self, array: str) -> str:
        """The pointer to the place for a result."""
        return f"gpu::place({array})"

    def struct(self, name: str, *members: str) -> str:
        """A struct among the arguments."""
        return f"{name}{{{', '.join(members)}}}"

    def call(self, library: str, stem: str, arguments: Sequence[str]) -> Iterator[str]:
        """The lines that call a function, and leave the test where it stops."""
        yield f'const bool found = gpu::run("{stem}", [&]({library}_context *context) {{'
        yield f"    return {library}_{stem}({', '.join(['context', *arguments])});"
        yield "});"
        yield "if (!found) {"
        yield "    return;"
        yield "}"


def recorded_calls(library: Library, memory: HostMemory | None = None) -> list[RecordedCall]:
    """A call of each function, with memory of the host unless another is told. Raises as ``samples`` does."""
    return [
        _call(library, sample, memory or HostMemory())
        for kernel in library.kernels
        for dtype in kernel.dtypes
        for sample in samples(kernel, dtype)
    ]


def _call(library: Library, sample: Sample, memory: HostMemory) -> RecordedCall:
    kernel, dtype = sample.kernel, sample.dtype
    signature = kernel.signature(sample.derivation)
    stem = f"{kernel.name}{derivation_suffix(sample.derivation)}_{SUFFIXES[dtype]}"
    call = RecordedCall(f"test_{stem}")
    scalar = kernel.spec.lift == "scalar"
    given = list(zip(signature.args, sample.args, strict=True))
    expected = list(zip(signature.results, sample.results, strict=True))
    for slot, value in given:
        if not _is_number(kernel.takes_tensors, scalar, slot):
            call.lines += _array(slot.name, slot, dtype, value, sizes=kernel.takes_tensors)
    for k, (slot, value) in enumerate(expected):
        call.lines.append(f"{element(slot, dtype)} {slot.name}[{max(1, value.numel())}] = {{0}};")
        if kernel.takes_tensors and slot.sizes:
            call.lines.append(_sizes(slot.name, value))
        if _is_compared(slot, dtype):
            call.lines += _array(f"want{k}", slot, dtype, value, sizes=False)
    arguments = []
    if not kernel.takes_tensors and not scalar:
        arguments.append(str(max((value.numel() for _, value in (*given, *expected)), default=1)))
    for slot, value in given:
        arguments += _passed(library, memory, kernel.takes_tensors, scalar, slot, dtype, value)
    for slot, _ in expected:
        place = memory.place(slot.name)
        if kernel.takes_tensors and slot.sizes:
            arguments.append(
                memory.struct(f"{library.name}_{element_suffix(slot, dtype)}_out", place, f"{slot.name}_sizes")
            )
        else:
            arguments += [place] if kernel.takes_tensors or scalar else [place, "1"]
    call.lines += memory.call(library.name, stem, arguments)
    for k, (slot, value) in enumerate(expected):
        if _is_compared(slot, dtype):
            check = element_suffix(slot, dtype)
            call.checks.add(check)
            tolerance = f", {TOLERANCE[dtype]}" if slot.kind == "float" else ""
            call.lines.append(
                f'check_{check}("{stem}: {slot.name}", {slot.name}, want{k}, {value.numel()}{tolerance});'
            )
    return call


def _is_compared(slot: Slot, dtype: torch.dtype) -> bool:
    return slot.kind != "float" or dtype in TOLERANCE


def _is_number(takes_tensors: bool, scalar: bool, slot: Slot) -> bool:
    return not slot.sizes if takes_tensors else scalar or slot.shared


def _passed(
    library: Library,
    memory: HostMemory,
    takes_tensors: bool,
    scalar: bool,
    slot: Slot,
    dtype: torch.dtype,
    value: torch.Tensor,
) -> list[str]:
    if _is_number(takes_tensors, scalar, slot):
        return list(_numbers(slot, dtype, value))
    given = memory.given(slot.name)
    if takes_tensors:
        name = f"{library.name}_{element_suffix(slot, dtype)}_in"
        return [memory.struct(name, given, f"{slot.name}_sizes", memory.null)]
    return [given, "1" if value.dim() else "0"]


def _array(name: str, slot: Slot, dtype: torch.dtype, value: torch.Tensor, *, sizes: bool) -> Iterator[str]:
    numbers = list(_numbers(slot, dtype, value))
    count = max(1, len(numbers))
    yield f"static const {element(slot, dtype)} {name}[{count}] = {{{', '.join(numbers) or '0'}}};"
    if sizes and slot.sizes:
        yield _sizes(name, value)


def _sizes(name: str, value: torch.Tensor) -> str:
    return f"static const int64_t {name}_sizes[] = {{{', '.join(map(str, value.shape))}}};"


def _numbers(slot: Slot, dtype: torch.dtype, value: torch.Tensor) -> Sequence[str]:
    flat = value.reshape(-1)
    if slot.kind == "bool":
        return [str(bool(x)).lower() for x in flat.tolist()]
    if slot.kind == "int":
        return [f"INT64_C({x})" if x > -(2**63) else "INT64_MIN" for x in flat.tolist()]
    if dtype in TOLERANCE:
        return [_number(x, "f" if dtype == torch.float32 else "") for x in flat.tolist()]
    return [str(x & 0xFFFF) for x in flat.to(dtype).view(torch.int16).tolist()]


def _number(x: float, suffix: str) -> str:
    if math.isnan(x):
        return "NAN"
    if math.isinf(x):
        return "INFINITY" if x > 0 else "-INFINITY"
    return f"{x!r}{suffix}" if x == 0.0 or 1e-4 < abs(x) < 1e16 else f"{x.hex()}{suffix}"
