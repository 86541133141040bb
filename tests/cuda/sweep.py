"""The CUDA of the whole table of tensor functions and of engineers' programs, put through nvcc's front end.

Run by hand, ``python -m tests.cuda.sweep``, for some 1600 sources: the value of each, its derivatives and mapped forms,
in turn for each storage type. What nvcc says is printed; the assembler is left out, as it takes most of the time.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import ksc as knossos
from ksc.codegen import GeneratedSource, Unit
from ksc.codegen.cuda import generate
from ksc.derive import derive
from ksc.errors import UnsupportedError
from ksc.passes import optimise
from ksc.paths import prelude_dir
from tests.cuda.grid import joined
from tests.ops.tensor_samples import SAMPLES, arguments
from tests.programs.test_engineers_kernels import CASES

DERIVATIONS = ("", "v", "j", "vj", "m", "vm")
DTYPES = ("float32", "float64", "bfloat16", "float16")
FLAGS = ("-std=c++20", "-Werror", "all-warnings", "-Xcompiler", "-Wall,-Wextra", "-Xcicc", "-O0", "-ptx")


def functions() -> dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]:
    """The functions, with arguments."""
    found = {sample.name: (sample.function, tuple(arguments(sample.calls[0]))) for sample in SAMPLES}
    return found | {f"engineers_{name}": case for name, case in CASES.items()}


def sources(only: str) -> Iterator[GeneratedSource]:
    """Those whose names match."""
    for k, (name, (function, args)) in enumerate(functions().items()):
        if re.search(only, name) is None:
            continue
        program = knossos.register(function).example(args)[0].program
        stem = re.sub(r"\W", "_", name.lower())
        for n, letters in enumerate(DERIVATIONS):
            programs = [(letters, optimise(derive(program, letters)))]
            unit = Unit(f"{stem}_{k}_{letters}", programs, DTYPES[(k + n) % len(DTYPES)], kind="tensor")
            try:
                yield generate(unit)
            except UnsupportedError as refused:
                assert refused.code == "KS119"


def main() -> int:
    """Compile all; 1 if there was a warning or an error."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--architectures", default="80,90")
    options.add_argument("--only", default="", help="a regular expression for names")
    asked = options.parse_args()
    count, failed = 0, 0
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "all.cu"
        found = sources(asked.only)
        while some := list(islice(found, 24)):
            count += len(some)
            file.write_text(joined(some), "utf-8")
            for number in asked.architectures.split(","):
                command = [
                    "nvcc",
                    *FLAGS,
                    f"-arch=sm_{number}",
                    "-I",
                    str(prelude_dir()),
                    str(file),
                    "-o",
                    f"{folder}/out",
                ]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                if done.returncode != 0:
                    failed += 1
                    sys.stdout.write(
                        f"sm_{number}, {some[0].name} to {some[-1].name}:\n{(done.stdout + done.stderr)[:4000]}\n"
                    )
    sys.stdout.write(f"{count} sources, {failed} failures\n")
    return int(failed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
