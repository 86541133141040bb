"""Which cells of the table are measured, and how pytest learns of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from ksc.bench.convention import Benchmark, find, label
from ksc.bench.peers import MODES, Mode


@dataclass(frozen=True, slots=True)
class Cell:
    """One kernel, case, mode and number of threads.

    Attributes:
        benchmark: the kernel and its peers.
        case: the number of the case among those that the file yields.
        size: what the table calls it.
        mode: what is run.
        threads: of PyTorch.
        seconds: how long each peer is measured.
        only: the peers to measure; all if there are none.
    """

    benchmark: Benchmark
    case: int
    size: str
    mode: Mode
    threads: int
    seconds: float
    only: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What identifies the cell in files and messages."""
        return f"{self.benchmark.name}-{self.size}-{self.mode}-{self.threads}"

    @property
    def described(self) -> dict[str, Any]:
        """The cell in the saved file."""
        return {"kernel": self.benchmark.name, "size": self.size, "mode": self.mode, "threads": self.threads}

    def args(self) -> tuple[torch.Tensor, ...]:
        """The arguments, made anew."""
        return next(islice(self.benchmark.cases(), self.case, None))


class Plan:
    """The cells of some files, a plugin of pytest."""

    def __init__(
        self,
        files: Iterable[Path],
        *,
        threads: Sequence[int] = (1, 2),
        modes: Sequence[Mode] = MODES,
        kernels: Sequence[str] = (),
        sizes: Sequence[str] = (),
        only: Sequence[str] = (),
        seconds: float = 0.2,
    ) -> None:
        self.cells = [
            Cell(benchmark, case, size, mode, count, seconds, tuple(only))
            for count in threads
            for path in files
            for benchmark in find(path)
            if not kernels or benchmark.name in kernels
            for case, size in enumerate(map(label, benchmark.cases()))
            if not sizes or size in sizes
            for mode in modes
        ]

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """One test for each cell."""
        if "cell" in metafunc.fixturenames:
            metafunc.parametrize("cell", self.cells, ids=[cell.name for cell in self.cells])
