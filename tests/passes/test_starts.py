"""Constant tensors that readers start from: no copy of one, and the same values."""

import numpy as np
import torch

from ksc.frontend import Abstract, trace
from ksc.ir.interpret import interpret
from ksc.ir.nodes import walk
from ksc.ir.text import parse
from ksc.ir.types import Float, TensorType
from ksc.ir.verify import verify
from ksc.passes import optimise
from ksc.passes.starts import fill_starts
from tests.transforms.copies import copying

TWO = """(def f (Tuple (Vec Float) (Vec Float)) ((n : Integer) (x : Float))
  (let (zeros (build n (lam (i : Integer) 0.0))) (tuple (update 0 zeros x) (update 1 zeros (sin x)))))"""


def fills(program):
    return [eqn for eqn in walk(program.main.body) if eqn.op == "build" and not eqn.blocks[0].eqns]


def test_each_update_has_a_start_of_its_own():
    program = optimise(parse(TWO))
    verify(program)
    assert copying(program) == {}
    ((first, second),) = interpret(program, [3, 0.5])
    np.testing.assert_array_equal(first, [0.5, 0, 0])
    np.testing.assert_array_equal(second, [0, np.sin(0.5), 0])


def test_a_start_with_one_reader_is_left_alone():
    program = parse("(def f (Vec Float) ((n : Integer) (x : Float)) (update 0 (build n (lam (i : Integer) 0.0)) x))")
    assert len(fills(fill_starts(program))) == 1


def test_a_loop_that_fills_all_rows_needs_no_tensor_to_begin_with():
    def rows(x):
        table = torch.zeros(x.shape[0], 2, 3)
        for i in range(x.shape[0]):
            table[i, :, 0:2] = torch.sin(x[i])
            table[i, 0, 2] = x[i, 0, 0]
        return table

    program = optimise(trace(rows, [Abstract(TensorType(3, Float, (None, 2, 2)))]).program)
    verify(program)
    assert all(len(eqn.args) < 3 for eqn in fills(program))
    x = torch.randn(4, 2, 2, dtype=torch.float64)
    wanted = torch.zeros(4, 2, 3, dtype=torch.float64)
    wanted[:, :, 0:2] = torch.sin(x)
    wanted[:, 0, 2] = x[:, 0, 0]
    np.testing.assert_allclose(interpret(program, [x.numpy()])[0], wanted.numpy(), rtol=1e-15)


def test_a_row_out_of_range_still_stops():
    program = parse(
        """(def f (Vec Float) ((n : Integer) (m : Integer))
          (let (zeros (build (tuple n 2) (lam ((i : Integer) (j : Integer)) 0.0))) (index m zeros)))"""
    )
    (index,) = [eqn for eqn in walk(fill_starts(program).main.body) if eqn.op == "index"]
    assert index.outs[0].type.rank == 1
