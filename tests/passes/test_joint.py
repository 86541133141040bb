"""A sum is added up in the loop of its derivative where that computes its terms again, and only there."""

import numpy as np
import pytest

from ksc.errors import KernelRuntimeError
from ksc.ir.interpret import interpret
from ksc.ir.nodes import walk
from ksc.ir.text import parse
from ksc.ir.verify import verify
from ksc.passes.joint import join_sums

PROGRAM = """
(def f (Values Float (Tensor 1 Float))
 ((x : (Tensor 2 Float)) (q : (Tensor 1 Float)) (start : (Tensor 1 Float)))
  (let ((n (size x 0))
        (m (size q))
        {before}
        (total (reduce add n (lam (i : Integer)
          (let ((s (reduce add m (lam (j : Integer)
                  (let ({inside} (a (index (tuple i j) x)) (b (index j q))) (mul a b)))))
                {more})
            (mul s {factor})))))
        (double (mul 2.0 total))
        {between}
        (bar (withacc ((acc start))
          (build n (lam (i : Integer)
            (let ((s (reduce add m (lam (j : Integer)
                    (let ((a (index (tuple i j) x)) (b (index j q))) (mul a b)))))
                  (seed (mul {seed} s)))
              (build m (lam (j : Integer)
                (let ((a (index (tuple i j) x)) (t (mul seed a))) (acc_add j acc t))))))))))
    (values double bar)))
"""
COLUMNS = '(c (size x 1)) (t (eq c m)) (() (require t "columns"))'
ORDINARY = {"before": COLUMNS, "inside": "", "more": "", "factor": "s", "between": "", "seed": "2.0"}
WEIGHT = "(u (reduce add m (lam (j : Integer) (index j q))))"


@pytest.mark.parametrize(
    ("parts", "joined"),
    [
        ({}, True),
        # What is asserted of sizes is asserted before; without it, what is read may be out of range.
        ({"before": "", "inside": COLUMNS}, True),
        ({"before": ""}, False),
        # An assert in between comes before the sum, which cannot stop the kernel any more.
        ({"between": '(c_2 (size start)) (t_2 (eq c_2 m)) (() (require t_2 "starts"))'}, True),
        # The derivative reads the sum.
        ({"seed": "total"}, False),
        # A loop that the derivative has not, and one that nothing needs.
        ({"more": WEIGHT, "factor": "u"}, False),
        ({"more": WEIGHT}, True),
        # Iterations may differ in what they assert.
        ({"more": '(p (gt s 0.0)) (() (require p "positive"))'}, False),
        ({"inside": '(k (size x 1)) (p (lt j k)) (() (require p "columns"))'}, False),
        # What reads the sum may stop the kernel.
        ({"between": '(p (gt double 0.0)) (() (require p "positive"))'}, False),
        # What the sum reads is changed in place.
        ({"between": "(q_2 (withacc ((other q)) (acc_add 0 other 1.0)))"}, False),
    ],
)
def test_a_sum_is_joined_with_its_derivative(parts, joined):
    program = parse(PROGRAM.format(**{**ORDINARY, **parts}))
    both = join_sums(program)
    verify(both)
    assert any(eqn.op == "reduce" and eqn.args[0].name == "n" for eqn in walk(both.main.body)) != joined
    x, q = np.arange(6.0).reshape(2, 3), np.array([1.0, 2.0, 3.0])
    for given in ((x, q, q), (-x, q, q), (x[:, :2], q, q), (x, q, q[:2]), (x[:0, :2], q, q), (x[:, :0], q[:0], q)):
        found = []
        for each in (program, both):
            try:
                found.append([np.asarray(v).tolist() for v in interpret(each, given)])
            except KernelRuntimeError as error:
                found.append(str(error))
        assert found[0] == found[1]
