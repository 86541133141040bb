"""What derivatives of rows add to an accumulator in several loops is stored once; what is dear is computed once."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

import ksc as knossos
from ksc.ir.interpret import interpret
from ksc.ir.nodes import walk
from ksc.ir.text import parse
from ksc.ir.verify import verify
from ksc.passes.columns import sum_by_rows
from ksc.passes.divisors import share_divisors
from ksc.passes.elements import reuse_elements
from ksc.passes.successive import split_accumulations


@knossos.register
def layer_norm(x: Tensor, w: Tensor, b: Tensor):
    return functional.layer_norm(x, (x.shape[1],), w, b)


@knossos.register
def logsumexp(x: Tensor):
    most = torch.amax(x, 1)
    return most + torch.log(torch.exp(x - most[:, None]).sum(1))


@knossos.register
def sums_of_columns(x: Tensor):
    centre = x.mean(0)
    return centre, ((x - centre) ** 2).mean(0), torch.amax(torch.exp(x), 0, keepdim=True), x.reshape(3, -1, 20).sum(1)


def ops(program):
    return [eqn.op for function in program.functions.values() for eqn in walk(function.body)]


@pytest.mark.parametrize("kernel, sizes", [(layer_norm, [(6, 40), (40,), (40,)]), (logsumexp, [(6, 40)])])
def test_a_row_of_the_cotangent_is_stored_once(kernel, sizes):
    args = [torch.randn(*size, dtype=torch.float64, requires_grad=True) for size in sizes]
    value, want = kernel(*args), kernel.__wrapped__(*args)
    bar = torch.randn_like(want)
    mine, theirs = torch.autograd.grad(value, args, bar), torch.autograd.grad(want, args, bar)
    torch.testing.assert_close(mine, theirs)
    special, _ = kernel._specialise([arg.detach() for arg in args], {})
    text = special.source("v", torch.float64).text
    assert "x_bar(i, " not in text
    assert "ks::result<double>(rt, 0, x_rows, x_cols)" in text


def test_columns_are_summed_up_row_by_row():
    x = torch.randn(30, 20, dtype=torch.float64)
    torch.testing.assert_close(sums_of_columns(x), sums_of_columns.__wrapped__(x))
    assert "KS_SUM" not in sums_of_columns.cpp
    assert sums_of_columns(torch.zeros(0, 20, dtype=torch.float64)[:0].reshape(0, 20).new_ones(3, 20))[0].shape == (20,)


TWICE = """
(def twice (Tensor 1 Float) (x : (Tensor 2 Float))
  (build (size x 0) (lam (i : Integer)
    (let ((n (size x 1)) (s (reduce add n (lam (j : Integer) (exp (index (tuple i j) x))))))
      (reduce add n (lam (j : Integer) (sqrt (div (exp (index (tuple i j) x)) s))))))))
"""


def test_an_exponential_that_two_loops_over_a_row_compute_is_kept():
    program = parse(TWICE)
    reused = reuse_elements(program)
    assert ops(program).count("exp") == 2
    assert ops(reused).count("exp") == 1
    assert reuse_elements(reused) is reused
    x = torch.randn(3, 20, dtype=torch.float64).numpy()
    torch.testing.assert_close(*(torch.as_tensor(interpret(p, [x])[0]) for p in (program, reused)))


SUMS = """
(def sums (Tensor 1 Float) ((x : (Tensor 2 Float)) (y : (Tensor 1 Float)))
  (let ((n (size x 1)))
    (for (i (size x 0)) ((total (build n (lam (j : Integer) 0.0))))
      (let ((once (withacc ((a total)) (let ((() (build n (lam (j : Integer)
                    (acc_add j a (exp (add (index (tuple i j) x) (index j y)))))))) (values)))))
        (withacc ((b once)) (let ((() (build n (lam (j : Integer)
          (acc_add j b (sqrt (exp (add (index j y) (index (tuple i j) x))))))))) (values)))))))
"""


def test_loops_that_add_to_accumulators_share_too_in_whatever_order_terms_are():
    reused = reuse_elements(parse(SUMS))
    verify(reused)
    assert ops(reused).count("exp") == 1
    args = [torch.randn(3, 20, dtype=torch.float64).numpy(), torch.randn(20, dtype=torch.float64).numpy()]
    torch.testing.assert_close(*(torch.as_tensor(interpret(p, args)[0]) for p in (parse(SUMS), reused)))


def test_programs_that_have_none_of_this_are_left_alone():
    program = parse(
        "(def f (Tensor 1 Float) (x : (Tensor 1 Float)) (build (size x) (lam (i : Integer) (exp (index i x)))))"
    )
    for step in (reuse_elements, split_accumulations, sum_by_rows):
        assert step(program) is program
    assert share_divisors(program, least=1) is program
