"""The pipeline: which passes run, in which order, and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ksc.ir.nodes import Program
from ksc.passes.dce import remove_dead_code
from ksc.passes.inline import inline_small


@dataclass(frozen=True, slots=True)
class Pass:
    """One step: its name, what it does, and the reason for its place."""

    name: str
    run: Callable[[Program], Program]
    why: str


PIPELINE: tuple[Pass, ...] = (
    Pass("inline", inline_small, "everything after sees through small functions and those called once"),
    Pass("dce", remove_dead_code, "only what is read is worth printing"),
)


def optimise(program: Program) -> Program:
    """Run the pipeline."""
    for step in PIPELINE:
        program = step.run(program)
    return program
