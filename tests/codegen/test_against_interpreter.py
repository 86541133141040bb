"""Every sample compiled, run over lanes, and compared bit for bit with the reference interpreter."""

import itertools
import math

import numpy as np
import pytest

from ksc.ir.interpret import interpret
from ksc.ir.nodes import Program
from ksc.ir.types import BoolType, FloatType
from ksc.ir.verify import verify
from tests.codegen.harness import Host, call, compiled_many, numpy_dtype
from tests.codegen.samples import SAMPLES

FLOATS = (-2.5, -0.0, 0.3, 1.0, 1.75, math.inf, math.nan)
INTEGERS = (0, 1, 3, 6)
WIDTHS = {"float32": "f32", "float64": "f64"}
FAILING = ("checked",)


def lanes(program: Program) -> list[tuple[float | int | bool, ...]]:
    """A few hundred argument tuples for the program's entry."""
    choices = []
    for param in program.main.params:
        match param.type:
            case FloatType():
                choices.append(FLOATS)
            case BoolType():
                choices.append((False, True))
            case _:
                choices.append(INTEGERS)
    everything = list(itertools.product(*choices))
    return everything[:: max(1, len(everything) // 300)]


@pytest.fixture(scope="module", params=["float32", "float64"])
def kernels(request):
    return request.param, compiled_many({name: make() for name, make in SAMPLES.items()}, request.param)


@pytest.mark.parametrize("name", [name for name in SAMPLES if name not in FAILING])
def test_compiled_equals_interpreted(kernels, name):
    dtype, loaded = kernels
    program = SAMPLES[name]()
    verify(program)
    rows = [row for row in lanes(program) if not _endless(name, row)]
    params = program.main.params
    columns = [np.array([row[k] for row in rows], numpy_dtype(param.type, dtype)) for k, param in enumerate(params)]
    host = Host()
    status, outs = call(loaded[name], f"ks_{name}", program, columns, dtype, host)
    assert (status, host.error) == (0, None)
    assert host.blocks == []
    for lane, row in enumerate(rows):
        expected = interpret(program, row, width=WIDTHS[dtype])
        for out, value in zip(outs, expected, strict=True):
            np.testing.assert_equal(out[lane], np.asarray(value, out.dtype)[()], err_msg=f"{name}{row}")
            if out.dtype.kind == "f" and value == 0:
                assert math.copysign(1, out[lane]) == math.copysign(1, value), f"{name}{row}"


def _endless(name: str, row: tuple[float | int | bool, ...]) -> bool:
    """Whether the program would never stop on these arguments."""
    if name != "squaring_vjp":
        return False
    v, limit = row[:2]
    return (abs(v) <= 1 and v * v < limit) or (limit == math.inf and abs(v) <= 1)
