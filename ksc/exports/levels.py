"""Instruction sets that kernels are exported for, and the compilers that make code for them."""

from __future__ import annotations

import functools
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ksc.compiler.options import BuildOptions
from ksc.compiler.toolchain import Compiler, find_compiler
from ksc.compiler.tuning import tuning
from ksc.errors import ArgumentError, BuildError
from ksc.paths import prelude_dir

PORTABLE: dict[str, tuple[str, ...]] = {
    "x86_64": ("x86-64-v2", "x86-64-v3", "x86-64-v4"),
    "aarch64": ("armv8-a",),
}
"""What is exported where nothing else is asked for: the best of these that a processor has is chosen at load time."""

GNU_UNIQUE = "-fno-gnu-unique"

_LEVEL = re.compile(r"[a-z][a-z0-9._+-]*")


def this_machine() -> str:
    """The kind of processor that this process runs on, as folders of libraries are named after."""
    machine = platform.machine().lower()
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine)


def machine_of(level: str) -> str:
    """The kind of processor that an instruction set belongs to, as ``-march`` spells it."""
    if level == "native":
        return this_machine()
    return "aarch64" if level.startswith("arm") else "x86_64"


def by_machine(levels: Sequence[str]) -> dict[str, list[str]]:
    """Instruction sets, the best first, by the kind of processor. Raises ArgumentError for what is none."""
    wanted = tuple(levels) or PORTABLE.get(this_machine(), ("native",))
    found: dict[str, list[str]] = {}
    for level in dict.fromkeys(wanted):
        if _LEVEL.fullmatch(level) is None:
            raise ArgumentError(f"{level!r} is no instruction set", remedy="name one as -march does, such as x86-64-v3")
        # From the least to the best, as people write them.
        found.setdefault(machine_of(level), []).insert(0, level)
    return found


def compiler_for(machine: str) -> Compiler:
    """The compiler for a kind of processor; a cross compiler where it is another. Raises BuildError without one."""
    if machine == this_machine():
        return find_compiler()
    name = f"{machine}-linux-gnu-g++"
    if shutil.which(name) is None:
        raise BuildError(
            f"code for {machine} needs the cross compiler {name}, which was not found",
            remedy=f"on Debian and Ubuntu: apt install g++-{machine.replace('_', '-')}-linux-gnu",
            code="KS501",
        )
    return Compiler((name,), name)


def kernel_flags(level: str) -> list[str]:
    """The flags of kernels for an instruction set."""
    own = [flag for flag in BuildOptions(march=level).compile_flags() if not flag.startswith("-mprefer")]
    wide = ["-mprefer-vector-width=512"] if machine_of(level) == "x86_64" else []
    # What two files of kernels have in common stays each one's own; clang has no symbols that are one for the process.
    hidden = ["-fvisibility=hidden", *([GNU_UNIQUE] if knows(compiler_for(machine_of(level)), GNU_UNIQUE) else [])]
    return [*own, *wide, *hidden, "-I", str(prelude_dir())]


def link_flags(level: str) -> list[str]:
    """Those of a file of kernels."""
    machine = machine_of(level)
    if machine == this_machine() and sys.platform != "linux":
        return BuildOptions().link_flags()
    return ["-Wl,--as-needed", "-Wl,-Bsymbolic", *(["-lmvec"] if machine == "x86_64" else []), "-lm"]


@functools.cache
def knows(compiler: Compiler, flag: str) -> bool:
    """Whether a compiler takes a flag."""
    command = [*compiler.command, "-Werror", flag, "-x", "c++", "-fsyntax-only", os.devnull]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def compile_with(compiler: Compiler, *arguments: str | Path) -> None:
    """Run a compiler. Raises BuildError with what it wrote."""
    command = [*compiler.command, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        raise BuildError(f"{shlex.join(command)} failed:\n{done.stderr[-4000:]}")


def compile_kernels(sources: Sequence[Path], library: Path, level: str) -> None:
    """Compile files of kernels into a library for one instruction set. Raises BuildError."""
    compiler = compiler_for(machine_of(level))
    options = replace(BuildOptions.from_environment(), march=level, debug=False)
    texts = [source.read_text("utf-8") for source in sources]
    flags = [*kernel_flags(level), *tuning(options, compiler, texts), *options.extra]
    compile_with(compiler, *flags, "-shared", *sources, "-o", library, *link_flags(level))
