"""Every record compiled, in f32 and f64, in a vectorised loop and lane by lane, within its stated error."""

import math
import subprocess
from pathlib import Path

import numpy as np
import pytest

from ksc.ir.types import Float
from ksc.ops import PRIMITIVES, CppExpr, primitive
from tests.ops.compiled import PRELUDE, Library, Loop, all_loops, columns, ulps
from tests.ops.samples import samples_of

LOOPS = all_loops()
ON_FLOATS = [
    loop for loop in LOOPS if {*loop.overload.args, loop.overload.result} == {Float} and not loop.overload.by_width
]

# Functions that cross zero where their terms do not: the error is that of the larger term.
SCALE = {"logaddexp": 1.0, "digamma": 1.0, "lgamma": 1.0, "sinc_derivative": 1.0}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return Library(tmp_path_factory.mktemp("primitives"))


def by_symbol(loop: Loop) -> str:
    return loop.symbol.removeprefix("loop_")


def check(library: Library, loop: Loop, args: list[np.ndarray]) -> None:
    record = loop.record
    bound = record.ulp[0 if loop.width == "f32" else 1]
    truths = [record.evaluate(*lane, width=loop.width if loop.overload.by_width else "f64") for lane in lanes(args)]
    for chunk in (None, 1):
        for lane, value, truth in zip(lanes(args), library.run(loop, args, chunk), truths, strict=True):
            if loop.overload.result != Float:
                assert value == truth, lane
                continue
            error = ulps(value, truth, loop.width, SCALE.get(record.name, 0.0))
            assert error <= max(bound, 0.5), (lane, value, truth, error)
            assert value != 0.0 or truth == 0.0 or np.signbit(value) == (truth < 0.0), (lane, value, truth)


def lanes(args: list[np.ndarray]) -> list[tuple[float | int | bool, ...]]:
    return list(zip(*(column.tolist() for column in args), strict=True))


@pytest.mark.parametrize("loop", LOOPS, ids=by_symbol)
def test_samples_and_edges(library: Library, loop: Loop) -> None:
    failure = loop.record.failure
    args = columns(loop, samples_of(loop.record, loop.overload))
    if failure is not None:
        harmless = np.array([not failure.fails(*lane) for lane in lanes(args)])
        args = [column[harmless] for column in args]
    check(library, loop, args)


@pytest.mark.parametrize("loop", ON_FLOATS, ids=by_symbol)
def test_the_whole_range(library: Library, loop: Loop) -> None:
    draw = np.random.default_rng(20)
    bits, kind = (np.uint32, np.float32) if loop.width == "f32" else (np.uint64, np.float64)
    everything = [draw.integers(0, np.iinfo(bits).max, 400, dtype=bits).view(kind) for _ in loop.overload.args]
    moderate = [draw.normal(0.0, 3.0, 200).astype(kind) for _ in loop.overload.args]
    for args in (everything, moderate):
        if loop.record.name in ("digamma", "erfcx") or loop.record.name == "gamma":
            args = [np.abs(column) for column in args]
        check(library, loop, args)


@pytest.mark.parametrize("record", [r for r in PRIMITIVES.values() if r.can_fail], ids=lambda r: r.name)
def test_a_failing_function_is_harmless(library: Library, record) -> None:
    (loop,) = (loop for loop in LOOPS if loop.record is record and loop.width == "f64")
    edges = (
        [(math.nan,), (1e300,)] if record.arity == 1 else [(a, b) for a in (5, -5, -(2**63)) for b in (0, -1, -(2**63))]
    )
    assert len(library.run(loop, columns(loop, edges))) == len(edges)


def test_loops_call_the_vector_library(tmp_path: Path) -> None:
    source = tmp_path / "loops.cpp"
    loops = [
        loop for loop in ON_FLOATS if loop.record.name in ("exp", "tanh", "erf", "pow", "sigmoid", "softplus", "max")
    ]
    source.write_text('#include "ks/scalar.h"\n' + "".join(loop.source() for loop in loops))
    flags = ["-std=c++17", "-O3", "-march=x86-64-v3", "-fno-math-errno", "-fno-trapping-math", f"-I{PRELUDE}"]
    done = subprocess.run(
        ["g++", *flags, "-fopt-info-vec-optimized", "-S", str(source), "-o", str(tmp_path / "loops.s")],
        capture_output=True,
        text=True,
        check=True,
    )
    vectorised = {int(line.split(":")[1]) for line in done.stderr.splitlines() if "loop vectorized" in line}
    assert vectorised == set(range(2, len(loops) + 2))


def test_parentheses_are_few_and_right() -> None:
    a, b = CppExpr("a"), CppExpr("b")

    def text(name: str, *args: CppExpr) -> CppExpr:
        return primitive(name).overloads[0].cpp.render(args, "float")

    assert text("sub", a, text("sub", a, b)).text == "a - (a - b)"
    assert text("sub", text("sub", a, b), a).text == "a - b - a"
    assert text("mul", text("add", a, b), text("div", a, b)).text == "(a + b) * (a / b)"
    assert text("neg", text("neg", a)).text == "-(-a)"
    assert text("or", text("or", text("and", a, b), a), text("lt", text("add", a, b), b)).text == (
        "(a && b) || a || a + b < b"
    )
    assert (
        text("select", text("lt", a, b), a, text("select", text("gt", a, b), b, a)).text == "a < b ? a : a > b ? b : a"
    )
    assert text("bitand", text("shl", a, b), text("bitor", a, b)).text == "ks::shl(a, b) & (a | b)"
    assert text("to_float", text("add", a, b)).text == "float(a + b)"
