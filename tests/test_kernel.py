"""The kernel object and the function forms, as a user meets them."""

from __future__ import annotations

import copy
import math
import pickle
from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

import pytest
import torch
from torch import nn

import ksc as knossos
from ksc.errors import ArgumentError, DifferentiationError, KernelRuntimeError


def relu3(x: float) -> float:
    """Like ReLU, but smoother. Like GELU, but cheaper."""
    if x < 0.0:
        return 0.0
    elif x < 1.0:
        return 1 / 3 * x**3
    else:
        return x - 2 / 3


vrelu3 = knossos.vmap(relu3)


def relu3_reference(x: torch.Tensor) -> torch.Tensor:
    return torch.where(x < 0, torch.zeros_like(x), torch.where(x < 1, x**3 / 3, x - 2 / 3))


@knossos.elementwise
def polar(x: float, y: float) -> tuple[float, float]:
    return math.hypot(x, y), math.atan2(y, x)


@knossos.register
def power(x: float, n: int = 2, negate: bool = False) -> float:
    p = 1.0
    for _ in range(n):
        p *= x
    return -p if negate else p


class Pair(NamedTuple):
    a: float
    b: float


@dataclass(frozen=True)
class Camera:
    focal: float
    centre: Pair
    index: int


@knossos.elementwise
def project(camera: Camera, x: float) -> Pair:
    return Pair(camera.focal * x + camera.centre.a * camera.index, camera.centre.b * x * x)


T = torch.arange(-3, 3, step=0.1)


class TestTheTour:
    def test_values_and_derivative(self) -> None:
        torch.testing.assert_close(vrelu3(T), relu3_reference(T))
        expected = torch.where(T < 0, 0, torch.where(T < 1, T * T, 1.0))
        torch.testing.assert_close(vrelu3.vjp(T, torch.ones_like(T)), expected)
        torch.testing.assert_close(vrelu3.jvp(T, torch.ones_like(T)), expected)
        torch.testing.assert_close(vrelu3.grad(T), expected)
        value, gradient = vrelu3.value_and_grad(T)
        torch.testing.assert_close(value, relu3_reference(T))
        torch.testing.assert_close(gradient, expected)

    def test_the_function_itself_stays_python(self) -> None:
        assert type(relu3(0.5)) is float
        assert [relu3(v) for v in (-1.0, 0.5, 2.0)] == [0.0, 1 / 3 * 0.125, 2.0 - 2 / 3]

    def test_source_can_be_looked_at(self) -> None:
        assert "relu3" in vrelu3.cpp and "#include" in vrelu3.cpp
        assert vrelu3.source_path.read_text() == vrelu3.cpp
        assert "torch_extensions" in vrelu3.source_path.parts
        assert "[rev relu3]" in vrelu3.vjp_ir and "[fwd relu3]" in vrelu3.jvp_ir and "relu3" in vrelu3.ir
        assert "relu3" in repr(vrelu3) and "relu3" in vrelu3._repr_html_()
        assert vrelu3.__wrapped__ is relu3 and vrelu3.__doc__ == relu3.__doc__

    def test_in_a_network(self) -> None:
        torch.manual_seed(0)
        model = nn.Sequential(
            OrderedDict(
                [
                    ("fc1", nn.Linear(8, 16)),
                    ("activation1", vrelu3.nnModule),
                    ("fc2", nn.Linear(16, 4)),
                    ("activation2", vrelu3.nnModule),
                ]
            )
        )
        x = torch.randn(5, 8)
        model(x).sum().backward()
        hidden = model.fc1(x)
        reference = relu3_reference(model.fc2(relu3_reference(hidden))).sum()
        (expected,) = torch.autograd.grad(reference, model.fc1.weight)
        torch.testing.assert_close(model.fc1.weight.grad, expected)
        assert "relu3" in repr(model)
        again = pickle.loads(pickle.dumps(model))
        torch.testing.assert_close(again(x), model(x))

    def test_second_derivative_through_autograd(self) -> None:
        x = torch.tensor([-1.0, 0.5, 2.0], dtype=torch.float64, requires_grad=True)
        (first,) = torch.autograd.grad(vrelu3(x).sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), x)
        torch.testing.assert_close(second, torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64))


class TestArguments:
    def test_numbers_give_numbers(self) -> None:
        result = power(1.5, 3)
        assert type(result) is float and result == 1.5**3
        assert power(1.5) == 2.25
        assert power(1.5, negate=True) == -2.25

    def test_keyword_arguments_with_tensors(self) -> None:
        x = torch.tensor(2.0)
        assert power(x, n=3).item() == 8.0
        assert power(x, n=3, negate=True).item() == -8.0

    def test_several_results(self) -> None:
        x, y = torch.randn(3, 1, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
        radius, angle = polar(x, y)
        torch.testing.assert_close(radius, torch.hypot(*torch.broadcast_tensors(x, y)))
        torch.testing.assert_close(angle, torch.atan2(*torch.broadcast_tensors(y, x)))
        x_bar, y_bar = polar.vjp(x, y, torch.ones(3, 4).double(), torch.ones(3, 4).double())
        assert x_bar.shape == x.shape and y_bar.shape == y.shape

    def test_structures_in_and_out(self) -> None:
        camera = Camera(torch.tensor([1.0, 2.0]), Pair(torch.tensor(3.0), 4.0), 5)
        out = project(camera, torch.tensor([1.0, 10.0]))
        assert isinstance(out, Pair)
        torch.testing.assert_close(out.a, torch.tensor([16.0, 35.0]))
        torch.testing.assert_close(out.b, torch.tensor([4.0, 400.0]))
        camera_bar, x_bar = project.vjp(camera, torch.tensor([1.0, 10.0]), torch.ones(2), torch.zeros(2))
        assert camera_bar.index is None
        torch.testing.assert_close(camera_bar.focal, torch.tensor([1.0, 10.0]))
        torch.testing.assert_close(camera_bar.centre.a, torch.tensor(10.0))
        torch.testing.assert_close(x_bar, torch.tensor([1.0, 2.0]))

    def test_shared_and_moved_dimensions(self) -> None:
        scaled = knossos.vmap(lambda x, s: x * s, in_dims=(1, None), out_dims=1)
        x = torch.randn(3, 4)
        torch.testing.assert_close(scaled(x, 2.0), 2 * x)
        torch.testing.assert_close(scaled(x, torch.tensor(2.0)), 2 * x)

    def test_maps_over_all_dimensions_and_nests(self) -> None:
        nested = knossos.vmap(knossos.vmap(relu3))
        x = torch.randn(2, 3, 4)
        torch.testing.assert_close(nested(x), relu3_reference(x))
        assert vrelu3(torch.tensor(2.0)).item() == pytest.approx(4 / 3)
        assert vrelu3(torch.empty(0, 3)).shape == (0, 3)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
    def test_dtypes(self, dtype: torch.dtype) -> None:
        x = torch.linspace(-2, 2, 33).to(dtype)
        assert vrelu3(x).dtype == dtype
        torch.testing.assert_close(vrelu3(x), relu3_reference(x.double()).to(dtype))
        assert vrelu3.vjp(x, torch.ones_like(x)).dtype == dtype

    def test_wrong_arguments_are_refused(self) -> None:
        with pytest.raises(ArgumentError, match="too many"):
            vrelu3(T, T)
        with pytest.raises(ArgumentError, match="missing"):
            vrelu3()
        with pytest.raises(ArgumentError, match=r"annotated float.*int64"):
            vrelu3(torch.arange(3))
        with pytest.raises(ArgumentError, match="complex"):
            vrelu3(torch.ones(2, dtype=torch.complex64))
        with pytest.raises(ArgumentError, match="number belongs"):
            power(torch.ones(3))
        with pytest.raises(ArgumentError, match="shape"):
            knossos.vmap(lambda x, y: x + y)(torch.ones(3), torch.ones(4))
        with pytest.raises(ArgumentError, match="which a kernel cannot take"):
            vrelu3([1.0])


class TestFunctionForms:
    def test_grad_nests_to_any_order(self) -> None:
        def f(x: float) -> float:
            return math.sin(x) * x

        d1, d2, d3 = knossos.grad(f), knossos.grad(knossos.grad(f)), knossos.grad(knossos.grad(knossos.grad(f)))
        x = 0.7
        assert d1(x) == pytest.approx(math.sin(x) + x * math.cos(x), rel=1e-14)
        assert d2(x) == pytest.approx(2 * math.cos(x) - x * math.sin(x), rel=1e-14)
        assert d3(x) == pytest.approx(-3 * math.sin(x) - x * math.cos(x), rel=1e-14)

    def test_argnums(self) -> None:
        def f(x: float, n: int, y: float) -> float:
            return x * x * y * n

        assert knossos.grad(f, argnums=2)(2.0, 3, 5.0) == 12.0
        assert knossos.grad(f, argnums=(2, 0))(2.0, 3, 5.0) == (12.0, 60.0)
        assert knossos.value_and_grad(f, argnums=-1)(2.0, 3, 5.0) == (60.0, 12.0)
        with pytest.raises(DifferentiationError, match="no float"):
            knossos.grad(f, argnums=1)(2.0, 3, 5.0)
        with pytest.raises(DifferentiationError, match="argument 3"):
            knossos.grad(f, argnums=3)(2.0, 3, 5.0)

    def test_grad_maps(self) -> None:
        torch.testing.assert_close(knossos.vmap(knossos.grad(relu3))(T), vrelu3.grad(T))
        torch.testing.assert_close(knossos.grad(vrelu3)(T), vrelu3.grad(T))

    def test_vjp_and_jvp(self) -> None:
        x = torch.randn(5, dtype=torch.float64)
        y, pullback = knossos.vjp(vrelu3, x)
        torch.testing.assert_close(y, vrelu3(x))
        (x_bar,) = pullback(torch.full_like(x, 2.0))
        torch.testing.assert_close(x_bar, 2 * vrelu3.grad(x))
        y, y_dot = knossos.jvp(vrelu3, (x,), (torch.full_like(x, 2.0),))
        torch.testing.assert_close(y_dot, x_bar)

    def test_gradcheck(self) -> None:
        assert knossos.gradcheck(vrelu3, (torch.tensor([-1.0, 0.5, 2.0]),))
        assert knossos.gradcheck(lambda x, y: math.exp(x) * y, (0.3, 2.0))

    def test_autograd_through_a_gradient(self) -> None:
        x = torch.tensor([0.5, 0.2], dtype=torch.float64, requires_grad=True)
        (second,) = torch.autograd.grad(knossos.grad(vrelu3)(x).sum(), x)
        torch.testing.assert_close(second, 2 * x.detach())


class TestIdentity:
    def test_copies_and_pickles(self) -> None:
        assert copy.deepcopy(vrelu3) is vrelu3
        assert pickle.loads(pickle.dumps(polar)) is polar
        again = pickle.loads(pickle.dumps(vrelu3))
        torch.testing.assert_close(again(T), vrelu3(T))
        with pytest.raises(pickle.PicklingError, match="top level"):
            pickle.dumps(knossos.vmap(lambda x: x))

    def test_a_changed_closure_is_noticed(self) -> None:
        factor = 2.0

        def scale(x: float) -> float:
            return factor * x

        kernel = knossos.vmap(scale)
        x = torch.ones(3)
        assert kernel(x).tolist() == [2.0] * 3
        assert kernel.vjp(x, x).tolist() == [2.0] * 3
        factor = 5.0
        assert kernel(x).tolist() == [5.0] * 3
        assert kernel.vjp(x, x).tolist() == [5.0] * 3

    def test_kernels_call_kernels(self) -> None:
        @knossos.vmap
        def both(x: float) -> float:
            return vrelu3.__wrapped__(x) + power(x, 2)

        x = torch.randn(7)
        torch.testing.assert_close(both(x), relu3_reference(x) + x * x)


class TestRuntimeErrors:
    def test_an_assert_names_the_line(self) -> None:
        @knossos.vmap
        def positive(x: float) -> float:
            assert x > 0.0, "x must be positive"
            return math.log(x)

        assert positive(torch.ones(2)).tolist() == [0.0, 0.0]
        with pytest.raises(KernelRuntimeError, match="x must be positive") as caught:
            positive(torch.tensor([1.0, -1.0]))
        assert "assert x > 0.0" in str(caught.value)

    def test_integer_division_by_zero(self) -> None:
        @knossos.register
        def quotient(a: int, b: int) -> int:
            return a // b

        assert quotient(-7, 2) == -4
        with pytest.raises(KernelRuntimeError, match="zero"):
            quotient(1, 0)

    def test_recursion(self) -> None:
        @knossos.register
        def total(x: float, n: int) -> float:
            return 0.0 if n == 0 else x + total(x, n - 1)

        assert total(1.5, 10) == 15.0
        assert knossos.grad(total)(1.5, 10) == 10.0
        with pytest.raises(KernelRuntimeError, match=r"recurs"):
            total(1.5, 10**9)
