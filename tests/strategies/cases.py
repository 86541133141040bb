"""A random program with everything that its stages are checked against."""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, settings

from ksc.frontend import Abstract, trace
from ksc.ir.interpret import interpret
from ksc.ir.nodes import Program
from ksc.ir.types import Bool, Float, Integer
from tests.strategies.modules import SourceModule, torch_function
from tests.strategies.oracle import Derivatives, central_difference, flat, is_float
from tests.strategies.programs import Number, RandomProgram
from tests.strategies.reduce import reduce

TYPES = {"float": Float, "int": Integer, "bool": Bool}
WEIGHTS = np.array([0.7, -1.1])
DIRECTION = np.array([0.3, 0.8, -0.5])


def examples(count: int) -> settings:
    """Settings of a test that draws ``count`` programs, the same ones in each run.

    ``KSC_TEST_EXAMPLES`` is a factor for the count; with ``KSC_TEST_SEED=random`` the programs differ from run to run.
    """
    factor = float(os.environ.get("KSC_TEST_EXAMPLES", "1"))
    return settings(
        max_examples=max(1, round(count * factor)),
        derandomize=os.environ.get("KSC_TEST_SEED") != "random",
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


def check(program: RandomProgram, test: Callable[[Case], None]) -> None:
    """Run a test on a program; where it fails, it is the failure of a reduced program that is raised, with its source."""

    def failure(candidate: RandomProgram) -> Exception | None:
        try:
            with Case(candidate) as case:
                test(case)
        except Exception as error:
            return error
        return None

    error = failure(program)
    if error is not None:
        kind = _kind(error)
        small = reduce(program, lambda candidate: _kind(failure(candidate)) == kind)
        found = failure(small) or error
        found.add_note(f"{small!r}")
        raise found


def _kind(error: Exception | None) -> object:
    """What two failures of the same cause have in common."""
    if error is None or error.__traceback__ is None:
        return None
    last = traceback.extract_tb(error.__traceback__)[-1]
    message = re.sub(r"'\w+'|\d+", "", getattr(error, "message", ""))
    return type(error), getattr(error, "code", None), message, last.filename, last.name


class Case:
    """A random program, loaded and traced; to be used as a context."""

    def __init__(self, program: RandomProgram) -> None:
        self.random = program
        self._module = SourceModule(program.source)

    def __enter__(self) -> Case:
        self.function: Callable[..., Any] = getattr(self._module.__enter__(), self.random.entry)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._module.__exit__()

    @cached_property
    def ir(self) -> Program:
        """What the frontend makes of the program."""
        return trace(self.function, [Abstract(TYPES[kind]) for kind in self.random.kinds]).program

    @cached_property
    def twin(self) -> Callable[..., Any]:
        """The same function over torch's numbers."""
        return torch_function(self.random.source, self.random.entry)

    @property
    def direction(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """A tangent for each float argument."""
        return DIRECTION[: len(self.random.floats)]

    def python(self, point: Sequence[Number]) -> list[Number]:
        """The numbers that Python gives."""
        return flat(self.function(*point))

    def points(self) -> list[Point]:
        """The points where Python runs the program; some divide by what happens to be zero."""
        return [point for args in self.random.points if (point := Point(self, tuple(args))).runs]


@dataclass
class Point:
    """A case at one point."""

    case: Case
    args: tuple[Number, ...]

    @cached_property
    def values(self) -> list[Number]:
        """The results by Python."""
        return self.case.python(self.args)

    @property
    def runs(self) -> bool:
        """Whether Python gets to the end."""
        try:
            return bool(self.values)
        except ZeroDivisionError:
            return False

    @property
    def cotangents(self) -> list[float]:
        """One for each Float result."""
        return list(WEIGHTS[: sum(map(is_float, self.values))])

    @cached_property
    def truth(self) -> Derivatives:
        """The derivatives by torch."""
        return Derivatives(self.case.twin, self.case.random, self.args, WEIGHTS)

    @property
    def gradient(self) -> list[float]:
        """The transposed Jacobian times the cotangents."""
        return list(np.array(self.cotangents) @ self.truth.jacobian)

    @property
    def slope(self) -> list[float]:
        """The Jacobian times the case's direction."""
        return list(self.truth.jacobian @ self.case.direction)

    @property
    def size(self) -> float:
        """How large derivatives are here, for tolerances."""
        return float(np.abs(self.truth.jacobian).max(initial=0.0) + np.abs(self.truth.hessian).max(initial=0.0))

    @property
    def tame(self) -> bool:
        """Whether rounding is not magnified so much, here or on the way, that digits mean nothing."""
        pairs = zip(self.truth.values, self.values, strict=True)
        same = all(abs(a - b) <= 1e-12 * (1.0 + abs(b)) for a, b in pairs)
        return bool(same and np.all(np.abs(self.truth.jacobian) < 1e6) and np.all(np.abs(self.truth.hessian) < 1e9))

    def moved(self, step: float) -> tuple[Number, ...]:
        """The point, ``step`` along the case's direction."""
        args = list(self.args)
        for k, slope in zip(self.case.random.floats, self.case.direction, strict=True):
            args[k] += step * float(slope)
        return tuple(args)

    def difference(self) -> Any:
        """The derivative along the direction by finite differences of the Python function; None at a kink."""
        return central_difference(
            lambda step: np.array([value for value in self.case.python(self.moved(step)) if is_float(value)])
        )


def assert_close(found: Sequence[Any], wanted: Sequence[Any], tolerance: float, scale: float = 0.0) -> None:
    """Numbers agree: ints and bools exactly, floats to ``tolerance`` relative to their size, at least to one."""
    assert len(found) == len(wanted), (found, wanted)
    for a, b in zip(found, wanted, strict=True):
        if is_float(b):
            assert abs(a - b) <= tolerance * (1.0 + abs(b) + scale), (found, wanted)
        else:
            assert a == b and type(a) is type(b), (found, wanted)


def run(program: Program, args: Sequence[Any], width: Any = "f64") -> list[Any]:
    """The results by the reference interpreter."""
    return list(interpret(program, tuple(args), width=width))
