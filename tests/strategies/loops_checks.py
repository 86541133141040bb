"""What is asked of random programs of loops: the passes keep what they and their derivatives give, and where they stop."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ksc.derive import derive
from ksc.errors import KernelRuntimeError
from ksc.frontend import Abstract, trace
from ksc.ir.interpret import interpret
from ksc.ir.nodes import Program, walk
from ksc.ir.types import Float, Integer, TensorType, is_differentiable
from ksc.ir.verify import verify
from ksc.passes import PIPELINE, Pass, prepare, processor_passes
from ksc.passes.forget_rules import forget_rules
from ksc.transforms import jacobian
from tests.strategies.loops import LoopProgram
from tests.strategies.tensors_cases import TensorCase, arrays

JACOBIAN = "jacobian"
"""Stands for the Jacobian with respect to ``z``, whose tangents are zero in most directions."""

LETTERS = ("", "v", "j", "b", "vj", JACOBIAN)
PROCESSOR = processor_passes(tensors=True, double=True)
TAME = 1e8

Outcome = list[Any] | str
Same = Callable[[Outcome, Outcome], bool]


def check(program: LoopProgram, letters: str) -> set[str]:
    """The names of the passes that change a derivation; AssertionError where one of them changes what it means.

    For all targets: what gave a value gives it still, as far as that is finite. An error may go with what nobody reads,
    and a derivative may know that a zero times infinity is zero. A factor that is not finite, taken out of a sum
    without terms, gives NaN, so derivatives are left out where arguments are not finite, or sizes are 0. For a
    processor: errors are the same, but for those in rows that nobody wants, and every number but those of a Jacobian
    where a tangent is absent.
    """
    with TensorCase(program) as case:
        primal = trace(case.function, described(program)).program
    raw = derived(primal, letters)
    verify(raw)
    pipeline = Stages(raw, PIPELINE)
    processor = Stages(pipeline.last, PROCESSOR)

    def still(found: Outcome, wanted: Outcome) -> bool:
        return isinstance(wanted, str) or agree(found, wanted, finite=True)

    def exactly(found: Outcome, wanted: Outcome) -> bool:
        gone = isinstance(wanted, str) and "wanted" in processor.changed
        return gone or agree(found, wanted, finite=letters == JACOBIAN)

    for point in program.points:
        good = arrays(program.arguments(point))
        for args in (good, spoilt(program, good, point[2])):
            values = outcome(primal, args)
            if isinstance(values, str) and letters not in ("", JACOBIAN):
                continue
            given = [*args, *seeds(primal, values, args, letters, point[2])]
            before, between = outcome(raw, given), outcome(pipeline.last, given)
            what = f"{letters!r} at {point} with {args} of {program!r}"
            if not letters or (is_finite(args) and all(point[:2])):
                pipeline.compare(given, between, still, before, what)
            processor.compare(given, outcome(processor.last, given), exactly, between, what)
    return pipeline.changed | processor.changed


class Stages:
    """A program after each of the passes that change it."""

    def __init__(self, program: Program, steps: Sequence[Pass]) -> None:
        self.stages: list[tuple[str, Program]] = []
        self.last = program
        for step in steps:
            after = step.run(self.last)
            if after is not self.last and shape(after) != shape(self.last):
                verify(after)
                self.stages.append((step.name, after))
            self.last = after

    @property
    def changed(self) -> set[str]:
        """The names of these passes."""
        return {name for name, _ in self.stages}

    def compare(self, args: Sequence[Any], found: Outcome, same: Same, wanted: Outcome, what: str) -> None:
        """Raise AssertionError with the name of the first pass after which the outcome is another."""
        if not same(found, wanted):
            wrong = [(name, got) for name, program in self.stages if not same(got := outcome(program, args), wanted)]
            name, got = wrong[0] if wrong else ("?", found)
            raise AssertionError(f"after {name}: {got}\ninstead of {wanted}\n{what}")


def shape(program: Program) -> list[tuple[str, int, int]]:
    """What tells a program from one that a pass has changed, without the names in it."""
    functions = program.functions.values()
    return [(eqn.op, len(eqn.args), len(eqn.outs)) for function in functions for eqn in walk(function.body)]


def described(program: LoopProgram) -> list[Abstract]:
    """The entry's parameters, with sizes that are written down known and all others not."""
    found = []
    for kind in program.kinds:
        if isinstance(kind, str):
            found.append(Abstract({"int": Integer, "float": Float}.get(kind, TensorType(1, Integer))))
        else:
            sizes = tuple(int(dim) if dim.isdigit() else None for dim in kind)
            found.append(Abstract(TensorType(len(kind), Float, sizes)))
    return found


def derived(primal: Program, letters: str) -> Program:
    """A derivation, or the Jacobian."""
    if letters != JACOBIAN:
        return forget_rules(derive(primal, letters))
    wrt = [k for k, param in enumerate(primal.main.params) if param.name == "z"]
    return forget_rules(jacobian(prepare(primal), wrt=wrt, mode="forward"))


def spoilt(program: LoopProgram, args: Sequence[Any], seed: int) -> list[Any]:
    """Arguments with one number that is not finite, one index that is another, or one row or column less."""
    choose = random.Random(f"{program.source} {seed}")
    args = [np.array(arg) if isinstance(arg, np.ndarray) else arg for arg in args]
    some = [k for k, arg in enumerate(args) if isinstance(arg, np.ndarray) and arg.size]
    if not some:
        return args
    k = choose.choice(some)
    dims = program.kinds[k]
    if isinstance(dims, str):
        args[k].flat[choose.randrange(args[k].size)] = choose.choice((-1, -2, -9, 3, 7, 50))
    elif choose.randrange(3):
        args[k].flat[choose.randrange(args[k].size)] = choose.choice((np.inf, -np.inf, np.nan, 0.0))
    else:
        axes = [axis for axis, dim in enumerate(dims) if not dim.isdigit()]
        args[k] = np.delete(args[k], -1, choose.choice(axes)) if axes else args[k]
    return args


def is_finite(args: Sequence[Any]) -> bool:
    """Whether all numbers of the arguments are."""
    return all(bool(np.isfinite(arg).all()) for arg in args)


def outcome(program: Program, args: Sequence[Any]) -> Outcome:
    """The results; what the error says where the program stops."""
    try:
        with np.errstate(all="ignore"):
            return list(interpret(program, args))
    except KernelRuntimeError as error:
        return str(error)


def agree(found: Outcome, wanted: Outcome, *, finite: bool) -> bool:
    """Whether two outcomes are the same error, or the same numbers; ``finite``, if only those of ``wanted`` count."""
    if isinstance(found, str) or isinstance(wanted, str):
        return found == wanted
    mine, theirs = ([np.asarray(value, float) for value in values] for values in (found, wanted))
    scale = max(1.0, *(float(np.abs(value[np.isfinite(value)]).max(initial=0.0)) for value in theirs))
    if scale > TAME:
        return True
    for one, other in zip(mine, theirs, strict=True):
        # The interpreter does not know all sizes of a tensor without elements.
        if one.size == other.size == 0:
            continue
        known = np.isfinite(other)
        if one.shape != other.shape or not (np.abs(one[known] - other[known]) <= 1e-8 * scale).all():
            return False
        if not finite and not np.array_equal(one[~known], other[~known], equal_nan=True):
            return False
    return True


def seeds(primal: Program, values: Outcome, args: Sequence[Any], letters: str, seed: int) -> list[Any]:
    """Cotangents and tangents for what a derivation takes beside the arguments."""
    rng = np.random.default_rng(seed)
    types = [param.type for param in primal.main.params]

    def like(of: Sequence[Any], types: Sequence[Any]) -> list[Any]:
        moving = [np.shape(value) for value, type_ in zip(of, types, strict=True) if is_differentiable(type_)]
        return [rng.normal(size=shape) if shape else float(rng.normal()) for shape in moving]

    def bars() -> list[Any]:
        return like(values, primal.main.result_types) if not isinstance(values, str) else []

    match letters:
        case "v" | "b":
            return bars()
        case "j":
            return like(args, types)
        case "vj":
            return [*bars(), *like(args, types), *bars()]
    return []
