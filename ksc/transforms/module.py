"""What the differentiation of one program shares over all of its functions."""

from __future__ import annotations

from collections.abc import Sequence

from ksc.ir.nodes import Function, Program
from ksc.ir.rewrite import effectful_functions, recursive_functions, unique_name
from ksc.ir.types import BoxType, TensorType, Type, is_differentiable
from ksc.transforms.activity import flows
from ksc.transforms.tangents import declare_tangent_box

Mask = tuple[bool, ...]


class Module:
    """The functions and boxes of a program together with those made while differentiating it."""

    def __init__(self, source: Program) -> None:
        self.source = source
        self.functions: dict[str, Function] = dict(source.functions)
        self.boxes: dict[str, tuple[Type, ...]] = dict(source.boxes)
        self.recursive = recursive_functions(source.functions)
        self.flows = flows(source.functions)
        self.effectful: set[str] = set(effectful_functions(source.functions))
        self.names: set[str] = set(source.functions)
        self.transposes: dict[tuple[str, str], str] = {}

    def new_name(self, name: str) -> str:
        """A function name that is not taken yet, ``name`` where possible."""
        free = unique_name(name, self.names)
        self.names.add(free)
        return free

    def new_box(self, name: str, fields: Sequence[Type]) -> str:
        """Declare a box under a name that is not taken yet."""
        free = unique_name(name, self.boxes)
        self.boxes[free] = tuple(fields)
        return free

    def need_tangent(self, type_: Type) -> None:
        """Declare the boxes that the tangent of a value of this type needs."""
        while isinstance(type_, TensorType):
            type_ = type_.elem
        if isinstance(type_, BoxType):
            declare_tangent_box(type_.name, self.boxes)


def differentiable_params(function: Function) -> list[int]:
    """The parameters in D: those whose type has a tangent."""
    return [k for k, param in enumerate(function.params) if is_differentiable(param.type)]


def differentiable_results(function: Function) -> list[int]:
    """The results in D."""
    return [k for k, type_ in enumerate(function.result_types) if is_differentiable(type_)]


def chosen_params(function: Function, wrt: Sequence[int] | None) -> Mask:
    """For each parameter whether a derivative with respect to it is wanted; all in D where ``wrt`` is None.

    Raises ValueError where ``wrt`` names a parameter that is not there or has no tangent.
    """
    possible = differentiable_params(function)
    if wrt is None:
        return tuple(k in possible for k in range(len(function.params)))
    for k in wrt:
        if not 0 <= k < len(function.params):
            raise ValueError(f"{function.name} has {len(function.params)} parameters, so none with index {k}")
        if k not in possible:
            param = function.params[k]
            raise ValueError(f"parameter {param.name} of {function.name} has type {param.type}, which has no tangent")
    return tuple(k in wrt for k in range(len(function.params)))
