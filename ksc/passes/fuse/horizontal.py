"""Horizontal fusion: loops of equal sizes that do not read each other's results become one with several results.

    s = (reduce add n (lam i (index i x)))
    q = (reduce add n (lam i (mul (index i x) (index i x))))
                            ⟶      s q = (reduce add n (lam i (tuple (index i x) (mul (index i x) (index i x)))))

Nothing moves across an equation with an effect.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from ksc.ir.liveness import has_effect
from ksc.ir.nodes import Block, Eqn, Function, Program, Var, walk
from ksc.ir.rewrite import assemble, effectful_functions, read_vars, substitute_block
from ksc.passes.fuse.changes import changed_tensors
from ksc.passes.product import product_of

LARGEST = 200
"""The number of equations that a merged body may have."""

Key = tuple[object, ...]


def fuse_neighbours(program: Program) -> Program:
    """Merge every ``build`` and ``reduce`` that can be, in all blocks."""
    effectful = effectful_functions(program.functions)
    functions = {name: Function(name, _block(f.body, effectful), f.span) for name, f in program.functions.items()}
    return assemble(functions, program.entry, program.boxes, renew=False)


def _block(block: Block, effectful: Collection[str]) -> Block:
    done: list[Eqn] = []
    segment: list[Eqn] = []
    for eqn in block.eqns:
        blocks = tuple(_block(inner, effectful) for inner in eqn.blocks)
        new = Eqn(eqn.outs, eqn.op, eqn.args, eqn.params, blocks, eqn.span)
        if has_effect(new, effectful, ()) or _adds(new):
            done += [*_merged(segment), new]
            segment = []
        else:
            segment.append(new)
    return Block(block.params, (*done, *_merged(segment)), block.results, block.span)


def _adds(eqn: Eqn) -> bool:
    return eqn.op == "acc_add" or any(_adds(inner) for block in eqn.blocks for inner in block.eqns)


def _key(eqn: Eqn) -> Key | None:
    """What loops that are merged have in common."""
    if eqn.op not in ("build", "reduce") or eqn.params.get("nested") or product_of(eqn) is not None:
        return None
    return eqn.op, eqn.args, eqn.params.get("monoid")


def _merged(eqns: list[Eqn]) -> list[Eqn]:
    keys = Counter(key for eqn in eqns if (key := _key(eqn)) is not None)
    for key, count in keys.items():
        if count > 1:
            eqns = _merge(eqns, key)
    return eqns


def _merge(eqns: list[Eqn], key: Key) -> list[Eqn]:
    """Merge the loops of one key that are as many such loops away from what is given.

    Of two of these none can read, through whatever stands between, what the other one gives.
    """
    where = [k for k, eqn in enumerate(eqns) if _key(eqn) == key]
    first, last = where[0], where[-1] + 1
    depth: dict[Var, int] = {}
    read: dict[Var, int] = {}
    ranked: list[tuple[int, Eqn]] = []
    for eqn in eqns[first:last]:
        used = read_vars([eqn])
        own = max((depth.get(var, 0) for var in used), default=0)
        # What reads a tensor stays before what may change it in place, lest it be copied.
        own = max((own, *(read.get(var, 0) for var in changed_tensors(eqn))))
        is_loop = _key(eqn) == key
        depth.update(dict.fromkeys(eqn.outs, own + is_loop))
        read.update((var, max(read.get(var, 0), own + is_loop)) for var in used)
        ranked.append((2 * own + is_loop, eqn))
    ranks = [rank for rank, _ in ranked if rank % 2]
    if len(set(ranks)) == len(ranks):
        return eqns
    middle: list[Eqn] = []
    previous = -1
    for rank, eqn in sorted(ranked, key=lambda pair: pair[0]):
        if rank % 2 and rank == previous and _size(middle[-1]) + _size(eqn) <= LARGEST:
            middle[-1] = _together(middle[-1], eqn)
        else:
            middle.append(eqn)
        previous = rank
    return [*eqns[:first], *middle, *eqns[last:]]


def _size(eqn: Eqn) -> int:
    return sum(1 for _ in walk(eqn.blocks[0]))


def _together(first: Eqn, second: Eqn) -> Eqn:
    a, b = first.blocks[0], second.blocks[0]
    seen = substitute_block(b, dict(zip(b.params, a.params, strict=True)))
    body = Block(a.params, a.eqns + seen.eqns, a.results + seen.results, a.span)
    return Eqn(first.outs + second.outs, first.op, first.args, first.params, (body,), first.span or second.span)
