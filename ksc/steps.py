"""What is done to a traced program before it becomes a kernel: taking its gradient, maybe more than once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from ksc.arguments import abstract_leaves, map_leaves
from ksc.derivatives import tangent_of
from ksc.errors import DifferentiationError
from ksc.frontend.values import Struct, Value
from ksc.ir.nodes import Block, Function, Program
from ksc.ir.types import Float, TensorType, Type, is_differentiable

if TYPE_CHECKING:
    from ksc.ir.sizes import ShapeProgram


@dataclass(frozen=True, slots=True)
class Grad:
    """From a function with one Float result to its gradient with respect to the arguments ``argnums``.

    The gradient of one argument has its structure, of several is a tuple of these; what is no Float has None in its
    place. With ``with_value`` the result is a pair of value and gradient, computed in one pass.
    """

    argnums: int | tuple[int, ...] = 0
    with_value: bool = False

    def __call__(self, program: Program, params: Sequence[Value], result: Value) -> tuple[Program, Value]:
        """The program of the gradient and the structure of its results.

        Raises DifferentiationError where there is no such gradient.
        """
        from ksc.passes import prepare
        from ksc.transforms import seed_ones, vjp

        if program.main.result_types != (Float,):
            raise DifferentiationError(
                "the gradient of a function is taken where it gives one float",
                remedy="return one float, or use vjp, which takes a cotangent for each result",
            )
        positions = chosen_arguments(self.argnums, params)
        wrt = [leaf for k in positions for leaf in float_leaves(params, k)]
        derived = seed_ones(vjp(prepare(program), wrt=sorted(wrt), with_value=self.with_value))
        if wrt != sorted(wrt):
            derived = in_order(derived, [sorted(wrt).index(k) for k in wrt], kept=int(self.with_value))
        gradients = [map_leaves(params[k], tangent_of) for k in positions]
        gradient = gradients[0] if isinstance(self.argnums, int) else Struct(tuple, tuple(gradients))
        return derived, Struct(tuple, (result, gradient)) if self.with_value else gradient

    def sizes(self, params: Sequence[Value], program: Program, known: ShapeProgram) -> ShapeProgram:
        """The sizes of the results: those of the arguments."""
        from ksc.ir.sizes import ShapeProgram, argument_sizes

        types = [type_ for param in params for _, type_ in abstract_leaves(param)]
        leaves = [leaf for k in chosen_arguments(self.argnums, params) for leaf in float_leaves(params, k)]
        gradients = argument_sizes([(leaf, _rank(types[leaf])) for leaf in leaves])
        if not self.with_value:
            return gradients
        return ShapeProgram(gradients.ops, ((), *gradients.results), ((), *gradients.lines))

    def counted(self, count: int) -> Grad:
        """The same for a function of ``count`` parameters, its arguments counted from the first."""
        return replace(self, argnums=counted_from_first(self.argnums, count))

    @property
    def name(self) -> str:
        """What a kernel with this step is called."""
        return "value_and_grad" if self.with_value else "grad"


class Step(Protocol):
    """From a program, the templates of its parameters and that of its result to another program and its result."""

    def __call__(self, program: Program, params: Sequence[Value], result: Value) -> tuple[Program, Value]:
        """The program, of the same parameters, and the structure of its results."""

    def sizes(self, params: Sequence[Value], program: Program, known: ShapeProgram) -> ShapeProgram:
        """The sizes of the results, from those of the results of the ``program`` that the step is applied to."""

    @property
    def name(self) -> str:
        """What a kernel with this step is called."""

    def __hash__(self) -> int:
        """Steps are known by value."""


def counted_from_first(argnums: int | tuple[int, ...], count: int) -> int | tuple[int, ...]:
    """``argnums`` without negative ones. Raises DifferentiationError where one is not among ``count``."""
    if isinstance(argnums, int):
        return _position(argnums, count)
    return tuple(_position(argnum, count) for argnum in argnums)


def chosen_arguments(argnums: int | tuple[int, ...], params: Sequence[Value]) -> list[int]:
    """The positions of the arguments to differentiate by.

    Raises DifferentiationError where one is not there, is named twice, or holds no float.
    """
    positions = [_position(k, len(params)) for k in ((argnums,) if isinstance(argnums, int) else argnums)]
    if len(set(positions)) != len(positions):
        raise DifferentiationError(f"argnums {argnums} names an argument twice")
    for position in positions:
        if not float_leaves(params, position):
            raise DifferentiationError(f"argument {position} of the function holds no float")
    return positions


def float_leaves(params: Sequence[Value], position: int) -> list[int]:
    """The leaves of one parameter that carry a derivative, counted over all parameters."""
    start = sum(len(list(abstract_leaves(param))) for param in params[:position])
    types = [type_ for _, type_ in abstract_leaves(params[position])]
    return [start + k for k, type_ in enumerate(types) if is_differentiable(type_)]


def _rank(type_: Type) -> int:
    return type_.rank if isinstance(type_, TensorType) else 0


def _position(argnum: int, count: int) -> int:
    if not -count <= argnum < count:
        raise DifferentiationError(f"argnums names argument {argnum} of a function of {count}")
    return argnum % count


def in_order(program: Program, order: Sequence[int], *, kept: int) -> Program:
    """The program with its results after the first ``kept`` ones put in another order."""
    main = program.main
    tail = main.body.results[kept:]
    results = (*main.body.results[:kept], *(tail[k] for k in order))
    function = Function(main.name, Block(main.params, main.body.eqns, results, main.body.span), main.span)
    return Program({**program.functions, program.entry: function}, program.entry, program.boxes)
