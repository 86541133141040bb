"""How a kernel is compiled, and the flags that follow."""

from __future__ import annotations

import functools
import os
import platform
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

DEBUG_VARIABLE = "KSC_DEBUG"
FLAGS_VARIABLE = "KSC_COMPILE_FLAGS"


def words(text: str, system: str = sys.platform) -> tuple[str, ...]:
    """The words of a command or of flags, as a shell of this system takes them apart: paths of Windows keep ``\\``."""
    if system != "win32":
        return tuple(shlex.split(text))
    return tuple(word.strip('"') for word in shlex.split(text, posix=False))


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """What a build may be asked for.

    Attributes:
        contract: let the compiler fuse a multiplication and an addition into one rounding, and add up the terms of a
            ``reduce`` in several lanes; tests that compare with the interpreter turn it off.
        debug: no optimisation, with debug information.
        march: the target's instruction set; ``native`` is this machine's.
        extra: further flags, after all others.
    """

    contract: bool = True
    debug: bool = False
    march: str = "native"
    extra: tuple[str, ...] = ()

    @staticmethod
    def from_environment(environ: Mapping[str, str] = os.environ) -> BuildOptions:
        """The defaults, with ``debug`` where ``KSC_DEBUG`` is set to anything but 0, and ``KSC_COMPILE_FLAGS`` last."""
        return BuildOptions(
            debug=environ.get(DEBUG_VARIABLE, "0") not in ("", "0"),
            extra=words(environ.get(FLAGS_VARIABLE, "")),
        )

    def moved(self, built: Path, kept: Path) -> BuildOptions:
        """The same for what is built in one folder and kept in another, where a debugger finds the source."""
        if not self.debug:
            return self
        return replace(self, extra=(*self.extra, f"-ffile-prefix-map={built}={kept}"))

    def compile_flags(self) -> list[str]:
        """For the compiler. Never ``-ffast-math``: it breaks NaN and infinity, and sets flush-to-zero on loading."""
        # Code for Windows can lie anywhere as it is, and compilers for it refuse the flag.
        anywhere = [] if sys.platform == "win32" else ["-fPIC"]
        flags = ["-std=c++17", *anywhere, "-fno-math-errno", "-fno-trapping-math", "-fwrapv"]
        # A tail call made into a jump would recurse for ever instead of meeting the end of the stack.
        flags.append("-fno-optimize-sibling-calls")
        flags += ["-O0", "-g"] if self.debug else ["-O3"]
        # Apple's clang takes what all its processors have for granted, and does not know "native" for them.
        if self.march and not (self.march == "native" and sys.platform == "darwin" and not _is_x86()):
            flags.append(f"-march={self.march}")
        if _is_x86() and not self.debug:
            flags.append("-mprefer-vector-width=512")
        flags += ["-fopenmp-simd", "-DKS_SUMS_IN_LANES"] if self.contract else ["-ffp-contract=off"]
        return [*flags, *self.extra]

    def link_flags(self) -> list[str]:
        """For the linker: the vector maths of the C library where it has one."""
        if _has_vector_maths():
            return ["-Wl,--as-needed", "-lmvec", "-lm"]
        return [] if sys.platform == "win32" else ["-lm"]


def _is_x86() -> bool:
    return platform.machine().lower() in ("x86_64", "amd64")


@functools.cache
def _has_vector_maths() -> bool:
    return sys.platform == "linux" and _is_x86() and platform.libc_ver()[0] == "glibc"
