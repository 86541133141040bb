"""Making a kernel without going through all of PyTorch's objects again and again.

Python's cyclic garbage collector looks at every object of the process whenever their number has grown by a quarter. A
kernel of a few thousand equations makes millions of small ones, hardly any of them in cycles, beside the half million
of PyTorch: half of the time of tracing and of the passes went there. So automatic collections wait until it is made.
"""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Pause:
    """The threads that are making kernels, and whether there were automatic collections before the first of them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.makers = 0
        self.was_enabled = False
        self.is_watching = False

    def begin(self) -> None:
        with self.lock:
            if not self.is_watching and hasattr(os, "register_at_fork"):
                os.register_at_fork(after_in_child=self.forked)
                self.is_watching = True
            if self.makers == 0:
                self.was_enabled = gc.isenabled()
                gc.disable()
            self.makers += 1

    def end(self) -> None:
        with self.lock:
            self.makers = max(self.makers - 1, 0)
            if self.makers == 0 and self.was_enabled:
                gc.enable()

    def forked(self) -> None:
        """In the child of a fork the other threads are gone."""
        self.lock = threading.Lock()
        if self.makers:
            self.makers = 0
            if self.was_enabled:
                gc.enable()


_pause = _Pause()


@contextmanager
def uncollected() -> Iterator[None]:
    """Put off automatic collections until no thread is inside any more; where they are off, they stay off."""
    _pause.begin()
    try:
        yield
    finally:
        _pause.end()
