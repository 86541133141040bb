"""Iterations of an outermost loop side by side: the same sums, for any number of iterations."""

import pytest
import torch

import ksc as knossos
from ksc.errors import KernelRuntimeError

PACK = "ks::pack<float>::fits"


def mixture(x: torch.Tensor, means: torch.Tensor, scale: torch.Tensor, weights: torch.Tensor):
    total = 0.0
    for i in range(x.shape[0]):
        terms = torch.zeros(means.shape[0])
        for k in range(means.shape[0]):
            v = x[i] - means[k]
            distance = 0.0
            for j in range(x.shape[1]):
                r = torch.exp(scale[k, j]) * v[j]
                for m in range(j):
                    r += scale[k, m] * v[m]
                distance += r * r
            terms[k] = weights[k] - 0.5 * distance
        total += torch.logsumexp(terms, 0)
    return total


def several(a: torch.Tensor, x: torch.Tensor):
    largest = 0.0
    count = 0.0
    for i in range(x.shape[0]):
        s = 0.0
        for k in range(a.shape[0]):
            t = a[k] * x[i]
            s += torch.maximum(torch.sqrt(torch.abs(t)), -a[k])
        largest += s
        count += a[0]
    return largest * count


def packed(kernel) -> bool:
    return PACK in kernel.cpp


def arguments(n, dtype):
    torch.manual_seed(n)
    sizes = ((n, 3), (4, 3), (4, 3), (4,))
    return [torch.randn(*size, dtype=dtype) for size in sizes]


@pytest.mark.parametrize("n", [0, 1, 31, 32, 33, 200])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_values_and_gradients_for_any_number_of_iterations(n, dtype):
    kernel = knossos.register(mixture)
    args = arguments(n, dtype)
    leaves = [arg.clone().requires_grad_() for arg in args]
    x, means, scale, weights = leaves
    v = x[:, None, :] - means
    lower = torch.tril(torch.ones(3, 3, dtype=dtype), -1) * scale[:, None, :] + torch.diag_embed(torch.exp(scale))
    r = torch.einsum("kjl,nkl->nkj", lower, v)
    expected = torch.logsumexp(weights - 0.5 * (r * r).sum(-1), 1).sum()
    torch.testing.assert_close(kernel(*args), expected.detach())
    bars = knossos.grad(kernel, argnums=(1, 2, 3))(*args)
    torch.testing.assert_close(tuple(bars), torch.autograd.grad(expected, leaves[1:]), rtol=1e-4, atol=1e-4)
    assert packed(kernel) or n == 1


@pytest.mark.parametrize("n", [5, 100])
def test_choices_functions_and_several_sums(n):
    kernel = knossos.register(several)
    a, x = torch.randn(7, dtype=torch.float64), torch.randn(n, dtype=torch.float64)
    t = a * x[:, None]
    expected = torch.maximum(torch.sqrt(t.abs()), -a.expand(n, 7)).sum() * n * a[0]
    torch.testing.assert_close(kernel(a, x), expected)
    assert packed(kernel) or n == 5


def test_infinities_and_nan_stay_in_their_lane():
    kernel = knossos.register(mixture)
    x, means, scale, weights = arguments(64, torch.float64)
    weights[:] = -torch.inf
    assert kernel(x, means, scale, weights) == -torch.inf
    weights = torch.zeros(4, dtype=torch.float64)
    x[40, 1] = torch.nan
    assert torch.isnan(kernel(x, means, scale, weights))


def test_the_mode_of_the_thread_is_as_it_was():
    kernel = knossos.register(mixture)
    kernel(*arguments(64, torch.float64))
    assert torch.tensor([1e-300], dtype=torch.float64).mul(1e-10).item() > 0.0


def weighted(a: torch.Tensor, x: torch.Tensor):
    total = 0.0
    for i in range(x.shape[0]):
        s = 0.0
        for k in range(a.shape[0]):
            s += a[k] * x[i]
        total += s * 1e30
    return total


def test_small_floats_are_not_zero():
    kernel = knossos.register(weighted)
    a, x = torch.full((3,), 1e-20), torch.full((128,), 1e-20)
    torch.testing.assert_close(kernel(a, x), torch.tensor(3 * 128 * 1e-10), rtol=1e-3, atol=0.0)
    assert packed(kernel)


def branching(a: torch.Tensor, x: torch.Tensor):
    total = 0.0
    for i in range(x.shape[0]):
        s = 0.0
        for k in range(a.shape[0]):
            if a[k] * x[i] > 0.0:
                s = s * 2.0 + a[k]
            for m in range(k):
                s += a[m] * x[i]
        total += s
    return total


def product(a: torch.Tensor, x: torch.Tensor):
    total = 0.0
    for i in range(x.shape[0]):
        s = 0.0
        for j in range(a.shape[0]):
            s += a[j] * x[i, j]
        total += s * s
    return total


def test_what_takes_different_ways_or_reads_a_matrix_once_is_left_alone():
    kernel = knossos.register(product)
    a, x = torch.randn(4), torch.randn(50, 4)
    torch.testing.assert_close(kernel(a, x), ((x @ a) ** 2).sum())
    assert not packed(kernel)
    kernel = knossos.register(branching)
    kernel(a, x[:, 0])
    assert not packed(kernel)


def beyond(a: torch.Tensor, x: torch.Tensor, n: int):
    total = 0.0
    for i in range(n):
        s = 0.0
        for k in range(a.shape[0]):
            s += a[k] * x[i]
        total += s * s
    return total


def test_an_index_out_of_range_is_still_an_error():
    kernel = knossos.register(beyond)
    a, x = torch.ones(3), torch.ones(70)
    assert kernel(a, x, 70) == 9 * 70
    with pytest.raises(KernelRuntimeError, match="index 70 is out of range for dimension 0 of x, of size 70"):
        kernel(a, x, 71)


def logarithm_of_weights(x: torch.Tensor, depths: torch.Tensor):
    total = 0.0
    for i in range(x.shape[0]):
        s = 0.0
        for k in range(depths.shape[0]):
            s += torch.log(torch.exp(x[i] * depths[k]))
        total += s
    return total


def test_numbers_below_the_smallest_normal_one_are_kept():
    """exp(-740) is 5e-322, whose logarithm PyTorch gives as -740."""
    kernel = knossos.register(logarithm_of_weights)
    x = torch.ones(64, dtype=torch.float64, requires_grad=True)
    depths = torch.tensor([-740.0, -1.0], dtype=torch.float64)
    value = kernel(x, depths)
    assert packed(kernel)
    expected = torch.log(torch.exp(x[:, None] * depths)).sum()
    torch.testing.assert_close(value, expected)
    gradients = [torch.autograd.grad(y, x)[0] for y in (value, expected)]
    torch.testing.assert_close(*gradients)
