"""A tensor whose elements are added up is made and added up by one loop.

    e = (build n (lam i (exp (index i x))))
    s = (reduce add n (lam i (index i e)))
      ⟶      s e = (for n 0.0 (lam (i s) (let (t (exp (index i x))) (tuple (add s t) t))))

Each number is stored while it is in a register, and the additions, of which each waits for the one before, go on beside
what the elements cost. The param ``lanes`` says that the terms may be added in lanes, as those of a ``reduce``. Done to
what the compiler of a processor is given, in rows: where the loops around, if any, make something for each iteration.
"""

from __future__ import annotations

from collections.abc import Sequence

from ksc.ir.builder import Builder
from ksc.ir.nodes import Atom, Block, Const, Eqn, Program, Var, const
from ksc.ir.rewrite import Env, clone_block, read_vars, replace, with_blocks, with_body, with_eqns, with_functions
from ksc.ir.types import Float, Integer, is_scalar
from ksc.ops import PRIMITIVES

SHORTEST = 17
"""The number of elements below which loops are written out, or kept in registers."""

_SIMPLE = frozenset({"index", "size"})


def add_up_elements(program: Program) -> Program:
    """Do so in all functions; the same program where there is nothing to do."""
    return with_functions(program, lambda function: with_body(function, _block(function.body)))


def _block(block: Block) -> Block:
    eqns: list[Eqn] = []
    for eqn in block.eqns:
        inner = eqn.op in ("if", "withacc") or (eqn.op == "build" and eqn.outs)
        eqns.append(with_blocks(eqn, [_block(one) for one in eqn.blocks]) if inner else eqn)
        position = _maker(eqns) if _is_sum(eqn) else None
        if position is not None:
            total, maker = eqns.pop(), eqns.pop(position)
            eqns.append(_together(maker, total))
    return with_eqns(block, eqns)


def _is_sum(eqn: Eqn) -> bool:
    """Whether this is a sum over one index of terms that are simple, some of them Floats."""
    types = {out.type for out in eqn.outs}
    return (
        eqn.op == "reduce"
        and eqn.params["monoid"] == "add"
        and Float in types
        and types <= {Float, Integer}
        and _is_row(eqn)
    )


def _is_row(loop: Eqn) -> bool:
    (size, *others) = loop.args
    (body,) = loop.blocks
    short = isinstance(size, Const) and int(size.value) < SHORTEST
    return not others and not short and all(eqn.op in PRIMITIVES or eqn.op in _SIMPLE for eqn in body.eqns)


def _maker(eqns: Sequence[Eqn]) -> int | None:
    """The position of the loop that makes elements which the last equation adds up, each at its own index."""
    *before, total = eqns
    (body,) = total.blocks
    read = {eqn.args[0] for eqn in body.eqns if eqn.op == "index"}
    for position in reversed(range(len(before))):
        maker = before[position]
        if read.intersection(maker.outs):
            fits = (
                maker.op == "build" and maker.args == total.args and not maker.params.get("nested") and _is_row(maker)
            )
            own = [eqn for eqn in body.eqns if any(arg in maker.outs for arg in eqn.args)]
            at_own = all(eqn.op == "index" and eqn.args[1:] == body.params for eqn in own)
            scalars = fits and all(is_scalar(result.type) for result in maker.blocks[0].results)
            unread = not any(out in read_vars(before[position + 1 :]) for out in maker.outs)
            return position if at_own and scalars and unread else None
        if maker.op not in PRIMITIVES and maker.op not in _SIMPLE and maker.op != "reduce":
            return None
    return None


def _together(maker: Eqn, total: Eqn) -> Eqn:
    made = clone_block(maker.blocks[0], {})
    (body,) = total.blocks
    elements: dict[Atom, Atom] = dict(zip(maker.outs, made.results, strict=True))
    env: Env = dict(zip(body.params, made.params, strict=True))
    builder = Builder(total.span)
    builder.eqns = list(made.eqns)
    for eqn in body.eqns:
        if eqn.op == "index" and eqn.args[0] in elements:
            env[eqn.outs[0]] = elements[eqn.args[0]]
        else:
            copy = clone_block(Block((), (eqn,), eqn.outs), env)
            builder.eqns += copy.eqns
    sums = [Var(out.name, out.type) for out in total.outs]
    added = [
        builder.apply("add", own, replace(term, env), name=own.name)
        for own, term in zip(sums, body.results, strict=True)
    ]
    block = builder.block((*made.params, *sums), (*added, *made.results), maker.span)
    zeros = [const(0.0) if out.type == Float else const(0) for out in total.outs]
    params = {"carries": len(sums), "reverse": False, "lanes": True}
    return Eqn((*total.outs, *maker.outs), "for", (*total.args, *zeros), params, (block,), total.span)
