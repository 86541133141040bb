"""``split`` into as many parts as the arguments tell: unpacked, or looped over."""

import pytest
import torch

import ksc as knossos
from ksc.errors import KernelRuntimeError, TypeMismatchError, UnsupportedError


def heads(t: torch.Tensor) -> torch.Tensor:
    q, k, v = t.split(t.shape[1] // 3, dim=-1)
    return torch.softmax(q @ k.T, 1) @ v


def weighted(x: torch.Tensor, n: int) -> torch.Tensor:
    total = torch.zeros((), dtype=x.dtype)
    for i, piece in enumerate(torch.split(x, n)):
        total = total + (i + 1.0) * (piece * piece).sum()
    return total


def halves(x: torch.Tensor) -> torch.Tensor:
    a, b = x.split(4)
    return a[:2] * b[0]


def interpreted(function):
    return knossos.register(function, backend="interpret")


def test_unpacked_parts_have_gradients():
    kernel = interpreted(heads)
    t = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(kernel(t), heads(t))
    assert torch.autograd.gradcheck(kernel, (t,))


@pytest.mark.parametrize("rows", [0, 1, 6, 7])
@pytest.mark.parametrize("n", [1, 3, 7, 9])
def test_a_loop_over_parts_of_which_the_last_is_smaller(rows, n):
    kernel = interpreted(weighted)
    x = torch.randn(rows, 2, dtype=torch.float64, requires_grad=True)
    got, want = kernel(x, n), weighted(x, n)
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(torch.autograd.grad(got, x), torch.autograd.grad(want, x))


def test_another_number_of_parts_is_an_error():
    kernel = interpreted(halves)
    x = torch.arange(8.0)
    torch.testing.assert_close(kernel(x), halves(x))
    for size in (4, 9):
        with pytest.raises(KernelRuntimeError, match="must be 2"):
            kernel(torch.arange(float(size)))
    with pytest.raises(KernelRuntimeError, match="not above 0"):
        interpreted(weighted)(x[:, None], 0)


def test_what_needs_their_number_is_refused():
    def rest(x: torch.Tensor, n: int) -> torch.Tensor:
        first, *_ = x.split(n)
        return first

    def second(x: torch.Tensor, n: int) -> torch.Tensor:
        return x.split(n)[1]

    with pytest.raises(UnsupportedError, match="depends on the arguments"):
        interpreted(rest)(torch.arange(5.0), 2)
    with pytest.raises(TypeMismatchError, match="unpack it, or loop over it"):
        interpreted(second)(torch.arange(5.0), 2)
