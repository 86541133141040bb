"""The target ``libtorch``: a library of operators for C++ programs with ``torch::``, and for Python."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ksc import __version__
from ksc.codegen.cpp.names import identifier
from ksc.errors import ArgumentError
from ksc.exports.files import write
from ksc.exports.levels import this_machine
from ksc.exports.manifest import manifest, save
from ksc.exports.model import ExportedKernel, Library
from ksc.exports.python import call_description
from ksc.exports.rendering import render
from ksc.exports.torch_core import torch_version
from ksc.exports.torch_library import build_libraries, with_partial_seeds


@dataclass(frozen=True, slots=True)
class CppOperator:
    """A kernel as the header shows it.

    Attributes:
        kernel: the kernel.
        function: the name of the function.
        module: the name of the ``nn::Module``.
        result: the C++ type of what it gives.
        parameters: their declarations.
        arguments: their names.
        schema: the type of the operator, as the dispatcher wants it.
    """

    kernel: ExportedKernel
    function: str
    module: str
    result: str
    parameters: Sequence[str]
    arguments: Sequence[str]
    schema: str

    @property
    def fits_sequential(self) -> bool:
        """Whether a layer of a network can stand in front of it and behind it."""
        return (
            len(self.kernel.spec.args) == 1
            and self.kernel.spec.args[0].kind == "float"
            and self.kernel.spec.lift in ("broadcast", "same")
            and self.result == "at::Tensor"
            and torch.float32 in self.kernel.dtypes
        )


def write_libtorch(library: Library, folder: Path, *, isa: Sequence[str]) -> None:
    """Write library, header, CMake files and an example. Raises ArgumentError, BuildError."""
    library = with_partial_seeds(library)
    operators = [_operator(kernel) for kernel in library.kernels]
    _require_distinct(operators)
    descriptions = [call_description(kernel) for kernel in library.kernels]
    machines = build_libraries(library, folder, isa)
    names: dict[str, Any] = {
        "lib": library.name,
        "macro": library.name.upper(),
        "version": __version__,
        "torch": torch_version().split("."),
        "operators": operators,
        "layer": next((operator for operator in operators if operator.fits_sequential), None),
        "machines": machines,
        "machine": this_machine(),
    }
    write(folder, f"include/{library.name}.hpp", render("libtorch/header.hpp.jinja", **names))
    write(folder, f"{library.name}Config.cmake", render("libtorch/Config.cmake.jinja", **names))
    write(folder, "example/CMakeLists.txt", render("libtorch/example.cmake.jinja", **names))
    write(folder, "example/train.cpp", render("libtorch/train.cpp.jinja", **names))
    write(folder, "README.md", render("libtorch/README.md.jinja", **names))
    data = manifest(library, "libtorch", torch=torch_version(), machines=machines, package=".")
    for kernel, description in zip(data["kernels"], descriptions, strict=True):
        kernel.update(description)
    save(data, folder)


def _operator(kernel: ExportedKernel) -> CppOperator:
    taken: set[str] = set()
    parameters, arguments, types = [], [], []
    for slot, arg in zip(kernel.signature("").args, kernel.spec.args, strict=True):
        name = slot.name
        taken.add(name)
        number = {"int": "int64_t", "bool": "bool"}.get(arg.kind) if arg.is_number else None
        parameters.append(f"{number} {name}" if number else f"const at::Tensor &{name}")
        arguments.append(name)
        types.append(("c10::SymInt" if number == "int64_t" else number) or "const at::Tensor &")
    count = len(kernel.spec.results)
    result = "at::Tensor" if count == 1 else f"std::tuple<{', '.join(['at::Tensor'] * count)}>"
    module = "".join(part[0].upper() + part[1:] for part in kernel.name.split("_"))
    return CppOperator(
        kernel,
        identifier(kernel.name),
        module,
        result,
        parameters,
        arguments,
        f"{result}({', '.join(types)})",
    )


def _require_distinct(operators: Sequence[CppOperator]) -> None:
    names = ["nn", "detail", *(operator.function for operator in operators)]
    modules = [name for operator in operators for name in (operator.module, f"{operator.module}Impl")]
    for several in (names, modules):
        for name in several:
            if several.count(name) > 1 or re.fullmatch(r"[0-9].*", name):
                raise ArgumentError(
                    f"two things in the header would be called {name}",
                    remedy='give the kernels other names: export({"name": kernel, …}, …)',
                )
