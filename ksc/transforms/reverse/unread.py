"""Results of derivative functions that no caller reads, dropped from the functions and their calls."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ksc.ir.liveness import prune_block
from ksc.ir.nodes import Block, Eqn, walk
from ksc.ir.rewrite import read_vars


def drop_unread(
    main: Block, bodies: Mapping[str, Block], counts: Mapping[str, int], effectful: Collection[str]
) -> tuple[Block, dict[str, Block]]:
    """Drop what is not read of the results of functions that call each other.

    Args:
        main: the body of the entry, which calls them.
        bodies: the bodies of the functions by name.
        counts: how many results of each function stay in any case; they come first.
        effectful: the functions whose calls must stay.

    Returns:
        The bodies again. A result that a recursive function only reads to give it again is dropped too.
    """
    if all(len(body.results) == counts[name] for name, body in bodies.items()):
        return main, dict(bodies)
    kept = {name: list(range(count)) for name, count in counts.items()}
    while True:
        pruned = {name: _with_results(body, kept[name], effectful) for name, body in bodies.items()}
        more: dict[str, set[int]] = {name: set() for name in bodies}
        for block in (main, *pruned.values()):
            read = read_vars(block.eqns, block.results)
            for eqn in walk(block):
                if eqn.op == "call" and eqn.params["callee"] in bodies:
                    name = eqn.params["callee"]
                    more[name] |= {k for k, out in enumerate(eqn.outs) if out in read and k not in kept[name]}
        if not any(more.values()):
            break
        kept = {name: sorted({*kept[name], *more[name]}) for name in kept}
    return _with_calls(main, kept), {name: _with_calls(body, kept) for name, body in pruned.items()}


def _with_results(body: Block, kept: list[int], effectful: Collection[str]) -> Block:
    results = tuple(body.results[k] for k in kept)
    return prune_block(Block(body.params, body.eqns, results, body.span), effectful)


def _with_calls(block: Block, kept: Mapping[str, list[int]]) -> Block:
    """The block with calls that bind no more than the callee gives."""
    eqns = []
    for eqn in block.eqns:
        outs = eqn.outs
        if eqn.op == "call" and eqn.params["callee"] in kept:
            outs = tuple(outs[k] for k in kept[eqn.params["callee"]])
        blocks = tuple(_with_calls(inner, kept) for inner in eqn.blocks)
        eqns.append(Eqn(outs, eqn.op, eqn.args, eqn.params, blocks, eqn.span))
    return Block(block.params, tuple(eqns), block.results, block.span)
