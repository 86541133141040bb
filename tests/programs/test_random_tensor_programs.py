"""Random programs of tensors, from the frontend to compiled code; PyTorch's run of the same Python is the truth.

``KSC_TEST_EXAMPLES`` and ``KSC_TEST_SEED`` make more of them and others, as for random scalar programs.
"""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
from hypothesis import given

from ksc.derive import derive
from ksc.ir.interpret import interpret
from ksc.ir.verify import verify
from ksc.passes import optimise, optimise_for_processor
from ksc.transforms import jvp, vjp
from tests.strategies.cases import examples
from tests.strategies.packs import pack_program
from tests.strategies.tensors import TensorProgram, seeded_program, tensor_programs
from tests.strategies.tensors_cases import TensorPoint, arrays, assert_near
from tests.strategies.tensors_checks import (
    check,
    check_derivatives,
    check_optimised,
    check_value,
)
from tests.strategies.tensors_compiled import compare_compiled, compare_packs

PACKED = (9, 35, 40)
COUNTS = ((0, 3, 1), (31, 2, 2), (32, 4, 3), (33, 0, 4), (98, 3, 5))
FACTOR = float(os.environ.get("KSC_TEST_EXAMPLES", "1"))


def test_value_and_derivatives_are_those_of_pytorch() -> None:
    """Most programs are taken, and those are right."""
    taken = []

    @examples(20)
    @given(tensor_programs())
    def run(program: TensorProgram) -> None:
        def test(point: TensorPoint) -> None:
            check_value(point)
            check_derivatives(point)

        taken.append(check(program, test))

    run()
    assert sum(taken) >= 0.7 * len(taken), f"{sum(taken)} of {len(taken)} programs were taken"


@examples(5)
@given(tensor_programs(size=25, points=1))
def test_the_passes_keep_what_the_derivatives_are(program: TensorProgram) -> None:
    check(program, check_optimised)


@examples(5)
@given(tensor_programs(size=25, points=1))
def test_vmap_is_a_loop_over_lanes(program: TensorProgram) -> None:
    check(program, check_vmap)


def check_vmap(point: TensorPoint) -> None:
    """The mapped program, its vjp and the mapped vjp and jvp give each lane what PyTorch gives."""
    n, m, seed = point.shape
    lanes = [TensorPoint(point.case, (n, m, seed + k)) for k in range(3)]
    if any(lane.values is None or not lane.tame for lane in lanes):
        return
    wanted = {
        "m": [lane.values for lane in lanes],
        "v": [lane.gradient or lane.run(vjp(point.ir), lane.bars) for lane in lanes],
        "j": [lane.slope or lane.run(jvp(point.ir), lane.dots) for lane in lanes],
    }
    for letters in ("m", "vm", "mv", "jm"):
        kind = letters.replace("m", "") or "m"
        rows = [arrays([*lane.args, *({"v": lane.bars, "j": lane.dots, "m": []}[kind])]) for lane in lanes]
        columns = [np.stack([np.asarray(value) for value in column]) for column in zip(*rows, strict=True)]
        mapped = derive(point.ir, letters)
        for program in (mapped, optimise_for_processor(optimise(mapped), tensors=True, double=True)):
            verify(program)
            found = interpret(program, columns)
            for k, want in enumerate(wanted[kind]):
                assert_near([column[k] for column in found], want, 1e-8, f"lane {k} of {letters}")


def test_compiled_is_interpreted() -> None:
    """Some programs in one library, with derivatives to the second order."""
    compare_compiled([seeded_program(seed, size=25, points=1) for seed in range(round(8 * FACTOR))])


def test_sums_over_points_in_packs_are_interpreted() -> None:
    """Counts of points are around the lanes of a pack; the seeds are of short programs that run in packs."""
    seeds = PACKED if FACTOR <= 1 else range(round(10 * FACTOR))
    packed = compare_packs([replace(pack_program(seed), points=COUNTS) for seed in seeds])
    assert FACTOR > 1 or packed == len(PACKED)
