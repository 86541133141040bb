"""Which carries of a loop are sums, to which each iteration adds something without looking at them."""

from __future__ import annotations

from collections import Counter

from ksc.ir.nodes import Atom, Block, Eqn, Var, walk
from ksc.ir.types import FloatType, IntegerType


def are_sums(eqn: Eqn) -> bool:
    """Whether all carries of a ``for`` are sums of numbers, so that ranges of iterations can be summed up apart."""
    (body,) = eqn.blocks
    carries = eqn.params["carries"]
    params = body.params[1:]
    read = Counter(atom for inner in walk(body) for atom in (*inner.args, *_results(inner)) if isinstance(atom, Var))
    read.update(atom for atom in body.results if isinstance(atom, Var))
    for param, result in zip(params, body.results[:carries], strict=True):
        if not isinstance(param.type, FloatType | IntegerType):
            return False
        followed: Counter[Var] = Counter()
        if not _adds_to(result, param, body, followed) or any(read[var] != followed[var] for var in followed):
            return False
    return True


def _results(eqn: Eqn) -> list[Atom]:
    return [atom for block in eqn.blocks for atom in block.results]


def _adds_to(atom: Atom, start: Var, block: Block, followed: Counter[Var]) -> bool:
    """Whether ``atom`` is ``start`` and something added to it; counts the reads of both and of what lies between."""
    if not isinstance(atom, Var):
        return False
    followed[atom] += 1
    if atom is start:
        return True
    maker = next((eqn for eqn in block.eqns if atom in eqn.outs), None)
    if maker is None:
        return False
    k = maker.outs.index(atom)
    match maker.op:
        case "add":
            # Where neither operand leads to the start, nothing that was counted matters.
            return any(_adds_to(arg, start, block, followed) for arg in maker.args if _leads(arg, start, block))
        case "sub":
            return _adds_to(maker.args[0], start, block, followed)
        case "if":
            return all(_adds_to_outer(side, k, start, block, followed) for side in maker.blocks)
        case "for" if k < maker.params["carries"]:
            (body,) = maker.blocks
            inner = body.params[1 + k]
            return _adds_to(body.results[k], inner, body, followed) and _adds_to(
                maker.args[1 + k], start, block, followed
            )
        case _:
            return False


def _adds_to_outer(side: Block, k: int, start: Var, around: Block, followed: Counter[Var]) -> bool:
    """The same for a result of one side of an ``if``, which sees what was bound around it."""
    return _adds_to(side.results[k], start, Block((), (*around.eqns, *side.eqns), (), around.span), followed)


def _leads(atom: Atom, start: Var, block: Block) -> bool:
    return _adds_to(atom, start, block, Counter())
