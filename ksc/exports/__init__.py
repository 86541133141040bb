"""Ahead-of-time export of kernels: ``knossos.export`` and ``knossos.load``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from ksc.errors import ArgumentError
from ksc.exports.collect import collect
from ksc.exports.files import new_folder
from ksc.exports.manifest import read
from ksc.exports.runtime import ExportedLibrary, open_library
from ksc.exports.targets import TARGETS, find_target

__all__ = ["TARGETS", "export", "load"]


def export(
    kernels: Any,
    path: str | os.PathLike[str],
    *,
    target: str,
    example_inputs: Any = None,
    dtypes: Iterable[torch.dtype] | torch.dtype = torch.float32,
    derivations: Sequence[str] | None = None,
    name: str | None = None,
    static_sizes: bool = False,
    **options: Any,
) -> Path:
    """Write kernels into a folder, for programs that have neither Knossos nor a Python file to compile.

    Args:
        kernels: a kernel, a list of kernels, or a dict from the names that they are to have.
        path: the folder; an earlier export there is replaced.
        target: ``"cpp"``, and others in ``TARGETS``.
        example_inputs: a value for each parameter of the kernel (in a list or a dict, as ``kernels`` are, for several);
            structure, number of dimensions, and which of these are of size 1, count. The values are those of a recorded
            test. None for what the annotations say, or for arguments like the latest call's.
        dtypes: of the floats; each function exists once for each.
        derivations: what is exported beside the value, see ``ksc.derive``; the vjp where there is one by default.
        name: of the library; that of the first kernel by default.
        static_sizes: compile for just the sizes of the example's tensors.
        **options: those of the target, see ``TARGETS``.

    Returns the folder.

    Raises:
        ArgumentError: names collide, an option is not known, the folder holds something else, or arguments are not
            known well enough to compile for.
        UnsupportedError: a kernel calls back into Python.
        KernelRuntimeError: a kernel stops at its example.
    """
    chosen = find_target(target)
    unknown = sorted(set(options) - set(chosen.options))
    if unknown:
        known = f"it takes {', '.join(chosen.options)}" if chosen.options else "it takes none"
        raise ArgumentError(f"the target {target} has no option {unknown[0]!r}", remedy=known)
    library = collect(
        kernels,
        name=name,
        example_inputs=example_inputs,
        dtypes=[dtypes] if isinstance(dtypes, torch.dtype) else dtypes,
        derivations=derivations,
        static_sizes=static_sizes,
        maps=chosen.maps,
    )
    folder = Path(path).absolute()
    with new_folder(folder) as ready:
        chosen.write(library, ready, **{**chosen.options, **options})
    return folder


def load(path: str | os.PathLike[str]) -> ExportedLibrary:
    """The kernels of an export for PyTorch, each an attribute; they are called as they were before.

    Raises ArgumentError where the folder holds no such export, ImportError where it is for another torch or processor.
    """
    folder = Path(path).absolute()
    data = read(folder)
    if "machines" not in data:
        others = ", ".join(name for name in TARGETS if name not in ("cpp", "cuda"))
        raise ArgumentError(
            f"{folder} is an export for {data['target']}, which Python does not load",
            remedy=f"build it as its README says, or export for one of {others}",
        )
    return open_library(folder / data["package"])
