"""Random programs of ``tests/strategies``: the frontend, the text form and the passes keep what Python means."""

from __future__ import annotations

from hypothesis import given

from ksc.ir.nodes import Program
from ksc.ir.text import alpha_equal, parse, to_text
from ksc.ir.verify import verify
from ksc.passes import PIPELINE, optimise, processor_passes
from ksc.transforms import vjp
from tests.strategies.cases import Case, assert_close, check, examples, run
from tests.strategies.programs import RandomProgram, programs


@examples(200)
@given(programs())
def test_the_ir_means_what_python_means(program: RandomProgram) -> None:
    def test(case: Case) -> None:
        verify(case.ir)
        for point in case.points():
            assert_close(run(case.ir, point.args), point.values, 1e-13)

    check(program, test)


@examples(60)
@given(programs())
def test_printed_ir_reads_back_as_the_same(program: RandomProgram) -> None:
    def test(case: Case) -> None:
        for ir in (case.ir, vjp(case.ir)):
            text = to_text(ir)
            again = parse(text)
            verify(again)
            assert alpha_equal(again, ir)
            # Functions that call each other may change places.
            assert sorted(to_text(again).splitlines()) == sorted(text.splitlines())

    check(program, test)


@examples(45)
@given(programs(size=60))
def test_every_pass_keeps_the_meaning_of_the_function(program: RandomProgram) -> None:
    def test(case: Case) -> None:
        def steps(ir: Program) -> None:
            for point in case.points():
                assert_close(run(ir, point.args), point.values, 1e-11)

        after_each_pass(case.ir, steps)

    check(program, test)


@examples(35)
@given(programs(size=60))
def test_every_pass_keeps_the_meaning_of_the_gradient(program: RandomProgram) -> None:
    def test(case: Case) -> None:
        def steps(ir: Program) -> None:
            for point in case.points():
                if point.tame:
                    bars = run(ir, (*point.args, *point.cotangents))
                    assert_close(bars, point.gradient, 1e-9)

        after_each_pass(vjp(case.ir), steps)

    check(program, test)


@examples(30)
@given(programs(size=60))
def test_optimising_twice_changes_nothing_that_is_seen(program: RandomProgram) -> None:
    def test(case: Case) -> None:
        once = optimise(case.ir)
        twice = optimise(once)
        verify(twice)
        for point in case.points():
            assert_close(run(twice, point.args), point.values, 1e-11)

    check(program, test)


def after_each_pass(ir: Program, steps) -> None:
    """Verify and ``steps`` after every pass, those for a processor included; a failure names the pass."""
    for number, stage in enumerate((*PIPELINE, *processor_passes(tensors=False, double=True)), 1):
        ir = stage.run(ir)
        try:
            verify(ir)
            steps(ir)
        except Exception as error:
            error.add_note(f"after pass {number}, {stage.name}")
            raise
