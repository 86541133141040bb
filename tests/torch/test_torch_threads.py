"""Kernels on several threads: the same results, determinism, errors, and threads and processes around them."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import ksc as knossos
from ksc.errors import KernelRuntimeError


@knossos.vmap
def row_norm(x: Tensor):
    return torch.sum(torch.exp(torch.sin(x)))


def halved(x: Tensor):
    return torch.cumsum(x * 0.5, 0)


@knossos.elementwise
def wave(x: float) -> float:
    return x * x + 1.0 if x < 0.0 else x


def weighted(x: Tensor, w: Tensor):
    assert x[0] < 1e30, "too large"
    assert x[1] < 1e30, "much too large"
    return torch.sin(torch.dot(x, w)) * x


shared = knossos.vmap(weighted, in_dims=(0, None))


@knossos.register
def total(x: Tensor, w: Tensor):
    return torch.sum(torch.exp(torch.sin(x)) * w)


@knossos.register
def written_sum(x: Tensor):
    s = 0.0
    for i in range(x.shape[0]):
        if x[i] > 0.0:
            s += torch.sqrt(x[i])
    return s


@pytest.fixture(autouse=True)
def restore_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def on_threads(count: int, call: Any, *args: Any) -> tuple[Tensor, ...]:
    torch.set_num_threads(count)
    result = call(*args)
    return result if isinstance(result, tuple) else (result,)


def random(*sizes: int) -> Tensor:
    return torch.randn(*sizes, generator=torch.Generator().manual_seed(0))


ROWS = random(40_001, 16)
WEIGHTS = random(16)
FLAT = random(1_000_003)

MAPS = {
    "map": (row_norm, (ROWS,)),
    "map_vjp": (row_norm.vjp, (ROWS, ROWS[:, 0].contiguous())),
    "shared": (shared, (ROWS, WEIGHTS)),
    "vjp_of_sum": (total.vjp, (FLAT, FLAT + 1.0, torch.tensor(1.0))),
}
SUMS = {
    "sum": (total, (FLAT, FLAT + 1.0)),
    "shared_vjp": (shared.vjp, (ROWS, WEIGHTS, ROWS)),
    "written_sum": (written_sum, (FLAT,)),
}


@pytest.mark.parametrize("name", MAPS)
def test_maps_give_the_same_bits_on_any_number_of_threads(name: str) -> None:
    call, args = MAPS[name]
    alone = on_threads(1, call, *args)
    for count in (2, 3):
        for one, many in zip(alone, on_threads(count, call, *args), strict=True):
            assert torch.equal(one, many)


@pytest.mark.parametrize("name", SUMS)
def test_sums_repeat_for_a_number_of_threads(name: str) -> None:
    call, args = SUMS[name]
    alone, first = on_threads(1, call, *args), on_threads(2, call, *args)
    assert_close(first, alone, rtol=1e-4, atol=1e-4)
    for _ in range(20):
        assert all(map(torch.equal, on_threads(2, call, *args), first))


def test_gradients_are_those_of_torch() -> None:
    torch.set_num_threads(2)
    x, w = ROWS.double().requires_grad_(), WEIGHTS.double().requires_grad_()
    wanted = torch.autograd.grad((torch.sin(x @ w)[:, None] * x).square().sum(), (x, w))
    given = torch.autograd.grad(shared(x, w).square().sum(), (x, w))
    assert_close(given, wanted)


def test_kernels_in_python_threads() -> None:
    torch.set_num_threads(2)
    wanted, failed = row_norm(ROWS), []

    def work() -> None:
        torch.set_num_threads(2)
        for _ in range(10):
            if not torch.equal(row_norm(ROWS), wanted):
                failed.append(threading.get_ident())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


@pytest.mark.parametrize("count", [1, 2])
def test_the_first_error_is_the_one_of_a_serial_run(count: int) -> None:
    torch.set_num_threads(count)
    x = ROWS.clone()
    x[30_000, 1] = 2e30
    x[30_001, 0] = 2e30
    x[39_000, 0] = 2e30
    for _ in range(5):
        with pytest.raises(KernelRuntimeError, match="much too large") as caught:
            shared(x, WEIGHTS)
        assert caught.value.span is not None
        assert caught.value.span.line == weighted.__code__.co_firstlineno + 2
    assert_close(shared(ROWS, WEIGHTS), torch.sin(ROWS @ WEIGHTS)[:, None] * ROWS)


def _in_a_child(rows: Tensor, flat: Tensor, answers: Any) -> None:
    norms, waves = row_norm(rows), wave(flat)
    # Torch's own operations would wait for ever in a forked process.
    torch.set_num_threads(1)
    answers.put((float(norms.sum()), float(waves.sum())))


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_kernels_in_other_processes(start: str) -> None:
    torch.set_num_threads(2)
    context = multiprocessing.get_context(start)
    wanted = float(row_norm(ROWS).sum()), float(wave(FLAT).sum())
    answers = context.SimpleQueue()
    child = context.Process(target=_in_a_child, args=(ROWS, FLAT, answers))
    child.start()
    child.join(120)
    alive = child.is_alive()
    child.kill()
    assert not alive, "the child waits for threads that are not there"
    assert answers.get() == pytest.approx(wanted, rel=1e-4)


class Rows(torch.utils.data.Dataset[Tensor]):
    """Items that a kernel computes in the worker."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, k: int) -> Tensor:
        return row_norm(ROWS + float(k))


def test_kernels_in_workers_of_a_data_loader() -> None:
    torch.set_num_threads(2)
    wanted = [row_norm(ROWS + float(k)) for k in range(4)]
    loader = torch.utils.data.DataLoader(Rows(), batch_size=None, num_workers=2, timeout=120)
    for given, value in zip(loader, wanted, strict=True):
        assert torch.equal(given, value)


def test_threads_take_over_whether_subnormal_numbers_count_as_zero() -> None:
    """torch.set_flush_denormal is of the calling thread, and a kernel computes in its mode throughout."""
    x = torch.full((2, 1 << 20), 1e-310, dtype=torch.float64)
    half = knossos.vmap(halved)
    torch.set_flush_denormal(False)
    kept = half(x)
    if not torch.set_flush_denormal(True):
        pytest.fail("this processor cannot take subnormal numbers for zero")
    try:
        flushed = half(x)
    finally:
        torch.set_flush_denormal(False)
    # The comparison itself is made after the mode is back.
    assert torch.count_nonzero(flushed) == 0
    assert torch.count_nonzero(kept) == x.numel()
    assert torch.count_nonzero(half(x)) == x.numel()


@knossos.register
def normalised_channels(x: Tensor, w: Tensor):
    m = x.mean((0, 2, 3), keepdim=True)
    v = ((x - m) ** 2).mean((0, 2, 3), keepdim=True)
    return (x - m) / torch.sqrt(v + 1e-5) * w[:, None, None]


@knossos.register
def rows_at_once(x: Tensor):
    return torch.tanh(x.mean(0, keepdim=True)) * 2.0 + x.sum(1, keepdim=True).max()


def test_leading_dimensions_of_size_one() -> None:
    x, w = random(40, 30, 9, 7).double(), random(30).double()
    batch_norm = torch.nn.functional.batch_norm
    for count in (1, 3):
        torch.set_num_threads(count)
        args = x.clone().requires_grad_(), w.clone().requires_grad_()
        wanted = batch_norm(args[0], None, None, args[1], None, True)
        found = normalised_channels(*args)
        torch.testing.assert_close(found, wanted)
        seed = torch.cos(x)
        pairs = zip(torch.autograd.grad(found, args, seed), torch.autograd.grad(wanted, args, seed), strict=True)
        for ours, theirs in pairs:
            torch.testing.assert_close(ours, theirs)
        flat = x.reshape(40, -1)
        torch.testing.assert_close(rows_at_once(flat), torch.tanh(flat.mean(0, keepdim=True)) * 2.0 + flat.sum(1).max())
