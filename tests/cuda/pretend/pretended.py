"""What only the pretend device can be asked: errors that would take a GPU's context along, and who waits for whom."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import torch

import ksc as knossos
from ksc.codegen import GeneratedSource
from ksc.compiler.cached_build import BuiltKernel
from ksc.errors import KernelRuntimeError
from ksc.torch.devices import ACCELERATORS
from tests.cuda.pretend import halves, install, kernels
from tests.cuda.pretend.install import NAME, build_with, compile_for_shim
from tests.cuda.pretend.kernels import divided, normalised, picked, relu3, required
from tests.cuda.pretend.place import FIRST, device, near, rand, waits

# Errors.


def settle() -> None:
    """A GPU would need a new process."""
    device.pretend_reset()


def test_an_error_is_an_assert_at_the_next_synchronisation() -> None:
    x = rand(5).to(FIRST)
    at = torch.tensor([0, 1, 2, 7])
    near(picked(x, at.clamp(max=4).to(FIRST)), picked(x.cpu(), at.clamp(max=4)))
    found = picked(x, at.to(FIRST))  # Nobody waits.
    with pytest.raises(RuntimeError, match=r"device-side assert triggered: kernels\.py:\d+: index 7 is out of range"):
        found.cpu()
    settle()
    # And the next call says it as the CPU does, with the line of the user's file.
    with pytest.raises(KernelRuntimeError) as failed:
        relu_and_pick(x, at)
    assert "index 7 is out of range for dimension 0 of x, of size 5" in str(failed.value)
    assert failed.value.span is not None and failed.value.span.file == kernels.__file__
    near(picked(x, at.clamp(max=4).to(FIRST)), picked(x.cpu(), at.clamp(max=4)))


def relu_and_pick(x: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    return picked(relu3(x), at.clamp(max=4).to(FIRST))


def test_what_is_asserted_of_numbers_around_a_product(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KSC_CUDA_PRODUCTS", "library")
    a, b = rand(9, 10), rand(10, 11, seed=1)
    near(required(a.to(FIRST), b.to(FIRST), 3, 0.5), a @ b)
    for n, s, said in ((2, 0.5, "n > 2"), (3, -0.5, r"s > 0\.0")):
        with pytest.raises(RuntimeError, match=said):
            required(a.to(FIRST), b.to(FIRST), n, s).cpu()
        settle()
        with pytest.raises(KernelRuntimeError, match=said):
            required(a.to(FIRST), b.to(FIRST), 3, 0.5)
    near(required(a.to(FIRST), b.to(FIRST), 3, 0.5), a @ b)


def test_elementwise_errors() -> None:
    a = torch.arange(5)
    divided(a.to(FIRST), (a - 2).to(FIRST))
    settle()
    with pytest.raises(KernelRuntimeError, match="zero"):
        divided(a.to(FIRST), a.to(FIRST) + 1)
    settle()
    near(divided(a.to(FIRST), a.to(FIRST) + 1), a // (a + 1))


# Offsets.


@knossos.register
def matrices(x: torch.Tensor, y: torch.Tensor):
    """The argument and the result have few elements, what is made in between has not."""
    t = torch.sin(x[:, None] * x[None, :])
    return (t @ t)[:, :2] + y


def test_tensors_too_large_for_offsets_take_another_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []

    def building(name: str, identity: str, generate: Callable[[], GeneratedSource]) -> BuiltKernel:
        source = generate()
        built.append("32" if "#define KS_OFFSETS 32" in source.text else "64")
        return build_with(compile_for_shim, name, identity, lambda: source)

    monkeypatch.setitem(ACCELERATORS, NAME, building)
    monkeypatch.setattr(install, "KERNEL", (*install.KERNEL, "-DKS_MOST_ELEMENTS=99"))
    for size, wanted in ((9, ["32"]), (11, ["32", "64"]), (10, ["32", "64"]), (9, ["32", "64"])):
        x, y = rand(size), rand(size, 2, seed=1)
        for _ in range(2):
            near(matrices(x.to(FIRST), y.to(FIRST)), matrices(x, y))
        assert built == wanted


# Graphs.


def test_while_a_graph_is_captured_nobody_waits() -> None:
    x = rand(8, 6)
    placed, seeds = x.to(FIRST), torch.ones(8, 6).to(FIRST)
    normalised(placed)
    device.pretend_capture(1)
    try:
        before = waits()
        found = normalised(placed)
        assert waits() == before
        with pytest.raises(RuntimeError, match="run it once before a graph is captured"):
            normalised(placed[:5])
    finally:
        device.pretend_capture(0)
    near(found, normalised(x))
    near(normalised.vjp(placed, seeds), normalised.vjp(x, torch.ones(8, 6)))


# Without nvcc.


def test_the_driver_launches_what_nvrtc_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ACCELERATORS, NAME, halves.build)

    @knossos.elementwise
    def scaled(x: float, y: float) -> float:
        return x * y if x > 0.0 else y

    @knossos.register
    def spread(x: torch.Tensor, at: torch.Tensor):
        return (x[at] - torch.sum(x)) / torch.sum(x * x)

    x, y, seeds = rand(40, 5), rand(40, 5, seed=1), rand(40, 5, seed=2)
    placed = [t.to(FIRST) for t in (x, y, seeds)]
    near(scaled(*placed[:2]), scaled(x, y))
    near(scaled.vjp(*placed[:2], placed[2]), scaled.vjp(x, y, seeds))
    near(scaled(placed[0].T, 2.0), scaled(x.T, 2.0))
    before = halves.driver().driver_loaded_libraries()
    at, column, found = torch.tensor([0, 3, 3]), x[:, 0], []
    first = spread(placed[0][:, 0], at.to(FIRST))
    # A thread that has no context yet.
    other = threading.Thread(target=lambda: found.append(spread(placed[0][:, 0], at.to(FIRST))))
    other.start()
    other.join()
    near((first, *found), (spread(column, at),) * 2)
    assert halves.driver().driver_loaded_libraries() == before + 1
    leaf, of_cpu = placed[0][:, 0].clone().requires_grad_(), column.clone().requires_grad_()
    spread(leaf, at.to(FIRST)).sum().backward()
    spread(of_cpu, at).sum().backward()
    near(leaf.grad, of_cpu.grad)
    with pytest.raises(RuntimeError, match="index 40 is out of range"):
        spread(placed[0][:, 0], at.to(FIRST) + 37).cpu()
    settle()
    with pytest.raises(KernelRuntimeError, match="index 40 is out of range"):
        spread(placed[0][:, 0], at.to(FIRST))
