"""Products that PyTorch's library computes, with kernels in between."""

from __future__ import annotations

import pytest
import torch

from ksc.errors import KernelRuntimeError
from tests.cuda.grid import ON_GPU
from tests.cuda.pretend.kernels import attended, layered, multiplied
from tests.cuda.pretend.place import FIRST, device, near, rand

LAYERS = (rand(17, 20), 0.2 * rand(20, 24, seed=1), rand(24, seed=2), 0.2 * rand(24, 9, seed=3))


@pytest.fixture(autouse=True)
def _of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KSC_CUDA_PRODUCTS", "library")


def placed(*tensors: torch.Tensor) -> list[torch.Tensor]:
    return [tensor.to(FIRST) for tensor in tensors]


def launches() -> int:
    return 0 if ON_GPU else device.pretend_launches(0)


def test_kernels_run_between_products() -> None:
    before = launches()
    near(layered(*placed(*LAYERS), 0.5), layered(*LAYERS, 0.5))
    if not ON_GPU:
        assert launches() == before + 2
    y_bar = rand(17, 9, seed=4)
    near(layered.vjp(*placed(*LAYERS), 0.5, y_bar.to(FIRST))[:4], layered.vjp(*LAYERS, 0.5, y_bar)[:4])
    near(layered(*placed(*(tensor.double() for tensor in LAYERS)), 0.5), layered(*(t.double() for t in LAYERS), 0.5))


def test_matrices_as_they_lie() -> None:
    q, k, v = rand(3, 9, 10), rand(3, 12, 10, seed=1), rand(3, 12, 8, seed=2)
    ways = [(q, k, v), (q[:, ::2], k.flip(0), v), (q.transpose(0, 1).contiguous().transpose(0, 1), k[:, :1], v[:, :1])]
    for way in ways:
        near(attended(*placed(*way)), attended(*way))
        seed = rand(*attended(*way).shape, seed=3)
        near(attended.vjp(*placed(*way), seed.to(FIRST)), attended.vjp(*way, seed))
    empty = (q[:, :0], k, v)
    near(attended(*placed(*empty)), attended(*empty))


def test_autograd_and_its_derivative() -> None:
    q, k, v = (tensor.double() for tensor in (rand(2, 8, 9), rand(2, 8, 9, seed=1), rand(2, 8, 8, seed=2)))
    grads = []
    for where in (FIRST, torch.device("cpu")):
        leaves = [tensor.to(where).requires_grad_() for tensor in (q, k, v)]
        first = torch.autograd.grad(attended(*leaves).square().sum(), leaves, create_graph=True)
        second = torch.autograd.grad(sum(grad.square().sum() for grad in first), leaves)
        grads.append((*first, *second))
    near(tuple(grad.detach() for grad in grads[0]), tuple(grad.detach() for grad in grads[1]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["half", "bfloat16"])
def test_half_precision_is_rounded_once(dtype: torch.dtype) -> None:
    halves = [tensor.to(dtype) for tensor in LAYERS]
    before = 0 if ON_GPU else device.pretend_products_of_halves()
    near(layered(*placed(*halves), 0.5), layered(*halves, 0.5))
    if not ON_GPU:
        # The second product has an operand that is not stored.
        assert device.pretend_products_of_halves() == before + 1


def test_what_autocast_does_is_done_to_the_whole() -> None:
    with torch.autocast(FIRST.type, dtype=torch.bfloat16):
        found = layered(*placed(*LAYERS), 0.5)
    near(found, layered(*LAYERS, 0.5))


def test_sizes_that_do_not_agree_are_an_error_with_the_line() -> None:
    x, w1, b1, w2 = LAYERS
    with pytest.raises(KernelRuntimeError, match=r"x.shape\[1\] and w1.shape\[0\] must agree") as failed:
        layered(*placed(x[:, :19], w1, b1, w2), 0.5)
    assert failed.value.span is not None
    with pytest.raises(KernelRuntimeError, match=r"w1.shape\[1\] and b1.shape\[0\] must agree"):
        layered(*placed(x, w1, b1[:23], w2), 0.5)


def test_what_is_to_repeat_is_computed_by_the_grid() -> None:
    before = launches()
    torch.use_deterministic_algorithms(True)
    try:
        near(layered(*placed(*LAYERS), 0.5), layered(*LAYERS, 0.5))
    finally:
        torch.use_deterministic_algorithms(False)
    if not ON_GPU:
        assert launches() == before + 1


def test_sizes_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KSC_CUDA_PRODUCTS", "")
    for size, by_grid in ((32, 1), (512, 0)):
        a, b = rand(size, size, dtype=torch.float64), rand(size, size, dtype=torch.float64, seed=1)
        before = launches()
        near(multiplied(*placed(a, b)), multiplied(a, b))
        if not ON_GPU:
            assert launches() == before + by_grid
    monkeypatch.setenv("KSC_CUDA_PRODUCTS", "often")
    with pytest.raises(ValueError, match="KSC_CUDA_PRODUCTS is often"):
        multiplied(*placed(a, b))
