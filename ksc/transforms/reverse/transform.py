"""The entry point of reverse mode."""

from __future__ import annotations

from collections.abc import Sequence

from ksc.ir.nodes import Program
from ksc.ir.rewrite import assemble
from ksc.passes.inline import inline_small
from ksc.passes.resized import box_resized
from ksc.passes.sink import sink
from ksc.transforms.module import Module, chosen_params
from ksc.transforms.reverse.pair import Pairs


def vjp(
    program: Program,
    *,
    wrt: Sequence[int] | None = None,
    with_value: bool = False,
    given: Sequence[int] = (),
    seeds: Sequence[bool] | None = None,
) -> Program:
    """The program that multiplies a cotangent by the Jacobian of the entry.

    Args:
        program: any program without tuples.
        wrt: the parameters to differentiate by; all that have a tangent where it is None.
        with_value: give the results of the entry too, before the cotangents.
        given: the results of the entry that the program is handed: parameters between those of f and the cotangents.
            What it needs of them, it reads instead of computing it. They must be what f gives for these arguments.
            The entry is then ``[resrev f]``.
        seeds: for each result that has a cotangent whether it is taken; the others are zero. All are where it is None.

    Returns:
        A program whose entry ``[rev f]`` (``[valrev f]`` with values) takes the parameters of f, then a
        cotangent for each result that has one, and gives a cotangent for each parameter chosen.

    Raises:
        DifferentiationError: an operation on the way has no derivative.
        ValueError: ``wrt`` names a parameter that is not there or has no tangent.
    """
    module = Module(box_resized(sink(inline_small(program))))
    active = chosen_params(module.source.main, wrt)
    taken = None if seeds is None else tuple(seeds)
    derived = Pairs(module).rev(program.entry, active, with_value, given, taken)
    module.functions[derived.name] = derived
    return assemble(module.functions, derived.name, module.boxes)
