"""Functions along the rows of a matrix keep what belongs to one row, and no tensor of all rows; so do derivatives."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

import ksc as knossos
from ksc.frontend import Abstract, trace
from ksc.ir.nodes import walk
from ksc.ir.text import parse
from ksc.ir.types import Float, TensorType
from ksc.ir.verify import verify
from ksc.passes import optimise, prepare
from ksc.passes.fuse.rows import fuse_rows
from tests.passes.temporaries import temporaries


@knossos.register
def softmax(x: Tensor):
    return torch.softmax(x, dim=1)


@knossos.register
def log_softmax(x: Tensor):
    return torch.log_softmax(x, dim=-1)


@knossos.register
def logsumexp(x: Tensor):
    return torch.logsumexp(x, dim=1)


@knossos.register
def normalised(x: Tensor):
    return x / x.norm(dim=1, keepdim=True)


@knossos.register
def layer_norm(x: Tensor, w: Tensor, b: Tensor):
    return functional.layer_norm(x, (x.shape[1],), w, b)


@knossos.register
def attention_weights(x: Tensor):
    return torch.softmax(x, dim=2)


ROWS = [
    (softmax, lambda x: torch.softmax(x, 1), [(5, 7)], (1, 1)),
    (log_softmax, lambda x: torch.log_softmax(x, 1), [(5, 7)], (0, 1)),
    (logsumexp, lambda x: torch.logsumexp(x, 1), [(5, 7)], (0, 1)),
    (normalised, lambda x: x / x.norm(dim=1, keepdim=True), [(5, 7)], (0, 0)),
    (layer_norm, lambda x, w, b: functional.layer_norm(x, (7,), w, b), [(5, 7), (7,), (7,)], (0, 0)),
    (attention_weights, lambda x: torch.softmax(x, 2), [(3, 5, 7)], (1, 1)),
]
"""A kernel, PyTorch's function, the sizes of its arguments, and how many rows it and its derivative keep for one's turn."""


@pytest.mark.parametrize("kernel, function, sizes, rows", ROWS, ids=lambda case: getattr(case, "__name__", None))
def test_what_is_kept_is_a_row(kernel, function, sizes, rows):
    special, _ = kernel._specialise([torch.ones(*size) for size in sizes], {})
    for derivation, count in zip(("", "v"), rows, strict=True):
        assert [tensor.type.rank for tensor in temporaries(special.program_of(derivation))] == [1] * count
    assert all(tensor.type.rank == 1 for tensor in temporaries(special.program_of("j")))


@pytest.mark.parametrize("kernel, function, sizes, rows", ROWS, ids=lambda case: getattr(case, "__name__", None))
def test_values_and_gradients_are_those_of_pytorch(kernel, function, sizes, rows):
    random = torch.Generator().manual_seed(0)
    args = [torch.randn(*size, generator=random, dtype=torch.float64, requires_grad=True) for size in sizes]
    value, want = kernel(*args), function(*args)
    torch.testing.assert_close(value, want)
    weights = torch.randn(want.shape, generator=random, dtype=torch.float64)
    mine = torch.autograd.grad(value, args, weights)
    torch.testing.assert_close(mine, torch.autograd.grad(want, args, weights))


@pytest.mark.parametrize("sizes", [(0, 4), (3, 0), (0, 0)])
def test_matrices_without_rows_or_columns(sizes):
    x = torch.ones(*sizes, requires_grad=True)
    value = softmax(x)
    assert value.shape == sizes
    value.sum().backward()
    assert x.grad is not None and x.grad.shape == sizes


def test_a_row_that_is_read_for_each_element_of_another_stays_a_tensor():
    product = """
    (def f (Tensor 2 Float) ((a : (Tensor 2 Float)) (b : (Tensor 2 Float)))
      (let ((n (size a 0)) (k (size a 1)) (m (size b 1))
            (e (build (tuple n k) (lam ((i : Integer) (j : Integer)) (let ((x (index (tuple i j) a))) (exp x))))))
        (build (tuple n m) (lam ((i : Integer) (j : Integer))
          (reduce add k (lam (l : Integer)
            (let ((x (index (tuple i l) e)) (y (index (tuple l j) b))) (mul x y))))))))
    """
    program = parse(product)
    assert fuse_rows(program) is program


def test_elements_beyond_the_row_are_read_in_the_loop_along_it():
    program = parse("""
    (def f (Tensor 2 Float) ((x : (Tensor 2 Float)) (w : (Tensor 1 Float)) (m : Integer))
      (let ((n (size x 0)) (k (size x 1))
            (s (build n (lam (i : Integer)
                 (reduce add k (lam (j : Integer) (index (tuple i j) x)))))))
        (build (tuple n m) (lam ((i : Integer) (j : Integer))
          (let ((t (index i s)) (e (index i w))) (mul t e))))))
    """)
    merged = fuse_rows(program)
    verify(merged)
    (loop,) = [eqn for eqn in merged.main.body.eqns if eqn.op == "build"]
    (along,) = [eqn for eqn in loop.blocks[0].eqns if eqn.op == "build"]
    assert [eqn.op for eqn in along.blocks[0].eqns] == ["index", "mul"]


def swapped_factors(x, w):
    out = x.clone()
    for i in range(x.shape[0]):
        a = torch.exp(x[i] * w[i])
        total = torch.sum(a)
        b = torch.exp(w[i] * x[i])
        out[i] = a / total + b
    return out


def test_what_is_kept_of_a_row_is_found_whichever_factor_comes_first():
    program = optimise(prepare(trace(swapped_factors, [Abstract(TensorType(2, Float))] * 2).program))
    assert sum(eqn.op == "exp" for eqn in walk(program.main.body)) == 1
