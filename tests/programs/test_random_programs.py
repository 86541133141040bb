"""Random programs: every stage keeps what Python means, and derivatives are those of torch and of finite differences.

The programs are ``tests/strategies``; everything runs in the reference interpreter. Derivatives are compared with
torch.autograd run over the same Python source, at every point and to the second order; and with finite differences
wherever those at two step sizes agree with each other, which they do unless a kink lies between.
"""

from __future__ import annotations

import numpy as np
from hypothesis import given

from ksc.ir.text import alpha_equal, parse, to_text
from ksc.ir.verify import verify
from ksc.transforms import vjp
from tests.strategies.cases import Case, assert_close, check, examples, run
from tests.strategies.programs import RandomProgram, programs


@examples(1500)
@given(programs())
def test_the_ir_means_what_python_means(program: RandomProgram) -> None:
    def test(case: Case) -> None:
        verify(case.ir)
        for point in case.points():
            assert_close(run(case.ir, point.args), point.values, 1e-13)

    check(program, test)


@examples(500)
@given(programs())
def test_printed_ir_reads_back_as_the_same(program: RandomProgram) -> None:
    def test(case: Case) -> None:
        text = to_text(case.ir)
        again = parse(text)
        verify(again)
        assert alpha_equal(again, case.ir)
        assert to_text(again) == text

    check(program, test)


@examples(600)
@given(programs(size=60))
def test_vjp_is_the_transposed_jacobian(program: RandomProgram) -> None:
    def test(case: Case) -> None:
        reverse = vjp(case.ir)
        verify(reverse)
        for point in case.points():
            if point.tame and point.cotangents:
                bars = run(reverse, (*point.args, *point.cotangents))
                assert_close(bars, list(point.cotangents @ point.truth.jacobian), 1e-9)

    check(program, test)


@examples(300)
@given(programs(size=60))
def test_finite_differences_agree_with_the_oracle(program: RandomProgram) -> None:
    def test(case: Case) -> None:
        for point in case.points():
            slope = point.difference()
            if slope is not None and point.tame:
                np.testing.assert_allclose(slope, point.truth.jacobian @ case.direction, rtol=1e-6, atol=1e-6)

    check(program, test)
