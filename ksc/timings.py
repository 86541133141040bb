"""Where the time of making a kernel goes: the steps on the way say how long they take, when somebody asks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class Timings:
    """The seconds that each step took, without those of the steps inside it, in the order in which they began."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._inside = [0.0]

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Count the time until the end of the block for a step; that of one name is added up."""
        self.seconds.setdefault(name, 0.0)
        self._inside.append(0.0)
        began = time.perf_counter()
        try:
            yield
        finally:
            taken = time.perf_counter() - began
            self.seconds[name] += taken - self._inside.pop()
            self._inside[-1] += taken


_recording: ContextVar[Timings | None] = ContextVar("ksc timings", default=None)


@contextmanager
def recorded() -> Iterator[Timings]:
    """Record the steps of this thread; meanwhile kernels are made anew, whatever the cache has."""
    timings = Timings()
    token = _recording.set(timings)
    try:
        yield timings
    finally:
        _recording.reset(token)


def is_recording() -> bool:
    """Whether steps are recorded."""
    return _recording.get() is not None


@contextmanager
def timed(name: str) -> Iterator[None]:
    """Count the time of the block for a step, where that is recorded."""
    timings = _recording.get()
    if timings is None:
        yield
        return
    with timings.step(name):
        yield
