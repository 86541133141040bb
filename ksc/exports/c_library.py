"""What the sources of the targets in C have in common: which functions there are, and what templates say of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ksc import __version__
from ksc.codegen.rendering import wrap
from ksc.codegen.unit import GeneratedSource
from ksc.errors import ArgumentError
from ksc.exports.c_api import CFunction, KernelApi, element, element_suffix
from ksc.exports.model import Library
from ksc.exports.recorded import RecordedCall

Units = Mapping[tuple[str, torch.dtype], GeneratedSource]
"""The source of each kernel in each dtype."""


@dataclass(frozen=True, slots=True)
class View:
    """A pair of structs of the header: the type of their elements, and how their names end."""

    type: str
    suffix: str


def described(library: Library, units: Units) -> dict[str, Any]:
    """What templates are given. Raises ArgumentError where names of functions collide."""
    apis = [
        KernelApi(library, kernel, {dtype: dict(units[kernel.name, dtype].entries) for dtype in kernel.dtypes})
        for kernel in library.kernels
    ]
    _require_distinct([function.name for api in apis for function in _functions(api)])
    return {
        "library": library,
        "lib": library.name,
        "macro": library.name.upper(),
        "guard": f"{library.name.upper()}_H",
        "version": __version__,
        "kernels": apis,
        "units": [unit.name for unit in units.values()],
        "views": _views(apis),
        "has_lanes": any(not api.kernel.takes_tensors and api.kernel.spec.lift != "scalar" for api in apis),
        "has_tensors": any(api.kernel.takes_tensors for api in apis),
        "sources": ", ".join(dict.fromkeys(api.kernel.source for api in apis if api.kernel.source)) or "Python",
        "declaration": lambda function, api=True: _declaration(library, function, api),
    }


def comparisons(calls: Sequence[RecordedCall]) -> dict[str, list[tuple[str, str]]]:
    """The types that recorded calls compare, with the suffixes of their checks: with a tolerance, and without."""
    used = {check for call in calls for check in call.checks}
    return {
        "floats": [(type_, suffix) for type_, suffix in (("float", "f32"), ("double", "f64")) if suffix in used],
        "exact": [(t, s) for t, s in (("int64_t", "i64"), ("bool", "bool"), ("uint16_t", "f16")) if s in used],
    }


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
