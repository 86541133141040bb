"""Inlining: the body of a small function, or of one called once, in the place of its call.

    (def sq Float (x : Float) (mul x x))   (sq (sin a))      ⟶      (mul t t) with t = (sin a)

Functions that may call themselves are never inlined, nor calls that have a derivative given by hand. Neither is one
without results, which only finds out what went wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from ksc.ir.nodes import Block, Eqn, Function, Program, walk
from ksc.ir.rewrite import Env, assemble, clone_block, recursive_functions, substitute_block, substitute_eqn

SMALL = 24
"""The number of equations up to which a function is inlined wherever it is called."""

GROWN = 2000
"""The number of equations beyond which a function is no longer grown by inlining."""


def inline_small(program: Program) -> Program:
    """Inline what is small or called once, innermost first."""
    recursive = recursive_functions(program.functions)
    uses = Counter(eqn.params["callee"] for f in program.functions.values() for eqn in walk(f.body) if eqn.op == "call")
    functions: dict[str, Function] = {}
    inlined: dict[str, Block] = {}
    for name in assemble(program.functions, program.entry, program.boxes).functions:
        function = program.functions[name]
        body = _inline(function.body, inlined) if inlined else function.body
        functions[name] = Function(name, body, function.span)
        size = sum(1 for _ in walk(body))
        only_stops = not function.result_types
        if name == program.entry or name in recursive or only_stops:
            continue
        if size <= SMALL or (uses[name] == 1 and size <= GROWN):
            inlined[name] = body
    return assemble(functions, program.entry, program.boxes)


def _inline(block: Block, bodies: Mapping[str, Block]) -> Block:
    eqns: list[Eqn] = []
    env: Env = {}
    for eqn in block.eqns:
        new = substitute_eqn(eqn, env)
        by_hand = "rev" in new.params or "fwd" in new.params
        body = bodies.get(new.params["callee"]) if new.op == "call" and not by_hand else None
        if body is None:
            blocks = tuple(_inline(inner, bodies) for inner in new.blocks)
            eqns.append(Eqn(new.outs, new.op, new.args, new.params, blocks, new.span))
            continue
        inner_env: Env = dict(zip(body.params, new.args, strict=True))
        copy = clone_block(Block((), body.eqns, body.results, body.span), inner_env)
        eqns.extend(copy.eqns)
        env.update(zip(new.outs, copy.results, strict=True))
    return substitute_block(Block(block.params, tuple(eqns), block.results, block.span), env)
