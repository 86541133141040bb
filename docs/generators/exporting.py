"""What is said of exports: the targets that there are, and what an export of relu3 holds."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from docs.generators.markdown import code, fence, table
from docs.generators.showing import ROOT
from ksc.cli.target import load_kernel
from ksc.exports import export
from ksc.exports.targets import TARGETS


def targets() -> str:
    """The targets, a line each."""
    rows = [(code(name), target.summary, " ".join(map(code, target.options))) for name, target in TARGETS.items()]
    return table(("target", "what is written", "options"), rows)


def exported() -> str:
    """The files that the export of relu3 as C++ has, and the functions in its header."""
    kernel = load_kernel(str(ROOT / "examples/dl-activations/relu3.py:vrelu3"))
    with tempfile.TemporaryDirectory() as scratch:
        folder = export(kernel, Path(scratch) / "relu3_cpp", target="cpp", name="relu3")
        files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
        header = next(folder.rglob("relu3.h")).read_text(encoding="utf-8")
    shown = [file for file in files if "/ks/" not in file]
    functions = re.search(r"/\* ---- .*?(?=\n\n#ifdef)", header, re.DOTALL)
    parts = [f"An export of `vrelu3` to `cpp` has, beside the prelude: {', '.join(map(code, shown))}."]
    if functions is not None:
        parts.append(f"In its header:\n\n{fence('c', functions[0])}")
    return "\n\n".join(parts)
