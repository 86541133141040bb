"""Passes: each takes a program and gives an equivalent one."""

from ksc.passes.pipeline import GRID, PIPELINE, PREPARE, Pass, optimise, optimise_for_grid, preparation, prepare

__all__ = ["GRID", "PIPELINE", "PREPARE", "Pass", "optimise", "optimise_for_grid", "preparation", "prepare"]
