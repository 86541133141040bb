"""The folder of built kernels: one folder per key, with the source, the library, and a record of both.

    <build root>/torch_extensions/relu3-0123456789abcdef/relu3.cpp, relu3.so, kernel.json

An entry appears all at once, by a rename; a folder without a valid record does not count.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ksc.compiler.lock import exclusive
from ksc.compiler.trust import require_trusted
from ksc.errors import CacheError
from ksc.paths import build_root, shared_roots

FORMAT = 1
RECORD = "kernel.json"
TRACES = ".traces"
"""The folder in a store of what earlier processes found out by tracing, see ``ksc.recall``."""

PREPARED = ".prepared"
"""The folder in a store of what its kernels have in common, see ``ksc.compiler.prepared``."""

STORE = "torch_extensions"
"""The folder of built kernels in a build root."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A kernel in the store.

    Attributes:
        name: the user's name of the kernel.
        key: what it was built from, as a hash.
        folder: where its files lie.
        entries: the symbol of each derivation.
        dtype: how it stores Floats.
        compiler: the compiler that built it, in its own words.
        suffix: how the name of its source ends.
    """

    name: str
    key: str
    folder: Path
    entries: Mapping[str, str] = field(default_factory=dict)
    dtype: str = ""
    compiler: str = ""
    suffix: str = ".cpp"

    @property
    def source_path(self) -> Path:
        """The generated source."""
        return self.folder / f"{file_stem(self.name)}{self.suffix}"

    @property
    def library_path(self) -> Path:
        """The shared library."""
        return self.folder / f"{file_stem(self.name)}.so"


def file_stem(name: str) -> str:
    """A readable part of a file name."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in name)
    return kept[:64] or "kernel"


class Store:
    """One level of the cache; one of a ``shared`` build root is only read."""

    def __init__(self, folder: Path, shared: Path | None = None) -> None:
        self.folder = folder
        self.shared = shared

    @property
    def writable(self) -> bool:
        """Whether it may be built into."""
        return self.shared is None

    def require_trusted(self, path: Path) -> None:
        """Refuse (CacheError) a folder or file of the store that somebody else could put code into."""
        require_trusted(path, self.shared)

    def place(self, name: str, key: str) -> Path:
        """Where the entry of a key lies, whether it exists or not."""
        return self.folder / f"{file_stem(name)}-{key[:16]}"

    def find(self, name: str, key: str) -> Entry | None:
        """The entry of a key, None where there is none or it is damaged. Raises CacheError if it is not safe."""
        folder = self.place(name, key)
        if not folder.is_dir():
            return None
        self.require_trusted(folder)
        entry = self._read(folder, key)
        if entry is not None:
            # A file may be open to others where its folder is not.
            for file in (folder / RECORD, entry.library_path):
                self.require_trusted(file)
        return entry

    def find_source(self, name: str, source_key: str) -> Entry | None:
        """An entry of a source and flags, whichever compiler made it. Raises CacheError if it is not safe."""
        for folder in sorted(self.folder.glob(f"{file_stem(name)}-*")):
            try:
                record = json.loads((folder / RECORD).read_text("utf-8"))
                key = record["key"] if record["source_key"] == source_key else None
            except (OSError, ValueError, KeyError, TypeError):
                continue
            entry = self.find(name, key) if isinstance(key, str) else None
            if entry is not None:
                return entry
        return None

    def entries(self) -> Iterator[Entry]:
        """Every sound entry, in the order of names."""
        if not self.folder.is_dir():
            return
        self.require_trusted(self.folder)
        for folder in sorted(self.folder.iterdir()):
            entry = None if folder.name.startswith(".") else self._read(folder, None)
            if entry is not None:
                yield entry

    def _read(self, folder: Path, key: str | None) -> Entry | None:
        try:
            record = json.loads((folder / RECORD).read_text("utf-8"))
            if record["format"] != FORMAT or (key is not None and record["key"] != key):
                return None
            entry = Entry(
                record["name"],
                record["key"],
                folder,
                record["entries"],
                record["dtype"],
                record["compiler"],
                record.get("suffix", ".cpp"),
            )
            sound = record["library"] == digest(entry.library_path) and entry.source_path.is_file()
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return entry if sound else None

    def prepare(self) -> None:
        """Make the folder. Raises CacheError where it cannot be made, written or trusted."""
        try:
            for place in (self.folder, self.folder / ".locks", self.folder / ".building"):
                place.mkdir(mode=0o755, parents=True, exist_ok=True)
        except OSError as failed:
            raise _unwritable(self.folder, failed) from failed
        self.require_trusted(self.folder)

    @contextmanager
    def building(self, key: str) -> Iterator[Path]:
        """Hold the lock of a key, with a private folder to build in that is removed afterwards."""
        try:
            with exclusive(self.folder / ".locks" / key[:16]):
                self._sweep(key)
                private = Path(tempfile.mkdtemp(prefix=f"{key[:16]}-", dir=self.folder / ".building"))
                try:
                    yield private
                finally:
                    shutil.rmtree(private, ignore_errors=True)
        except OSError as failed:
            if failed.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT):
                raise _unwritable(self.folder, failed) from failed
            raise

    def _sweep(self, key: str) -> None:
        """Remove what builds of this key that were killed have left; the lock says that none is running."""
        for left in (self.folder / ".building").glob(f"{key[:16]}-*"):
            shutil.rmtree(left, ignore_errors=True)

    def publish(self, entry: Entry, private: Path, files: Mapping[str, Path], details: Mapping[str, Any]) -> Entry:
        """Put a finished build in its place at once. The lock of its key must be held."""
        ready = private / "ready"
        ready.mkdir(mode=0o755)
        staged = replace(entry, folder=ready)
        os.replace(files["source"], staged.source_path)
        os.replace(files["library"], staged.library_path)
        record = {
            "format": FORMAT,
            "name": entry.name,
            "key": entry.key,
            "entries": dict(entry.entries),
            "dtype": entry.dtype,
            "compiler": entry.compiler,
            "suffix": entry.suffix,
            "library": digest(staged.library_path),
            **details,
        }
        (ready / RECORD).write_text(json.dumps(record, indent=1) + "\n", "utf-8")
        for file in ready.iterdir():
            file.chmod(file.stat().st_mode & ~0o022)
        if entry.folder.exists():
            os.replace(entry.folder, private / "damaged")
        os.replace(ready, entry.folder)
        return entry


def writable_store() -> Store:
    """The store that kernels are built into."""
    return Store(build_root() / STORE)


def stores() -> list[Store]:
    """Where kernels are looked for: the user's own store, then the read-only ones of ``KSC_CACHE_PATH``."""
    return [writable_store(), *(Store(root / STORE, root) for root in shared_roots())]


def digest(path: Path) -> str:
    """The hash of what a file holds."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _unwritable(folder: Path, failed: OSError) -> CacheError:
    return CacheError(
        f"the folder for compiled kernels, {folder}, cannot be written: {failed.strerror or failed}",
        remedy="set KSC_BUILD_DIR to a folder that can be",
        code="KS602",
    )
