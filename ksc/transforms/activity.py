"""Which variables may vary with the parameters that are differentiated, and which results of a function with which."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ksc.ir.nodes import Atom, Eqn, Function, Var
from ksc.ir.types import FloatType, is_differentiable
from ksc.ops import PRIMITIVES
from ksc.ops.record import zero

Flows = Mapping[str, Sequence[int]]
"""For each result of each function the parameters from which a derivative may flow into it, bit k for parameter k."""


def flows(functions: Mapping[str, Function]) -> dict[str, list[int]]:
    """How derivatives flow through functions, recursive ones included: the least fixpoint, from no flow at all."""
    found = {name: [0] * len(function.body.results) for name, function in functions.items()}
    changed = True
    while changed:
        changed = False
        for name, function in functions.items():
            reach = {param: 1 << k for k, param in enumerate(function.params) if is_differentiable(param.type)}
            _visit(function.body.eqns, reach, found)
            given = [_reach(result, reach) for result in function.body.results]
            if given != found[name]:
                found[name] = given
                changed = True
    return found


def varied_vars(params: Iterable[Var], eqns: Sequence[Eqn], flows: Flows) -> set[Var]:
    """The variables bound by ``eqns``, blocks inside included, through which a derivative may flow from ``params``."""
    reach = dict.fromkeys(params, 1)
    _visit(eqns, reach, flows)
    return set(reach)


def _reach(atom: Atom, reach: Mapping[Var, int]) -> int:
    return reach.get(atom, 0) if isinstance(atom, Var) else 0


def _mark(var: Var, bits: int, reach: dict[Var, int]) -> None:
    if bits and is_differentiable(var.type):
        reach[var] = reach.get(var, 0) | bits


def _flow(sources: Iterable[Atom], targets: Iterable[Var], reach: dict[Var, int]) -> None:
    for source, target in zip(sources, targets, strict=False):
        _mark(target, _reach(source, reach), reach)


def _visit(eqns: Sequence[Eqn], reach: dict[Var, int], flows: Flows) -> None:
    for eqn in eqns:
        match eqn.op:
            case "if":
                for block in eqn.blocks:
                    _visit(block.eqns, reach, flows)
                    _flow(block.results, eqn.outs, reach)
            case "for" | "while":
                _visit_loop(eqn, reach, flows)
            case "build" | "reduce":
                _visit(eqn.blocks[0].eqns, reach, flows)
                _flow(eqn.blocks[0].results, eqn.outs, reach)
            case "withacc":
                (body,) = eqn.blocks
                _flow(eqn.args, body.params, reach)
                _visit(body.eqns, reach, flows)
                _flow(body.params, eqn.outs, reach)
                _flow(body.results, eqn.outs[len(eqn.args) :], reach)
            case "acc_add":
                acc = eqn.args[0]
                if isinstance(acc, Var):
                    _mark(acc, _reach(eqn.args[-1], reach), reach)
            case "call" if "rev" not in eqn.params and "fwd" not in eqn.params:
                for out, through in zip(eqn.outs, flows[eqn.params["callee"]], strict=True):
                    for k, arg in enumerate(eqn.args):
                        if through >> k & 1:
                            _mark(out, _reach(arg, reach), reach)
            case op if op in PRIMITIVES:
                (out,) = eqn.outs
                if isinstance(out.type, FloatType):
                    for arg, partial in zip(eqn.args, PRIMITIVES[op].partials, strict=False):
                        if partial is not zero:
                            _mark(out, _reach(arg, reach), reach)
            case "size" | "assert" | "print":
                pass
            case _:
                for out in eqn.outs:
                    for arg in eqn.args:
                        _mark(out, _reach(arg, reach), reach)


def _visit_loop(eqn: Eqn, reach: dict[Var, int], flows: Flows) -> None:
    body = eqn.blocks[-1]
    n = eqn.params["carries"]
    carried = body.params[len(body.params) - n :]
    _flow(eqn.args[len(eqn.args) - n :], carried, reach)
    before: list[int] | None = None
    while before != (now := [_reach(param, reach) for param in carried]):
        before = now
        _visit(body.eqns, reach, flows)
        _flow(body.results[:n], carried, reach)
    _flow(carried, eqn.outs, reach)
    _flow(body.results, eqn.outs, reach)
