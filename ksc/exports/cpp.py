"""The target ``cpp``: sources that need nothing but a C++ compiler, for C and C++ to call."""

from __future__ import annotations

from pathlib import Path

from ksc.exports.c_library import comparisons, described
from ksc.exports.files import copy_prelude, write
from ksc.exports.manifest import manifest, save
from ksc.exports.model import Library
from ksc.exports.recorded import recorded_calls
from ksc.exports.rendering import render


def write_cpp(library: Library, folder: Path, *, march: str) -> None:
    """Write the export into an empty folder. Raises ArgumentError where names of functions collide."""
    units = library.units()
    names = {**described(library, units), "march": march}
    for unit in units.values():
        write(folder, f"src/{unit.name}.cpp", unit.text)
    write(folder, f"include/{library.name}.h", render("cpp/header.h.jinja", **names))
    write(folder, f"src/{library.name}.cpp", render("cpp/library.cpp.jinja", **names))
    write(folder, "src/required.cpp", render("cpp/required.cpp.jinja", **names))
    write(folder, "CMakeLists.txt", render("cpp/CMakeLists.txt.jinja", **names))
    write(folder, "README.md", render("cpp/README.md.jinja", **names))
    calls = recorded_calls(library)
    test = render("cpp/test.c.jinja", calls=calls, **comparisons(calls), **names)
    write(folder, f"tests/{library.name}_test.c", test)
    copy_prelude(folder / "prelude", "ks/prelude.h", "ks/library.h")
    save(manifest(library, "cpp", header=f"include/{library.name}.h", march=march), folder)
