"""Passes: each takes a program and gives an equivalent one."""

from ksc.passes.pipeline import PIPELINE, PREPARE, Pass, optimise, preparation, prepare

__all__ = ["PIPELINE", "PREPARE", "Pass", "optimise", "preparation", "prepare"]
