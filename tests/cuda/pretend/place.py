"""Where kernels are called: the pretend device, or with ``KSC_TEST_GPU=1`` a GPU; and what is near to what the CPU has."""

from __future__ import annotations

from typing import Any

import torch

from tests.cuda.grid import ON_GPU
from tests.cuda.pretend.install import install

DEVICE = "cuda" if ON_GPU else "pretend"
device: Any = None if ON_GPU else install()
FIRST = torch.device(DEVICE, 0)
SECOND = torch.device(DEVICE, 1 if not ON_GPU or torch.cuda.device_count() > 1 else 0)


def rand(*sizes: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    return torch.randn(*sizes, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def near(found: Any, wanted: Any, where: torch.device = FIRST) -> None:
    """Equal to what the CPU has, and on the device."""
    if isinstance(wanted, tuple):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            near(one, other, where)
        return
    assert found.device == where
    torch.testing.assert_close(found.cpu(), wanted)


def waits() -> int:
    """How often somebody waited for the device, where that is known."""
    return 0 if ON_GPU else device.pretend_synchronisations()
