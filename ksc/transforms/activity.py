"""Which variables may vary with the parameters that are differentiated."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ksc.ir.nodes import Atom, Eqn, Var
from ksc.ir.types import FloatType, is_differentiable
from ksc.ops import PRIMITIVES
from ksc.ops.record import zero


def varied_vars(params: Iterable[Var], eqns: Sequence[Eqn]) -> set[Var]:
    """The variables bound by ``eqns``, blocks inside included, through which a derivative may flow from ``params``."""
    varied = set(params)
    _visit(eqns, varied)
    return varied


def _is_varied(atom: Atom, varied: set[Var]) -> bool:
    return isinstance(atom, Var) and atom in varied


def _mark(var: Var, varied: set[Var]) -> None:
    if is_differentiable(var.type):
        varied.add(var)


def _flow(sources: Iterable[Atom], targets: Iterable[Var], varied: set[Var]) -> None:
    for source, target in zip(sources, targets, strict=False):
        if _is_varied(source, varied):
            _mark(target, varied)


def _visit(eqns: Sequence[Eqn], varied: set[Var]) -> None:
    for eqn in eqns:
        match eqn.op:
            case "if":
                for block in eqn.blocks:
                    _visit(block.eqns, varied)
                    _flow(block.results, eqn.outs, varied)
            case "for" | "while":
                _visit_loop(eqn, varied)
            case "build" | "reduce":
                _visit(eqn.blocks[0].eqns, varied)
                _flow(eqn.blocks[0].results, eqn.outs, varied)
            case "withacc":
                (body,) = eqn.blocks
                _flow(eqn.args, body.params, varied)
                _visit(body.eqns, varied)
                _flow(body.params, eqn.outs, varied)
                _flow(body.results, eqn.outs[len(eqn.args) :], varied)
            case "acc_add":
                acc = eqn.args[0]
                if isinstance(acc, Var) and _is_varied(eqn.args[-1], varied):
                    _mark(acc, varied)
            case op if op in PRIMITIVES:
                partials = PRIMITIVES[op].partials
                flows = any(_is_varied(a, varied) and p is not zero for a, p in zip(eqn.args, partials, strict=False))
                if flows and isinstance(eqn.outs[0].type, FloatType):
                    varied.add(eqn.outs[0])
            case "size" | "assert" | "print":
                pass
            case _:
                if any(_is_varied(arg, varied) for arg in eqn.args):
                    for out in eqn.outs:
                        _mark(out, varied)


def _visit_loop(eqn: Eqn, varied: set[Var]) -> None:
    body = eqn.blocks[-1]
    n = eqn.params["carries"]
    carried = body.params[len(body.params) - n :]
    _flow(eqn.args[len(eqn.args) - n :], carried, varied)
    before = -1
    while before != len(varied):
        before = len(varied)
        _visit(body.eqns, varied)
        _flow(body.results[:n], carried, varied)
    _flow(carried, eqn.outs, varied)
    _flow(body.results, eqn.outs, varied)
