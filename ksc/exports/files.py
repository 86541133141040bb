"""Writing the folder of an export all at once, and the prelude's headers that it needs."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ksc.errors import ArgumentError
from ksc.exports.manifest import is_export
from ksc.paths import prelude_dir

_INCLUDE = re.compile(r'^\s*#include "(ks/[\w./]+)"', re.MULTILINE)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to write into, which takes the place of ``path`` in the end; nothing is left where an error is raised.

    An earlier export there is replaced. Raises ArgumentError where there is anything else.
    """
    if path.exists() and not is_export(path) and not (path.is_dir() and not any(path.iterdir())):
        raise ArgumentError(
            f"{path} is there already, and is no export", remedy="give a folder that does not exist, or an empty one"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        ready = scratch / path.name
        ready.mkdir()
        yield ready
        if path.exists():
            path.rename(scratch / "before")
        ready.rename(path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def copy_prelude(folder: Path, *roots: str) -> None:
    """Copy the headers of the prelude that these include, with all that they include."""
    pending, done = list(roots), set()
    while pending:
        name = pending.pop()
        if name in done:
            continue
        done.add(name)
        text = (prelude_dir() / name).read_text("utf-8")
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, "utf-8")
        pending += _INCLUDE.findall(text)


def write(folder: Path, name: str, text: str) -> None:
    """Write a file below a folder."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
