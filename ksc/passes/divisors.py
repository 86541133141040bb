"""Quotients in a loop whose divisor is the same in all iterations.

    y = (build n (lam i (div (index i x) s)))      ⟶      y = (build n (lam i (div_by (index i x) s)))

``div_by`` gives the same number; compilers compute the divisor's inverse before the loop (``prelude/ks/scalar.h``).
Done to what the compiler of a processor is given, in innermost loops over elements that may be long. A processor
divides beside what else it does, so a single division of floats may cost nothing: there have to be a few.
"""

from __future__ import annotations

import math
from dataclasses import replace

from ksc.ir.nodes import Atom, Block, Const, Eqn, Program
from ksc.ir.rewrite import with_blocks, with_body, with_eqns, with_functions

SHORTEST = 32
"""The number of iterations from which on an inverse is worth its division."""


def share_divisors(program: Program, *, least: int) -> Program:
    """Do so in all functions, in loops with ``least`` such quotients; the same program where there are none."""
    return with_functions(program, lambda function: with_body(function, _block(function.body, None, least)))


def _block(block: Block, loop: Eqn | None, least: int) -> Block:
    """The block, which is the body of ``loop`` if that is one over elements."""
    shared: set[Eqn] = set()
    if loop is not None and not any(eqn.blocks for eqn in block.eqns) and _is_long(loop):
        bound: set[Atom] = {*block.params, *(out for eqn in block.eqns for out in eqn.outs)}
        quotients = [eqn for eqn in block.eqns if eqn.op == "div" and eqn.args[0] in bound]
        shared = {eqn for eqn in quotients if eqn.args[1] not in bound and not _is_exact(eqn.args[1])}
    eqns = []
    for eqn in block.eqns:
        inner = eqn if eqn.op in ("build", "reduce") else None
        blocks = tuple(_block(one, inner, least) for one in eqn.blocks)
        divides = eqn in shared and len(shared) >= least
        eqns.append(replace(eqn, op="div_by") if divides else with_blocks(eqn, blocks))
    return with_eqns(block, eqns)


def _is_long(loop: Eqn) -> bool:
    size = loop.args[-1]
    return not (isinstance(size, Const) and int(size.value) < SHORTEST)


def _is_exact(divisor: Atom) -> bool:
    """Whether it is a power of two, by whose inverse compilers multiply anyway."""
    return isinstance(divisor, Const) and abs(math.frexp(float(divisor.value))[0]) == 0.5
