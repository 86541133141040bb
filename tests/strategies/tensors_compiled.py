"""Tensor programs compiled, several in one library, and compared with the reference interpreter."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from ksc.codegen import GeneratedSource, Unit
from ksc.codegen.cpp import generate
from ksc.compiler import LoadedKernel, build, load
from ksc.derive import derive
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
