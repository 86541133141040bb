"""Passes: each takes a program and gives an equivalent one."""

from ksc.passes.pipeline import (
    GRID,
    PIPELINE,
    PREPARE,
    PROCESSOR,
    Pass,
    optimise,
    optimise_for_grid,
    optimise_for_processor,
    preparation,
    prepare,
    processor_passes,
)

__all__ = [
    "GRID",
    "PIPELINE",
    "PREPARE",
    "PROCESSOR",
    "Pass",
    "optimise",
    "optimise_for_grid",
    "optimise_for_processor",
    "preparation",
    "prepare",
    "processor_passes",
]
