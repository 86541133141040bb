"""Common subexpressions: what was computed before, in this block or around it, is not computed again.

Scalar primitives and reads of tensors, tuples and boxes count, and calls without effects. Structured ops do not. What
was asserted is not asserted again.
"""

from __future__ import annotations

from collections.abc import Collection

from ksc.ir.nodes import Atom, Block, Eqn, Function, Program, Var
from ksc.ir.rewrite import Env, assemble, effectful_functions, replace
from ksc.ops import PRIMITIVES

_READS = frozenset({"index", "size", "get", "unbox", "tuple", "box"})

_MIRRORED = {"gt": "lt", "gte": "lte"}

Key = tuple[str, tuple[Atom, ...], tuple[tuple[str, object], ...]]


def eliminate_common_subexpressions(program: Program) -> Program:
    """Compute each value once."""
    effectful = effectful_functions(program.functions)
    functions = {name: share_values(function, effectful) for name, function in program.functions.items()}
    return assemble(functions, program.entry, program.boxes, renew=False)


def share_values(function: Function, effectful: Collection[str]) -> Function:
    """Do so in one function; ``effectful`` names those of which each call counts."""
    return Function(function.name, _block(function.body, {}, {}, effectful), function.span)


def value_key(eqn: Eqn, effectful: Collection[str]) -> Key | None:
    """What equations of one value have in common; None where it cannot be told, or the equation has an effect."""
    pure = eqn.op in PRIMITIVES or eqn.op in _READS or (eqn.op == "call" and eqn.params["callee"] not in effectful)
    if not pure:
        return None
    args = eqn.args
    if eqn.op in _MIRRORED:
        return _MIRRORED[eqn.op], (args[1], args[0]), ()
    if eqn.op in PRIMITIVES and PRIMITIVES[eqn.op].commutative:
        args = tuple(sorted(args, key=id if all(isinstance(a, Var) for a in args) else repr))
    return eqn.op, args, tuple(sorted(eqn.params.items()))


def _block(block: Block, env: Env, known: dict[Key, tuple[Var, ...]], effectful: Collection[str]) -> Block:
    eqns = []
    for eqn in block.eqns:
        args = tuple(replace(arg, env) for arg in eqn.args)
        blocks = tuple(_block(inner, env, dict(known), effectful) for inner in eqn.blocks)
        new = Eqn(eqn.outs, eqn.op, args, eqn.params, blocks, eqn.span)
        key = ("assert", new.args, ()) if new.op == "assert" else value_key(new, effectful)
        if key is not None and key in known:
            env.update(zip(new.outs, known[key], strict=True))
            continue
        if key is not None:
            known[key] = new.outs
        eqns.append(new)
    return Block(block.params, tuple(eqns), tuple(replace(result, env) for result in block.results), block.span)
