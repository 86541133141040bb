"""Loops of equal sizes become one, also across checks that may be made before them, and not across others."""

import pytest
import torch

from ksc.errors import KernelRuntimeError
from ksc.ir.interpret import interpret
from ksc.ir.nodes import walk
from ksc.ir.text import parse
from ksc.ir.verify import verify
from ksc.passes.fuse import fuse_neighbours

PROGRAM = """
(def f (Values (Tensor 1 Float) (Tensor 1 Float))
 ((x : (Tensor 1 Float)) (y : (Tensor 1 Float)) (at : (Tensor 1 Integer)) (go : Bool))
  (let ((n (size x 0))
        (first (build n (lam (i : Integer) (let ((s (reduce add n (lam (j : Integer) (index j x)))) {read}) (mul s v)))))
        {check}
        (second (build n (lam (i : Integer)
          (let ((s (reduce add n (lam (j : Integer) (index j x)))) (v (index i x))) (add s v))))))
    (values first second)))
"""
SAFE = "(v (index i x))"
UNSAFE = "(k (index i at)) (v (index k y))"
OF_SIZES = '(m (size y 0)) (t (eq n m)) (() (require t "sizes"))'
OF_VALUES = '(u (index 0 first)) (t (gt u 0.0)) (() (require t "values"))'


@pytest.mark.parametrize(
    ("read", "check", "loops"),
    [
        (SAFE, "", 2),
        (SAFE, OF_SIZES, 2),
        (SAFE, '(() (require go "go"))', 2),
        # The loop may stop before the check, and the check follows from the loop.
        (UNSAFE, OF_SIZES, 4),
        (SAFE, OF_VALUES, 4),
    ],
)
def test_loops_merge_across_checks(read, check, loops):
    program = parse(PROGRAM.format(read=read, check=check))
    merged = fuse_neighbours(program)
    verify(merged)
    # The sum that both need is computed once where they are one.
    assert sum(bool(eqn.blocks) for eqn in walk(merged.main.body)) == loops
    x, y = torch.tensor([1.0, 2.0, 3.0]).numpy(), torch.tensor([4.0, 5.0, 6.0]).numpy()
    for at, go, other in (([0, 1, 2], True, y), ([0, 1, 3], True, y[:2]), ([0, 1, 2], False, y), ([0, 1, 2], True, -y)):
        found = []
        for each in (program, merged):
            try:
                found.append([v.tolist() for v in interpret(each, (x, other, at, go))])
            except KernelRuntimeError as error:
                found.append(str(error))
        assert found[0] == found[1]
