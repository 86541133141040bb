"""A later ``if`` of the same condition takes dear values from the first one, and values stay as they were."""

import numpy as np
import torch

from ksc.frontend import Abstract, trace
from ksc.ir.interpret import interpret
from ksc.ir.nodes import walk
from ksc.ir.text import parse
from ksc.ir.types import Float
from ksc.ir.verify import verify
from ksc.passes import optimise
from ksc.passes.branch_values import reuse_branch_values
from ksc.transforms import vjp


def count(program, op):
    return sum(eqn.op == op for eqn in walk(program.main.body))


TWO = """(def f (Tuple Float Float) ((c : Bool) (x : Float))
  (let (y (if c (sin (mul x x)) (cos x)))
  (let (z (if c (mul y (exp (sin (mul x x)))) (mul y (exp (cos x))))) (tuple y z))))"""


def test_a_function_is_evaluated_once_on_each_side():
    program = reuse_branch_values(parse(TWO))
    verify(program)
    assert (count(program, "sin"), count(program, "cos"), count(program, "exp")) == (1, 1, 2)
    for cond in (True, False):
        assert interpret(program, [cond, 0.5]) == interpret(parse(TWO), [cond, 0.5])


def test_sides_of_other_conditions_and_other_sides_stay():
    text = """(def f (Tuple Float Float) ((c : Bool) (d : Bool) (x : Float))
      (tuple (add (if c (sin x) 0.0) (if d (sin x) 0.0)) (if c 1.0 (sin x))))"""
    program = reuse_branch_values(parse(text))
    verify(program)
    assert count(program, "sin") == 3


def test_a_loop_inside_the_later_side_takes_it_too():
    text = """(def f Float ((c : Bool) (x : Float))
      (let (y (if c (sin x) x))
      (if c (reduce "add" 3 (lam (i : Integer) (mul y (exp (sin x))))) y)))"""
    program = parse(text.replace('"add"', "add"))
    reused = reuse_branch_values(program)
    verify(reused)
    assert count(reused, "sin") == 1
    np.testing.assert_allclose(interpret(reused, [True, 0.5])[0], interpret(program, [True, 0.5])[0], rtol=1e-15)


def test_the_reverse_of_a_branch_reads_what_the_branch_computed():
    def bent(x: float, s: float):
        if s > 0.0:
            a = torch.sqrt(s)
            y = torch.sin(x / a) * torch.cos(a)
        else:
            y = x * s
        return y * torch.exp(y)

    program = optimise(vjp(trace(bent, [Abstract(Float), Abstract(Float)]).program, with_value=True))
    verify(program)
    assert [count(program, op) for op in ("sqrt", "exp")] == [1, 1]
    # Each of sin and cos is there once for its value, and once for the derivative of the other.
    assert count(program, "sin") <= 2 and count(program, "cos") <= 2
    for point in ((0.7, 2.0), (0.7, -0.5)):
        x, s = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in point)
        y = bent(x, s)
        wanted = (y.item(), *(g.item() for g in torch.autograd.grad(y, (x, s))))
        np.testing.assert_allclose(interpret(program, [*point, 1.0]), wanted, rtol=1e-13)


def test_adjoints_of_one_divisor_are_divided_once():
    def quotient(x: float, s: float):
        a = x / s
        b = torch.sin(x) / s
        return a * b

    program = optimise(vjp(trace(quotient, [Abstract(Float), Abstract(Float)]).program))
    verify(program)
    x, s = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (0.7, 2.0))
    wanted = [g.item() for g in torch.autograd.grad(quotient(x, s), (x, s))]
    np.testing.assert_allclose(interpret(program, [0.7, 2.0, 1.0]), wanted, rtol=1e-13)
