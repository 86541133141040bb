"""Whether a program has long straight-line code on numbers, as what was a small tensor becomes.

There GCC looks for pairs of numbers that would share a register, and puts together what does not lie together: the
block of Jacobian that ADBench's bundle adjustment has for each observation takes a fifth longer for it. Short code
between loops gains by it: a row of sixteen numbers fills a register.
"""

from __future__ import annotations

from ksc.ir.nodes import Block, Program
from ksc.ir.types import Float
from ksc.ops import PRIMITIVES

LONG = 100
"""So many operations on numbers in one block are long."""


def has_long_straight_code(program: Program) -> bool:
    """Whether any block of the program has."""
    return any(_is_long(function.body) for function in program.functions.values())


def _is_long(block: Block) -> bool:
    own = sum(eqn.op in PRIMITIVES and eqn.outs[0].type == Float for eqn in block.eqns)
    return own >= LONG or any(_is_long(inner) for eqn in block.eqns for inner in eqn.blocks)
