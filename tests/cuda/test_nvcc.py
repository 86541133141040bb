"""Generated CUDA compiles with nvcc, where there is one, without a warning."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from ksc.codegen import Unit
from ksc.codegen.cuda import generate
from ksc.derive import derive
from ksc.ir.text import parse
from ksc.passes import optimise
from ksc.paths import prelude_dir
from tests.codegen.tensor_programs import SAMPLES
from tests.cuda.grid import joined
from tests.cuda.test_grid import LARGE
from tests.cuda.test_lanes import TEXTS
from tests.cuda.test_rows import LENGTHS

NVCC = shutil.which("nvcc")
STRICT = ("-std=c++20", "-Werror", "all-warnings", "-Xcompiler", "-Wall,-Wextra", "-arch=sm_90")
# The derivatives are not assembled: what the assembler may warn of is in the programs themselves too.
STAGES = {"": ("-DNDEBUG", "-Xcicc", "-O1", "-Xptxas", "-O0", "-cubin"), "v": ("-Xcicc", "-O0", "-ptx")}


def sources(derivation: str) -> list:
    """Some programs of each kind; both widths, and half precision."""
    tensors = {name: text for name, (text, _) in LARGE.items()}
    tensors["lengths"] = LENGTHS
    tensors |= {name: SAMPLES[name].text for name in ("prefix_norms", "swap", "part_read_later")}
    made = []
    for k, (name, text) in enumerate(tensors.items()):
        program = optimise(derive(parse(text), derivation))
        dtype = ("float32", "float64", "bfloat16")[k % 3]
        made.append(generate(Unit(f"{name}_t", [(derivation, program)], dtype, kind="tensor")))
    for name in ("relu3", "halved", "divided"):
        if name != "divided" or derivation == "":
            program = optimise(derive(parse(TEXTS[name]), derivation))
            made.append(generate(Unit(name, [(derivation, program)], "float16")))
    return made


BLOCKS = """
(def lengths (Tensor 1 Float) ((x : (Tensor 3 Float _ 4 4)))
  (build (size x 0) (lam (b : Integer)
    (reduce add (tuple 4 4) (lam ((i : Integer) (j : Integer)) (mul (index (tuple b i j) x) (index (tuple b i j) x)))))))
"""


if NVCC is not None:

    def test_a_block_of_known_size_is_read_16_bytes_at_a_time(tmp_path: Path) -> None:
        """Also in a loop that is a function of its own, which is told of no size or address but as of numbers."""
        file = tmp_path / "blocks.cu"
        file.write_text(generate(Unit("blocks", [("", optimise(parse(BLOCKS)))], "float32", kind="tensor")).text)
        made = file.with_suffix(".ptx")
        command = [NVCC, *STRICT, "-ptx", "-I", str(prelude_dir()), str(file), "-o", str(made)]
        subprocess.run(command, check=True)
        assert made.read_text().count("ld.v4.f32") == 8

    def test_sources_compile_without_a_warning(tmp_path: Path) -> None:
        for derivation, flags in STAGES.items():
            file = tmp_path / f"all_{derivation}.cu"
            file.write_text(joined(sources(derivation)), "utf-8")
            command = [NVCC, *STRICT, *flags, "-I", str(prelude_dir()), str(file), "-o", str(file.with_suffix(".out"))]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, (done.stdout + done.stderr)[:4000]
