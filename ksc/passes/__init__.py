"""Passes: each takes a program and gives an equivalent one."""

from ksc.passes.pipeline import PIPELINE, Pass, optimise

__all__ = ["PIPELINE", "Pass", "optimise"]
