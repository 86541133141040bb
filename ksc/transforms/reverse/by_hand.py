"""The two passes of a function whose ``[rev f]`` is given by hand: the arguments are kept, and handed to it.

([suffwdpass f] x) = (values (f x) x)         ([sufrevpass f] y_bar x) = ([rev f] x y_bar)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ksc.ir.builder import Builder
from ksc.ir.nodes import Atom, Block, Function, Var
from ksc.ir.types import BoxType
from ksc.transforms.module import Module, differentiable_params, differentiable_results
from ksc.transforms.tangents import emit_box, tangent_type

if TYPE_CHECKING:
    from ksc.transforms.reverse.pair import Pair


def define_by_hand(module: Module, pair: Pair, params: Mapping[str, Any], name: str) -> None:
    """Define both functions of ``pair`` for a call with these params, whose ``rev`` is for all parameters.

    ``name`` is that of the second function.
    """
    callee = params["callee"]
    function = module.functions[callee]
    types = [param.type for param in function.params]
    bars = [function.result_types[k] for k in differentiable_results(function)]
    if callee in module.effectful:
        module.effectful.add(pair.forward)
    point = tuple(Var(param.name, param.type) for param in function.params)
    first = Builder(function.span)
    names = ["y"] * len(function.result_types)
    results = first.emit("call", point, function.result_types, names=names, params=params)
    kept: tuple[Atom, ...] = point
    if pair.saved:
        box = module.new_box(callee, types)
        kept = (emit_box(first, box, point),)
        pair.residuals = [BoxType(box)]
    else:
        pair.residuals = types
    forward = Block(point, tuple(first.eqns), (*results, *kept), first.span)
    module.functions[pair.forward] = Function(pair.forward, forward, function.span)

    second = Builder(function.span)
    cotangents = tuple(Var("y_bar", tangent_type(type_)) for type_ in bars)
    residuals = tuple(Var("saved", type_) for type_ in pair.residuals)
    opened = second.emit("unbox", residuals, types) if pair.saved else residuals
    positions = differentiable_params(function)
    bar_types = [tangent_type(types[k]) for k in positions]
    given = second.emit("call", [*opened, *cotangents], bar_types, params={"callee": params["rev"]})
    wanted = [bar for k, bar in zip(positions, given, strict=True) if pair.active[k]]
    backward = Block((*cotangents, *residuals), tuple(second.eqns), tuple(wanted), second.span)
    module.functions[name] = Function(name, backward, function.span)
