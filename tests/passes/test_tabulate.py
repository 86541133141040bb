"""What an outer loop would compute again is computed once, and only what is computed at all."""

import numpy as np
import torch

import ksc as knossos
from ksc.ir.interpret import interpret
from ksc.ir.nodes import walk
from ksc.ir.text import parse
from ksc.ir.verify import verify
from ksc.passes import optimise
from ksc.passes.tabulate import tabulate_invariants


def distances(x: torch.Tensor, scale: torch.Tensor):
    total = 0.0
    for i in range(x.shape[0]):
        for k in range(scale.shape[0]):
            s = 0.0
            for j in range(x.shape[1]):
                s += torch.exp(scale[k, j]) * x[i, j]
            total += s * s
    return total


def depth_of_exp(program):
    return max(depth(program.main.body, 0))


def depth(block, around):
    for eqn in block.eqns:
        if eqn.op == "exp":
            yield around
        inner = around + (len(eqn.blocks[0].params) if eqn.op in ("build", "reduce") else eqn.op == "for")
        for one in eqn.blocks:
            yield from depth(one, inner)


def test_an_exponential_of_a_table_is_computed_once():
    kernel = knossos.register(distances)
    x, scale = torch.randn(7, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    expected = distances(x, scale)
    torch.testing.assert_close(kernel(x, scale.detach()), expected.detach())
    torch.testing.assert_close(
        knossos.grad(kernel, argnums=1)(x, scale.detach()), torch.autograd.grad(expected, scale)[0]
    )
    assert depth_of_exp(kernel.program) == 2


def test_without_iterations_nothing_is_read():
    kernel = knossos.register(distances)
    assert kernel(torch.zeros(0, 9, dtype=torch.float64), torch.zeros(4, 3, dtype=torch.float64)) == 0.0


def test_a_table_for_fewer_than_no_iterations_is_empty():
    program = parse("""
        (def f Float ((x : (Tensor 1 Float)) (w : (Tensor 1 Float)))
          (let ((n (size x)) (last (sub (size w) 1)))
            (for (i n) ((s 0.0))
              (for (j last) ((s s))
                (let ((e (exp (index j w))) (p (mul e (index i x)))) (add s p))))))""")
    made = tabulate_invariants(program)
    verify(made)
    assert max(depth(made.main.body, 0)) == 1
    for m in range(3):
        given = np.ones(2), np.ones(m)
        assert interpret(made, given) == interpret(program, given)


def test_a_side_of_an_if_stays_where_it_is():
    program = parse("""
        (def f Float ((x : (Tensor 1 Float)) (n : Integer))
          (for (i n) ((s 0.0))
            (for (j (size x)) ((s s))
              (let ((odd (eq (imod i 2) 1)))
                (if odd (let ((e (exp (index j x)))) (add s e)) s)))))""")
    made = optimise(program)
    verify(made)
    assert not any(eqn.op == "build" for eqn in walk(made.main.body))


def test_what_would_be_larger_than_what_it_is_made_of_is_no_table():
    program = parse("""
        (def f Float ((x : (Tensor 1 Float)) (n : Integer))
          (for (i n) ((s 0.0))
            (for (j (size x)) ((s s))
              (for (k (size x)) ((s s))
                (let ((e (exp (mul (index j x) (index k x))))) (add s e))))))""")
    made = [eqn for eqn in walk(optimise(program).main.body) if eqn.op == "build"]
    assert all(eqn.outs[0].type.rank == 1 for eqn in made)


@knossos.register
def decays(x: torch.Tensor, a: torch.Tensor, h: torch.Tensor):
    """What is required of the sizes of ``a`` is required in the loop."""
    for t in range(x.shape[0]):
        h = torch.exp(-x[t][:, None] * torch.exp(a)) * h + 1.0
    return h


def test_a_table_has_the_sizes_that_only_the_outer_loop_requires():
    args = [torch.rand(size, dtype=torch.float64) for size in ((3, 4), (4, 5), (4, 5))]
    torch.testing.assert_close(decays(*args), decays.__wrapped__(*args))
    body = decays.program.main.body
    assert sum(eqn.op == "exp" for eqn in walk(body)) == 2
    assert sorted(depth(body, 0)) == [2, 3]
    # Without iterations nothing is required of the sizes, and the table is empty.
    args[0], args[1] = torch.zeros(0, 4, dtype=torch.float64), torch.rand(7, 2, dtype=torch.float64)
    torch.testing.assert_close(decays(*args), args[2])
