"""What a loop has required of sizes is known in its reverse, and nothing is required where no iteration was."""

import numpy as np
import pytest

from ksc.codegen.cpp import generate
from ksc.codegen.unit import Unit
from ksc.derive import derive
from ksc.errors import KernelRuntimeError
from ksc.ir.interpret import interpret
from ksc.ir.nodes import walk
from ksc.ir.text import parse
from ksc.ir.verify import verify
from ksc.passes import optimise
from ksc.passes.requirements import repeat_requirements
from tests.transforms.oracle import check_derivatives

RECURRENCE = """
(def f (Tensor 1 Float) ((w : (Tensor 2 Float)) (h : (Tensor 1 Float)) (n : Integer))
  (let ((k (size w 0)) (l (size w 1))
        (last (for (t n) ((h h))
          (let ((m (size h)) (fits (eq m l)) (() (require fits "sizes must agree"))
                (h (build k (lam (i : Integer)
                     (let ((s (reduce add m (lam (j : Integer)
                             (let ((a (index (tuple i j) w)) (b (index j h))) (mul a b))))))
                       (tanh s)))))
                (square (eq k m)) (() (require square "the state must keep its size")))
            h))))
    last))
"""

TWO_LOOPS = """
(def f Float ((n : Integer) (m : Integer) (k : Integer))
  (let ((a (for (i n) ((s 0.0))
             (let ((same (eq m k)) (() (require same "m is k")) (own (eq i m)) (never (not own))
                   (() (require never "not i")) (f (to_float i)))
               (add s f))))
        (b (for (i n) ((s 1.0)) (reduce add m (lam (j : Integer) (sin s)))))
        (c (for (i m) ((s 1.0)) (reduce add m (lam (j : Integer) (sin s)))))
        (d (add a b)))
    (add c d)))
"""


def test_a_later_loop_of_the_same_count_requires_what_the_first_did_of_values_from_outside():
    program = repeat_requirements(parse(TWO_LOOPS))
    verify(program)
    messages = [
        [inner.params["message"] for inner in eqn.blocks[0].eqns if inner.op == "assert"]
        for eqn in program.main.body.eqns
        if eqn.op == "for"
    ]
    assert messages == [["m is k", "not i"], ["m is k"], []]
    interpret(program, [0, 1, 2])
    assert interpret(program, [2, 3, 3]) == interpret(parse(TWO_LOOPS), [2, 3, 3])
    with pytest.raises(KernelRuntimeError, match="m is k"):
        interpret(program, [1, 2, 3])


def test_a_recurrence_and_its_reverse_check_no_index():
    program = parse(RECURRENCE)
    derived = optimise(derive(program, "v"))
    text = generate(Unit("f", [("v", derived)], "float32", kind="tensor")).text
    assert "outside(" not in text
    assert not any(eqn.op == "while" for eqn in walk(derived.main.body))


def test_a_recurrence_has_the_derivatives_of_finite_differences():
    random = np.random.default_rng(0)
    check_derivatives(parse(RECURRENCE), [random.normal(size=(3, 3)), random.normal(size=3), 4], order=1)


def test_a_loop_that_never_runs_requires_nothing_of_its_reverse():
    derived = optimise(derive(parse(RECURRENCE), "v"))
    w_bar, h_bar = interpret(derived, [np.ones((2, 5)), np.ones(3), 0, np.arange(3.0)])
    np.testing.assert_array_equal(w_bar, np.zeros((2, 5)))
    np.testing.assert_array_equal(h_bar, np.arange(3.0))
