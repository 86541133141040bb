"""Tensors of integers of fewer than 64 bits: read as PyTorch reads them, or refused; never of another dtype."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

import ksc as knossos
from ksc.errors import KnossosError, TypeMismatchError

DTYPES = [torch.uint8, torch.int8, torch.int16, torch.int32]
READS: list[Any] = []
COMPUTES: list[Any] = []


def reads(fn: Any) -> Any:
    READS.append(fn)
    return fn


def computes(fn: Any) -> Any:
    COMPUTES.append(fn)
    return fn


@reads
def scaled(x: torch.Tensor, w: torch.Tensor):
    return x / 100


@reads
def centred(x: torch.Tensor, w: torch.Tensor):
    return (x * 0.5 - w).sum() + x.T[0, 1] * w[0, 0]


@reads
def masked(x: torch.Tensor, w: torch.Tensor):
    return torch.where(x > 2, w, 0.0), x == 3, x.bool()


@reads
def counted(x: torch.Tensor, w: torch.Tensor):
    return x.sum(), x.prod(), x.cumsum(1), (x == 1).sum(), x.argmax()


def as_indices(x: torch.Tensor, w: torch.Tensor):
    return w.flatten()[x[0]], torch.index_select(w, 1, x[0, :2]), F.embedding(x, w[:, :2]), w[x[0, 0], x[0, 1:2]]


@reads
def as_numbers(x: torch.Tensor, w: torch.Tensor):
    total = 0.0
    for i in range(x.shape[0]):
        for j in range(x[i, 0].item()):
            total += w[0, 0] * j
        if x[i, 1] > 2:
            total = total + int(x[i, 1])
    return total


@reads
def converted(x: torch.Tensor, w: torch.Tensor):
    return x.long() + 1, x.to(torch.int64) * 100, x.to(w.dtype) * w, x[0].long()[1] * 2


@reads
def beside_wide(x: torch.Tensor, w: torch.Tensor):
    wide = torch.arange(4)
    wide += x[0]
    return wide + x, torch.where(x > 2, wide, x), torch.gather(wide, 0, x[0].long())


@reads
def picked(x: torch.Tensor, w: torch.Tensor):
    return x[torch.tensor([1, 0])] * 1.0, x[:, x[0, :1].long()] / 2


@reads
def in_a_helper(x: torch.Tensor, w: torch.Tensor):
    return row_mean(x) + row_mean(w)


def row_mean(t):
    return (t * 1.0).mean(1)


@reads
def on_its_dtype(x: torch.Tensor, w: torch.Tensor):
    if x.dtype == torch.uint8:
        return w / 255
    return w


@computes
def one_more(x: torch.Tensor):
    return x + 1


@computes
def itself(x: torch.Tensor):
    return x


@computes
def row(x: torch.Tensor):
    return x[0]


@computes
def negated(x: torch.Tensor):
    return -x


@computes
def one_more_in_a_view(x: torch.Tensor):
    return (1 + x.T)[0]


@computes
def copied(x: torch.Tensor):
    return x.clone()


@computes
def zeros_of_it(x: torch.Tensor):
    return torch.zeros_like(x)


@computes
def zeros_of_its_dtype(x: torch.Tensor):
    return torch.zeros(3, dtype=x.dtype)


@computes
def largest(x: torch.Tensor):
    return x.max()


@computes
def largest_in_rows(x: torch.Tensor):
    return x.max(1).values


@computes
def sum_of_rows(x: torch.Tensor):
    return sum([x[0], x[1]])


@computes
def compared_beyond(x: torch.Tensor):
    return x == 2**40 + 1


@computes
def compared_with_a_single_one(x: torch.Tensor):
    return torch.gt(x, torch.tensor(-1))


@computes
def product(x: torch.Tensor):
    return x @ x.T


@computes
def clamped(x: torch.Tensor):
    return x.clamp(0, 2)


@computes
def absolute(x: torch.Tensor):
    return abs(x)


@computes
def larger_row(x: torch.Tensor):
    return max(x[0, 0], x[0, 1])


@computes
def joined(x: torch.Tensor):
    return torch.cat([x, x])


@computes
def picked_rows(x: torch.Tensor):
    return x[torch.tensor([1, 0])]


@computes
def gathered(x: torch.Tensor):
    return torch.gather(x, 1, torch.zeros(2, 1, dtype=torch.int64))


@computes
def with_a_single_wide_one(x: torch.Tensor):
    return x + torch.tensor(1)


@computes
def with_truths(x: torch.Tensor):
    return x + (x > 1)


@computes
def on_one_path(x: torch.Tensor):
    y = x[0] if x.sum() > 3 else x[1]
    return y + 1


@computes
def carried(x: torch.Tensor):
    best = x[0]
    for i in range(x.shape[0]):
        if x[i, 0] > 2:
            best = x[i]
    return best


@computes
def listed(x: torch.Tensor):
    return torch.stack([r for r in x])


@computes
def of_a_helper(x: torch.Tensor):
    return plus_one(x)


def plus_one(t):
    return t + 1


@computes
def as_the_other(x: torch.Tensor):
    return torch.arange(3).to(x)


def values(dtype: torch.dtype) -> torch.Tensor:
    return torch.tensor([[3, 0, 1, 2], [1, 3, 2, 0]], dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("fn", READS, ids=lambda fn: fn.__name__)
def test_reads_as_pytorch(fn: Any, dtype: torch.dtype) -> None:
    w = torch.linspace(-1, 1, 8).reshape(4, 2).T
    found, wanted = knossos.register(fn)(values(dtype), w), fn(values(dtype), w)
    for got, want in zip(*(r if isinstance(r, tuple) else (r,) for r in (found, wanted)), strict=True):
        want = torch.as_tensor(want)
        assert got.dtype == want.dtype
        torch.testing.assert_close(got, want)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32], ids=str)
@pytest.mark.parametrize("fn", COMPUTES, ids=lambda fn: fn.__name__)
def test_is_refused_or_of_the_same_dtype(fn: Any, dtype: torch.dtype) -> None:
    kernel = knossos.register(fn)
    wide = values(torch.int64)
    torch.testing.assert_close(kernel(wide), fn(wide))
    with pytest.raises(KnossosError, match=f"{dtype}.*\n(.*\n)*.*instead: "):
        kernel(values(dtype))


def test_indices_of_32_bits() -> None:
    at, w = values(torch.int32), torch.linspace(-1, 1, 16).reshape(4, 4)
    for got, want in zip(knossos.register(as_indices)(at, w), as_indices(at, w), strict=True):
        assert torch.equal(got, want)


def test_bytes_are_no_indices() -> None:
    with pytest.raises(TypeMismatchError, match="mask"):
        knossos.register(as_indices)(values(torch.uint8), torch.ones(4, 4))


def test_refusal_names_line_and_remedy() -> None:
    with pytest.raises(TypeMismatchError) as refused:
        knossos.register(one_more)(values(torch.uint8))
    assert refused.value.code == "KS210"
    assert refused.value.span is not None
    assert refused.value.span.text.strip() == "return x + 1"
    assert "x.long()" in str(refused.value)


def test_lanes_of_narrow_integers() -> None:
    def twice(n: int):
        return n * 2

    def half(n: int):
        return n / 2

    def scaled_row(r: torch.Tensor):
        return r / 255

    with pytest.raises(TypeMismatchError, match=r"torch\.int32"):
        knossos.elementwise(twice)(torch.arange(3, dtype=torch.int32))
    torch.testing.assert_close(knossos.elementwise(half)(torch.arange(3, dtype=torch.int32)), torch.arange(3) / 2)
    torch.testing.assert_close(knossos.vmap(scaled_row)(values(torch.uint8)), values(torch.uint8) / 255)


def test_derivative_beside_narrow_integers() -> None:
    def loss(w: torch.Tensor, image: torch.Tensor):
        return ((image / 255 * w) ** 2).sum()

    w, image = torch.tensor([0.5, -1.0, 2.0, 1.0]), values(torch.uint8)
    torch.testing.assert_close(knossos.grad(loss)(w, image), torch.func.grad(loss)(w, image))
