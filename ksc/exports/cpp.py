"""The target ``cpp``: sources that need nothing but a C++ compiler, for C and C++ to call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ksc import __version__
from ksc.codegen.rendering import wrap
from ksc.errors import ArgumentError
from ksc.exports.c_api import CFunction, KernelApi, element, element_suffix
from ksc.exports.files import copy_prelude, write
from ksc.exports.manifest import manifest, save
from ksc.exports.model import Library
from ksc.exports.recorded import recorded_calls
from ksc.exports.rendering import render


@dataclass(frozen=True, slots=True)
class View:
    """A pair of structs of the header: the type of their elements, and how their names end."""

    type: str
    suffix: str


def write_cpp(library: Library, folder: Path, *, march: str) -> None:
    """Write the export into an empty folder. Raises ArgumentError where names of functions collide."""
    units = {
        (kernel.name, dtype): kernel.unit(library.name, dtype) for kernel in library.kernels for dtype in kernel.dtypes
    }
    apis = [
        KernelApi(library, kernel, {dtype: dict(units[kernel.name, dtype].entries) for dtype in kernel.dtypes})
        for kernel in library.kernels
    ]
    _require_distinct([function.name for api in apis for function in _functions(api)])
    names: dict[str, Any] = {
        "library": library,
        "lib": library.name,
        "macro": library.name.upper(),
        "guard": f"{library.name.upper()}_H",
        "version": __version__,
        "march": march,
        "kernels": apis,
        "units": [unit.name for unit in units.values()],
        "views": _views(apis),
        "has_lanes": any(not api.kernel.takes_tensors and api.kernel.spec.lift != "scalar" for api in apis),
        "has_tensors": any(api.kernel.takes_tensors for api in apis),
        "sources": ", ".join(dict.fromkeys(api.kernel.source for api in apis if api.kernel.source)) or "Python",
        "declaration": lambda function, api=True: _declaration(library, function, api),
    }
    for unit in units.values():
        write(folder, f"src/{unit.name}.cpp", unit.text)
    write(folder, f"include/{library.name}.h", render("cpp/header.h.jinja", **names))
    write(folder, f"src/{library.name}.cpp", render("cpp/library.cpp.jinja", **names))
    write(folder, "src/required.cpp", render("cpp/required.cpp.jinja", **names))
    write(folder, "CMakeLists.txt", render("cpp/CMakeLists.txt.jinja", **names))
    write(folder, "README.md", render("cpp/README.md.jinja", **names))
    calls = recorded_calls(library)
    used = {check for call in calls for check in call.checks}
    floats = [(type_, suffix) for type_, suffix in (("float", "f32"), ("double", "f64")) if suffix in used]
    exact = [(t, s) for t, s in (("int64_t", "i64"), ("bool", "bool"), ("uint16_t", "f16")) if s in used]
    write(
        folder,
        f"tests/{library.name}_test.c",
        render("cpp/test.c.jinja", calls=calls, floats=floats, exact=exact, **names),
    )
    copy_prelude(folder / "prelude", "ks/prelude.h", "ks/library.h")
    save(manifest(library, "cpp", header=f"include/{library.name}.h", march=march), folder)


def _functions(api: KernelApi) -> Iterator[CFunction]:
    if api.sizes is not None:
        yield api.sizes
    yield from api.functions


def _require_distinct(names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name.lower() in seen:
            raise ArgumentError(
                f"two functions of the library would be called {name}",
                remedy='give the kernels other names: export({"name": kernel, …}, …)',
            )
        seen.add(name.lower())


def _views(apis: Sequence[KernelApi]) -> list[View]:
    found: dict[str, View] = {}
    for api in apis:
        for dtype in api.kernel.dtypes:
            for derivation in api.kernel.derivations:
                signature = api.kernel.signature(derivation)
                for slot in (*signature.args, *signature.results):
                    if slot.sizes:
                        suffix = element_suffix(slot, dtype)
                        found.setdefault(suffix, View(element(slot, dtype), suffix))
    return list(found.values())


def _declaration(library: Library, function: CFunction, api: bool) -> str:
    head = f"{library.name.upper()}_API " if api else ""
    parameters = ", ".join([f"{library.name}_context *context", *function.parameters])
    return wrap(f"{head}int {function.name}({parameters})", 0)
