"""What two nests of loops in a loop compute is computed once, where it takes long."""

from typing import Annotated

import numpy as np
import pytest
import torch
from torch import Tensor

import ksc as knossos
from ksc.codegen.cpp import generate
from ksc.codegen.unit import Unit
from ksc.ir.interpret import interpret
from ksc.ir.nodes import walk
from ksc.ir.text import parse
from ksc.ir.verify import verify
from ksc.passes.kept import keep_sums

PROGRAM = """
(def f (Values (Tensor 1 Float) Float)
 ((x : (Tensor 2 Float)) (q : (Tensor 2 Float)) (start : (Tensor 1 Float)))
  (let ((n (size x 0))
        (c (size q 0))
        (d (size q 1))
        ((bar sums)
         (withacc ((acc start) (all 0.0))
           (build n (lam (p : Integer)
             (let ((terms ({first} c (lam (k : Integer)
                     (let ({row}
                           (s (reduce add d (lam (i : Integer)
                             (let ((r (reduce add i (lam (j : Integer)
                                     (let ((a (index (tuple k j) q)) (b (index j v))) (mul a b)))))
                                   (e (index i v))
                                   (t (add e r)))
                               (mul t t))))))
                       s))))
                   (total {total})
                   (() (build c (lam (k : Integer)
                     (let ({row})
                       (build d (lam (i : Integer)
                         (let ((r (reduce add {count} (lam (j : Integer)
                                 (let ((a (index (tuple k j) q)) (b (index j v))) (mul a b)))))
                               (e (index i v))
                               (t (add r e))
                               {more}
                               (u (mul total {value})))
                           (acc_add i acc u)))))))))
               (acc_add all total)))))))
    (values bar sums)))
"""
ROW = """(v (build d (lam (i : Integer)
    (let ((a (index (tuple p i) x)) (b (index (tuple k i) q))) (sub a b)))))"""
SUM = "(reduce add c (lam (k : Integer) (index k terms)))"
ORDINARY = {"row": ROW, "first": "build", "total": SUM, "count": "i", "more": "", "value": "t"}


@pytest.mark.parametrize(
    ("parts", "sums"),
    [
        ({}, 1),
        ({"first": "reduce add", "total": "(mul 2.0 terms)"}, 1),
        # What is made of the sum is needed, the sum, or both.
        ({"value": "r"}, 1),
        ({"more": "(w (mul r t))", "value": "w"}, 1),
        # Another sum.
        ({"count": "d"}, 2),
    ],
)
def test_a_sum_is_kept_for_the_turn_of_the_loop_around(parts, sums):
    program = parse(PROGRAM.format(**{**ORDINARY, **parts}))
    kept = keep_sums(program)
    verify(kept)
    counts = [eqn.args[0].name for eqn in walk(kept.main.body) if eqn.op == "reduce"]
    assert counts.count("i") + counts.count("d") - 1 == sums
    random = np.random.default_rng(0)
    for n, c, d in ((2, 3, 4), (0, 2, 2), (2, 0, 3), (1, 2, 0)):
        given = random.normal(size=(n, d)), random.normal(size=(c, d)), random.normal(size=d)
        for a, b in zip(interpret(program, given), interpret(kept, given), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)


def test_what_takes_a_loop_is_kept_for_points_side_by_side():
    text = generate(Unit("f", [("", parse(PROGRAM.format(**ORDINARY)))], "float64", "tensor")).text
    assert text.count("ks::tensor<ks::pack<double>, 2>") == 1
    # A sum for each half of the loop: points side by side, and what is left of them.
    assert text.count("j < i") == 2


Rows = Annotated[Tensor, ("n", "b")]
Layers = Annotated[Tensor, ("layers", "b")]
Which = Annotated[Tensor, ("layers",), torch.int64]


def layers(x: Rows, w: Layers, at: Which):
    total = 0.0
    for t in range(x.shape[0]):
        h = x[t]
        for k in range(w.shape[0]):
            h = torch.tanh(h * w[k])
        total += torch.sum(h)
    return total


def states(x: Rows, w: Layers, at: Which):
    state = torch.zeros(2 * w.shape[0] + 2, w.shape[1])
    total = 0.0
    for t in range(x.shape[0]):
        h = x[t]
        for k in range(w.shape[0]):
            h = torch.tanh(state[2 * k] * w[k] + h)
            state[2 * k + 1] = torch.sin(state[2 * k + 1] * h)
            state[2 * k] = h
        total += torch.sum(h * state[1])
    return total


def places(x: Rows, w: Layers, at: Which):
    state = torch.zeros(w.shape[0], w.shape[1])
    total = 0.0
    for t in range(x.shape[0]):
        h = x[t]
        for k in range(w.shape[0]):
            h = torch.tanh(state[at[k]] * w[k] + h)
            state[k] = h
        total += torch.sum(h)
    return total


@pytest.mark.parametrize(("function", "spared"), [(layers, 1), (states, 0), (places, 0)])
def test_the_reverse_of_a_loop_in_a_loop_reads_what_it_tapes(function, spared):
    """Where the loop around overwrites nothing: otherwise the tape is kept before (docs/design/0007)."""
    gradient = knossos.value_and_grad(knossos.register(function), argnums="w")
    program = gradient.program
    kept = keep_sums(program)
    verify(kept)
    dear = [sum(eqn.op in ("tanh", "sin", "cos") for eqn in walk(p.main.body)) for p in (program, kept)]
    assert dear[0] - dear[1] == spared
    random = np.random.default_rng(0)
    for n, count, b in ((3, 2, 4), (2, 3, 1), (2, 0, 2)):
        given = (
            random.normal(size=(n, b)),
            random.normal(size=(count, b)),
            random.integers(0, max(count, 1), size=count),
        )
        for a, c in zip(interpret(program, given), interpret(kept, given), strict=True):
            np.testing.assert_allclose(a, c, rtol=1e-12)
