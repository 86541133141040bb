"""What is looked up and checked in each iteration of a short loop is looked up before it, with the same errors."""

from typing import Annotated

import numpy as np
import pytest
import torch

import ksc as knossos
from ksc.codegen.cpp import generate
from ksc.codegen.unit import Unit
from ksc.errors import KernelRuntimeError
from ksc.ir.interpret import interpret
from ksc.ir.nodes import walk
from ksc.ir.text import parse
from ksc.ir.verify import verify
from ksc.passes.lookups import look_up_first

GATHER = """
(def f (Tensor 3 Float) ((t : (Tensor 3 Float _ 3 2)) (which : (Tensor 1 Integer)) (scale : (Tensor 1 Float)) (n : Integer))
  (build (tuple n 3 {inner})
    (lam ((i : Integer) (j : Integer) (k : Integer))
      (let ((at (index i which)) (low (lt at 0)) (rows (size t 0))
            (place (if low (add rows at) at))
            (x (index (tuple place j k) t)) (w (index i scale)))
        (mul x w)))))
"""

SUMS = """
(def f Float ((t : (Tensor 2 Float _ 4)) (which : (Tensor 1 Integer)))
  (let ((n (size which)))
    (for (i n) ((s 0.0))
      (let ((a (reduce add 4 (lam (j : Integer)
                 (let ((at (index i which)) (x (index (tuple at j) t))) (mul x x))))))
        (add s a)))))
"""


def outcome(program, args):
    try:
        return [np.asarray(result).tolist() for result in interpret(program, args)]
    except KernelRuntimeError as error:
        return str(error)


def indices_in_loops(block, depth=0):
    for eqn in block.eqns:
        if eqn.op == "index":
            yield depth, len(eqn.args) - 1
        for inner in eqn.blocks:
            yield from indices_in_loops(inner, depth + (eqn.op in ("build", "reduce", "for")) * len(inner.params))


@pytest.mark.parametrize("which", [[0, 3, -1], [], [1, 4, 9], [-5, 7, 0]])
@pytest.mark.parametrize("sizes", [(4, 3, 2), (0, 3, 2)])
def test_values_and_errors_stay(which, sizes):
    before = parse(GATHER.format(inner=2))
    after = look_up_first(before)
    verify(after)
    rng = np.random.default_rng(0)
    args = [rng.standard_normal(sizes), np.array(which, dtype=np.int64), rng.standard_normal(3), len(which)]
    assert outcome(after, args) == outcome(before, args)


def test_a_gather_is_checked_once_for_each_row():
    after = look_up_first(parse(GATHER.format(inner=2)))
    assert sorted(indices_in_loops(after.main.body)) == [(1, 1), (1, 1), (1, 1), (3, 2)]


ROWS = """
(def f (Tensor {rank} Float) ((t : (Tensor 2 Float)) (which : (Tensor 1 Integer)) (m : Integer))
  (let ((n (size which)) (d (size t 1)))
    (build (tuple n{more} d)
      (lam ((i : Integer){and_more} (j : Integer)) (let ((at (index i which)) (x (index (tuple at j) t))) x)))))
"""


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("which", [[2, 0], [], [2, 5, 7], [-1]])
@pytest.mark.parametrize("columns", [0, 3])
def test_a_loop_that_may_be_empty_requires_its_indices(deep, which, columns):
    more = {"rank": 3, "more": " m", "and_more": " (k : Integer)"} if deep else {"rank": 2, "more": "", "and_more": ""}
    before = parse(ROWS.format(**more))
    after = look_up_first(before)
    verify(after)
    assert any(eqn.op == "assert" for eqn in walk(after.main.body))
    for m in (0, 2) if deep else (0,):
        args = [np.arange(3.0 * columns).reshape(3, columns), np.array(which, dtype=np.int64), m]
        assert outcome(after, args) == outcome(before, args)
    text = generate(Unit("f", [("", before)], "float64", kind="tensor")).text
    assert "ks::outside" not in text[text.index("for (int64_t i") :]


Which = Annotated[torch.Tensor, ("n",), torch.int64]


@knossos.register
def rows(table: Annotated[torch.Tensor, ("v", "d")], which: Which, other: Which):
    return torch.tanh(table[which] * 2.0 + table[other])


def test_rows_of_a_table():
    table = torch.rand(5, 7)
    which, other = torch.tensor([4, 0, -2]), torch.tensor([1, 1, 2])
    torch.testing.assert_close(rows(table, which, other), torch.tanh(table[which] * 2.0 + table[other]))
    with pytest.raises(KernelRuntimeError, match=r"index 5 is out of range for dimension 0 of table"):
        rows(table, other[:2], torch.tensor([0, 5]))
    assert rows(table[:, :0], torch.tensor([0, 5]), other[:2]).shape == (2, 0)
    innermost = rows.cpp[rows.cpp.index("for (int64_t j") :]
    assert "if (" not in innermost[: innermost.index("}")]


@pytest.mark.parametrize("which", [[2, 0], [], [2, 5]])
def test_a_sum_reads_a_row(which):
    before = parse(SUMS)
    after = look_up_first(before)
    verify(after)
    args = [np.arange(12.0).reshape(3, 4), np.array(which, dtype=np.int64)]
    assert outcome(after, args) == outcome(before, args)
    (sum_,) = [eqn for eqn in walk(after.main.body) if eqn.op == "reduce"]
    assert [len(eqn.args) for eqn in walk(sum_.blocks[0]) if eqn.op == "index"] == [2]


def test_a_row_whose_other_indices_may_be_out_of_range_is_not_taken():
    program = parse(SUMS.replace("_ 4", "_ _"))
    (sum_,) = [eqn for eqn in walk(look_up_first(program).main.body) if eqn.op == "reduce"]
    assert [len(eqn.args) for eqn in walk(sum_.blocks[0]) if eqn.op == "index"] == [2, 3]


def test_what_follows_an_assert_stays_behind_it():
    program = parse("""
(def f (Tensor 1 Float) ((t : (Tensor 1 Float)) (i : Integer))
  (build 3 (lam (j : Integer)
    (let ((small (lt j 2)) (() (require small "j is small")) (x (index i t))) x))))
""")
    assert look_up_first(program) is program
