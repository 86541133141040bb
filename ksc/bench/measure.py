"""Timing several calls in turns, so that what else the machine does disturbs all alike."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any

SHORTEST = 0.002
"""What a round of one call takes at least, in seconds; fast calls are repeated in it."""


def interleaved(
    calls: Mapping[str, Callable[[], Any]],
    record: Callable[[str, int], Callable[[float], None]],
    seconds: float,
    clock_of: Callable[[str], Callable[[], float]],
) -> None:
    """Run rounds in which each call has its turn.

    Args:
        calls: what is timed, by name.
        record: given a name and the number of repetitions in a round, gives what takes the duration of each round.
        seconds: how long all rounds take together, for each of the calls; there are as many rounds as that allows, and
            20 at least.
        clock_of: given a name, gives what tells the time in seconds.
    """
    clocks = {name: clock_of(name) for name in calls}
    counts = {name: _repetitions(call, clocks[name]) for name, call in calls.items()}
    sinks = {name: record(name, counts[name]) for name in calls}
    names = list(calls)
    enabled = gc.isenabled()
    gc.disable()
    try:
        end = perf_counter() + seconds * len(calls)
        rounds = 0
        while rounds < 20 or (perf_counter() < end and rounds < 1000):
            # Who comes after whom changes from round to round, as each leaves caches and heap to the next.
            for k in range(len(names)):
                name = names[(rounds + k) % len(names)]
                calls[name]()
                sinks[name](_round(calls[name], counts[name], clocks[name]))
            rounds += 1
    finally:
        if enabled:
            gc.enable()


def _repetitions(call: Callable[[], Any], clock: Callable[[], float]) -> int:
    for _ in range(3):
        call()
    return max(1, round(SHORTEST / max(min(_round(call, 3, clock) / 3 for _ in range(3)), 1e-7)))


def _round(call: Callable[[], Any], count: int, clock: Callable[[], float]) -> float:
    start = clock()
    for _ in range(count):
        call()
    return clock() - start
