"""Random IR compiled, without a warning, and compared bit for bit with the reference interpreter."""

import itertools
import math

import numpy as np
import pytest

from ksc.codegen import Unit
from ksc.codegen.cpp import generate
from ksc.compiler import build, load
from ksc.ir.interpret import interpret
from ksc.ir.types import BoolType, FloatType
from ksc.ir.verify import verify
from tests.codegen.harness import STRICT, Host, call, numpy_dtype
from tests.codegen.random_programs import random_program

BATCH = 40


@pytest.mark.parametrize("batch", range(4))
def test_random_programs(batch):
    """Several programs to a file, so that functions shared or named alike are met as well."""
    dtype = "float32" if batch % 2 else "float64"
    letters = ("".join(word) for size in itertools.count(1) for word in itertools.product("vjb", repeat=size))
    programs = {next(letters): random_program(seed) for seed in range(batch * BATCH, (batch + 1) * BATCH)}
    source = generate(Unit("random", list(programs.items()), dtype))
    kernel = load(build(source, STRICT))
    for derivation, program in programs.items():
        verify(program)
        choices = [_choices(param.type) for param in program.main.params]
        rows = list(itertools.product(*choices))
        columns = [
            np.array([row[k] for row in rows], numpy_dtype(param.type, dtype))
            for k, param in enumerate(program.main.params)
        ]
        host = Host()
        status, outs = call(kernel, source.entries[derivation], program, columns, dtype, host)
        assert (status, host.error) == (0, None), host.error
        for lane, row in enumerate(rows):
            expected = interpret(program, row, width="f32" if dtype == "float32" else "f64")
            for out, value in zip(outs, expected, strict=True):
                same = _same(out[lane], value)
                assert same, f"{derivation} {row}: {out[lane]} instead of {value}"


def _choices(type_):
    match type_:
        case FloatType():
            return (-1.25, 0.0, 2.0, math.inf)
        case BoolType():
            return (False, True)
        case _:
            return (-1, 2)


def _same(got, want):
    if isinstance(want, float):
        return (math.isnan(got) and math.isnan(want)) or (
            got == want and math.copysign(1, got) == math.copysign(1, want)
        )
    return got == want
