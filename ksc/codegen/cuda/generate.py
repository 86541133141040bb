"""From a unit to the text of a CUDA source."""

from __future__ import annotations

from dataclasses import replace

from ksc.codegen.cpp.generate import print_unit
from ksc.codegen.target import GPU
from ksc.codegen.unit import GeneratedSource, Unit
from ksc.passes import optimise_for_grid


def generate(unit: Unit) -> GeneratedSource:
    """Print a unit as one CUDA source that includes only the prelude; the same unit gives the same bytes.

    Raises InvalidIRError where the IR has no form in CUDA; UnsupportedError where it prints, and (KS119) where it
    recurses, calls back into Python, takes or gives a tensor of more than eight dimensions, or more than 240 values.
    """
    tensors = unit.kind == "tensor"
    programs = [(derivation, optimise_for_grid(program, tensors=tensors)) for derivation, program in unit.programs]
    return print_unit(replace(unit, programs=programs), GPU)
