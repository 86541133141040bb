"""What users of PyTorch write that a kernel does otherwise, or not: the answer of torch, or a refusal with a remedy."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import ksc as knossos
from ksc.errors import KernelRuntimeError, KnossosError

X = torch.tensor([1.5, -2.5, 3.5])
REFUSED: list[Any] = [
    (lambda x: x.double(), "arguments"),
    (lambda x: x.float(), "arguments"),
    (lambda x: x.half(), "arguments"),
    (lambda x: x.int(), r"\.long\(\)"),
    (lambda x: x.cpu(), "leave it out"),
    (lambda x: x.cuda(), "leave it out"),
    (lambda x: x.detach().numpy(), "return the tensor"),
    (lambda x: x.tolist(), "return the tensor"),
    (lambda x: x.stride(), "leave it out"),
    (lambda x: x.sum().backward(), r"\.grad\(\)"),
    (lambda x: max(x), r"\.max\(\)"),
    (lambda x: min(x), r"\.min\(\)"),
    (lambda x: all(x > 0), r"\.all\(\)"),
    (lambda x: any(x > 0), r"\.any\(\)"),
    (lambda x: x.device, "return numbers"),
    (lambda x: (x, x.dtype), "return numbers"),
    (lambda x: x.numel, "return numbers"),
    (lambda x: range(3), "return numbers"),
    (lambda x: x.type(), "dtype"),
    (lambda x: torch.ones(3, device="cuda"), "device=x.device"),
    (lambda x: x.new_zeros(3, device="meta"), "device=x.device"),
]


@pytest.mark.parametrize(("fn", "remedy"), REFUSED)
def test_is_refused_with_a_remedy(fn: Any, remedy: str) -> None:
    with pytest.raises(KnossosError, match=f"instead: .*{remedy}") as refused:
        knossos.register(fn)(X)
    assert type(refused.value).__module__ == "ksc.errors"


def of_integers(x: torch.Tensor, w: torch.Tensor):
    return x.float() * w + (x > 1).float()


def sums_of_rows(x: torch.Tensor, w: torch.Tensor):
    return sum(w), sum(x, 1.5), sum(torch.stack([w, w * 2.0]), w)


@pytest.mark.parametrize("fn", [of_integers, sums_of_rows], ids=lambda fn: fn.__name__)
def test_is_as_in_pytorch(fn: Any) -> None:
    x = torch.tensor([3, -1, 2])
    found, wanted = knossos.register(fn)(x, X), fn(x, X)
    for got, want in zip(*(r if isinstance(r, tuple) else (r,) for r in (found, wanted)), strict=True):
        assert got.dtype == want.dtype
        torch.testing.assert_close(got, want)


def test_sum_of_no_rows() -> None:
    def fn(x: torch.Tensor):
        return sum(x)

    assert knossos.register(fn)(torch.zeros(0)) == 0.0
    with pytest.raises(KernelRuntimeError, match="no tensors"):
        knossos.register(fn)(torch.zeros(0, 3))


class Scale:
    def __init__(self) -> None:
        self.factor = 2.0

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.factor


def test_a_method_as_argument_is_refused_with_a_remedy() -> None:
    def fn(f: Any, x: torch.Tensor):
        return f(x)

    with pytest.raises(KnossosError, match=r"'Scale.apply' is a method of an object that is not .* argument"):
        knossos.register(fn)(Scale().apply, X)


def test_a_truth_value_for_a_float_is_a_number() -> None:
    def fn(x: float, y: float) -> float:
        return x * y + x

    found = knossos.register(fn)(True, 2.5)
    assert found == fn(True, 2.5) and isinstance(found, float)
