"""What kernels with masks are tuned for.

Where the sides of an ``if`` read an operand, GCC reads it from memory for each of them under a mask, unless it takes
loading a register of 512 bits for as dear as tuning for Intel's processors says. The models of AMD's processors up to
the fifth generation, and the generic one, say less; the reverse of relu3 beyond the cache then takes twice as long.
Other kernels are left as they are: tuned so, some are faster and some slower.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ksc.compiler.options import BuildOptions
from ksc.compiler.toolchain import Compiler, machine_identity

TUNED = "-mtune=skylake-avx512"

_KERNEL = '#include "ks/prelude.h"'
_ELEMENTWISE = "return ks::map("
_BRANCHES = re.compile(r"\bif \(| \? ")
_TARGETS = ("x86-64-v4", "znver4", "znver5")
"""Instruction sets with masks that GCC does not tune for Intel's processors."""


def possible_tuning(options: BuildOptions) -> list[str]:
    """The flags that some sources get, for keys of builds that are not generated yet."""
    asked = any(flag.startswith(("-march", "-mtune")) for flag in options.extra)
    return [] if options.debug or asked or not _has_masks(options.march) else [TUNED]


def tuning(options: BuildOptions, compiler: Compiler, texts: Iterable[str]) -> list[str]:
    """The flags, before those of the user, for sources that are compiled together; none where it makes no difference.

    A file among them without the prelude has no kernel.
    """
    kernels = [text for text in texts if _KERNEL in text]
    is_elementwise = all(_ELEMENTWISE in text for text in kernels)
    has_branches = any(_BRANCHES.search(text) for text in kernels)
    if not is_elementwise or not has_branches or "clang" in compiler.identity:
        return []
    return possible_tuning(options)


def _has_masks(march: str) -> bool:
    if march != "native":
        return march in _TARGETS
    machine = machine_identity()
    return " avx512f " in machine and "GenuineIntel" not in machine
