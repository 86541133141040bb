"""How far a long command has come: a bar of tqdm, on a terminal and where that is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


Report = Callable[[str], None]


@contextmanager
def progress(items: Iterable[T], total: int, unit: str, *, quiet: bool) -> Iterator[tuple[Iterable[T], Report]]:
    """The items, with a bar that moves as they are taken, and what prints a line above the bar.

    There is no bar where the standard error is no terminal, or when ``quiet``.
    """
    try:
        from tqdm import tqdm
    except ImportError:
        yield items, lambda text: print(text, flush=True)
        return

    def report(text: str) -> None:
        with tqdm.external_write_mode():
            print(text, flush=True)

    with tqdm(items, total=total, unit=f" {unit}", leave=False, disable=True if quiet else None) as bar:
        yield bar, report
