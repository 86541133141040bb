"""Carried tensors to whose elements a loop adds are accumulators; those that it uses otherwise are carried on."""

import numpy as np
import pytest

from ksc.ir.interpret import interpret
from ksc.ir.nodes import walk
from ksc.ir.text import parse
from ksc.ir.verify import verify
from ksc.passes.accumulated import accumulate_carries

PROGRAM = """
(def f (Values (Tensor 2 Float 2 3) (Tensor 1 Float 2) Float)
 ((x : (Tensor 3 Float _ 2 3)) (start : (Tensor 2 Float 2 3)))
  (let ((n (size x 0))
        ((firsts : (Tensor 1 Float 2)) (build 2 (lam (i : Integer) (index (tuple i 0) start)))))
    (for (k n) ((t start) (u firsts) (last 0.0))
      (let ((((a : (Tensor 2 Float 2 3)) (b : (Tensor 1 Float 2)))
             (build :nested false 2 (lam (i : Integer)
               (let (((row : (Tensor 1 Float 3)) (build 3 (lam (j : Integer)
                       (let ((old (index (tuple i j) t)) (v (index (tuple k i j) x))) {element}))))
                     (own (index i u))
                     (w (index (tuple k i 0) x))
                     (less (sub own w)))
                 (values row less))))))
        (values a b {last})))))
"""
ORDINARY = {"element": "(add v old)", "last": "last"}


@pytest.mark.parametrize(
    ("parts", "accumulated"),
    [
        ({}, 2),
        ({"element": "(sub old v)"}, 2),
        # Nothing is added to the others.
        ({"element": "(sub v old)"}, 1),
        ({"element": "(mul v old)"}, 1),
        ({"element": "(add old (mul v old))"}, 1),
        ({"element": "(add v (index (tuple i 0) t))"}, 1),
        # It is read for something else, too.
        ({"last": "(index 0 u)"}, 1),
    ],
)
def test_what_is_only_added_to_is_an_accumulator(parts, accumulated):
    program = parse(PROGRAM.format(**{**ORDINARY, **parts}))
    changed = accumulate_carries(program)
    verify(changed)
    found = [len(eqn.args) for eqn in walk(changed.main.body) if eqn.op == "withacc"]
    assert sum(found) == accumulated
    random = np.random.default_rng(0)
    for n in (0, 1, 4):
        given = random.normal(size=(n, 2, 3)), random.normal(size=(2, 3))
        for a, b in zip(interpret(program, given), interpret(changed, given), strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_tensor_that_changes_its_size_is_carried_on():
    text = """(def f (Tensor 1 Float) ((x : (Tensor 1 Float)) (m : Integer))
      (for (k 2) ((t x)) (build m (lam (i : Integer) (add (index i t) 1.0)))))"""
    program = parse(text)
    assert accumulate_carries(program) is program
