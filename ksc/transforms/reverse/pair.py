"""The functions that reverse mode makes: the pair for a callee, and ``[rev f]`` for the entry."""

from __future__ import annotations

from dataclasses import dataclass, field

from ksc.ir.builder import Builder
from ksc.ir.liveness import prune_block
from ksc.ir.nodes import Atom, Block, Eqn, Function, Var, walk
from ksc.ir.rewrite import clone_function, free_vars
from ksc.ir.types import BoxType, Type
from ksc.transforms.module import Mask, Module, differentiable_results
from ksc.transforms.reductions import lower_reductions
from ksc.transforms.reverse.by_hand import define_by_hand
from ksc.transforms.reverse.scope import Scope
from ksc.transforms.reverse.sweep import Sweep
from ksc.transforms.tangents import emit_box, result_name, tangent_type, zero

MANY = 8
"""The number of residuals beyond which they are put in a box, lest those of a chain of calls pile up in its code."""


@dataclass(slots=True)
class Pair:
    """The two passes of a function.

    Attributes:
        active: for each parameter whether it gets a cotangent.
        forward: the name of the first function: the parameters to the results and the residuals.
        backward: the name of the second: cotangents of the results and the residuals to those of active parameters.
        saved: whether a call is never run again: the function recurs or has effects. Its residuals are one box.
        residuals: the types of the residuals.
    """

    active: Mask
    forward: str
    backward: str
    saved: bool
    residuals: list[Type] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Reversed:
    """Both sweeps over one function, before what is not read is removed.

    Attributes:
        function: the copy of the primal whose variables the sweeps use.
        forward: the equations of the forward sweep.
        cotangents: a parameter for each result that has a cotangent.
        backward: the equations of the reverse sweep.
        results: the cotangents of the active parameters.
    """

    function: Function
    forward: list[Eqn]
    cotangents: tuple[Var, ...]
    backward: list[Eqn]
    results: tuple[Atom, ...]


class Pairs:
    """All derivative functions of one program."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self._pairs: dict[tuple[str, Mask, str | None], Pair] = {}

    def pair(self, callee: str, active: Mask, by_hand: str | None = None) -> Pair:
        """The pair of a function for the parameters that are active in a call.

        ``by_hand`` names the function that is ``[rev callee]``, where one is given.
        """
        key = callee, active, by_hand
        if key not in self._pairs:
            module = self.module
            names = [module.new_name(f"[{derivation} {callee}]") for derivation in ("suffwdpass", "sufrevpass")]
            saved = callee in module.recursive or callee in module.effectful
            pair = Pair(active, names[0], names[1], saved)
            self._pairs[key] = pair
            if by_hand is None:
                self._define(pair, callee)
            else:
                define_by_hand(module, pair, callee, by_hand)
        return self._pairs[key]

    def rev(self, name: str, active: Mask, with_value: bool) -> Function:
        """Both sweeps in one function: ``[rev f]``, or ``[valrev f]`` with the results of f before the cotangents."""
        primal = self.module.functions[name]
        both = self._sweep(primal, active)
        values = both.function.body.results if with_value else ()
        eqns = (*both.forward, *both.backward)
        block = Block((*both.function.params, *both.cotangents), eqns, (*values, *both.results))
        derived = self.module.new_name(f"[{'valrev' if with_value else 'rev'} {name}]")
        return Function(derived, prune_block(block, self.module.effectful), primal.span)

    def _sweep(self, primal: Function, active: Mask) -> Reversed:
        lowered = lower_reductions(primal.body, self._is_plain_sum)
        sweep = Sweep(self, Function(primal.name, lowered, primal.span), active)
        function = sweep.function
        forward = sweep.augment(function.body.eqns)
        scope = Scope("function", None, sweep.varied, Builder(primal.span))
        scope.own(forward, function.params)
        cotangents = []
        for k in differentiable_results(function):
            result = function.body.results[k]
            self.module.need_tangent(result.type)
            bar = Var(f"{result_name(result)}_bar", tangent_type(result.type))
            cotangents.append(bar)
            scope.add(result, bar)
        sweep.reverse(forward, scope)
        results: list[Atom] = []
        for param, on in zip(function.params, active, strict=True):
            if on:
                known = scope.take(param)
                results.append(zero(scope.builder, param) if known is None else known)
        return Reversed(function, forward, tuple(cotangents), scope.builder.eqns, tuple(results))

    def _is_plain_sum(self, eqn: Eqn) -> bool:
        unrepeatable = self.module.recursive | self.module.effectful
        calls = (inner.params["callee"] for inner in walk(eqn.blocks[0]) if inner.op == "call")
        return eqn.params["monoid"] == "add" and not any(callee in unrepeatable for callee in calls)

    def _define(self, pair: Pair, callee: str) -> None:
        module = self.module
        if pair.saved:
            pair.residuals = [BoxType(module.new_box(callee, ()))]
        if callee in module.effectful:
            module.effectful.add(pair.forward)
        both = self._sweep(module.functions[callee], pair.active)
        function = both.function
        body = Block(both.cotangents, tuple(both.backward), both.results)
        body = prune_block(body, module.effectful)
        residuals = free_vars(body)
        forward = Builder(function.span)
        forward.eqns = list(both.forward)
        if not pair.saved and len(residuals) > MANY:
            pair.residuals = [BoxType(module.new_box(callee, ()))]
        if pair.residuals:
            (type_,) = pair.residuals
            assert isinstance(type_, BoxType)
            module.boxes[type_.name] = tuple(var.type for var in residuals)
            saved = Var("saved", type_)
            opening = [Eqn(tuple(residuals), "unbox", (saved,), span=function.span)] if residuals else []
            body = Block((*both.cotangents, saved), (*opening, *body.eqns), both.results)
            residuals = [emit_box(forward, type_.name, residuals)]
        else:
            pair.residuals = [var.type for var in residuals]
            body = Block((*both.cotangents, *residuals), body.eqns, both.results)
        outs = (*function.body.results, *residuals)
        first = prune_block(Block(function.params, tuple(forward.eqns), outs), module.effectful)
        module.functions[pair.forward] = clone_function(Function(pair.forward, first, function.span))
        module.functions[pair.backward] = clone_function(Function(pair.backward, body, function.span))
