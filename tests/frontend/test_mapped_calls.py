"""Kernels that map, called inside kernels: torch.func maps the same functions."""

import pytest
import torch
from tensor_oracle import check_derivatives, described
from torch import func

import ksc as knossos
from ksc.errors import KernelRuntimeError, KnossosError
from ksc.frontend import trace
from ksc.ir.interpret import interpret

GENERATOR = torch.Generator().manual_seed(2)
X = torch.randn(4, 3, generator=GENERATOR, dtype=torch.float64)
W = torch.randn(4, generator=GENERATOR, dtype=torch.float64)


def energy(row):
    return torch.sum(row * row) / (1.0 + row[0] * row[0])


def scaled(row, w):
    return row * torch.sum(w), row.sum()


def bent(a: float, b: float) -> float:
    return a * a * b if a > 0 else a - b


def powers(a: float):
    return a * 2.0, a * a


def bent_of_tensors(a, b):
    return torch.where(a > 0, a * a * b, a - b)


OF_NUMBERS, BROADCAST, SEVERAL = knossos.vmap(bent), knossos.elementwise(bent), knossos.elementwise(powers)
OF_ROWS, OF_PAIRS, OUT_OF_RANGE = knossos.vmap(energy), knossos.vmap(scaled), knossos.vmap(energy, 5)
TOO_MANY = knossos.vmap(scaled, (0, 0, 0))


def in_the_first_dimension(vmap):
    mapped = vmap(energy)
    return lambda x, w: mapped(x).sum() * w


def in_other_dimensions(vmap):
    mapped = vmap(scaled, (1, None), (1, 0))

    def body(x, w):
        y, z = mapped(x, w)
        y[0] *= 2.0
        return y * z

    return body


def nested(vmap):
    mapped = vmap(vmap(energy))
    return lambda x, w: mapped(torch.stack([x, x * x])).sum() * w


def with_a_shared_number(vmap):
    mapped = vmap(lambda row, k: row * k, (0, None))
    return lambda x, w: mapped(x, 3.0)


@pytest.mark.parametrize("make", [in_the_first_dimension, in_other_dimensions, nested, with_a_shared_number])
def test_vmap(make):
    mine, theirs = make(knossos.vmap), make(func.vmap)
    same_as(mine, theirs, X, W)


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        (lambda x, w: OF_NUMBERS(x, x * 2.0), lambda x, w: bent_of_tensors(x, x * 2.0)),
        (lambda x, w: BROADCAST(x, w[:3]), lambda x, w: bent_of_tensors(x, w[:3])),
        (lambda x, w: BROADCAST(w[1], x), lambda x, w: bent_of_tensors(w[1], x)),
        (lambda x, w: SEVERAL(x), lambda x, w: (x * 2.0, x * x)),
    ],
)
def test_functions_of_numbers(mine, theirs):
    same_as(mine, theirs, X, W)


def same_as(mine, theirs, *args):
    """``mine`` is traced; its value and derivatives are those of ``theirs``, which PyTorch runs."""
    traced = trace(mine, [described(arg) for arg in args])
    expected = theirs(*args)
    found = traced.rebuild(interpret(traced.program, [arg.numpy() for arg in args]))
    pairs = zip(*(value if isinstance(value, tuple) else (value,) for value in (found, expected)), strict=True)
    for own, wanted in pairs:
        torch.testing.assert_close(torch.as_tensor(own), wanted, rtol=1e-12, atol=1e-12)
    check_derivatives(theirs, *args, traced=traced)


def test_integers_become_floats_where_the_function_says_so():
    def body(i):
        return SEVERAL(i)[0] / 4.0

    program = trace(body, [described(torch.arange(3))]).program
    (found,) = interpret(program, [torch.arange(3).numpy()])
    assert found.tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (lambda x, w: OUT_OF_RANGE(x), "dimension 5"),
        (lambda x, w: OF_NUMBERS(x, w), "different numbers of dimensions"),
        (lambda x, w: TOO_MANY(x, w), "in_dims names 3 parameters"),
    ],
)
def test_refused(fn, message):
    with pytest.raises(KnossosError, match=message):
        trace(fn, [described(X), described(W)])


def test_sizes_agree():
    program = trace(lambda x, w: OF_PAIRS(x, w), [described(X), described(W)]).program
    with pytest.raises(KernelRuntimeError):
        interpret(program, [X.numpy(), W[:2].numpy()])
