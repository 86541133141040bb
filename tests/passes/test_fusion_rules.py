"""The rules of fusion one by one, each on a small program."""

import numpy as np
import pytest

from ksc.errors import KernelRuntimeError
from ksc.ir.interpret import interpret
from ksc.ir.nodes import walk
from ksc.ir.text import parse
from ksc.ir.verify import verify
from ksc.passes import prepare
from ksc.passes.fuse import fuse, fuse_neighbours
from ksc.passes.fuse.sums import turn_accumulations_into_sums
from tests.passes.temporaries import temporaries

I1 = "@(i : Integer)"
I2 = "@((i : Integer) (j : Integer))"


def read(text):
    """Parse a program in which ``@(i : Integer) expr`` stands for a lambda."""
    while "@" in text:
        head, _, tail = text.rpartition("@")
        params = _expression(tail, 0)
        end = _expression(tail, params)
        text = f"{head}(lam {tail[:end]}){tail[end:]}"
    return parse(text)


def _expression(text, start):
    depth = 0
    for k in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[k], 0)
        if depth == 0 and not text[start : k + 1].isspace():
            return k + 1
    raise ValueError(text)


def fused(text):
    program = fuse(read(text))
    verify(program)
    return program


def ops(program):
    return [eqn.op for eqn in walk(program.main.body)]


def test_a_program_of_scalars_is_left_alone():
    program = parse("(def f Float (x : Float) (add (pow x 3.0) (pow x 3.0)))")
    assert prepare(program) is program


@pytest.mark.parametrize(
    "view",
    [
        f"(build n {I1} (index (sub (sub n 1) i) t))",
        f"(build (tuple n n) {I2} (index i t))",
        f"(build (max (sub n 2) 0) {I1} (index (add i 2) t))",
        f"(build (mul n n) {I1} (index (imod i n) t))",
        f"(build n {I1} (index i (build n {I1} (index i t))))",
    ],
)
def test_views_are_read_through(view):
    program = fused(
        f"(def f Float (x : (Vec Float)) (let ((n (size x)) (t (build n {I1} (mul 2.0 (index i x)))) (v {view})) (sum v)))"
    )
    assert temporaries(program) == []


def test_transcendentals_are_not_computed_twice_nor_in_a_loop_that_repeats_them():
    for rest in (
        f"(add (sum t) (sum (build n {I1} (mul (index i t) 2.0))))",
        f"(sumbuild (tuple n n) {I2} (index i t))",
    ):
        program = fused(
            f"(def f Float (x : (Vec Float)) (let ((n (size x)) (t (build n {I1} (exp (index i x))))) {rest}))"
        )
        assert ops(program).count("exp") == 1
        assert len(temporaries(program)) == 1


def test_an_index_that_may_be_out_of_range_keeps_its_error():
    program = fused(
        f"""(def f Float ((x : (Vec Float)) (k : Integer))
             (let (t (build (size x) {I1} (mul 2.0 (index i x)))) (index k t)))"""
    )
    assert interpret(program, (np.ones(3), 2)) == (2.0,)
    with pytest.raises(KernelRuntimeError, match="out of range"):
        interpret(program, (np.ones(3), 3))


def test_an_element_that_may_fail_is_not_computed_where_it_may_not_be_read():
    program = fused(
        f"""(def f Float ((x : (Vec Float)) (at : (Vec Integer)))
             (let ((n (size at)) (t (build n {I1} (index (index i at) x))))
               (sumbuild (max (sub n 1) 0) {I1} (index i t))))"""
    )
    with pytest.raises(KernelRuntimeError, match="out of range"):
        interpret(program, (np.ones(3), [0, 1, 7]))


def test_effects_stay():
    program = fused(
        f"""(def f Float (x : (Vec Float))
             (let (t (build (size x) {I1} (assert (gt (index i x) 0.0) (index i x)))) (sum t)))"""
    )
    assert ops(program).count("assert") == 1
    assert len(temporaries(program)) == 1


def test_a_copy_is_the_tensor_itself():
    program = fused(f"(def f (Vec Float) (x : (Vec Float)) (build (size x) {I1} (index i x)))")
    assert ops(program) == []
    part = fused(f"(def f (Vec Float) ((x : (Vec Float)) (n : Integer)) (build n {I1} (index i x)))")
    assert ops(part) == ["build", "index"]


def test_loops_that_run_once_or_never_are_gone():
    program = fused(
        f"""(def f Float (x : (Tensor 1 Float 1))
             (add (sum x) (add (sumbuild 0 {I1} (index i x)) (sum (build 1 {I1} (sin (index i x)))))))"""
    )
    assert "reduce" not in ops(program)
    assert "build" not in ops(program)
    assert interpret(program, ([0.5],)) == (0.5 + np.sin(0.5),)


def test_neighbours_become_one_loop():
    source = read(
        f"""(def f Float (x : (Vec Float))
             (let ((n (size x)) (s (sum x)) (q (sumbuild n {I1} (mul (index i x) (index i x))))
                   (d (sumbuild n {I1} (sub (index i x) s))))
               (add (add s q) d)))"""
    )
    program = fuse_neighbours(fuse(source))
    verify(program)
    assert ops(program).count("reduce") == 2
    x = np.array([1.0, 2.0, 4.0])
    assert interpret(program, (x,)) == interpret(source, (x,))


def test_a_scalar_accumulator_is_a_sum():
    source = read(
        f"""(def f Float (x : (Vec Float))
             (withacc ((a 0.0)) (build (size x) {I1} (acc_add a (sin (index i x))))))"""
    )
    program = turn_accumulations_into_sums(source)
    verify(program)
    assert ops(program) == ["size", "reduce", "index", "sin"]


def test_long_chains_stay_small():
    steps = "".join(f"(t{k + 1} (build (size t{k}) {I1} (sin (index i t{k}))))\n" for k in range(300))
    program = fused(f"(def f Float (t0 : (Vec Float)) (let ({steps}) (sum t300)))")
    # Bodies are bounded, so a chain of 300 steps is a few loops, and nothing is computed twice.
    assert ops(program).count("sin") == 300
    assert len(temporaries(program)) <= 3
