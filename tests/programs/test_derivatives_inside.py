"""Kernels that call derivatives of other functions, against PyTorch's, to the second order in both modes."""

import math
from typing import NamedTuple

import pytest
import torch

import ksc as knossos
from ksc.errors import DifferentiationError, UnsupportedError

hessian = torch.func.hessian


def wave(x: float) -> float:
    return math.sin(x) * x


def twofold(x: float, y: float) -> float:
    return math.sin(x * y) + y * y


def power(x: float, n: int) -> float:
    return x if n <= 0 else math.sin(x) * power(x, n - 1)


def product(x: float, n: int) -> float:
    p = 1.0
    for i in range(n):
        p *= x + i
    return p


@knossos.register
def decorated(x: float) -> float:
    return x * wave(x)


slope = knossos.grad(wave)
curvature = knossos.grad(slope)
both = knossos.grad(twofold, argnums=(1, 0))
valued = knossos.value_and_grad(wave)
steep = knossos.grad(power)
growth = knossos.grad(product)


def once(x: float) -> float:
    return slope(x) * 2.0


def twice(x: float) -> float:
    return curvature(x) * slope(x) + slope(2.0 * x)


def pair(x: float) -> float:
    by_y, by_x = both(x, y=x * x)
    return by_x * by_y


def value_too(x: float) -> float:
    v, d = valued(x)
    return v / (1.0 + d * d)


def recursive(x: float) -> float:
    return steep(x, 3) * x


def looped(x: float) -> float:
    total = 0.0
    for i in range(3):
        if growth(x, i) > 0.5:
            total += growth(x, i) * x
    return total


def written_inside(x: float) -> float:
    return knossos.grad(wave)(x) + knossos.value_and_grad(twofold, argnums=1)(x, 2.0)[1]


def of_a_kernel(x: float) -> float:
    return decorated.grad(x) + decorated.value_and_grad(x)[0]


def newton(x: float) -> float:
    for _ in range(2):
        x = x - slope(x) / (4.0 + curvature(x))
    return x


def t_wave(x):
    return torch.sin(x) * x


def t_twofold(x, y):
    return torch.sin(x * y) + y * y


def t_power(x, n):
    return x if n <= 0 else torch.sin(x) * t_power(x, n - 1)


def t_product(x, n):
    p = torch.ones_like(x)
    for i in range(n):
        p = p * (x + i)
    return p


tgrad = torch.func.grad


def t_newton(x):
    for _ in range(2):
        x = x - tgrad(t_wave)(x) / (4.0 + tgrad(tgrad(t_wave))(x))
    return x


REFERENCES = {
    once: lambda x: tgrad(t_wave)(x) * 2,
    twice: lambda x: tgrad(tgrad(t_wave))(x) * tgrad(t_wave)(x) + tgrad(t_wave)(2 * x),
    pair: lambda x: tgrad(t_twofold)(x, x * x) * tgrad(t_twofold, 1)(x, x * x),
    value_too: lambda x: t_wave(x) / (1 + tgrad(t_wave)(x) ** 2),
    recursive: lambda x: tgrad(t_power)(x, 3) * x,
    looped: lambda x: sum(tgrad(t_product)(x, i) * x for i in (1, 2)),
    written_inside: lambda x: tgrad(t_wave)(x) + tgrad(t_twofold, 1)(x, torch.full_like(x, 2.0)),
    of_a_kernel: lambda x: tgrad(lambda v: v * t_wave(v))(x) + x * t_wave(x),
    newton: t_newton,
}


@pytest.mark.parametrize("function", REFERENCES, ids=lambda f: f.__name__)
def test_against_torch(function):
    kernel, reference = knossos.register(function), REFERENCES[function]
    x = torch.tensor(0.7, dtype=torch.float64)
    one = torch.ones_like(x)
    torch.testing.assert_close(kernel(x), reference(x), rtol=1e-12, atol=1e-12)
    first, second = tgrad(reference)(x), tgrad(tgrad(reference))(x)
    torch.testing.assert_close(kernel.vjp(x, one), first, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(kernel.jvp(x, one), first, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(hessian(kernel)(x), second, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(torch.func.jacrev(torch.func.jacfwd(kernel))(x), second, rtol=1e-10, atol=1e-10)


def test_numbers():
    assert knossos.register(once)(0.5) == pytest.approx(2 * (math.sin(0.5) + 0.5 * math.cos(0.5)), rel=1e-15)


def itself(x: float) -> float:
    return x * knossos.grad(itself)(x)


def around(x: float) -> float:
    return x * knossos.grad(through)(x)


def through(x: float) -> float:
    return around(x)


def many(x: float) -> tuple[float, float]:
    return x, x


def of_many(x: float) -> float:
    return knossos.grad(many)(x)


def of_local(x: float) -> float:
    return knossos.grad(lambda v: v * x)(x)


class Pair(NamedTuple):
    a: float
    b: float


def of_tuple(p: Pair) -> float:
    return p.a * p.b * p.b


def structured(x: float) -> float:
    return knossos.grad(of_tuple)(Pair(x, 3.0 * x)).b


def test_structures():
    assert knossos.register(structured)(0.5) == pytest.approx(2 * 3 * 0.5 * 0.5)


@pytest.mark.parametrize("function", [itself, around])
def test_a_function_in_its_own_derivative_is_refused(function):
    with pytest.raises(UnsupportedError, match="part of its own derivative") as raised:
        knossos.register(function)(1.0)
    assert raised.value.code == "KS131"
    assert "knossos.grad" in str(raised.value)


def test_refusals_show_the_call():
    with pytest.raises(DifferentiationError, match="return one float") as raised:
        knossos.register(of_many)(1.0)
    assert "return knossos.grad(many)(x)" in str(raised.value)


def test_of_a_local_function():
    assert knossos.register(of_local)(3.0) == 3.0
