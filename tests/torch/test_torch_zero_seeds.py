"""A cotangent or tangent that is not there counts as zero, even where a derivative is infinite."""

from __future__ import annotations

import math

import pytest
import torch
from torch import func
from torch.autograd import forward_ad
from torch.testing import assert_close

import ksc
from ksc.derive import derive


def line_and_root(x: float) -> tuple[float, float]:
    return 2.0 * x, math.sqrt(x)


def product_and_quotient(a: float, b: float) -> tuple[float, float]:
    return a * b, a / b


def recursive(x: float, n: int) -> tuple[float, float]:
    if n <= 0:
        return x, math.sqrt(x)
    a, b = recursive(x, n - 1)
    return a * 3.0, b + a


def test_an_unused_result_does_not_spoil_the_gradient() -> None:
    x = torch.zeros(2, requires_grad=True)
    first, second = ksc.elementwise(line_and_root)(x)
    assert_close(torch.autograd.grad(first.sum(), x, retain_graph=True)[0], torch.full((2,), 2.0))
    assert torch.isinf(torch.autograd.grad(second.sum(), x)[0]).all()
    assert_close(
        func.vmap(func.grad(lambda v: ksc.elementwise(line_and_root)(v)[0]))(x.detach()), torch.full((2,), 2.0)
    )


def test_one_result_of_a_recursive_function() -> None:
    x = torch.full((2,), 4.0, requires_grad=True)
    first, second = ksc.elementwise(recursive)(x, 2)
    assert_close(torch.autograd.grad(first.sum(), x, retain_graph=True)[0], torch.full((2,), 9.0))
    # The second is sqrt(x) + x + 3 x.
    assert_close(torch.autograd.grad(second.sum(), x)[0], torch.full((2,), 4.25))


def test_an_argument_without_a_tangent() -> None:
    kernel = ksc.elementwise(product_and_quotient)
    a, b = torch.ones(2), torch.zeros(2)
    got = func.jvp(lambda v: kernel(v, b)[0], (a,), (a,))
    assert_close(got, (torch.zeros(2), torch.zeros(2)))
    with forward_ad.dual_level():
        results = kernel(forward_ad.make_dual(a, a), b)
        tangents = [forward_ad.unpack_dual(r).tangent for r in results]
    assert_close(tangents, [torch.zeros(2), torch.full((2,), torch.inf)])


def test_second_order_with_zero_seeds() -> None:
    x = torch.tensor(4.0, dtype=torch.float64)
    kernel = ksc.elementwise(line_and_root)
    assert_close(func.hessian(lambda v: kernel(v)[1])(x), func.hessian(torch.sqrt)(x))
    assert_close(func.hessian(lambda v: kernel(v)[0] ** 2)(x * 0), torch.tensor(8.0, dtype=torch.float64))


@pytest.mark.parametrize("derivation", ["x", "v2", "10", "vj 1"])
def test_a_derivation_that_is_none_is_refused(derivation: str) -> None:
    with pytest.raises(ValueError, match="not a derivation"):
        derive(None, derivation)  # type: ignore[arg-type]
