"""What kernels of the same flags have in common, made once for a folder of built kernels.

    <store>/.prepared/prelude-0123456789abcdef/ks/prelude.h.gch         the prelude, as GCC has read it
    <store>/.prepared/multiply_float-0123456789abcdef/multiply_float.o  products of matrices

The first saves a third of the time of a small kernel, the second most of that of one with a product. Neither changes
what a kernel computes, and a build does without where one cannot be made or used.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ksc.compiler.options import BuildOptions
from ksc.compiler.store import PREPARED, Store, digest
from ksc.compiler.toolchain import Compiler

if TYPE_CHECKING:
    from ksc.codegen.unit import GeneratedSource

logger = logging.getLogger("ksc.compiler")

FEW = 4
"""In a folder with more kernels the prelude is read in advance, which takes as long as it saves four of them."""
KEPT = 8
"""How many of each kind are kept, for flags and versions of the prelude that take turns."""

_INCLUDES = '#include "ks/prelude.h"'
_MULTIPLIES = "ks::multiply("
_ELSEWHERE = "-DKS_MULTIPLY_ELSEWHERE"
_CHECKED = "checked"
_unusable: set[Path] = set()
"""What could not be made or used; this process does not try again."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a build uses.

    Attributes:
        flags: for the compiler, before all others.
        objects: for the linker.
        folders: where it lies.
    """

    flags: tuple[str, ...] = ()
    objects: tuple[Path, ...] = ()
    folders: tuple[Path, ...] = ()

    def discard(self) -> None:
        """Remove what a build failed with, and could do without."""
        _unusable.update(self.folders)
        for folder in self.folders:
            logger.warning("removing %s, which the compiler does not take", folder)
            shutil.rmtree(folder, ignore_errors=True)


NOTHING = Prepared()


@dataclass(frozen=True, slots=True)
class Preparation:
    """Finds, and makes, what sources of the same flags can use.

    Attributes:
        store: the folder of built kernels.
        compiler: the compiler.
        options: the flags.
        include: the folder of the prelude.
        key: a hash of all of these but the store, and of the machine.
    """

    store: Store
    compiler: Compiler
    options: BuildOptions
    include: Path
    key: str

    def of(self, source: GeneratedSource) -> Prepared:
        """What a source can use; what is not there yet is made first, where that pays.

        Raises CacheError where the folder of built kernels cannot be trusted or written.
        """
        text = source.text
        if self.options.debug or sys.platform == "win32" or _INCLUDES not in text:
            return NOTHING
        flags: tuple[str, ...] = ()
        objects: tuple[Path, ...] = ()
        folders: tuple[Path, ...] = ()
        if _MULTIPLIES in text:
            product = self._product("double" if source.dtype == "float64" else "float")
            if product is None:
                return NOTHING
            flags, objects, folders = (_ELSEWHERE,), (product,), (product.parent,)
        if self._is_read_in_advance(text):
            header = self._header()
            if header is not None:
                folder = header.parent.parent
                flags, folders = (_ELSEWHERE, "-I", str(folder)), (*folders, folder)
        return Prepared(flags, objects, folders)

    def _product(self, number: str) -> Path | None:
        name = f"multiply_{number}"
        text = f'#include "ks/multiply.h"\n\nnamespace ks {{\nKS_MULTIPLY_OF({number});\n}}\n'
        return self._made(name, f"{name}.o", f"{name}.cpp", text, ["-c"])

    def _header(self) -> Path | None:
        flags = [_ELSEWHERE, "-x", "c++-header"]
        return self._made("prelude", "ks/prelude.h.gch", "prelude.h", f"{_INCLUDES}\n", flags)

    def _is_read_in_advance(self, text: str) -> bool:
        """Whether the compiler takes what it has read of the prelude, and the time that this saves pays for it."""
        # A wrapper such as ccache knows nothing of it, and clang has a way of its own.
        if len(self.compiler.command) > 1 or "clang" in self.compiler.identity:
            return False
        above = text.partition(_INCLUDES)[0].splitlines()
        if any(line and not line.startswith("//") for line in above):
            return False
        return sum(not name.startswith(".") for name in os.listdir(self.store.folder)) > FEW

    def _made(self, name: str, file: str, source: str, text: str, flags: list[str]) -> Path | None:
        """A file made of a source with these flags besides all others, None where it cannot be had."""
        folder = self.store.folder / PREPARED / f"{name}-{self.key[:16]}"
        if folder in _unusable:
            return None
        if self._is_sound(folder, file):
            return folder / file
        self.store.prepare()
        with self.store.building(hashlib.sha256(f"{name} {self.key}".encode()).hexdigest()) as private:
            # Another process may have made it meanwhile.
            if self._is_sound(folder, file):
                return folder / file
            ready = private / "ready"
            (ready / file).parent.mkdir(parents=True)
            (ready / source).write_text(text, "utf-8")
            command = [*self.compiler.command, *self.options.compile_flags(), "-I", str(self.include)]
            done = subprocess.run(
                [*command, *flags, source, "-o", file], cwd=ready, capture_output=True, text=True, check=False
            )
            if done.returncode != 0:
                logger.info("%s cannot be made: %s", folder, done.stderr)
                _unusable.add(folder)
                return None
            (ready / _CHECKED).write_text(digest(ready / file), "utf-8")
            for made in (ready, *ready.rglob("*")):
                made.chmod(made.stat().st_mode & ~0o022)
            folder.parent.mkdir(mode=0o755, exist_ok=True)
            if folder.exists():
                os.replace(folder, private / "damaged")
            os.replace(ready, folder)
            made_before = sorted(folder.parent.glob(f"{name}-*"), key=lambda place: place.stat().st_mtime)
            for old in made_before[:-KEPT]:
                shutil.rmtree(old, ignore_errors=True)
        return folder / file

    def _is_sound(self, folder: Path, file: str) -> bool:
        """Whether the file is there and as it was made. Raises CacheError where somebody else could have changed it."""
        if not (folder / file).is_file():
            return False
        for place in (folder, folder / file):
            self.store.require_trusted(place)
        return _is_as_made(folder, file)


def _is_as_made(folder: Path, file: str) -> bool:
    try:
        state = (folder / file).stat()
        found = _known(folder / file, state.st_mtime_ns, state.st_size)
        return found == (folder / _CHECKED).read_text("utf-8")
    except (OSError, ValueError):
        return False


@functools.cache
def _known(file: Path, mtime: int, size: int) -> str:
    """The digest of a file; the other arguments are there to read it again after a change."""
    return digest(file)
