"""The operands of each derivation of a kernel, and where their sizes come from.

What ``derive`` of ``ksc/torch/csrc/operator.cpp`` is for operators, here for the functions of an exported library.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ksc.codegen.cpp.names import identifier
from ksc.errors import ArgumentError
from ksc.torch.spec import ArgSpec, Kind, OpSpec, derivation_steps

SizeRef = tuple[Literal["arg", "result"], int, int]
"""Dimension ``[2]`` of argument or result number ``[1]`` of the primal."""

_DERIVATION = re.compile(r"(?:[vjm][01]*)*(?:b[01]*)?")


@dataclass(frozen=True, slots=True)
class Slot:
    """An argument or a result of a function.

    Attributes:
        name: a C identifier that no other operand of the function has.
        kind: of its elements.
        sizes: where the size in each dimension comes from; () for a number.
        known: sizes that are compiled in, else None.
        shared: of an elementwise kernel: one number for all lanes.
        seed: a cotangent or a tangent.
    """

    name: str
    kind: Kind
    sizes: tuple[SizeRef, ...] = ()
    known: tuple[int | None, ...] = ()
    shared: bool = False
    seed: bool = False


@dataclass(frozen=True, slots=True)
class Signature:
    """The operands of a function."""

    args: tuple[Slot, ...]
    results: tuple[Slot, ...]


def signature(spec: OpSpec, derivation: str, result_names: Sequence[str]) -> Signature:
    """The operands of a derivation without ``m``. Raises ArgumentError where there is no such derivation."""
    current = _primal(spec, result_names)
    for letter, seeds, _ in steps(spec, derivation):
        current = _derived(current, letter, seeds)
    return current


def steps(spec: OpSpec, derivation: str) -> list[tuple[str, str, int]]:
    """The letters of a derivation, each with its digits and how many there may be.

    Raises ArgumentError where it is none of this kernel.
    """
    if _DERIVATION.fullmatch(derivation) is None:
        raise ArgumentError(
            f"{derivation!r} is not a derivation that can be exported",
            remedy="v is the vjp, j the jvp, b the value and the vjp, vj the jvp of the vjp",
        )
    if derivation.strip("m01") and not (spec.float_args and spec.float_results):
        raise ArgumentError(f"{spec.title} has no derivative: it takes or gives no float")
    found = []
    current = _primal(spec, [""] * len(spec.results))
    for letter, seeds in derivation_steps(derivation):
        of = current.args if letter == "m" else _floats(current.args if letter == "j" else current.results)
        if seeds and (len(seeds) != len(of) or "1" not in seeds):
            raise ArgumentError(
                f"{derivation!r} of {spec.title} takes {len(of)} digit(s) after {letter}, one of them 1"
            )
        found.append((letter, seeds, len(of)))
        current = current if letter == "m" else _derived(current, letter, seeds)
    return found


def _primal(spec: OpSpec, result_names: Sequence[str]) -> Signature:
    taken: set[str] = set()
    args = tuple(_argument(i, arg, _unique(arg.name, taken)) for i, arg in enumerate(spec.args))
    results = tuple(
        Slot(_unique(name, taken), result.kind, tuple(("result", i, d) for d in range(result.rank)))
        for i, (name, result) in enumerate(zip(result_names, spec.results, strict=True))
    )
    return Signature(args, results)


def _argument(position: int, arg: ArgSpec, name: str) -> Slot:
    return Slot(name, arg.kind, tuple(("arg", position, d) for d in range(len(arg.sizes))), arg.sizes, arg.shared)


def _derived(of: Signature, letter: str, seeds: str) -> Signature:
    seeded = _floats(of.args if letter == "j" else of.results)
    given = _floats(of.results if letter == "j" else of.args)
    suffix = "_dot" if letter == "j" else "_bar"
    taken = {slot.name for slot in (*of.args, *of.results)}
    chosen = [slot for slot, seed in zip(seeded, seeds, strict=True) if seed == "1"] if seeds else seeded
    added = [replace(slot, name=_unique(slot.name + suffix, taken), seed=True) for slot in chosen]
    results = [replace(slot, name=_unique(slot.name + suffix, taken), shared=False) for slot in given]
    return Signature((*of.args, *added), (*(of.results if letter == "b" else ()), *results))


def _floats(slots: Iterable[Slot]) -> list[Slot]:
    return [slot for slot in slots if slot.kind == "float"]


_RESERVED = re.compile(r"context|n|found|operands|host|s[0-9]+|want[0-9]+|restrict|inline|bool|true|false")
"""What no operand is called: other variables of an exported function, and words of C alone."""


def c_identifier(name: str) -> str:
    """A legal identifier in C and in C++ for ``name``."""
    return f"{name}_" if _RESERVED.fullmatch(name) else identifier(name)


def _unique(name: str, taken: set[str]) -> str:
    found = free_name(c_identifier(name), taken)
    taken.update(_with_companions(found))
    return found


def free_name(name: str, taken: Collection[str]) -> str:
    """``name``, or the first of ``name_2``, ``name_3`` … that is not taken."""
    found, k = name, 1
    while any(companion in taken for companion in _with_companions(found)):
        k += 1
        found = f"{name}_{k}"
    return found


def _with_companions(name: str) -> tuple[str, ...]:
    """Beside an operand there may be a parameter for its stride or its sizes."""
    return name, f"{name}_stride", f"{name}_sizes"
