"""Looking into the folder of built kernels, and emptying it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ksc.compiler.lock import exclusive
from ksc.compiler.store import PREPARED, RECORD, TRACES, file_stem, stores, writable_store


@dataclass(frozen=True, slots=True)
class CachedKernel:
    """A built kernel as ``ksc cache list`` shows it; ``built_at`` counts seconds since 1970, ``size`` is in bytes."""

    name: str
    dtype: str
    size: int
    built_at: float
    path: Path
    read_only: bool


def list_kernels() -> Iterator[CachedKernel]:
    """Every kernel in the user's store and the read-only ones. Raises CacheError where one cannot be trusted."""
    for store in stores():
        for entry in store.entries():
            files = [file for file in entry.folder.iterdir() if file.is_file()]
            yield CachedKernel(
                name=entry.name,
                dtype=entry.dtype,
                size=sum(file.stat().st_size for file in files),
                built_at=(entry.folder / RECORD).stat().st_mtime,
                path=entry.folder,
                read_only=not store.writable,
            )


def clear(name: str | None = None) -> int:
    """Remove the user's built kernels, or those called ``name``, and what was kept of tracing them; gives how many.

    Without a name, what was made for all of them too. Open ones go on working. Raises CacheError where the store cannot
    be trusted.
    """
    store = writable_store()
    removed = 0
    for entry in list(store.entries()):
        if name is None or entry.name == name:
            store.prepare()
            with exclusive(store.folder / ".locks" / entry.key[:16]):
                shutil.rmtree(entry.folder, ignore_errors=True)
            removed += 1
    for trace in (store.folder / TRACES).glob("*.json"):
        if name is None or trace.name.rpartition("-")[0] == file_stem(name):
            trace.unlink(missing_ok=True)
    if name is None:
        shutil.rmtree(store.folder / PREPARED, ignore_errors=True)
    return removed
