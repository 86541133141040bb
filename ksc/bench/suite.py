"""The benchmarks as tests of pytest-benchmark; ``python -m ksc.bench`` runs them, with the plan as a plugin."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter, process_time
from typing import Any

import torch

from ksc.bench.measure import interleaved
from ksc.bench.peers import IN_THREADS, disagreement, peers
from ksc.bench.plan import Cell

LARGEST_DISAGREEMENT = 1e-4


def test_cell(cell: Cell, benchmark: Any) -> None:
    """Time the kernel and its peers in turns; what does not compute the same is no peer."""
    torch.set_num_threads(cell.threads)
    torch._dynamo.reset()
    calls = peers(cell.benchmark, cell.args(), cell.mode, only=cell.only)
    wrong = {name: far for name, far in disagreement(calls).items() if not far <= LARGEST_DISAGREEMENT}
    assert not wrong, f"these give other results: {wrong}"

    def record(name: str, count: int) -> Callable[[float], None]:
        benchmark.name = f"{cell.name}[{name}]"
        benchmark.group = cell.name
        benchmark.extra_info = {**cell.described, "peer": name}
        # The engine keeps one row of statistics for each of these; by itself it would time one call after another.
        update: Callable[[float], None] = benchmark._make_stats(count).update
        return update

    def clock_of(name: str) -> Callable[[], float]:
        # On one thread the time on the processor counts, which other programs on the machine hardly change.
        return process_time if cell.threads == 1 and name not in IN_THREADS else perf_counter

    # Else the fixture warns that nobody called it.
    benchmark._mode = "interleaved"
    interleaved(calls, record, cell.seconds, clock_of)
