"""``manifest.json``: what an export says of itself, for ``knossos.load``, ``ksc export --list`` and programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ksc import __version__
from ksc.errors import ArgumentError
from ksc.exports.model import ExportedKernel, Library
from ksc.exports.signature import Slot

MANIFEST = "manifest.json"
FORMAT = 1


def manifest(library: Library, target: str, **more: Any) -> dict[str, Any]:
    """The manifest of a library as plain data."""
    return {
        "format": FORMAT,
        "knossos": __version__,
        "target": target,
        "name": library.name,
        **more,
        "kernels": [_kernel(kernel) for kernel in library.kernels],
    }


def _kernel(kernel: ExportedKernel) -> dict[str, Any]:
    primal = kernel.signature("")
    return {
        "name": kernel.name,
        "source": kernel.source,
        "doc": kernel.doc,
        "lift": kernel.spec.lift,
        "dtypes": [str(dtype).removeprefix("torch.") for dtype in kernel.dtypes],
        "derivations": list(kernel.derivations),
        "arguments": described_arguments(kernel),
        "results": [_slot(slot) for slot in primal.results],
    }


def described_arguments(kernel: ExportedKernel) -> list[dict[str, Any]]:
    """The flat arguments."""
    slots = kernel.signature("").args
    return [{"name": arg.name, **_slot(slot)} for arg, slot in zip(kernel.spec.args, slots, strict=True)]


def _slot(slot: Slot) -> dict[str, Any]:
    found: dict[str, Any] = {"c_name": slot.name, "kind": slot.kind, "rank": len(slot.sizes)}
    if any(size is not None for size in slot.known):
        found["sizes"] = list(slot.known)
    return found


def save(data: Mapping[str, Any], folder: Path) -> None:
    """Write the manifest of an export."""
    (folder / MANIFEST).write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", "utf-8")


def read(folder: Path) -> dict[str, Any]:
    """The manifest of an export. Raises ArgumentError where there is none, or one of another format."""
    try:
        data = json.loads((folder / MANIFEST).read_text("utf-8"))
    except FileNotFoundError:
        raise ArgumentError(f"{folder} is no export: it has no {MANIFEST}") from None
    except (OSError, ValueError) as error:
        raise ArgumentError(f"{folder / MANIFEST} cannot be read: {error}") from error
    if not isinstance(data, dict) or "knossos" not in data or "kernels" not in data:
        raise ArgumentError(f"{folder / MANIFEST} is no manifest of an export")
    if data.get("format") != FORMAT:
        raise ArgumentError(
            f"{folder} was exported by Knossos {data['knossos']}, in another format",
            remedy="export it again",
        )
    return data


def is_export(folder: Path) -> bool:
    """Whether a folder holds an export."""
    try:
        data = json.loads((folder / MANIFEST).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(data, dict) and "knossos" in data and "kernels" in data
