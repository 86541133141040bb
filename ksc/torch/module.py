"""A kernel as a layer of a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class KernelModule(torch.nn.Module):
    """An ``nn.Module`` without parameters whose ``forward`` calls a kernel.

    It copies, pickles and saves as far as the kernel does, which it holds by reference.
    """

    def __init__(self, kernel: Callable[..., Any]) -> None:
        super().__init__()
        self.kernel = kernel

    def forward(self, *args: Any) -> Any:
        """The kernel's results for ``args``."""
        return self.kernel(*args)

    def extra_repr(self) -> str:
        operator = getattr(self.kernel, "operator", None)
        return operator.spec.name if operator is not None else getattr(self.kernel, "__name__", repr(self.kernel))
