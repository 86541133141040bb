"""What is asked of every random tensor program; PyTorch's run of the same Python is the truth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from ksc.derive import derive
from ksc.errors import KnossosError
from ksc.frontend.codes import CODES
from ksc.ir.nodes import Program
from ksc.ir.text import alpha_equal, parse, to_text
from ksc.ir.verify import verify
from ksc.passes import optimise, optimise_for_processor
from ksc.transforms import jvp, vjp
from tests.strategies.tensors import TensorProgram
from tests.strategies.tensors_cases import TensorCase, TensorPoint, assert_near, joined, kind_of
from tests.strategies.tensors_reduce import reduce_tensors

Test = Callable[[TensorPoint], None]


class RefusedError(Exception):
    """The frontend does not take the program, and says so with a code of its table."""


def check(program: TensorProgram, test: Test) -> bool:
    """Run a test at each point of a program; whether the frontend took the program.

    Where it fails, it is the failure of a reduced program that is raised, with its source.
    """
    error = failure(program, test)
    if error is None or isinstance(error, RefusedError):
        return error is None
    kind = kind_of(error)
    small = reduce_tensors(program, lambda candidate: kind_of(failure(candidate, test)) == kind)
    found = failure(small, test) or error
    found.add_note(f"{small!r}")
    raise found


def failure(program: TensorProgram, test: Test) -> Exception | None:
    """What a test raises on a program."""
    try:
        with TensorCase(program) as case:
            for point in case.points():
                traced(point)
                test(point)
    except Exception as error:
        return error
    return None


def traced(point: TensorPoint) -> Program:
    """The trace of a program. Raises RefusedError where the frontend does not take it."""
    try:
        return point.ir
    except KnossosError as error:
        if error.code in CODES:
            raise RefusedError(str(error)) from error
        raise


def check_value(point: TensorPoint) -> None:
    """The IR gives what PyTorch gives, and its text form is read back as the same."""
    verify(point.ir)
    assert point.values is not None
    assert_near(point.run(point.ir), point.values, 1e-9, "value")
    again = parse(to_text(point.ir))
    verify(again)
    assert alpha_equal(again, point.ir)


def check_derivatives(point: TensorPoint) -> None:
    """Both modes agree with PyTorch's, where it accepts what is changed in place, and with each other."""
    if not point.tame:
        return
    reverse, forward = vjp(point.ir), jvp(point.ir)
    verify(reverse)
    verify(forward)
    bars, dots = point.run(reverse, point.bars), point.run(forward, point.dots)
    if point.gradient is not None:
        assert_near(bars, point.gradient, 1e-8, "vjp")
    if point.slope is not None:
        assert_near(dots, point.slope, 1e-8, "jvp")
    assert_dual(point, bars, dots)


def assert_dual(point: TensorPoint, bars: list[object], dots: list[object]) -> None:
    """⟨w, J v⟩ = ⟨Jᵀ w, v⟩ holds far more tightly than either agrees with anybody else."""
    left, right = joined(point.bars) @ joined(dots), joined(bars) @ joined(point.dots)
    assert abs(left - right) <= 1e-10 * (1.0 + abs(left)), (left, right)


def check_optimised(point: TensorPoint) -> None:
    """The passes, those for a processor too, change neither the value nor the derivatives, to the second order."""
    if not point.tame:
        return
    found = {}
    for letters, more in seeds(point).items():
        derived = derive(point.ir, letters)
        verify(derived)
        better = optimise_for_processor(optimise(derived), tensors=True, double=True)
        verify(better)
        found[letters] = point.run(derived, *more)
        if np.abs(joined(found[letters])).max(initial=0.0) < 1e6:
            assert_near(point.run(better, *more), found[letters], 1e-8, f"optimised {letters!r}")
    if np.abs(joined(found["vj"])).max(initial=0.0) < 1e6:
        assert_near(found["vv"][: len(point.active)], found["vj"], 1e-8, "the second order of both modes")


def seeds(point: TensorPoint) -> dict[str, list[list[torch.Tensor]]]:
    """Cotangents and tangents for what derivations take beside the arguments."""
    zeros = [torch.zeros_like(bar) for bar in point.bars]
    return {
        "": [],
        "v": [point.bars],
        "j": [point.dots],
        "b": [point.bars],
        "vj": [point.bars, point.dots, zeros],
        "vv": [point.bars, point.dots],
    }
