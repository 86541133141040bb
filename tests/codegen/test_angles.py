"""Loops that take sines: without calls where no angle is large, and run again where one is."""

import pytest
import torch

import ksc as knossos


def turns(x: torch.Tensor, far: torch.Tensor) -> torch.Tensor:
    doubled = x * 2.0
    return torch.sin(doubled) * far + torch.cos(doubled)


def leaning(x: torch.Tensor) -> torch.Tensor:
    if torch.sum(x) < 0.0:
        t = -0.125 * x
    else:
        t = x * x
    return torch.sin(t) * t


KERNELS = {"turns": knossos.register(turns), "leaning": knossos.vmap(knossos.register(leaning))}
SPECIAL = [0.0, -0.0, 1e-42, 1e30, float("inf"), float("nan"), -8191.0, 8193.0]


def leaning_pt(x: torch.Tensor) -> torch.Tensor:
    total = torch.sum(x, (1, 2), keepdim=True)
    t = torch.where(total < 0.0, -0.125 * x, x * x)
    return torch.sin(t) * t


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_and_derivatives(dtype: torch.dtype) -> None:
    x = torch.randn(3, 41, generator=torch.Generator().manual_seed(0), dtype=dtype)
    large = x.clone()
    large[1, 5 : 5 + len(SPECIAL)] = torch.tensor(SPECIAL, dtype=dtype)
    for given in (x, large, large.t(), x[:, :0], x[:, ::2]):
        check(KERNELS["turns"], turns, given, torch.full_like(given, 1.5))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_blocks_of_either_kind(dtype: torch.dtype) -> None:
    x = torch.randn(50, 4, 4, generator=torch.Generator().manual_seed(0), dtype=dtype)
    x[3, 1, 2], x[4, 0, 0], x[5, 3, 3], x[6, 1, 1] = 1e9, -1e9, float("inf"), float("nan")
    check(KERNELS["leaning"], leaning_pt, x)
    check(KERNELS["leaning"], leaning_pt, x.transpose(1, 2))


def check(kernel, reference, *args: torch.Tensor) -> None:
    found = []
    for function in (kernel, reference):
        leaves = [arg.detach().clone(memory_format=torch.preserve_format).requires_grad_() for arg in args]
        value = function(*leaves)
        found.append([value.detach(), *torch.autograd.grad(value, leaves, torch.ones_like(value))])
    for got, want in zip(*found, strict=True):
        torch.testing.assert_close(got, want, equal_nan=True)
        zeros = want == 0.0
        assert torch.equal(got[zeros].signbit(), want[zeros].signbit())


def test_the_text_keeps_the_names_of_the_user() -> None:
    KERNELS["turns"](torch.ones(2, 3), torch.ones(2, 3))
    text = KERNELS["turns"].cpp
    assert "ks::angles(0, x_cols, [=](auto angle, int &far_2, int64_t j) KS_INLINED {" in text
    assert "t(i, j) = angle.sin(far_2, t2) * far(i, j) + angle.cos(far_2, t2);" in text


def test_a_choice_for_a_whole_row_is_made_once() -> None:
    KERNELS["leaning"](torch.ones(2, 4, 4))
    text = KERNELS["leaning"].cpp
    assert text.count("ks::either(") == 1
    assert "ks::angles<16>([=](auto angle, int &far, int64_t k) KS_INLINED {" in text
    assert "ks::select" not in text
