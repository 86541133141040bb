"""The functions that reverse mode makes: the pair for a callee, and ``[rev f]`` for the entry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ksc.ir.builder import Builder
from ksc.ir.liveness import prune_block
from ksc.ir.nodes import NO_PARAMS, Atom, Block, Eqn, Function, Var, walk
from ksc.ir.rewrite import clone_function, free_vars, replace, substitute_eqn
from ksc.ir.types import Bool, BoxType, TensorType, Type
from ksc.transforms.module import Mask, Module, differentiable_results
from ksc.transforms.reductions import lower_reductions
from ksc.transforms.reverse.by_hand import define_by_hand
from ksc.transforms.reverse.given import given_results
from ksc.transforms.reverse.presence import PERHAPS, Presence, Seeds, as_bool, there_if
from ksc.transforms.reverse.scope import Scope
from ksc.transforms.reverse.sweep import Sweep
from ksc.transforms.reverse.unread import drop_unread
from ksc.transforms.tangents import emit_box, result_name, tangent_type, zero

MANY = 8
"""The number of residuals beyond which they are put in a box, lest those of a chain of calls pile up in its code."""


@dataclass(frozen=True, slots=True)
class Second:
    """The second function of a pair, for some of the results.

    It takes the cotangents of these results, a Bool for each that may not be there at run time, and the residuals; and
    gives the cotangents of the active parameters, and a Bool for each of them that may not be there. A cotangent of
    zero is not handed over, as zero times an infinite derivative is no zero.

    Attributes:
        name: its name.
        unsure: for each active parameter whether there is a Bool for its cotangent.
    """

    name: str
    unsure: Mask


@dataclass(slots=True)
class Pair:
    """The two passes of a function.

    Attributes:
        active: for each parameter whether it gets a cotangent.
        forward: the name of the first function: the parameters to the results and the residuals.
        backward: the second ones, by which of the results in D have a cotangent.
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
    backward: dict[Seeds, Second] = field(default_factory=dict)
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
        cotangents: a parameter for each result that has a cotangent, then a Bool for each that may not be there.
        eqns: the equations of the reverse sweep.
        results: the cotangents of the active parameters.
        present: whether these are there.
    """

    cotangents: tuple[Var, ...]
    eqns: list[Eqn]
    results: tuple[Atom, ...]
    present: tuple[Presence, ...]


@dataclass(slots=True)
class _Making:
    """A pair in the making: what the first function keeps is known when all second ones are."""

    pair: Pair
    callee: str
    forward: Forward
    residuals: list[Var] = field(default_factory=list)
    unsure: dict[Seeds, Mask] = field(default_factory=dict)
    bodies: dict[Seeds, Block] = field(default_factory=dict)


class Pairs:
    """All derivative functions of one program."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self._pairs: dict[tuple[str, Mask, str | None], Pair] = {}
        self._making: dict[str, _Making] = {}
        self._wanted: list[tuple[_Making, Seeds]] = []

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
                name = module.new_name(f"[sufrevpass {callee}]")
                pair.backward[everything] = Second(name, (False,) * sum(active))
                define_by_hand(module, pair, {**params, "rev": rev}, name)
        return self._pairs[key]

    def backward(self, pair: Pair, seeds: Seeds) -> Second:
        """The second function of a pair that takes the cotangents of these results in D alone."""
        if seeds not in pair.backward:
            making = self._making[pair.forward]
            digits = "" if all(seed == 1 for seed in seeds) else "".join("012"[seed] for seed in seeds)
            name = self.module.new_name(f"[sufrevpass{digits} {making.callee}]")
            if pair.saved:
                unsure = (True,) * sum(pair.active)
                self._wanted.append((making, seeds))
            else:
                unsure = self._make(making, seeds)
            pair.backward[seeds] = Second(name, unsure)
        return pair.backward[seeds]

    def rev(
        self, name: str, active: Mask, with_value: bool, given: Sequence[int] = (), seeds: Mask | None = None
    ) -> Function:
        """Both sweeps in one function: ``[rev f]``, or ``[valrev f]`` with the results of f before the cotangents.

        With results ``given`` it is ``[resrev f]``, which takes these between the parameters and the cotangents, and
        reads of them what it would compute, but for the values that it gives. ``seeds`` says of the results in D which
        have a cotangent.
        """
        primal = self.module.functions[name]
        forward = self._forward(primal, active)
        function = forward.function
        at_hand = [function.body.results[k] for k in given]
        handed = [Var(result_name(result), result.type) for result in at_hand]
        first = Builder(function.span)
        env = given_results(at_hand, forward.eqns, first, handed)
        forward.sweep.given.update(env)
        backward = self._backward(forward, seeds or (True,) * len(differentiable_results(function)))
        values = function.body.results if with_value else ()
        block = Block(
            (*function.params, *handed, *backward.cotangents),
            (*first.eqns, *(substitute_eqn(eqn, env) for eqn in (*forward.eqns, *backward.eqns))),
            (*values, *(replace(result, env) for result in backward.results)),
            function.body.span,
        )
        derived = self.module.new_name(f"[{'resrev' if given else 'valrev' if with_value else 'rev'} {name}]")
        self._make_wanted()
        block = self._without_unread(prune_block(block, self.module.effectful))
        self._define_all()
        return Function(derived, block, primal.span)

    def rev_of(self, name: str, active: Mask, seeds: Mask) -> Function:
        """``[rev f]`` for these results in D alone: it takes a cotangent for each of them, the others being zero."""
        primal = self.module.functions[name]
        forward = self._forward(primal, active)
        backward = self._backward(forward, seeds)
        eqns = (*forward.eqns, *backward.eqns)
        block = Block(
            (*forward.function.params, *backward.cotangents), eqns, backward.results, forward.function.body.span
        )
        digits = "".join("01"[seed] for seed in seeds)
        derived = self.module.new_name(f"[rev{digits} {name}]")
        self._make_wanted()
        self._define_all()
        return Function(derived, prune_block(block, self.module.effectful), primal.span)

    def _forward(self, primal: Function, active: Mask) -> Forward:
        lowered = lower_reductions(primal.body, self._is_plain_sum)
        sweep = Sweep(self, Function(primal.name, lowered, primal.span), active)
        return Forward(sweep, sweep.function, sweep.augment(sweep.function.body.eqns))

    def _backward(self, forward: Forward, seeds: Seeds) -> Backward:
        sweep, function = forward.sweep, forward.function
        scope = Scope("function", None, sweep.varied, sweep.boxes, Builder(function.span))
        scope.own(forward.eqns, function.params)
        positions = differentiable_results(function)
        cotangents = []
        flags = []
        for k, seed in zip(positions, seeds, strict=True):
            if seed:
                result = function.body.results[k]
                self.module.need_tangent(result.type)
                bar = Var(f"{result_name(result)}_bar", tangent_type(result.type))
                cotangents.append(bar)
                flag = Var(f"has_{bar.name}", Bool) if seed == PERHAPS else None
                flags += [] if flag is None else [flag]
                scope.add(result, bar, None if flag is None else there_if(flag))
        sweep.reverse(forward.eqns, scope)
        results: list[Atom] = []
        present: list[Presence] = []
        for param, on in zip(function.params, sweep.active, strict=True):
            if on:
                present.append(scope.presence(param))
                known = scope.take(param)
                results.append(zero(scope.builder, param) if known is None else known)
        return Backward((*cotangents, *flags), scope.builder.eqns, tuple(results), tuple(present))

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
        self._make(making, everything)
        residuals = free_vars(making.bodies[everything])
        # The zero in place of a missing cotangent may need the size of a tensor that nothing else reads.
        if len(residuals) > MANY or (len(everything) > 1 and _has_tensors(primal)):
            pair.residuals = [BoxType(module.new_box(callee, ()))]
        else:
            making.residuals = residuals
            pair.residuals = [var.type for var in residuals]

    def _make(self, making: _Making, seeds: Seeds) -> Mask:
        """Make the body of a second function; for each active parameter whether there is a Bool for its cotangent."""
        if seeds not in making.bodies:
            backward = self._backward(making.forward, seeds)
            unsure = tuple(making.pair.saved or mark is not None for mark in backward.present)
            end = Builder(making.forward.function.span)
            flags = [as_bool(end, mark) for mark, on in zip(backward.present, unsure, strict=True) if on]
            block = Block(
                backward.cotangents,
                (*backward.eqns, *end.eqns),
                (*backward.results, *flags),
                making.forward.function.body.span,
            )
            making.bodies[seeds] = prune_block(block, self.module.effectful)
            making.unsure[seeds] = unsure
        return making.unsure[seeds]

    def _make_wanted(self) -> None:
        """Make the second functions that are called."""
        while self._wanted:
            self._make(*self._wanted.pop())

    def _without_unread(self, main: Block) -> Block:
        """Drop the Bools that no caller reads from the second functions; the entry with calls of what they are then."""
        places = {
            second.name: (making, seeds)
            for making in self._making.values()
            for seeds, second in making.pair.backward.items()
        }
        bodies = {name: making.bodies[seeds] for name, (making, seeds) in places.items()}
        counts = {name: sum(making.pair.active) for name, (making, _) in places.items()}
        main, bodies = drop_unread(main, bodies, counts, self.module.effectful)
        for name, (making, seeds) in places.items():
            making.bodies[seeds] = bodies[name]
        return main

    def _define_all(self) -> None:
        """Enter the functions: the first ones keep what the second ones read."""
        for making in self._making.values():
            self._define(making)

    def _define(self, making: _Making) -> None:
        module, pair, function = self.module, making.pair, making.forward.function
        bodies = {second.name: making.bodies[seeds] for seeds, second in pair.backward.items()}
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
        block = prune_block(Block(function.params, tuple(first.eqns), outs, first.span), module.effectful)
        module.functions[pair.forward] = clone_function(Function(pair.forward, block, function.span))
        for name, body in bodies.items():
            block = Block((*body.params, *params), (*opening, *body.eqns), body.results, body.span)
            module.functions[name] = clone_function(Function(name, block, function.span))


def _has_tensors(function: Function) -> bool:
    made = (out for eqn in walk(function.body) for out in eqn.outs)
    return any(isinstance(var.type, TensorType) for var in (*function.params, *made))
