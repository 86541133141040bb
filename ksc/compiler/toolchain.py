"""The C++ compiler and the machine: what they are, told cheaply, for a build's key."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ksc.compiler.options import words
from ksc.errors import BuildError
from ksc.paths import PACKAGE_DIR

REMEDIES = {
    "linux": "install one (Debian and Ubuntu: apt install g++; Fedora: dnf install gcc-c++; Arch: pacman -S gcc),"
    " or set CXX to the path of a C++20 compiler",
    "darwin": "run xcode-select --install, or set CXX to the path of a C++20 compiler",
    "win32": "kernels need a compiler with GCC's command line: install LLVM or MinGW and set CXX to clang++ or g++",
}


@dataclass(frozen=True, slots=True)
class Compiler:
    """A C++ compiler: its command, with any wrapper before it, and a text that changes when it is updated."""

    command: tuple[str, ...]
    identity: str


def find_compiler() -> Compiler:
    """The compiler of kernels and core: that named by ``CXX``, else ``c++`` or ``g++``.

    Raises BuildError, with the way to get one, where there is none.
    """
    command = words(os.environ.get("CXX", "")) or ("c++" if shutil.which("c++") else "g++",)
    path = shutil.which(command[0])
    if path is None:
        asked = f"CXX names {command[0]!r}, which" if os.environ.get("CXX") else f"the C++ compiler {command[0]!r}"
        raise BuildError(f"{asked} was not found", remedy=REMEDIES.get(sys.platform, REMEDIES["linux"]), code="KS501")
    return compiler_of(command, path)


def compiler_of(command: tuple[str, ...], path: str | None = None) -> Compiler:
    """The compiler that is run by ``command``; its program is at ``path``, or is the command's first word.

    Raises BuildError where it does not run.
    """
    real = os.path.realpath(path or command[0])
    state = os.stat(real)
    version = _version(command, real, state.st_mtime_ns, state.st_size)
    return Compiler(command, f"{shlex.join(command)} {real} {state.st_mtime_ns} {state.st_size} {version}")


@functools.cache
def _version(command: tuple[str, ...], path: str, mtime: int, size: int) -> str:
    """What the compiler says of itself; the other arguments are there to ask again after an update."""
    try:
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as failed:
        raise BuildError(
            f"the C++ compiler {path} does not run: {failed}", remedy="set CXX to one that does", code="KS501"
        ) from failed
    first, _, rest = done.stdout.partition("\n")
    # nvcc says its version in its last lines.
    return (first if "nvcc" not in first else f"{first} {rest}").replace("\n", " ").strip()


@functools.cache
def machine_identity() -> str:
    """A text that differs between machines for which ``-march=native`` means different instructions."""
    text = [sys.platform, platform.machine()]
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as info:
            for line in info:
                if not line.strip():
                    break
                name = line.partition(":")[0].strip()
                if name in ("vendor_id", "cpu family", "model", "flags", "Features", "CPU part", "CPU implementer"):
                    text.append(line.strip())
    except OSError:
        text.append(platform.processor())
    return "\n".join(text)


def prelude_digest(folder: Path) -> str:
    """A hash of every header of the prelude."""
    headers = sorted(folder.rglob("*.h"))
    stats = tuple((str(h.relative_to(folder)), h.stat().st_mtime_ns, h.stat().st_size) for h in headers)
    return _digest(folder, stats)


@functools.cache
def generator_digest() -> str:
    """A hash of the code that turns a traced program into a source: passes, transforms, generator, their tables."""
    digest = hashlib.sha256()
    for part in ("derive.py", "steps.py", "ir", "ops", "transforms", "passes", "codegen"):
        place = PACKAGE_DIR / part
        files = [place] if place.is_file() else sorted(f for f in place.rglob("*") if f.suffix in (".py", ".jinja"))
        for file in files:
            digest.update(str(file.relative_to(PACKAGE_DIR)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


@functools.cache
def _digest(folder: Path, stats: tuple[tuple[str, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for name, _, _ in stats:
        digest.update(name.encode() + b"\0" + (folder / name).read_bytes() + b"\0")
    return digest.hexdigest()
