"""Loops of additions, and sums of windows, go through tensors as they lie in memory."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

import ksc as knossos
from ksc.errors import KnossosError
from ksc.ir.nodes import walk


@knossos.register
def transposed(a: Tensor, b: Tensor):
    return a.T @ b


@knossos.vmap(in_dims=(0, None, None))
def layer(x: Tensor, w: Tensor, b: Tensor):
    """A row times a matrix, whose product is taken out for all lanes."""
    return torch.tanh(x @ w + b)


@knossos.vmap
def heads(q: Tensor, k: Tensor, v: Tensor):
    """Attention for each of several heads: what a head adds to its cotangents are products."""
    return torch.softmax(q @ k.T, 1) @ v


@knossos.register
def windows(x: Tensor, w: Tensor):
    """A convolution over several channels, in loops."""
    n = x.shape[1] - w.shape[2] + 1
    y = torch.zeros(w.shape[0], n)
    for o in range(w.shape[0]):
        for i in range(n):
            s = 0.0
            for c in range(w.shape[1]):
                for k in range(w.shape[2]):
                    s += w[o, c, k] * x[c, i + k]
            y[o, i] = s
    return y


@knossos.vmap
def products(a: Tensor, b: Tensor):
    """Small matrices, each with the rows of its own cotangents."""
    return a @ b


CASES = {
    "products": (products, lambda a, b: a @ b, [(37, 4, 3), (37, 3, 4)]),
    "transposed": (transposed, lambda a, b: a.T @ b, [(40, 70), (40,)]),
    "layer": (layer, lambda x, w, b: torch.tanh(x @ w + b), [(20, 30), (30, 40), (40,)]),
    "heads": (
        heads,
        lambda q, k, v: torch.softmax(q @ k.transpose(1, 2), 2) @ v,
        [(3, 12, 10), (3, 14, 10), (3, 14, 11)],
    ),
    "windows": (windows, lambda x, w: functional.conv1d(x[None], w)[0], [(3, 50), (4, 3, 5)]),
}


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_those_of_pytorch(name):
    kernel, function, sizes = CASES[name]
    random = torch.Generator().manual_seed(0)
    args = [torch.randn(*size, generator=random, dtype=torch.float64, requires_grad=True) for size in sizes]
    value, want = kernel(*args), function(*args)
    torch.testing.assert_close(value, want)
    weights = torch.randn(want.shape, generator=random, dtype=torch.float64)
    got = torch.autograd.grad((value * weights).sum(), args)
    torch.testing.assert_close(got, torch.autograd.grad((want * weights).sum(), args))


def source(kernel, derivation, sizes):
    special, _ = kernel._specialise([torch.ones(*size) for size in sizes], {})
    return special.source(derivation, torch.float32).text


def test_a_transposed_outer_product_is_stored_row_by_row():
    program = transposed._specialise([torch.ones(40, 70), torch.ones(40)], {})[0].program_of("v")
    assert not any(eqn.op == "acc_add" for eqn in walk(program.main.body))


def test_rows_times_a_matrix_are_one_product():
    sizes = CASES["layer"][2]
    assert source(layer, "", sizes).count("ks::multiply") == 1
    assert source(layer, "v", sizes).count("ks::multiply") == 3


def test_products_of_each_lane_are_products_in_its_reverse():
    assert source(heads, "v", CASES["heads"][2]).count("ks::multiply") == 5


def test_loops_over_rows_of_their_own_stay_outside():
    text = source(products, "v", CASES["products"][2])
    assert "ks::side_by_side" in text
    assert "ks::summed" not in text


def test_windows_are_summed_up_next_to_each_other():
    text = source(windows, "", CASES["windows"][2])
    assert "KS_SUM" not in text
    assert "ks::stack" not in text
    assert "ks::parallel" in text


def test_windows_that_do_not_fit_have_their_error():
    with pytest.raises(KnossosError, match="index 3 is out of range"):
        windows(torch.ones(3, 20), torch.ones(2, 4, 5))
