"""The entry point of forward mode."""

from __future__ import annotations

from collections.abc import Sequence

from ksc.ir.nodes import Program
from ksc.ir.rewrite import assemble
from ksc.passes.inline import inline_small
from ksc.transforms.forward.functions import Derivatives
from ksc.transforms.module import Module, chosen_params


def jvp(program: Program, *, wrt: Sequence[int] | None = None, with_value: bool = False) -> Program:
    """The program that multiplies the Jacobian of the entry by a tangent.

    Args:
        program: any program without tuples.
        wrt: the parameters to differentiate by; all that have a tangent where it is None.
        with_value: give the results of the entry too, before the tangents.

    Returns:
        A program whose entry ``[fwd f]``, or ``[valfwd f]`` with values, takes the parameters of f, then a tangent
        for each parameter chosen, and gives a tangent for each result that has one.

    Raises:
        DifferentiationError: an operation on the way has no derivative.
        ValueError: ``wrt`` names a parameter that is not there or has no tangent.
    """
    module = Module(inline_small(program))
    active = chosen_params(module.source.main, wrt)
    name = module.new_name(f"[{'valfwd' if with_value else 'fwd'} {program.entry}]")
    derivatives = Derivatives(module)
    module.functions[name] = derivatives.derive(program.entry, active, name, with_value=with_value)
    return assemble(module.functions, name, module.boxes)
