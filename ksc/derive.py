"""Derivations: a string of letters names what is made of a program, and a pipeline of transforms makes it.

One letter a transform, the leftmost applied first: ``v`` the vjp, ``j`` the jvp, ``b`` the vjp together with the value.
``""`` is the program itself, ``vj`` the jvp of its vjp.
"""

from __future__ import annotations

from ksc.ir.nodes import Program
from ksc.transforms import jvp, vjp


def derive(program: Program, derivation: str) -> Program:
    """The program that ``derivation`` makes of ``program``, not yet optimised."""
    for letter in derivation:
        program = jvp(program) if letter == "j" else vjp(program, with_value=letter == "b")
    return program
