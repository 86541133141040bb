"""Generated CUDA compiles with nvcc and NVRTC, where they are, without a warning."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ksc.codegen import Unit
from ksc.codegen.cuda import generate
from ksc.compiler import CudaOptions
from ksc.compiler.nvrtc import compile_program, find_nvrtc, nvrtc_flags
from ksc.derive import derive
from ksc.ir.text import parse
from ksc.passes import optimise
from ksc.paths import prelude_dir
from tests.codegen.tensor_programs import SAMPLES
from tests.cuda.grid import joined
from tests.cuda.test_grid import LARGE
from tests.cuda.test_lanes import TEXTS
from tests.cuda.test_rows import LENGTHS

NVCC, NVRTC = shutil.which("nvcc"), find_nvrtc()
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


def blocks() -> str:
    """Also in a loop that is a function of its own a size that is known stays so."""
    return generate(Unit("blocks", [("", optimise(parse(BLOCKS)))], "float32", kind="tensor")).text


if NVCC is not None:

    def test_a_block_of_known_size_is_read_16_bytes_at_a_time(tmp_path: Path) -> None:
        file = tmp_path / "blocks.cu"
        file.write_text(blocks())
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


if NVRTC is not None:

    def ptx(text: str, *flags: str) -> str:
        """What is to be assembled, by NVRTC; it has nothing to say."""
        given = nvrtc_flags(CudaOptions(extra=flags), "compute_90", prelude_dir())
        made = compile_program(NVRTC.path, text, "all.cu", given)
        assert made.log == ""
        return made.ptx.decode()

    @pytest.mark.parametrize("derivation", STAGES)
    def test_nvrtc_compiles_sources_without_a_warning(derivation: str) -> None:
        text = joined(sources(derivation))
        made = ptx(text, "--Ofast-compile=max")
        kernels = re.findall(r"^KS_LAUNCHED\((\w+)\);", text, re.MULTILINE)
        assert kernels and all(f".entry {kernel}(" in made for kernel in kernels)

    def test_nvrtc_reads_a_block_16_bytes_at_a_time() -> None:
        assert ptx(blocks()).count("ld.v4.f32") == 8
