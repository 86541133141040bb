"""Tensor programs compiled, several in one library, and compared with the reference interpreter."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from ksc.codegen import GeneratedSource, Unit
from ksc.codegen.cpp import generate
from ksc.compiler import BuildOptions, LoadedKernel, build, load
from ksc.derive import derive
from ksc.ir.interpret import interpret
from ksc.ir.nodes import Program
from ksc.passes import optimise
from tests.codegen.harness import EXACT, Host, call_tensors, stored_as
from tests.strategies.tensors import TensorProgram
from tests.strategies.tensors_cases import TensorCase, TensorPoint, arrays, assert_near
from tests.strategies.tensors_checks import RefusedError, seeds, traced

STRICT = replace(EXACT, extra=("-Wall", "-Wextra", "-Werror", "-O0", *EXACT.extra))
DERIVATIONS = ("", "v", "j", "vj")


def compare_compiled(programs: Iterable[TensorProgram]) -> None:
    """Build what the frontend takes of the programs, with derivatives to the second order, and run it at each point."""
    found: list[tuple[TensorPoint, dict[str, Program], GeneratedSource]] = []
    for number, program in enumerate(programs):
        with TensorCase(program) as case:
            for at, point in enumerate(case.points()):
                try:
                    ir = traced(point)
                except RefusedError:
                    continue
                if point.tame:
                    derived = {letters: optimise(derive(ir, letters)) for letters in DERIVATIONS}
                    unit = Unit(f"tensors{number}_{at}", list(derived.items()), "float64", kind="tensor")
                    found.append((point, derived, generate(unit)))
    entries = {symbol: symbol for _, _, source in found for symbol in source.entries.values()}
    text = "\n".join(source.text for _, _, source in found)
    kernel = load(build(GeneratedSource("tensor_programs", text, entries, {}, "float64"), STRICT))
    for point, derived, source in found:
        for letters, program in derived.items():
            _compare(kernel, source.entries[letters], point, letters, program)


def _compare(kernel: LoadedKernel, symbol: str, point: TensorPoint, letters: str, program: Program) -> None:
    more = seeds(point)[letters]
    wanted = point.run(program, *more)
    given = arrays([*point.args, *(value for part in more for value in part)])
    columns = [
        np.asarray(value, stored_as(param.type, "float64"))
        for value, param in zip(given, program.main.params, strict=True)
    ]
    host = Host()
    shapes = [np.shape(value) for value in wanted]
    status, outs = call_tensors(kernel, symbol, program, columns, shapes, "float64", host)
    assert (status, host.error, host.blocks) == (0, None, []), point.case.random
    assert_near(outs, wanted, 1e-8, f"compiled {letters!r} of {point.case.random!r}")


IN_LANES = replace(BuildOptions.from_environment(), extra=("-Wall", "-Wextra", "-Werror", "-O0"))
"""As users' kernels are compiled: sums in lanes, iterations side by side; not optimised, which takes the longest."""


def compare_packs(programs: Iterable[TensorProgram]) -> int:
    """The same for sums over points, in the flags of a user, which reorder them; how many run in packs.

    The truth are the derivations before any pass. Each is run for several counts of points.
    """
    found: list[tuple[TensorProgram, Program, dict[str, Program], GeneratedSource]] = []
    for number, program in enumerate(programs):
        with TensorCase(program) as case:
            ir = case.traced(program.arguments((2, 2, 0)))
        derived = {letters: optimise(derive(ir, letters)) for letters in ("", "v", "vj")}
        unit = Unit(f"packs{number}", list(derived.items()), "float64", kind="tensor")
        found.append((program, ir, derived, generate(unit)))
    entries = {symbol: symbol for *_, source in found for symbol in source.entries.values()}
    text = "\n".join(source.text for *_, source in found)
    kernel = load(build(GeneratedSource("pack_programs", text, entries, {}, "float64"), IN_LANES))
    for program, ir, derived, source in found:
        raw = {letters: derive(ir, letters) for letters in derived}
        for point in program.points:
            _compare_packs(kernel, program, raw, source, point)
    return sum("::fits(" in source.text for *_, source in found)


def _compare_packs(
    kernel: LoadedKernel,
    program: TensorProgram,
    raw: dict[str, Program],
    source: GeneratedSource,
    point: tuple[int, int, int],
) -> None:
    args = arrays(program.arguments(point))
    random = np.random.default_rng(point[2])
    with np.errstate(all="ignore"):
        values = interpret(raw[""], args)
    bars = [random.standard_normal() for _ in values]
    dots = [np.asarray(random.standard_normal(np.shape(arg))) for arg in args if not isinstance(arg, int)]
    for letters, more in (("", []), ("v", bars), ("vj", [*bars, *dots, *bars])):
        with np.errstate(all="ignore"):
            wanted = interpret(raw[letters], [*args, *more])
        scale = max(1.0, *(float(np.abs(value).max(initial=0.0)) for value in wanted))
        if not scale < 1e8:
            return
        types = [param.type for param in raw[letters].main.params]
        columns = [
            np.asarray(value, stored_as(type_, "float64")) for value, type_ in zip([*args, *more], types, strict=True)
        ]
        host = Host()
        shapes = [np.shape(value) for value in wanted]
        status, outs = call_tensors(kernel, source.entries[letters], raw[letters], columns, shapes, host=host)
        what = f"compiled {letters!r} at {point} of {program!r}"
        assert (status, host.error, host.blocks) == (0, None, []), what
        for mine, theirs in zip(outs, wanted, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-8, atol=1e-10 * scale, err_msg=what)
