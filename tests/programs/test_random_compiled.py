"""Random programs compiled, several in one build, and compared with the reference interpreter: value, vjp and jvp.

Both compute the same operations in the same order and round alike, but for the last digits of the functions of ``math``;
fused multiply-add is off, so that these cannot decide a branch.
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from ksc.codegen import Dtype, GeneratedSource, Unit
from ksc.codegen.cpp import generate
from ksc.compiler import LoadedKernel, build, load
from ksc.derive import derive
from ksc.ir.nodes import Program
from ksc.ir.types import FloatType
from ksc.passes import optimise
from tests.codegen.harness import EXACT, Host, call, numpy_dtype
from tests.strategies.cases import WEIGHTS, Case, Point, assert_close, run
from tests.strategies.programs import RandomProgram, collect, programs

BATCH = 40
BATCHES = max(1, round(3 * float(os.environ.get("KSC_TEST_EXAMPLES", "1"))))
DERIVATIONS = ("", "v", "j", "vj")
PACK = 64
"""Lanes: a multiple of those of each pack."""

WIDTHS = {"float64": "f64", "float32": "f32"}
STRICT = replace(EXACT, extra=("-Wall", "-Wextra", "-Werror"))


@dataclass
class Compiled:
    """A random program with its derivatives, and the symbols of their entries."""

    random: RandomProgram
    derived: dict[str, Program]
    source: GeneratedSource


@functools.cache
def everything() -> list[RandomProgram]:
    return collect(programs(size=35, points=4), BATCH * BATCHES)


@functools.cache
def derived(number: int) -> dict[str, Program]:
    """A program's derivations, the same for both widths."""
    with Case(everything()[number]) as case:
        return {name: optimise(derive(case.ir, name)) for name in DERIVATIONS}


@functools.cache
def compiled(batch: int, dtype: Dtype) -> tuple[LoadedKernel, list[Compiled]]:
    """The programs of a batch in one library."""
    found = []
    for k, random in enumerate(everything()[batch * BATCH : (batch + 1) * BATCH]):
        made = derived(batch * BATCH + k)
        unit = Unit(f"program{k}", list(made.items()), dtype)
        found.append(Compiled(random, made, generate(unit)))
    entries = {symbol: symbol for one in found for symbol in one.source.entries.values()}
    text = "\n".join(one.source.text for one in found)
    return load(build(GeneratedSource(f"random_{batch}", text, entries, {}, dtype), STRICT)), found


@pytest.mark.parametrize(
    ("dtype", "batch"), [("float64", k) for k in range(BATCHES)] + [("float32", k) for k in range((BATCHES + 2) // 3)]
)
def test_compiled_is_interpreted(batch: int, dtype: Dtype) -> None:
    kernel, found = compiled(batch, dtype)
    for one in found:
        with Case(one.random) as case:
            points = [point for point in case.points() if point.tame and (dtype == "float64" or point.size < 100.0)]
            for name, program in one.derived.items():
                if points:
                    compare(kernel, one, name, program, points, dtype)


def compare(
    kernel: LoadedKernel, one: Compiled, name: str, program: Program, points: list[Point], dtype: Dtype
) -> None:
    rows = [(*point.args, *seeds(name, point)) for point in points]
    kinds = [numpy_dtype(param.type, dtype) for param in program.main.params]
    lanes = side_by_side(program, rows)
    columns = [
        np.array(column, kind) for column, kind in zip(zip(*(rows[k] for k in lanes), strict=True), kinds, strict=True)
    ]
    host = Host()
    status, outs = call(kernel, one.source.entries[name], program, columns, dtype, host)
    assert (status, host.error) == (0, None), host.error
    assert host.blocks == []
    tolerance = 1e-10 if dtype == "float64" else 1e-4
    for k, (row, point) in enumerate(zip(rows, points, strict=True)):
        args = [np.asarray(value, kind).item() for value, kind in zip(row, kinds, strict=True)]
        wanted = run(program, args, WIDTHS[dtype])
        for lane in (lanes.index(k), len(lanes) - 1 - lanes[::-1].index(k)):
            try:
                assert_close([out[lane].item() for out in outs], wanted, tolerance, point.size)
            except AssertionError as error:
                error.add_note(f"lane {lane}, derivation {name!r} of {replace(one.random, points=(point.args,))!r}")
                raise


def side_by_side(program: Program, rows: list[tuple[Any, ...]]) -> list[int]:
    """The rows again and again, so that packs are filled: by those that have the same integers and truth values.

    The first lane of a row is in a pack, if its function has one for these, the last one may be left over.
    """
    groups: dict[tuple[Any, ...], list[int]] = {}
    for k, row in enumerate(rows):
        key = tuple(
            v for v, param in zip(row, program.main.params, strict=True) if not isinstance(param.type, FloatType)
        )
        groups.setdefault(key, []).append(k)
    lanes = [group[k % len(group)] for group in groups.values() for k in range(PACK)]
    return [*lanes, *range(len(rows))]


def seeds(name: str, point: Point) -> list[Any]:
    """Cotangents and tangents for what a derivation takes beside the arguments."""
    w, v = list(WEIGHTS[: len(point.cotangents)]), list(point.case.direction)
    return {"": [], "v": w, "b": w, "j": v, "vj": [*w, *v, *(0.5 for _ in w)]}[name]
