"""The functions that reverse mode makes: the pair for a callee, and ``[rev f]`` for the entry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ksc.ir.builder import Builder
from ksc.ir.liveness import prune_block
from ksc.ir.nodes import NO_PARAMS, Atom, Block, Eqn, Function, Var, walk
from ksc.ir.rewrite import clone_function, free_vars
from ksc.ir.types import BoxType, TensorType, Type
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
        backward: the names of the second one, by which of the results in D have a cotangent: these cotangents and
            the residuals to the cotangents of active parameters. A cotangent of zero is not there, as zero times an
            infinite derivative is no zero.
        saved: whether a call is never run again: the function recurs or has effects. Its residuals are one box.
        given: whether the second function is the user's, which takes all cotangents.
        flows: for each result of the function the parameters that derivatives reach from it, bit k for parameter k.
        residuals: the types of the residuals.
    """

    active: Mask
    forward: str
    saved: bool
    given: bool
    flows: Sequence[int]
    backward: dict[Mask, str] = field(default_factory=dict)
    residuals: list[Type] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Forward:
    """The forward sweep over one function, before what is not read is removed.

    Attributes:
        sweep: what it keeps for the reverse sweep.
        function: the copy of the primal whose variables the sweeps use.
        eqns: the equations of the forward sweep.
    """

    sweep: Sweep
    function: Function
    eqns: list[Eqn]


@dataclass(frozen=True, slots=True)
class Backward:
    """A reverse sweep over one function, before what is not read is removed.

    Attributes:
        cotangents: a parameter for each result that has a cotangent.
        eqns: the equations of the reverse sweep.
        results: the cotangents of the active parameters.
    """

    cotangents: tuple[Var, ...]
    eqns: list[Eqn]
    results: tuple[Atom, ...]


@dataclass(slots=True)
class _Making:
    """A pair in the making: what the first function keeps is known when all second ones are."""

    pair: Pair
    callee: str
    forward: Forward
    residuals: list[Var] = field(default_factory=list)
    bodies: dict[Mask, Block] = field(default_factory=dict)


class Pairs:
    """All derivative functions of one program."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self._pairs: dict[tuple[str, Mask, str | None], Pair] = {}
        self._making: dict[str, _Making] = {}
        self._wanted: list[tuple[_Making, Mask]] = []

    def pair(self, callee: str, active: Mask, rev: str | None = None, params: Mapping[str, Any] = NO_PARAMS) -> Pair:
        """The pair of a function for the parameters that are active in a call.

        ``rev`` names the function that is ``[rev callee]``, where one is given; ``params`` are then the call's.
        """
        key = callee, active, rev
        if key not in self._pairs:
            module = self.module
            saved = callee in module.recursive or callee in module.effectful
            forward = module.new_name(f"[suffwdpass {callee}]")
            reach = module.flows[callee] if rev is None else [-1] * len(module.functions[callee].body.results)
            pair = Pair(active, forward, saved, rev is not None, reach)
            self._pairs[key] = pair
            if rev is None:
                self._start(pair, callee)
            else:
                everything = (True,) * len(differentiable_results(module.functions[callee]))
                pair.backward[everything] = module.new_name(f"[sufrevpass {callee}]")
                define_by_hand(module, pair, {**params, "rev": rev}, pair.backward[everything])
        return self._pairs[key]

    def backward(self, pair: Pair, seeds: Mask) -> str:
        """The name of the second function of a pair that takes the cotangents of these results in D alone."""
        if seeds not in pair.backward:
            making = self._making[pair.forward]
            digits = "" if all(seeds) else "".join("01"[seed] for seed in seeds)
            pair.backward[seeds] = self.module.new_name(f"[sufrevpass{digits} {making.callee}]")
            self._wanted.append((making, seeds))
        return pair.backward[seeds]

    def rev(self, name: str, active: Mask, with_value: bool) -> Function:
        """Both sweeps in one function: ``[rev f]``, or ``[valrev f]`` with the results of f before the cotangents."""
        primal = self.module.functions[name]
        forward = self._forward(primal, active)
        function = forward.function
        backward = self._backward(forward, (True,) * len(differentiable_results(function)))
        values = function.body.results if with_value else ()
        block = Block(
            (*function.params, *backward.cotangents), (*forward.eqns, *backward.eqns), (*values, *backward.results)
        )
        derived = self.module.new_name(f"[{'valrev' if with_value else 'rev'} {name}]")
        self._finish()
        return Function(derived, prune_block(block, self.module.effectful), primal.span)

    def rev_of(self, name: str, active: Mask, seeds: Mask) -> Function:
        """``[rev f]`` for these results in D alone: it takes a cotangent for each of them, the others being zero."""
        primal = self.module.functions[name]
        forward = self._forward(primal, active)
        backward = self._backward(forward, seeds)
        eqns = (*forward.eqns, *backward.eqns)
        block = Block((*forward.function.params, *backward.cotangents), eqns, backward.results)
        digits = "".join("01"[seed] for seed in seeds)
        derived = self.module.new_name(f"[rev{digits} {name}]")
        self._finish()
        return Function(derived, prune_block(block, self.module.effectful), primal.span)

    def _forward(self, primal: Function, active: Mask) -> Forward:
        lowered = lower_reductions(primal.body, self._is_plain_sum)
        sweep = Sweep(self, Function(primal.name, lowered, primal.span), active)
        return Forward(sweep, sweep.function, sweep.augment(sweep.function.body.eqns))

    def _backward(self, forward: Forward, seeds: Mask) -> Backward:
        sweep, function = forward.sweep, forward.function
        scope = Scope("function", None, sweep.varied, Builder(function.span))
        scope.own(forward.eqns, function.params)
        positions = differentiable_results(function)
        cotangents = []
        for k, seed in zip(positions, seeds, strict=True):
            if seed:
                result = function.body.results[k]
                self.module.need_tangent(result.type)
                bar = Var(f"{result_name(result)}_bar", tangent_type(result.type))
                cotangents.append(bar)
                scope.add(result, bar)
        sweep.reverse(forward.eqns, scope)
        results: list[Atom] = []
        for param, on in zip(function.params, sweep.active, strict=True):
            if on:
                known = scope.take(param)
                results.append(zero(scope.builder, param) if known is None else known)
        return Backward(tuple(cotangents), scope.builder.eqns, tuple(results))

    def _is_plain_sum(self, eqn: Eqn) -> bool:
        unrepeatable = self.module.recursive | self.module.effectful
        calls = (inner.params["callee"] for inner in walk(eqn.blocks[0]) if inner.op == "call")
        return eqn.params["monoid"] == "add" and not any(callee in unrepeatable for callee in calls)

    def _start(self, pair: Pair, callee: str) -> None:
        """Make the forward sweep, and decide how the residuals travel: as they are, or in one box."""
        module = self.module
        primal = module.functions[callee]
        if callee in module.effectful:
            module.effectful.add(pair.forward)
        if pair.saved:
            pair.residuals = [BoxType(module.new_box(callee, ()))]
        making = _Making(pair, callee, self._forward(primal, pair.active))
        self._making[pair.forward] = making
        if pair.saved:
            return
        everything = (True,) * len(differentiable_results(primal))
        making.bodies[everything] = body = self._reversed(making, everything)
        residuals = free_vars(body)
        # The zero in place of a missing cotangent may need the size of a tensor that nothing else reads.
        if len(residuals) > MANY or (len(everything) > 1 and _has_tensors(primal)):
            pair.residuals = [BoxType(module.new_box(callee, ()))]
        else:
            making.residuals = residuals
            pair.residuals = [var.type for var in residuals]

    def _reversed(self, making: _Making, seeds: Mask) -> Block:
        backward = self._backward(making.forward, seeds)
        return prune_block(Block(backward.cotangents, tuple(backward.eqns), backward.results), self.module.effectful)

    def _finish(self) -> None:
        """Make the second functions that are called, then the first ones, which keep what these read."""
        while self._wanted:
            making, seeds = self._wanted.pop()
            if seeds not in making.bodies:
                making.bodies[seeds] = self._reversed(making, seeds)
        for making in self._making.values():
            self._define(making)

    def _define(self, making: _Making) -> None:
        module, pair, function = self.module, making.pair, making.forward.function
        bodies = {name: making.bodies[seeds] for seeds, name in pair.backward.items()}
        first = Builder(function.span)
        first.eqns = list(making.forward.eqns)
        residuals = making.residuals
        params = tuple(residuals)
        opening: tuple[Eqn, ...] = ()
        match pair.residuals:
            case [BoxType(name=box) as type_] if not making.residuals:
                residuals = list(dict.fromkeys(var for body in bodies.values() for var in free_vars(body)))
                module.boxes[box] = tuple(var.type for var in residuals)
                params = (Var("saved", type_),)
                opening = (Eqn(tuple(residuals), "unbox", params, span=function.span),) if residuals else ()
                residuals = [emit_box(first, box, residuals)]
        outs = (*function.body.results, *residuals)
        block = prune_block(Block(function.params, tuple(first.eqns), outs), module.effectful)
        module.functions[pair.forward] = clone_function(Function(pair.forward, block, function.span))
        for name, body in bodies.items():
            block = Block((*body.params, *params), (*opening, *body.eqns), body.results)
            module.functions[name] = clone_function(Function(name, block, function.span))


def _has_tensors(function: Function) -> bool:
    made = (out for eqn in walk(function.body) for out in eqn.outs)
    return any(isinstance(var.type, TensorType) for var in (*function.params, *made))
