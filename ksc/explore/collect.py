"""From a kernel to what the page shows: every version of its program on the way to each derivative, and the code."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ksc.errors import KnossosError
from ksc.explore.counts import count
from ksc.explore.model import Count, Curves, Page, Pane, Row
from ksc.explore.same import unchanged
from ksc.explore.source import Sources
from ksc.ir.nodes import Program, Span
from ksc.ir.text import to_lines

if TYPE_CHECKING:
    from ksc.codegen.unit import GeneratedSource
    from ksc.kernel import Kernel
    from ksc.specialise import Specialisation

DERIVATIONS: Mapping[str, str] = {"": "value", "v": "vjp", "j": "jvp"}
"""The derivations that are shown, and what their groups are called."""

Target = Callable[["Specialisation", str, torch.dtype], "GeneratedSource"]

TARGETS: Mapping[str, Target] = {
    "C++": lambda special, derivation, dtype: special.source(derivation, dtype),
    "CUDA": lambda special, derivation, dtype: special.cuda_source(derivation, dtype),
}
"""The languages that code is generated in, each with what generates it."""

_SAMPLES = 401

Sizes = Sequence[Sequence[int] | int | None]


def collect(
    kernel: Kernel, special: Specialisation, sizes: Sizes, dtype: torch.dtype, plot_range: tuple[float, float]
) -> Page:
    """Everything that the page shows of one program of a kernel.

    Args:
        kernel: the kernel.
        special: the program.
        sizes: what is known of its arguments, see ``counts.count``.
        dtype: what floats are in the generated code.
        plot_range: over which arguments a function of one number is drawn.
    """
    remarks: list[str] = []
    panes: list[Pane] = []
    groups = {"": "value"}
    if len(special.usual) > 1 or (special.spec.float_args and special.spec.float_results):
        groups = dict(DERIVATIONS)
    for derivation, group in groups.items():
        try:
            panes.extend(_stages(special, derivation, group, sizes, dtype))
        except KnossosError as refused:
            remarks.append(f"There is no {group}: {refused.message}")
    for language, target in TARGETS.items():
        panes.extend(_code(special, groups, language, target, dtype, remarks))
    spans = [span for pane in panes for row in pane.rows for span in row.spans]
    own = [] if special.spec.span is None else [special.spec.span]
    panes.insert(0, Pane("Python", "source", "python", Sources([*own, *spans]).rows()))
    return Page(
        title=kernel.__name__,
        subtitle=repr(kernel).strip("<>").replace(f"{Path.cwd()}{os.sep}", ""),
        panes=panes,
        shown=_at_first(panes),
        curves=_curves(kernel, special, plot_range),
        remarks=remarks,
    )


def _stages(special: Specialisation, derivation: str, group: str, sizes: Sizes, dtype: torch.dtype) -> Iterator[Pane]:
    from ksc.derive import stages

    before: Program | None = None
    rows: list[Row] = []
    counts: dict[str, Count] = {}
    for title, program in stages(special.program, derivation, special.last_passes(dtype)):
        name, _, why = title.partition(": ")
        same = before is not None and unchanged(before, program)
        if not same:
            last, rows = rows, _rows(program)
            same = [row.text for row in rows] == [row.text for row in last]
        if not same:
            counts = count(program, dtype.itemsize, sizes)
        yield Pane(group, name, "ir", rows, why, counts, same)
        before = program


def _rows(program: Program) -> list[Row]:
    return [Row(line.text, line.spans) for line in to_lines(program)]


def _code(
    special: Specialisation,
    groups: Mapping[str, str],
    language: str,
    target: Target,
    dtype: torch.dtype,
    remarks: list[str],
) -> Iterator[Pane]:
    seen: set[str] = set()
    name = str(dtype).removeprefix("torch.")
    for derivation, group in groups.items():
        try:
            source = target(special, derivation, dtype)
        except KnossosError as refused:
            remarks.append(f"There is no {language} of the {group}: {refused.message}")
            continue
        if source.text in seen:
            continue
        seen.add(source.text)
        shown = [groups[letter] for letter in groups if letter in source.entries]
        rows = [
            Row(text, _origins(source, number)) for number, text in enumerate(source.text.rstrip("\n").split("\n"), 1)
        ]
        counts = {"lines": Count(str(len(rows)), len(rows)), "copies": Count(str(source.copies), source.copies)}
        yield Pane(language, f"{' and '.join(shown)}, {name}", "cpp", rows, counts=counts)


def _origins(source: GeneratedSource, number: int) -> tuple[Span, ...]:
    own = source.line_map.get(number)
    folded = source.folded.get(number, ())
    return tuple(dict.fromkeys((own, *folded) if own is not None else folded))


def _at_first(panes: Sequence[Pane]) -> list[int]:
    """The source, the IR of value and vjp as C++ is printed of it, and the code of the last of the two."""
    last = {pane.group: k for k, pane in enumerate(panes) if pane.language != "cpp"}
    shown = [last[group] for group in ("Python", "value", "vjp") if group in last]
    code = [k for k, pane in enumerate(panes) if pane.language == "cpp"]
    of_vjp = [k for k in code if "vjp" in panes[k].title]
    return [*shown, *(of_vjp or code)[:1]]


def _curves(kernel: Kernel, special: Specialisation, plot_range: tuple[float, float]) -> Curves | None:
    spec = special.spec
    if [arg.kind for arg in spec.args] != ["float"] or [result.kind for result in spec.results] != ["float"]:
        return None
    if special.takes_tensors:
        return None
    from ksc.plotting import samples

    xs, values, slopes = samples(kernel, *plot_range, count=_SAMPLES)
    return Curves(kernel.__name__, spec.args[0].name, xs, *map(_finite, (values, slopes)))


def _finite(values: Sequence[float]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values]
