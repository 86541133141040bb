"""Common structures: an equation with blocks that computes what one before it computes is not computed again.

    y = (build n (lam i (exp (index i x)))), …, z = (build n (lam j (exp (index j x))))      ⟶      y = …, …, z is y

What ``cse`` does for plain equations, this does for structured ones, in one block and those inside it.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator

from ksc.ir.liveness import adds_outside, has_effect
from ksc.ir.nodes import Atom, Block, Eqn, Function, Program, Var, walk
from ksc.ir.rewrite import Env, assemble, effectful_functions, replace
from ksc.passes.cse import eliminate_common_subexpressions
from ksc.passes.fuse.changes import changed_tensors

Known = dict[tuple[Hashable, ...], tuple[Var, ...]]


def share_structures(program: Program) -> Program:
    """Compute each structured value once; plain ones too, without which two structures would not be seen to be one."""
    program = eliminate_common_subexpressions(program)
    effectful = effectful_functions(program.functions)
    functions = {
        name: Function(name, _block(function.body, {}, {}, effectful, ()), function.span)
        for name, function in program.functions.items()
    }
    return assemble(functions, program.entry, program.boxes, renew=False)


def share_in(block: Block, effectful: Collection[str]) -> Block:
    """The block with each value computed once that it computes in it; tensors that are changed keep their own."""
    changed = {var for eqn in walk(block) for var in changed_tensors(eqn)}
    return _block(block, {}, {}, effectful, changed)


def _block(block: Block, env: Env, known: Known, effectful: Collection[str], own: Collection[Var]) -> Block:
    eqns = []
    for eqn in block.eqns:
        blocks = tuple(_block(inner, dict(env), dict(known), effectful, own) for inner in eqn.blocks)
        args = tuple(replace(arg, env) for arg in eqn.args)
        new = Eqn(eqn.outs, eqn.op, args, eqn.params, blocks, eqn.span)
        if not has_effect(new, effectful, ()) and not adds_outside(new) and not any(out in own for out in new.outs):
            key = tuple(tokens(new, {}))
            if key in known:
                env.update(zip(new.outs, known[key], strict=True))
                continue
            known[key] = new.outs
        eqns.append(new)
    return Block(block.params, tuple(eqns), tuple(replace(result, env) for result in block.results), block.span)


def tokens(eqn: Eqn, numbers: dict[Var, int]) -> Iterator[Hashable]:
    """What an equation is, up to the identity of the variables that it binds inside."""
    yield eqn.op
    for arg in eqn.args:
        yield _token(arg, numbers)
    yield tuple(sorted(eqn.params.items()))
    for block in eqn.blocks:
        yield "block"
        yield from _bound(block.params, numbers)
        for inner in block.eqns:
            yield from tokens(inner, numbers)
            yield from _bound(inner.outs, numbers)
        yield "results"
        for result in block.results:
            yield _token(result, numbers)


def _bound(variables: tuple[Var, ...], numbers: dict[Var, int]) -> Iterator[Hashable]:
    for var in variables:
        numbers[var] = len(numbers)
        yield str(var.type)


def _token(atom: Atom, numbers: dict[Var, int]) -> Hashable:
    return numbers.get(atom, atom) if isinstance(atom, Var) else atom
