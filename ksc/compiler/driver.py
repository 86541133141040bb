"""Running the compiler, driven by torch.utils.cpp_extension and ninja.

A kernel includes nothing of torch and links nothing of it, so only the part of cpp_extension that writes the ninja file
serves here; its loader would add torch's headers, libraries and a lock that outlives a crash.
"""

from __future__ import annotations

import inspect
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

from ksc.compiler.options import BuildOptions
from ksc.compiler.prepared import NOTHING, Prepared
from ksc.compiler.toolchain import Compiler
from ksc.errors import BuildError


class CompilationError(Exception):
    """The compiler refused a source; ``output`` is all that it wrote."""

    def __init__(self, output: str) -> None:
        super().__init__(output)
        self.output = output


def compile_library(
    source: Path,
    library: Path,
    *,
    compiler: Compiler,
    options: BuildOptions,
    include: Path,
    prepared: Prepared = NOTHING,
) -> list[str]:
    """Compile one source into a shared library in the same, private folder; gives the flags that make it from nothing.

    Raises CompilationError with the compiler's output, BuildError where ninja is missing.
    """
    folder = library.parent
    flags = [*options.compile_flags(), "-I", str(include)]
    _write_ninja_file(
        folder / "build.ninja",
        cflags=[_quoted(flag) for flag in (*prepared.flags, *flags)],
        ldflags=["-shared", *(_quoted(flag) for flag in (*map(str, prepared.objects), *options.link_flags()))],
        sources=[str(source)],
        objects=[f"{library.stem}.o"],
        library_target=library.name,
        with_cuda=False,
        with_sycl=False,
    )
    _adjust(folder / "build.ninja", source, compiler)
    # Messages in English and without colour, whatever the user's terminal asks for.
    environ = {**os.environ, "LC_ALL": "C", "GCC_COLORS": "", "NINJA_STATUS": ""}
    done = subprocess.run(
        [find_ninja()], cwd=folder, capture_output=True, text=True, errors="replace", env=environ, check=False
    )
    if done.returncode != 0 or not library.is_file():
        raise CompilationError(done.stdout + done.stderr)
    return flags


def find_ninja() -> str:
    """The ninja on the path, else that of the Python package. Raises BuildError where there is neither."""
    found = shutil.which("ninja")
    if found is None:
        try:
            import ninja
        except ImportError:
            raise BuildError("ninja was not found", remedy="pip install ninja", code="KS501") from None
        found = shutil.which("ninja", path=ninja.BIN_DIR)
    if found is None:
        raise BuildError("the package ninja has no program", remedy="pip install --force-reinstall ninja", code="KS501")
    return found


def _write_ninja_file(path: Path, **arguments: Any) -> None:
    """Torch's writer; parameters that a version of torch has beyond these are left empty."""
    from torch.utils import cpp_extension

    known = inspect.signature(cpp_extension._write_ninja_file).parameters
    given = {name: arguments.get(name) for name in known if name != "path"}
    cpp_extension._write_ninja_file(str(path), **given)


def _adjust(path: Path, source: Path, compiler: Compiler) -> None:
    """Name the compiler exactly as asked, and the source by its name alone.

    Versions of torch differ in how they quote ``CXX`` and in wrappers, and leave a ``$`` in a path as it is.
    """
    command = shlex.join(compiler.command).replace("$", "$$")
    text = re.sub(r"^cxx = .*$", lambda _: f"cxx = {command}", path.read_text("utf-8"), count=1, flags=re.MULTILINE)
    path.write_text(text.replace(str(source).replace(" ", "$ "), source.name), "utf-8")


def _quoted(flag: str) -> str:
    return shlex.quote(flag).replace("$", "$$")
