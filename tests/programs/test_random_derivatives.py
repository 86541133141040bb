"""Random programs of ``tests/strategies``: both modes, their compositions to the second order, and vmap.

Derivatives are compared with torch.autograd run over the same Python source, at every point; and with finite differences of
the Python function wherever those from two step sizes agree with each other, as they do unless a kink lies between.
"""

from __future__ import annotations

import numpy as np
from hypothesis import given

from ksc.ir.verify import verify
from ksc.passes import optimise
from ksc.transforms import jvp, vjp, vmap
from tests.strategies.cases import Case, assert_close, check, examples, run
from tests.strategies.programs import RandomProgram, programs


@examples(100)
@given(programs(size=60))
def test_both_modes_are_the_jacobian(program: RandomProgram) -> None:
    def test(case: Case) -> None:
        reverse, forward = vjp(case.ir), jvp(case.ir)
        verify(reverse)
        verify(forward)
        for point in case.points():
            if point.tame:
                bars = run(reverse, (*point.args, *point.cotangents))
                assert_close(bars, point.gradient, 1e-9)
                dots = run(forward, (*point.args, *case.direction))
                assert_close(dots, point.slope, 1e-9)
                # ⟨w, J v⟩ = ⟨Jᵀ w, v⟩ holds far more tightly than either agrees with anybody else.
                left, right = np.dot(point.cotangents, dots), np.dot(bars, case.direction)
                assert abs(left - right) <= 1e-12 * (1.0 + np.abs(point.truth.jacobian).sum())

    check(program, test)


@examples(60)
@given(programs(size=60))
def test_finite_differences_agree(program: RandomProgram) -> None:
    def test(case: Case) -> None:
        forward = optimise(jvp(case.ir))
        verify(forward)
        for point in case.points():
            slope = point.difference()
            if slope is not None and point.tame:
                np.testing.assert_allclose(slope, run(forward, (*point.args, *case.direction)), rtol=1e-6, atol=1e-6)

    check(program, test)


@examples(35)
@given(programs(size=50))
def test_with_value_gives_values_too(program: RandomProgram) -> None:
    def test(case: Case) -> None:
        reverse, forward = optimise(vjp(case.ir, with_value=True)), optimise(jvp(case.ir, with_value=True))
        for point in case.points():
            if point.tame:
                both = run(reverse, (*point.args, *point.cotangents))
                assert_close(both, [*point.values, *point.gradient], 1e-9)
                both = run(forward, (*point.args, *case.direction))
                assert_close(both, [*point.values, *point.slope], 1e-9)

    check(program, test)


@examples(45)
@given(programs(size=40))
def test_hessian_is_that_of_torch(program: RandomProgram) -> None:
    def test(case: Case) -> None:
        twice = optimise(jvp(optimise(vjp(case.ir))))
        verify(twice)
        for point in case.points():
            if point.tame:
                n, still = len(case.direction), [0.0] * len(point.cotangents)
                rows = [run(twice, (*point.args, *point.cotangents, *unit, *still)) for unit in np.eye(n)]
                assert_close(np.ravel(rows).tolist(), np.ravel(point.truth.hessian).tolist(), 1e-8, point.size)
                np.testing.assert_allclose(rows, np.transpose(rows), rtol=1e-9, atol=1e-10 * (1.0 + point.size))

    check(program, test)


@examples(30)
@given(programs(size=40))
def test_second_order_in_any_order_of_the_modes(program: RandomProgram) -> None:
    def test(case: Case) -> None:
        compositions = {
            f"{outer.__name__} of {inner.__name__}": outer(inner(case.ir))
            for inner in (vjp, jvp)
            for outer in (vjp, jvp)
        }
        for name, program in compositions.items():
            verify(program)
            for point in case.points():
                if point.tame:
                    found = second_order(name, case, point, program)
                    wanted = point.truth.hessian @ case.direction
                    if name == "jvp of jvp":
                        wanted = np.array([case.direction @ wanted])
                    assert_close(list(found), list(wanted), 1e-8, point.size)

    check(program, test)


def second_order(name, case, point, program):
    """The Hessian of ⟨w, f⟩ along the case's direction v, as each composition of modes gives it."""
    w, v = point.cotangents, list(case.direction)
    n = len(v)
    match name:
        case "jvp of vjp":
            return run(program, (*point.args, *w, *v, *(0.0 for _ in w)))
        case "vjp of vjp":
            return run(program, (*point.args, *w, *v))[:n]
        case "vjp of jvp":
            return run(program, (*point.args, *v, *w))[:n]
        case _:
            return [np.dot(w, run(program, (*point.args, *v, *v, *(0.0 for _ in v))))]


@examples(30)
@given(programs(size=40, points=3))
def test_vmap_is_a_loop_over_lanes(program: RandomProgram) -> None:
    def test(case: Case) -> None:
        points = case.points()
        if not all(point.tame for point in points):
            return
        columns = [np.array(column) for column in zip(*(point.args for point in points), strict=True)]
        mapped = vmap(case.ir)
        verify(mapped)
        for program in (mapped, optimise(mapped)):
            assert_rows(run(program, columns), [point.values for point in points])
        ones = [np.full(len(points), w) for w in points[0].cotangents]
        bars = [point.gradient for point in points]
        for program in (vmap(vjp(case.ir)), vjp(mapped), optimise(vjp(mapped))):
            verify(program)
            assert_rows(run(program, (*columns, *ones)), bars)
        along = [np.full(len(points), v) for v in case.direction]
        slopes = [point.slope for point in points]
        for program in (vmap(jvp(case.ir)), jvp(mapped), optimise(jvp(mapped))):
            verify(program)
            assert_rows(run(program, (*columns, *along)), slopes)

    check(program, test)


def assert_rows(found, wanted) -> None:
    for lane, row in enumerate(wanted):
        assert_close([column[lane].item() for column in found], row, 1e-9)
