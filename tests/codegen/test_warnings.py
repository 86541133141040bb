"""Compilers have nothing to say about what is generated for torch's functions, alone and mapped, at sizes of 1 and others."""

import subprocess
from itertools import product

from ksc.codegen import Unit
from ksc.codegen.cpp import generate
from ksc.derive import derive
from ksc.frontend import Abstract, trace
from ksc.ir.types import Float, TensorType
from ksc.passes import optimise
from ksc.paths import prelude_dir
from ksc.transforms import vmap
from tests.ops.tensor_oracle import description
from tests.ops.tensor_samples import SAMPLES, arguments

NAMES = "block_diag cat cat_5".split()


def sized(tensor):
    """A tensor of which all sizes are known."""
    return Abstract(TensorType(tensor.dim(), Float, tuple(tensor.shape))) if tensor.dim() else description(tensor)


def test_no_warnings(tmp_path):
    texts = []
    for sample in SAMPLES:
        calls = sample.calls if sample.name in NAMES else ()
        for number, (call, describe) in enumerate(product(calls, (description, sized))):
            traced = trace(sample.function, [describe(arg) for arg in arguments(call)]).program
            for lanes, program in (("", traced), ("mapped", vmap(traced, [0] * len(traced.main.params)))):
                derived = [(letters, optimise(derive(program, letters))) for letters in ("", "v")]
                texts.append(generate(Unit(f"{sample.name}_{number}_{lanes}", derived, "float32", kind="tensor")).text)
    file = tmp_path / "all.cpp"
    file.write_text("\n".join(texts))
    flags = ["-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
    done = subprocess.run(["g++", *flags, "-I", prelude_dir(), file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
