from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

# Worker processes import the kernels of the tests by this path too.
sys.path.append(str(Path(__file__).parent))

from torch_kernels import COMPILED, PLUGGED, Plugged


@pytest.fixture(params=PLUGGED, ids=[kernel.name for kernel in PLUGGED])
def plugged(request: pytest.FixtureRequest) -> Plugged:
    """Each kernel that has to plug into PyTorch; add one to PLUGGED, and every test here runs for it."""
    kernel: Any = request.param
    assert isinstance(kernel, Plugged)
    return kernel


@pytest.fixture(params=COMPILED, ids=[kernel.name for kernel in COMPILED])
def compiled(request: pytest.FixtureRequest) -> Plugged:
    """Two that the compiler made, for tests that are slow."""
    kernel: Any = request.param
    assert isinstance(kernel, Plugged)
    return kernel


@pytest.fixture(autouse=True)
def fresh_dynamo() -> None:
    torch.compiler.reset()
