"""Lanes of a few elements: sizes compiled in, loops over lanes in vectors, and the same answers as for any size."""

import pytest
import torch

import ksc as knossos
from ksc.small import MAX_SMALL


def leaky(x: torch.Tensor):
    y = torch.sum(x)
    if y < 0.0:
        t = -0.125 * x
    else:
        t = 1 / 2 * x**2
    return torch.mean(torch.sin(t) * t)


def leaky_in_torch(xs):
    y = xs.sum((1, 2), keepdim=True)
    t = torch.where(y < 0.0, -0.125 * xs, 0.5 * xs**2)
    return (torch.sin(t) * t).mean((1, 2))


def source(kernel):
    return kernel._latest.source("", torch.float32).text


@pytest.fixture(scope="module")
def vleaky():
    return knossos.vmap(leaky)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("lanes", [0, 1, 15, 16, 17, 1000])
def test_values_and_gradients(vleaky, lanes, dtype):
    xs = torch.randn(lanes, 4, 4, dtype=dtype, requires_grad=True)
    seeds = torch.randn(lanes, dtype=dtype)
    got, want = vleaky(xs), leaky_in_torch(xs)
    torch.testing.assert_close(got, want)
    (got_bar,), (want_bar,) = (torch.autograd.grad(y, xs, seeds) for y in (got, want))
    torch.testing.assert_close(got_bar, want_bar)


def test_nan_and_infinity_stay_in_their_lanes(vleaky):
    xs = torch.randn(40, 4, 4)
    xs[3, 1, 1] = float("nan")
    xs[20, 0, 0] = float("inf")
    xs[30, 2, 2] = 1e9
    got = vleaky(xs)
    assert sorted(set(range(40)) - set(torch.isfinite(got).nonzero().flatten().tolist())) == [3, 20]
    rest = torch.isfinite(got)
    torch.testing.assert_close(got[rest], leaky_in_torch(xs)[rest])


def test_strided_arguments(vleaky):
    xs = torch.randn(4, 4, 50).permute(2, 1, 0)
    torch.testing.assert_close(vleaky(xs), leaky_in_torch(xs))


def test_the_loop_over_lanes_is_vectorised():
    kernel = knossos.vmap(leaky)
    kernel(torch.randn(3, 4, 4))
    text = source(kernel)
    assert "ks::angles(first, last, [=](auto angle, int &far, int64_t lane) KS_INLINED {\n" in text
    assert "k < 16" in text
    assert "ks::sized<-1, 4, 4>" in text


def test_large_lanes_share_one_program():
    kernel = knossos.vmap(leaky)
    for rows, cols in ((9, 6), (7, 9), (30, 2)):
        xs = torch.randn(3, rows, cols)
        torch.testing.assert_close(kernel(xs), leaky_in_torch(xs))
    assert len(kernel._specialisations) == 1


def test_programs_of_small_sizes_are_few():
    kernel = knossos.vmap(lambda x: torch.sum(x * x))
    for n in range(2, 2 + MAX_SMALL + 3):
        xs = torch.randn(4, n)
        torch.testing.assert_close(kernel(xs), (xs * xs).sum(1))
    assert len(kernel._specialisations) == MAX_SMALL + 1


def test_what_stops_still_stops():
    kernel = knossos.vmap(lambda x: x[5])
    with pytest.raises(RuntimeError, match="index 5 is out of range for dimension 1 of x, of size 4"):
        kernel(torch.randn(2, 4))
    xs = torch.randn(2, 9)
    assert torch.equal(kernel(xs), xs[:, 5])


def test_sizes_in_either_order():
    kernel = knossos.vmap(lambda a, b: torch.sum(a * b))
    for n in (3, 20, 3, 4, 20):
        a, b = torch.randn(6, n), torch.randn(6, n)
        torch.testing.assert_close(kernel(a, b), (a * b).sum(1))


def centred(x: torch.Tensor):
    return x - torch.sum(x) * (x * x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sizes", [(8,), (4, 4), (2, 2, 4), (2, 8), (1, 8), (7,), (4,)])
def test_sums_over_a_lane(sizes, dtype):
    torch.manual_seed(0)
    kernel = knossos.vmap(centred)
    xs = torch.randn(37, *sizes, dtype=dtype, requires_grad=True)
    seeds = torch.randn_like(xs)
    dims = tuple(range(1, xs.dim()))
    want = xs - xs.sum(dims, keepdim=True) * (xs * xs)
    torch.testing.assert_close(kernel(xs), want)
    (bar,) = torch.autograd.grad(want, xs, seeds)
    torch.testing.assert_close(kernel.vjp(xs.detach(), seeds), bar)
    sums = 1 if xs[0].numel() in (8, 16) else 0
    assert source(kernel).count(f"ks::tree_sum<{xs[0].numel()}") == sums


@pytest.mark.parametrize("place", range(16))
def test_each_term_of_a_sum_counts_once(place):
    xs = torch.zeros(1, 4, 4)
    xs.view(-1)[place] = 3.0
    assert knossos.vmap(centred)(xs).sum() == 3.0 - 3.0 * 9.0


def test_special_numbers_in_sums_over_a_lane():
    xs = torch.ones(3, 16)
    xs[0, 5], xs[1, 11], xs[2, 3] = torch.inf, torch.nan, -torch.inf
    got = knossos.vmap(centred)(xs.reshape(3, 4, 4)).reshape(3, 16)
    torch.testing.assert_close(got, xs - xs.sum(1, keepdim=True) * (xs * xs), equal_nan=True)
