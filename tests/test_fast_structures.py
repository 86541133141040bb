"""Calls with structures, numbers and names take the fast path, and what does not fit leaves it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import pytest
import torch
from torch.testing import assert_close

import ksc as knossos
from ksc.errors import ArgumentError
from ksc.kernel import Kernel


@dataclass
class Layer:
    weight: torch.Tensor
    bias: torch.Tensor


class Scaled(NamedTuple):
    value: torch.Tensor
    by: float


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> list[Kernel]:
    """The kernels whose calls were looked at in Python."""
    seen: list[Kernel] = []
    specialise = Kernel._specialise

    def counted(self: Kernel, *args: Any) -> Any:
        seen.append(self)
        return specialise(self, *args)

    monkeypatch.setattr(Kernel, "_specialise", counted)
    return seen


def mixed(
    layer: Layer, pair: Scaled, index: Annotated[torch.Tensor, ("n",), torch.int64], mode: str = "sum", k: float = 2.0
) -> Layer:
    extra = k if mode == "sum" else 0.0
    return Layer(layer.weight * pair.by + pair.value, layer.bias[index] + extra)


def energy(layer: Layer, k: float = 1.0) -> torch.Tensor:
    return (layer.weight * layer.weight).sum() * k + layer.bias.sum()


def arguments() -> tuple[Layer, Scaled, torch.Tensor]:
    return Layer(torch.randn(3), torch.randn(4)), Scaled(torch.randn(3), 1.5), torch.tensor([0, 3])


def assert_layers(found: Any, expected: Layer) -> None:
    assert type(found) is Layer
    assert_close((found.weight, found.bias), (expected.weight, expected.bias))


def test_structures_numbers_and_names(slow: list[Kernel]) -> None:
    kernel = knossos.register(mixed)
    kernel(*arguments())
    slow.clear()
    for keywords in ({}, {"k": 3.0}, {"k": 1, "mode": "sum"}):
        given = arguments()
        assert_layers(kernel(*given, **keywords), mixed(*given, **keywords))
    layer, pair, index = arguments()
    assert_layers(kernel(layer, index=index, pair=pair), mixed(layer, pair, index))
    assert not slow


def test_what_selects_the_program_is_looked_at(slow: list[Kernel]) -> None:
    kernel, given = knossos.register(mixed), arguments()
    kernel(*given)
    slow.clear()
    assert_layers(kernel(*given, "plain"), mixed(*given, "plain"))
    assert len(slow) == 1
    assert_layers(kernel(*given, "plain"), mixed(*given, "plain"))
    assert_layers(kernel(*given), mixed(*given))
    assert len(slow) == 1
    with pytest.raises(ArgumentError, match="unexpected keyword"):
        kernel(*given, unknown=3)
    with pytest.raises(ArgumentError, match="missing"):
        kernel(given[0])


def test_derivatives_of_structures(slow: list[Kernel]) -> None:
    kernel, layer = knossos.register(energy), arguments()[0]
    calls = [
        lambda: kernel.grad(layer),
        lambda: kernel.value_and_grad(layer)[1],
        lambda: kernel.jacobian(layer),
        lambda: kernel.vjp(layer, 1.0, torch.tensor(1.0))[0],
        lambda: knossos_grad(layer),
    ]
    knossos_grad = knossos.grad(energy)
    expected = Layer(2.0 * layer.weight, torch.ones(4))
    for call in calls:
        call()
        slow.clear()
        assert_layers(call(), expected)
        assert not slow
    kernel.jvp(layer, 1.0, layer, 0.0)
    slow.clear()
    assert_close(kernel.jvp(layer, 1.0, layer, 0.0), 2.0 * (layer.weight**2).sum() + layer.bias.sum())
    assert not slow


def test_autograd_through_a_structure_with_a_number(slow: list[Kernel]) -> None:
    kernel = knossos.register(energy)
    layer = Layer(torch.randn(3, requires_grad=True), torch.randn(4, requires_grad=True))
    kernel(layer, 3.0)
    slow.clear()
    kernel(layer, 3.0).backward()
    assert not slow
    assert_close((layer.weight.grad, layer.bias.grad), (6.0 * layer.weight.detach(), torch.ones(4)))


def test_a_builtin_does_not_leave_the_fast_path(slow: list[Kernel]) -> None:
    def softened(x: float) -> float:
        return max(abs(x), 0.5)

    kernel, x = knossos.elementwise(softened), torch.randn(5)
    kernel(x)
    slow.clear()
    assert_close(kernel(x), x.abs().clamp(min=0.5))
    assert not slow


def test_narrow_integers_have_a_program_of_their_own(slow: list[Kernel]) -> None:
    def scaled(n: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return x * n

    kernel, x = knossos.register(scaled), torch.ones(2)
    narrow, wide = torch.tensor([1, 2], dtype=torch.int32), torch.tensor([3, 2**40])
    kernel(narrow, x), kernel(wide, x)
    slow.clear()
    assert_close(kernel(narrow, x), torch.tensor([1.0, 2.0]))
    assert_close(kernel(wide, x), torch.tensor([3.0, 2.0**40]))
    assert not slow


def test_a_number_that_is_not_annotated_is_an_int_or_a_float_as_it_comes() -> None:
    def told(x: torch.Tensor, n) -> torch.Tensor:  # type: ignore[no-untyped-def]
        return x * 2.0 if isinstance(n, int) else x * 3.0

    kernel, x = knossos.register(told), torch.ones(2)
    assert [kernel(x, n).tolist() for n in (2.0, 2, 2.0, 2)] == [[3.0, 3.0], [2.0, 2.0]] * 2


def test_a_float_annotation_is_kept_for_tensors_of_integers() -> None:
    def total(x: Annotated[torch.Tensor, ("n",)]) -> torch.Tensor:
        return x.sum()

    with pytest.raises(ArgumentError, match=r"Annotated\[torch.Tensor, \(None,\), torch.int64\]"):
        knossos.register(total)(torch.tensor([1, 2]))
