"""Removal of what is not read, from single blocks; transforms use it to find what a derivative needs of its primal.

Results of structured ops that nobody reads go away together with what made them: a side's result of an ``if``, a
stacked result, a carry (also where carries keep only each other alive), an accumulator that is never read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from ksc.ir.nodes import Atom, Block, Eqn, Var, walk_inside
from ksc.ir.rewrite import OWN_EFFECTS

Carried = dict[Eqn, set[int]]
"""Carries of loops that are needed. Loops around go round until nothing more is, so this only grows; a loop that is met
again starts from what it needed before, and does not go round again for that."""


def prune_block(block: Block, effectful: Collection[str], live: set[Var] | None = None) -> Block:
    """The block with what its results, ``live`` and effects need.

    ``effectful`` names the functions whose calls must stay. An addition to an accumulator stays where the accumulator
    is in ``live``, which learns the variables that the block reads.
    """
    return _prune_block(block, effectful, set() if live is None else live, {})


def prune_eqns(eqns: Sequence[Eqn], effectful: Collection[str], live: set[Var]) -> tuple[Eqn, ...]:
    """The equations needed for the variables in ``live``, which learns what these equations read."""
    return _prune_eqns(eqns, effectful, live, {})


def _prune_block(block: Block, effectful: Collection[str], live: set[Var], carried: Carried) -> Block:
    _read(block.results, live)
    return Block(block.params, _prune_eqns(block.eqns, effectful, live, carried), block.results, block.span)


def _prune_eqns(eqns: Sequence[Eqn], effectful: Collection[str], live: set[Var], carried: Carried) -> tuple[Eqn, ...]:
    kept = []
    for eqn in reversed(eqns):
        pruned = _prune(eqn, effectful, live, carried)
        if pruned is not None:
            kept.append(pruned)
    return tuple(reversed(kept))


def _read(atoms: Iterable[Atom], live: set[Var]) -> None:
    live.update(atom for atom in atoms if isinstance(atom, Var))


def has_effect(eqn: Eqn, effectful: Collection[str], live: Collection[Var]) -> bool:
    """Whether the equation does something beyond giving its outs, accumulators in ``live`` considered."""
    if eqn.op in OWN_EFFECTS:
        return True
    if eqn.op == "acc_add":
        return eqn.args[0] in live
    if eqn.op == "call":
        return eqn.params["callee"] in effectful
    return any(has_effect(inner, effectful, live) for block in eqn.blocks for inner in block.eqns)


def _prune(eqn: Eqn, effectful: Collection[str], live: set[Var], carried: Carried) -> Eqn | None:
    if not any(out in live for out in eqn.outs) and not has_effect(eqn, effectful, live):
        return None
    match eqn.op:
        case "if":
            keep = [k for k, out in enumerate(eqn.outs) if out in live]
            blocks = tuple(_side(block, keep, effectful, live, carried) for block in eqn.blocks)
            pruned = Eqn(tuple(eqn.outs[k] for k in keep), eqn.op, eqn.args, eqn.params, blocks, eqn.span)
        case "build" | "reduce":
            keep = [k for k, out in enumerate(eqn.outs) if out in live]
            body = _side(eqn.blocks[0], keep, effectful, live, carried)
            pruned = Eqn(tuple(eqn.outs[k] for k in keep), eqn.op, eqn.args, eqn.params, (body,), eqn.span)
        case "withacc":
            pruned = _prune_withacc(eqn, effectful, live, carried)
        case "for" | "while":
            pruned = _prune_loop(eqn, effectful, live, carried)
        case _:
            pruned = eqn
    _read(pruned.args, live)
    return pruned


def _side(block: Block, keep: Sequence[int], effectful: Collection[str], live: set[Var], carried: Carried) -> Block:
    results = tuple(block.results[k] for k in keep)
    return _prune_block(Block(block.params, block.eqns, results, block.span), effectful, live, carried)


def _prune_withacc(eqn: Eqn, effectful: Collection[str], live: set[Var], carried: Carried) -> Eqn:
    (body,) = eqn.blocks
    n = len(eqn.args)
    accs = [k for k in range(n) if eqn.outs[k] in live]
    keep = [k for k in range(len(body.results)) if eqn.outs[n + k] in live]
    live.update(body.params[k] for k in accs)
    params = tuple(body.params[k] for k in accs)
    inner = _side(Block(params, body.eqns, body.results, body.span), keep, effectful, live, carried)
    outs = tuple(eqn.outs[k] for k in accs) + tuple(eqn.outs[n + k] for k in keep)
    return Eqn(outs, eqn.op, tuple(eqn.args[k] for k in accs), eqn.params, (inner,), eqn.span)


def _prune_loop(eqn: Eqn, effectful: Collection[str], live: set[Var], carried: Carried) -> Eqn:
    *conds, body = eqn.blocks
    n = eqn.params["carries"]
    skip = len(body.params) - n
    carries = carried.setdefault(eqn, set())
    carries.update(k for k in range(n) if eqn.outs[k] in live)
    stacked = [k for k in range(n, len(eqn.outs)) if eqn.outs[k] in live]
    while True:
        inside = set(live)
        new_conds = [_prune_block(cond, effectful, inside, carried) for cond in conds]
        keep = [k for k in range(n) if k in carries] + stacked
        new_body = _side(body, keep, effectful, inside, carried)
        needed = {
            k for k in range(n) if body.params[skip + k] in inside or any(cond.params[k] in inside for cond in conds)
        }
        if needed <= carries:
            break
        carries |= needed
    live |= inside
    kept = [k for k in range(n) if k in carries]
    heads = tuple(Block(tuple(c.params[k] for k in kept), c.eqns, c.results, c.span) for c in new_conds)
    params = body.params[:skip] + tuple(body.params[skip + k] for k in kept)
    blocks = (*heads, Block(params, new_body.eqns, new_body.results, new_body.span))
    args = eqn.args[:skip] + tuple(eqn.args[skip + k] for k in kept)
    outs = tuple(eqn.outs[k] for k in kept) + tuple(eqn.outs[k] for k in stacked)
    return Eqn(outs, eqn.op, args, {**eqn.params, "carries": len(kept)}, blocks, eqn.span)


def adds(eqn: Eqn) -> bool:
    """Whether an equation, or one inside it, adds to an accumulator, be it its own."""
    return eqn.op == "acc_add" or any(adds(inner) for block in eqn.blocks for inner in block.eqns)


def adds_outside(eqn: Eqn) -> bool:
    """Whether the equation adds to an accumulator that is not its own."""
    inside = [eqn, *walk_inside(eqn)]
    own = {param for inner in inside if inner.op == "withacc" for param in inner.blocks[0].params}
    return any(inner.op == "acc_add" and inner.args[0] not in own for inner in inside)
