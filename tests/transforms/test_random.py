"""Random programs: both modes agree with each other and with what the pipeline makes of them, to the second order."""

import numpy as np
from hypothesis import given

from ksc.passes import optimise
from ksc.transforms import jvp, vjp
from tests.strategies.cases import Case, assert_close, check, examples, run
from tests.strategies.programs import RandomProgram, programs
from tests.transforms.oracle import active, checked, float_results, handed


def _agree(program, args, rng):
    """⟨w, J v⟩ = ⟨Jᵀ w, v⟩, before and after the pipeline."""
    w = rng.normal(size=len(float_results(program, program.main.result_types)))
    v = rng.normal(size=len(active(program)))
    reverse, forward = checked(vjp(program)), checked(jvp(program))
    pulled, pushed = run(reverse, (*args, *w)), run(forward, (*args, *v))
    assert_close(run(checked(optimise(reverse)), (*args, *w)), pulled, 1e-10)
    assert_close(run(checked(optimise(forward)), (*args, *v)), pushed, 1e-10)
    values = float_results(program, run(program, args))
    assert_close(run(handed(program), (*args, *values, *w)), pulled, 1e-10)
    if np.isfinite(pulled).all() and np.isfinite(pushed).all():
        terms = np.abs(np.multiply(pulled, v)).sum() + np.abs(np.multiply(w, pushed)).sum()
        assert abs(np.dot(pulled, v) - np.dot(w, pushed)) <= 1e-9 * max(1.0, terms)
    return reverse, (*args, *w)


@examples(25)
@given(programs(size=50))
def test_the_modes_agree(program: RandomProgram) -> None:
    def test(case: Case) -> None:
        for point in case.points():
            if point.tame and point.cotangents:
                rng = np.random.default_rng(0)
                reverse, args = _agree(case.ir, point.args, rng)
                _agree(reverse, args, rng)

    check(program, test)
