"""After the last derivative, what says how to differentiate is of no more use and is forgotten.

    y = (f x) with rev f_rev      ⟶      y = (f x)
    y = (stop_gradient x)         ⟶      x
    y = (with_value x value)      ⟶      value

What is left of a call is one like any other, which may be inlined. A program must not be differentiated after that.
"""

from __future__ import annotations

from ksc.ir.nodes import PLACEHOLDER, Block, Eqn, Function, Program, Var
from ksc.ir.rewrite import Env, assemble, replace

_VALUES = {"stop_gradient": 0, "with_value": 1}
"""The primitives that give one of their arguments, with another derivative, and which one."""


def forget_rules(program: Program) -> Program:
    """Drop what is for derivatives only, and the functions that only rules name."""
    functions = {name: Function(name, _block(f.body, {}), f.span) for name, f in program.functions.items()}
    return assemble(functions, program.entry, program.boxes, renew=False)


def _block(block: Block, env: Env) -> Block:
    names = _names(block)
    env.update(names)
    eqns = []
    for eqn in block.eqns:
        args = tuple(replace(arg, env) for arg in eqn.args)
        if eqn.op in _VALUES:
            env[eqn.outs[0]] = args[_VALUES[eqn.op]]
            continue
        outs = tuple(names.get(out, out) for out in eqn.outs)
        params = {"callee": eqn.params["callee"]} if eqn.op == "call" else eqn.params
        blocks = tuple(_block(inner, env) for inner in eqn.blocks)
        eqns.append(Eqn(outs, eqn.op, args, params, blocks, eqn.span))
    return Block(block.params, tuple(eqns), tuple(replace(result, env) for result in block.results), block.span)


def _names(block: Block) -> dict[Var, Var]:
    """The variables without a name of their own that take over the one that goes away."""
    bound = {out for eqn in block.eqns for out in eqn.outs if out.name == PLACEHOLDER}
    names: dict[Var, Var] = {}
    for eqn in block.eqns:
        value = eqn.args[_VALUES[eqn.op]] if eqn.op in _VALUES else None
        if isinstance(value, Var) and value in bound and eqn.outs[0].name != PLACEHOLDER:
            names.setdefault(value, eqn.outs[0])
    return names
