"""The kernels of other tests, called on a GPU and on the CPU: values and gradients; run by ``make test-gpu``.

The whole table of tensor functions, and the programs of users and engineers.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

import ksc as knossos
from ksc.errors import UnsupportedError
from tests.cuda.pretend.place import FIRST
from tests.ops.tensor_samples import SAMPLES, arguments
from tests.programs.test_engineers_kernels import CASES, leaves, moving

FUNCTIONS = {sample.name: (sample.function, tuple(arguments(sample.calls[0]))) for sample in SAMPLES}
FUNCTIONS |= {f"engineers-{name}": case for name, case in CASES.items()}


def moved(value: Any) -> Any:
    """The same on the device; numbers stay what they are."""
    if isinstance(value, tuple):
        items = map(moved, value)
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    return value.to(FIRST) if isinstance(value, torch.Tensor) else value


def called(kernel: Any, args: tuple[Any, ...]) -> list[torch.Tensor]:
    """Results, and where there are any the gradient by each argument."""
    results = leaves(kernel(*args))
    floats = [result for result in results if isinstance(result, torch.Tensor) and result.requires_grad]
    seeds = [torch.cos(torch.arange(r.numel(), dtype=r.dtype, device=r.device)).reshape(r.shape) for r in floats]
    inputs = [leaf for leaf in leaves(args) if isinstance(leaf, torch.Tensor) and leaf.requires_grad]
    if floats and inputs:
        results += torch.autograd.grad(floats, inputs, seeds, allow_unused=True)
    return [result for result in results if result is not None]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_as_on_the_cpu(name: str) -> None:
    function, args = FUNCTIONS[name]
    kernel = knossos.register(function)
    here = tuple(map(moving, args))
    wanted = called(kernel, here)
    try:
        found = called(kernel, tuple(map(moving, map(moved, args))))
    except UnsupportedError as refused:
        assert refused.code == "KS119"
        return
    for one, other in zip(found, wanted, strict=True):
        if isinstance(other, torch.Tensor):
            assert one.device == FIRST or one.dim() == 0
            torch.testing.assert_close(one.cpu(), other, rtol=1e-9, atol=1e-9)
        else:
            assert one == other
