"""Random programs that share and change tensors, compiled and compared with the reference interpreter."""

import itertools

import numpy as np
import pytest

from ksc.codegen import Unit
from ksc.codegen.cpp import generate
from ksc.compiler import build, load
from ksc.ir.interpret import interpret
from ksc.ir.verify import verify
from tests.codegen.harness import STRICT, Host, call_tensors
from tests.codegen.random_tensors import random_tensor_program

BATCH = 40

ARGUMENTS = [
    (np.array([1.0, -2.0, 3.0]), np.arange(9.0).reshape(3, 3) - 4, 0.5),
    (np.array([0.25, 0.5, 8.0]), np.full((3, 3), 0.5), 2.0),
]


@pytest.mark.parametrize("batch", range(3))
def test_compiled_equals_interpreted(batch):
    """Several programs to a file, so that functions shared or named alike are met as well."""
    letters = ("".join(word) for size in itertools.count(1) for word in itertools.product("vjb", repeat=size))
    programs = {next(letters): random_tensor_program(seed) for seed in range(batch * BATCH, (batch + 1) * BATCH)}
    source = generate(Unit("random", list(programs.items()), "float64", kind="tensor"))
    kernel = load(build(source, STRICT))
    for derivation, program in programs.items():
        verify(program)
        for row in ARGUMENTS:
            with np.errstate(all="ignore"):
                expected = interpret(program, row)
            given = [np.asarray(a, np.float64) for a in row]
            host = Host()
            shapes = [np.shape(value) for value in expected]
            status, outs = call_tensors(kernel, source.entries[derivation], program, given, shapes, host=host)
            assert (status, host.error, host.blocks) == (0, None, []), derivation
            for out, value in zip(outs, expected, strict=True):
                np.testing.assert_array_equal(out, value, err_msg=f"{derivation} {row}")
