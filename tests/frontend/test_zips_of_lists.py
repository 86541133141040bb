"""``zip`` of a list with what is as long as the arguments tell."""

import pytest
import torch
from tensor_oracle import check, check_derivatives, described

from ksc.errors import UnsupportedError
from ksc.frontend import trace


def weighted(x, c):
    basis = [c[0], 2.0 * c[1], 3.0, c[2] * c[0]]
    total = c[0] * 0.0
    for v, w in zip(x, basis):  # noqa: B905
        total = total + v * w
    return total, sum((w * v for w, v in zip((1.0, 2.0, c[1]), x)), c[0])  # noqa: B905


def of_pairs(x, c):
    total = c[0] * 0.0
    for k, (v, (a, b)) in enumerate(zip(x, [(c[0], 1), (c[1], 2)])):  # noqa: B905
        total = total + v * a + b * v * v + k * v
    for v, (a, b) in zip(x, []):  # noqa: B905
        total = total + v * a * b
    return total


@pytest.mark.parametrize("n", [0, 1, 3, 7])
@pytest.mark.parametrize("fn", [weighted, of_pairs])
def test_against_torch(fn, n):
    x, c = torch.linspace(-1.0, 2.0, n, dtype=torch.float64), torch.tensor([0.3, -1.2, 0.7], dtype=torch.float64)
    check_derivatives(fn, x, c, traced=check(fn, x, c))


def of_functions(x, c):
    total = c[0]
    for v, f in zip(x, [torch.sin, torch.cos]):  # noqa: B905
        total = total + f(v)
    return total


def changed_meanwhile(x, c):
    basis = [c[0], c[1]]
    total = c[2]
    for v, w in zip(x, basis):  # noqa: B905
        basis[1] = v
        total = total + v * w
    return total


@pytest.mark.parametrize(("fn", "code"), [(of_functions, "KS111"), (changed_meanwhile, "KS121")])
def test_refused(fn, code):
    x = torch.ones(3, dtype=torch.float64)
    with pytest.raises(UnsupportedError) as caught:
        trace(fn, [described(x), described(x)])
    assert caught.value.code == code
