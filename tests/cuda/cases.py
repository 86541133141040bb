"""Programs of tensors with their derivatives and mapped forms, and what the reference interpreter makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ksc.derive import derive
from ksc.ir.interpret import interpret
from ksc.ir.nodes import Program
from ksc.ir.types import is_differentiable
from ksc.passes import optimise
from tests.codegen.harness import stored_as
from tests.codegen.tensor_programs import SAMPLES

DERIVATIONS = ("", "v", "j", "vj", "m", "vm")


@dataclass(frozen=True)
class Case:
    """One derivation of a program, with arguments and the results that are right."""

    name: str
    derivation: str
    program: Program
    arguments: Sequence[np.ndarray]
    expected: Sequence[Any]


def cases(
    name: str, program: Program, arguments: Sequence[Any], derivations: Sequence[str] = DERIVATIONS
) -> list[Case]:
    """A case for each derivation."""
    return [_case(name, program, arguments, derivation) for derivation in derivations]


def _case(name: str, program: Program, arguments: Sequence[Any], derivation: str) -> Case:
    generator = np.random.default_rng(len(derivation))
    args = list(arguments)
    for k, letter in enumerate(derivation):
        before = derive(program, derivation[:k])
        if letter == "m":
            args = [np.stack([np.asarray(arg)] * 3) for arg in args]
            continue
        types = [param.type for param in before.main.params]
        like = [arg for arg, type_ in zip(args, types, strict=True) if is_differentiable(type_)]
        if letter == "v":
            results = interpret(before, args)
            like = [r for r, type_ in zip(results, before.main.result_types, strict=True) if is_differentiable(type_)]
        args += [generator.standard_normal(np.shape(value)) for value in like]
    derived = optimise(derive(program, derivation))
    given = [np.asarray(a, stored_as(p.type, "float64")) for a, p in zip(args, derived.main.params, strict=True)]
    with np.errstate(all="ignore"):
        return Case(name, derivation, derived, given, interpret(derived, given))


def sample_cases(name: str) -> list[Case]:
    """The derivations of one of the samples, those of it that there are."""
    sample = SAMPLES[name]
    arguments = [5 if isinstance(a, int) and a > 100 else a for a in sample.arguments]
    return cases(name, optimise(sample.program), arguments)
