"""The library that both torch targets hold: the operators, and beside it the kernels for each instruction set."""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ksc.codegen.unit import GeneratedSource
from ksc.errors import ArgumentError
from ksc.exports.files import write
from ksc.exports.levels import by_machine, compile_kernels
from ksc.exports.model import ExportedKernel, Library
from ksc.exports.rendering import render
from ksc.exports.signature import steps
from ksc.exports.torch_core import link_library
from ksc.ir.sizes import OPCODES, ShapeProgram
from ksc.torch.spec import ArgSpec, OpSpec, ResultSpec


def with_partial_seeds(library: Library) -> Library:
    """The library with what automatic differentiation asks for: derivatives in which some seeds are zero."""
    kernels = []
    for kernel in library.kernels:
        found = dict.fromkeys(more for known in kernel.derivations for more in _partial(kernel.spec, known))
        if any(derivation.endswith("b") for derivation in found):
            raise ArgumentError(
                "value and vjp in one, b, is no operator", remedy="export v, and take the value from the call itself"
            )
        kernels.append(replace(kernel, derivations=tuple(found)))
    return replace(library, kernels=tuple(kernels))


_ALL_PATTERNS = 3
"""Up to this many seeds each choice of them is exported; beyond, all of them and each alone."""


def _partial(spec: OpSpec, derivation: str) -> Iterable[str]:
    found = [""]
    for letter, digits, _ in steps(spec, derivation):
        chosen = [digits] if digits or letter == "m" else None
        # How many seeds there are depends on those chosen before.
        found = [
            before + letter + seeds
            for before in found
            for seeds in chosen or _patterns(steps(spec, before + letter)[-1][2])
        ]
    return found


def _patterns(count: int) -> list[str]:
    if count > _ALL_PATTERNS:
        return ["", *("".join("1" if k == one else "0" for k in range(count)) for one in range(count))]
    found = ["".join(bits) for bits in itertools.product("10", repeat=count)]
    return ["" if "0" not in seeds else seeds for seeds in found if "1" in seeds]


def build_libraries(library: Library, folder: Path, isa: Sequence[str]) -> dict[str, list[str]]:
    """Write ``lib/MACHINE/`` with the library and its kernels; gives the instruction sets of each kind of processor.

    Raises BuildError where a compiler is missing or fails.
    """
    machines = by_machine(isa)
    units = {
        kernel.name: {dtype: kernel.unit(library.name, dtype) for dtype in kernel.dtypes} for kernel in library.kernels
    }
    with tempfile.TemporaryDirectory(prefix="ksc-export-") as scratch:
        place = Path(scratch)
        required = render("cpp/required.cpp.jinja", lib=library.name)
        write(place, "required.cpp", required.replace("uint64_t", '__attribute__((visibility("default"))) uint64_t', 1))
        sources = [place / "required.cpp"]
        for unit in (unit for of in units.values() for unit in of.values()):
            sources.append(place / f"{unit.name}.cpp")
            sources[-1].write_text(_visible(unit), "utf-8")
        for machine, levels in machines.items():
            out = folder / "lib" / machine
            out.mkdir(parents=True)
            for level in levels:
                compile_kernels(sources, out / f"lib{library.name}.{level}.so", level)
            registration = place / "registration.cpp"
            registration.write_text(_registration(library, units, levels), "utf-8")
            link_library(registration, out / f"lib{library.name}.so", machine)
    return machines


def _visible(unit: GeneratedSource) -> str:
    """The source with its entries, and nothing else, to be found from outside."""
    return unit.text.replace('\nextern "C" int ', '\nextern "C" __attribute__((visibility("default"))) int ')


def _registration(library: Library, units: Mapping[str, Mapping[Any, GeneratedSource]], levels: Sequence[str]) -> str:
    families = [_family(kernel, units[kernel.name]) for kernel in library.kernels]
    return render("libtorch/registration.cpp.jinja", lib=library.name, levels=levels, families=families)


def _family(kernel: ExportedKernel, units: Mapping[Any, GeneratedSource]) -> dict[str, Any]:
    spec = kernel.spec
    return {
        "name": kernel.name,
        "file": json.dumps(kernel.source.rpartition(":")[0] or kernel.name),
        "args": list(map(_argument, spec.args)),
        "results": list(map(_result, spec.results)),
        "shapes": _shapes(spec.shapes) if kernel.takes_tensors and spec.shapes is not None else None,
        "entries": [
            {
                "derivation": derivation,
                "dtype": kernel.storage(dtype),
                "symbol": units[dtype].entries[derivation],
            }
            for derivation in kernel.derivations
            for dtype in kernel.dtypes
        ],
    }


def _argument(arg: ArgSpec) -> dict[str, Any]:
    sizes = [-1 if size is None else size for size in arg.sizes]
    return {
        "name": arg.name,
        "kind": arg.kind[0],
        "sizes": sizes,
        "lanes": arg.lanes,
        "is_number": str(arg.is_number).lower(),
    }


def _result(result: ResultSpec) -> dict[str, Any]:
    return {"name": result.name, "kind": result.kind[0], "sizes": [-1] * result.rank, "lanes": 0, "is_number": "false"}


def _shapes(shapes: ShapeProgram) -> dict[str, Any]:
    ops = [(OPCODES.index(op.code), op.a, op.b, op.c) for op in shapes.ops]
    return {"ops": ops, "results": shapes.results, "lines": shapes.lines}
