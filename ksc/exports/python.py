"""The target ``python``: a package, and a wheel of it, that needs PyTorch and nothing else."""

from __future__ import annotations

import base64
import hashlib
import inspect
import keyword
import re
import shutil
import sysconfig
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ksc import __version__
from ksc.arguments import KINDS, element
from ksc.errors import ArgumentError
from ksc.exports import runtime
from ksc.exports.files import write
from ksc.exports.levels import this_machine
from ksc.exports.manifest import described_arguments, manifest, save
from ksc.exports.model import ExportedKernel, Library
from ksc.exports.rendering import render
from ksc.exports.torch_core import torch_version
from ksc.exports.torch_library import build_libraries, with_partial_seeds
from ksc.frontend.values import Abstract, Static, Struct, Value

_VERSION = re.compile(r"\d+(\.\d+)*((a|b|rc)\d+)?(\.post\d+)?(\.dev\d+)?(\+[a-z0-9]+(\.[a-z0-9]+)*)?")
"""Versions as pip spells them."""


def write_python(library: Library, folder: Path, *, isa: Sequence[str], version: str, wheel: bool) -> None:
    """Write the package, its wheels and a manifest. Raises ArgumentError, BuildError."""
    if _VERSION.fullmatch(version) is None:
        raise ArgumentError(
            f"{version!r} is no version of a package", remedy="write one such as 1.0.2 or 1.0+torch2.13"
        )
    for name in (library.name, *(kernel.name for kernel in library.kernels)):
        if keyword.iskeyword(name):
            raise ArgumentError(f"{name} is a word of Python's own", remedy="export it under another name")
    library = with_partial_seeds(library)
    described = [call_description(kernel) for kernel in library.kernels]
    package = folder / library.name
    machines = build_libraries(library, package, isa)
    data = manifest(library, "python", torch=torch_version(), machines=machines, package=library.name)
    for kernel, description in zip(data["kernels"], described, strict=True):
        kernel.update(description)
    names = {"lib": library.name, "version": __version__, "torch": torch_version(), "kernels": library.kernels}
    write(package, "__init__.py", render("python/init.py.jinja", **names))
    shutil.copyfile(inspect.getfile(runtime), package / "_runtime.py")
    write(package, "py.typed", "")
    save(data, package)
    save(data, folder)
    if wheel:
        for machine in machines:
            _write_wheel(folder, library.name, version, machine)


def call_description(kernel: ExportedKernel) -> dict[str, Any]:
    """How arguments and results of a call are structured. Raises ArgumentError for what JSON cannot say."""
    if not kernel.kernel.mapping.is_plain and kernel.orders is None:
        raise ArgumentError(
            f"{kernel.name} maps over other dimensions than the first", remedy="give example_inputs, which have them"
        )
    orders = iter(kernel.orders or ())
    result_orders = _result_orders(kernel)
    parameters = []
    for parameter, value in zip(
        kernel.kernel._interface.signature.parameters.values(), kernel.special.params, strict=True
    ):
        described: dict[str, Any] = {
            "name": parameter.name,
            "kind": parameter.kind.name,
            "structure": _structure(value, orders, kernel.name),
        }
        if isinstance(value, Static):
            described["default"] = _plain(value.value, kernel.name)
        elif parameter.default is not inspect.Parameter.empty:
            described["default"] = _plain(parameter.default, kernel.name)
        parameters.append(described)
    arguments = [
        {**known, "is_number": arg.is_number, "shared": arg.shared}
        for known, arg in zip(described_arguments(kernel), kernel.spec.args, strict=True)
    ]
    result = _structure(kernel.special.result, result_orders, kernel.name)
    return {"arguments": arguments, "parameters": parameters, "result": result}


def _result_orders(kernel: ExportedKernel) -> Iterator[Sequence[int]]:
    if kernel.kernel.mapping.is_plain:
        return iter(())
    return iter(kernel.kernel.mapping.result_orders(kernel.special.lane_ranks))


def _structure(value: Value, orders: Iterator[Sequence[int]], name: str) -> dict[str, Any]:
    match value:
        case Abstract():
            found = {"kind": KINDS[element(value.type)], "tensor": value.is_tensor}
            order = list(next(orders, ()))
            return found if order == sorted(order) else {**found, "order": order}
        case Struct(cls=cls, items=items, keys=keys):
            parts = [_structure(item, orders, name) for item in items]
            plain = cls in (tuple, list, dict)
            kind = cls.__name__ if plain else "namedtuple" if issubclass(cls, tuple) else "dataclass"
            return {"class": kind, "name": cls.__name__, "keys": list(keys), "items": parts}
        case Static():
            return {"value": _plain(value.value, name)}
        case _:
            raise TypeError(f"{type(value).__name__} is no argument or result")


def _plain(value: Any, name: str) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ArgumentError(
        f"{name} was compiled for a {type(value).__name__}, which a package cannot name",
        remedy="export a function that has it built in",
    )


def _write_wheel(folder: Path, name: str, version: str, machine: str) -> None:
    """A wheel of the package with the libraries for one kind of processor."""
    info = f"{name}-{version}.dist-info"
    system = re.sub("[-.]", "_", sysconfig.get_platform()) if machine == this_machine() else f"linux_{machine}"
    tag = f"py3-none-{system}"
    files: list[tuple[str, bytes]] = []
    package = folder / name
    for path in sorted(package.rglob("*")):
        parts = path.relative_to(package).parts
        if path.is_file() and (parts[0] != "lib" or parts[1] == machine):
            files.append(("/".join((name, *parts)), path.read_bytes()))
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Dist: torch=={torch_version()}.*\n"
    wheel = f"Wheel-Version: 1.0\nGenerator: knossos {__version__}\nRoot-Is-Purelib: false\nTag: {tag}\n"
    files += [(f"{info}/METADATA", metadata.encode()), (f"{info}/WHEEL", wheel.encode())]
    record = "".join(f"{inside},sha256={_digest(data)},{len(data)}\n" for inside, data in files)
    files.append((f"{info}/RECORD", f"{record}{info}/RECORD,,\n".encode()))
    with zipfile.ZipFile(folder / f"{name}-{version}-{tag}.whl", "w", zipfile.ZIP_DEFLATED) as archive:
        for inside, data in files:
            archive.writestr(inside, data)


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
