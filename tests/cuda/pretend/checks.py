"""Kernels through PyTorch's dispatch to a device: the pretend one, or with ``KSC_TEST_GPU=1`` CUDA's.

Not collected by itself: a process has one device in the place of CUDA, see ``tests/cuda/test_dispatch.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch

import ksc as knossos
from ksc.errors import ArgumentError
from tests.cuda.grid import ON_GPU
from tests.cuda.pretend.kernels import filled, halved_until, mixed, normalised, relu3, smoothed
from tests.cuda.pretend.place import FIRST, SECOND, device, near, rand, waits

# Where it runs.


@pytest.mark.parametrize("where", [FIRST, SECOND], ids=["first", "second"])
def test_results_are_where_the_arguments_are(where: torch.device) -> None:
    x, y = rand(300), rand(300, seed=1)
    near(relu3(x.to(where)), relu3(x), where)
    near(relu3.vjp(x.to(where), y.to(where)), relu3.vjp(x, y), where)
    near(relu3.jvp(x.to(where), y.to(where)), relu3.jvp(x, y), where)
    near(normalised(x.to(where).view(20, 15)), normalised(x.view(20, 15)), where)
    assert filled(3).device.type == "cpu"


def test_several_devices_are_refused() -> None:
    with pytest.raises(ArgumentError, match="are on"):
        mixed(rand(3).to(FIRST), rand(3), 2.0)
    with pytest.raises(RuntimeError, match="is on the CPU, others are on"):
        mixed.op(rand(3).to(FIRST), rand(3), torch.tensor(2.0))
    if FIRST != SECOND:
        with pytest.raises(ArgumentError, match="are on"):
            mixed(rand(3).to(FIRST), rand(3).to(SECOND), 2.0)


def test_the_stream_is_the_current_one() -> None:
    x = rand(100)
    placed = x.to(FIRST)
    if ON_GPU:
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            found = [relu3(placed), normalised(placed.view(10, 10))]
        stream.synchronize()
    else:
        before = [device.pretend_launches(k) for k in range(4)]
        device.pretend_stream(0, 3)
        found = [relu3(placed), normalised(placed.view(10, 10))]
        device.pretend_stream(0, 0)
        assert [device.pretend_launches(k) for k in range(4)] == [before[0], before[1], before[2], before[3] + 2]
    near(found[0], relu3(x))
    near(found[1], normalised(x.view(10, 10)))


# What arguments can be.


def test_strides_shared_values_and_numbers() -> None:
    a, b = rand(12, 20), rand(20, 12, seed=1)
    ways: list[Callable[[torch.Tensor, torch.Tensor], tuple[Any, ...]]] = [
        lambda a, b: (a, b.T, 2.0),
        lambda a, b: (a[::2, 1::3], b.T[::2, 1::3], torch.tensor(0.5)),
        lambda a, b: (a, b.T[0], 3),
        lambda a, b: (a[:, None, ::2], b[:10, :1], 1.5),
        lambda a, b: (b[1, 1], a, -1.0),
    ]
    for way in ways:
        near(mixed(*way(a.to(FIRST), b.to(FIRST))), mixed(*way(a, b)))
    # A tensor of the CPU without dimensions is a number, as with PyTorch's own operators.
    near(mixed(a.to(FIRST), a.to(FIRST), torch.tensor(0.5)), mixed(a, a, torch.tensor(0.5)))


def test_rows_that_do_not_begin_where_they_can_be_read_at_once() -> None:
    x = rand(70 * 4 + 1)
    for begin in (0, 1):
        rows = x[begin : begin + 280].view(70, 4)
        near(normalised(x.to(FIRST)[begin : begin + 280].view(70, 4)), normalised(rows))


def test_empty_ones() -> None:
    none = torch.empty(0, 3, device=FIRST)
    assert relu3(none).shape == (0, 3) and relu3(none).device == FIRST
    assert normalised(none).shape == (0, 3)
    assert normalised(torch.empty(4, 0, device=FIRST)).shape == (4, 0)


def test_half_precision() -> None:
    x, y = rand(77).half(), rand(77, seed=1).half()
    near(relu3(x.to(FIRST)), relu3(x))
    near(relu3.vjp(x.to(FIRST), y.to(FIRST)), relu3.vjp(x, y))
    near(normalised(x.view(7, 11).to(FIRST)), normalised(x.view(7, 11)))


# Derivatives.


def test_autograd() -> None:
    x = rand(24, dtype=torch.float64)
    found, wanted = (
        torch.autograd.grad((kernel(v) * v).sum(), v, create_graph=True)[0]
        for kernel, v in ((relu3, x.to(FIRST).requires_grad_()), (relu3, x.clone().requires_grad_()))
    )
    near(found.detach(), wanted.detach())
    for v in (x.to(FIRST).requires_grad_(), x.clone().requires_grad_()):
        torch.autograd.grad(relu3(v).sum(), v, create_graph=True)[0].sum().backward()
        assert v.grad is not None and v.grad.device == v.device
        torch.testing.assert_close(v.grad.cpu(), torch.where((x > 0) & (x < 1), 2 * x, 0.0))
    placed = x.view(4, 6).to(FIRST).requires_grad_()
    normalised(placed).square().sum().backward()
    here = x.view(4, 6).clone().requires_grad_()
    normalised(here).square().sum().backward()
    near(placed.grad, here.grad)


def test_numbers_have_cotangents() -> None:
    x, y = rand(30), rand(30, seed=1)
    scale = torch.tensor(1.5)
    seeds = (rand(30, seed=2), rand(30, seed=3))
    wanted = mixed.vjp(x, y, scale, *seeds)
    found = mixed.vjp(x.to(FIRST), y.to(FIRST), scale, *(seed.to(FIRST) for seed in seeds))
    near(found[:2], wanted[:2])
    torch.testing.assert_close(found[2].cpu(), wanted[2])
    scale.requires_grad_()
    first, _ = mixed(x.to(FIRST), y.to(FIRST), scale)
    first.sum().backward()
    assert scale.grad is not None and scale.grad.device.type == "cpu"
    torch.testing.assert_close(scale.grad, (x * y).sum())


def test_threads_of_the_host() -> None:
    """On two devices at once; kernels of one stream share its state."""

    def gradient(where: torch.device, seed: int) -> torch.Tensor:
        x = rand(9, 7, seed=seed).to(where).requires_grad_()
        return torch.autograd.grad(normalised(relu3(x)).square().sum(), x)[0]

    places = [FIRST, SECOND, FIRST] * 3
    with ThreadPoolExecutor(max_workers=3) as pool:
        found = pool.map(gradient, places, range(len(places)))
        for seed, (where, grad) in enumerate(zip(places, found, strict=True)):
            near(grad, gradient(torch.device("cpu"), seed), where)


def test_func() -> None:
    x = rand(12)
    near(torch.func.vmap(relu3)(x.view(3, 4).to(FIRST)), relu3(x.view(3, 4)))
    near(torch.func.grad(lambda v: relu3(v).sum())(x.to(FIRST)), torch.func.grad(lambda v: relu3(v).sum())(x))
    tangent = rand(12, seed=1)
    near(
        torch.func.jvp(relu3, (x.to(FIRST),), (tangent.to(FIRST),)),
        torch.func.jvp(relu3, (x,), (tangent,)),
    )


def test_module_in_a_model() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(5, 4), relu3.nnModule, torch.nn.Linear(4, 1))
    x = rand(6, 5)
    model(x).sum().backward()
    wanted = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    model.to(SECOND)
    model(x.to(SECOND)).sum().backward()
    near(tuple(parameter.grad for parameter in model.parameters()), tuple(wanted), SECOND)


def test_autocast_leaves_kernels_alone() -> None:
    """As it leaves PyTorch's own operators that are on none of its lists."""
    x, placed = rand(40), rand(40).to(FIRST).requires_grad_()
    torch.set_autocast_enabled(FIRST.type, True)
    try:
        near(relu3(x.to(FIRST)), relu3(x))
        found = relu3(placed)
        near(torch.autograd.grad(found, placed, torch.ones_like(found))[0], relu3.vjp(x, torch.ones_like(x)))
        near(normalised(x.view(10, 4).to(FIRST)), normalised(x.view(10, 4)))
        near(relu3(x.to(FIRST).bfloat16()), relu3(x.bfloat16()))
    finally:
        torch.set_autocast_enabled(FIRST.type, False)
        torch.clear_autocast_cache()


def test_compile_sees_the_device() -> None:
    with torch._subclasses.FakeTensorMode() as mode:
        fake = mode.from_tensor(rand(3, 4).to(FIRST))
        assert normalised.op(fake).device == FIRST
        assert relu3(fake).device == FIRST


def test_a_compiled_graph_has_the_gradient() -> None:
    x, seed = rand(6, 4), rand(6, 4, seed=1)
    placed = x.to(FIRST).requires_grad_()
    compiled = torch.compile(lambda v: normalised(relu3(v)), backend="aot_eager", fullgraph=True)(placed)
    x.requires_grad_()
    plain = normalised(relu3(x))
    near(compiled.detach(), plain.detach())
    near(torch.autograd.grad(compiled, placed, seed.to(FIRST)), torch.autograd.grad(plain, x, seed))


# Memory.


def test_memory_grows_and_is_remembered() -> None:
    """The first call of a size waits, and is run again with more; those after it do not wait."""
    x = rand(30_000)
    wanted, _ = smoothed.vjp(x, 20, torch.ones_like(x))
    placed, seed, before = x.to(FIRST), torch.ones_like(x).to(FIRST), waits()
    found, _ = smoothed.vjp(placed, 20, seed)
    first = waits()
    assert ON_GPU or first > before
    near(found, wanted)
    before = waits()
    found, _ = smoothed.vjp(placed, 20, seed)
    assert waits() == before
    near(found, wanted)


def test_memory_that_values_decide_is_looked_at_each_time() -> None:
    for scale in (1.0, 30.0, 2.0):
        x = scale * rand(50)
        before = waits()
        found = halved_until(x.to(FIRST))
        assert ON_GPU or waits() > before
        near(found, halved_until(x))


def test_deterministic_sums() -> None:
    torch.use_deterministic_algorithms(True)
    try:
        x = rand(40, 6)
        near(normalised.vjp(x.to(FIRST), x.to(FIRST)), normalised.vjp(x, x))
    finally:
        torch.use_deterministic_algorithms(False)


def test_the_fast_path_takes_calls_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    x = rand(10).to(FIRST)
    relu3(x)

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("the general way")

    monkeypatch.setattr(type(relu3), "__call__", never)
    near(
        knossos.vmap and relu3(x),
        torch.where(x.cpu() < 0, 0, torch.where(x.cpu() < 1, x.cpu() ** 3 / 3, x.cpu() - 2 / 3)),
    )
