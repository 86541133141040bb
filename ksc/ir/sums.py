"""Which carries of a loop are sums, to which each iteration adds something without looking at them."""

from __future__ import annotations

from collections import Counter

from ksc.ir.nodes import Atom, Block, Eqn, Var, walk
from ksc.ir.types import FloatType, IntegerType

_Sources = dict[Var, tuple[Atom, ...]]
"""Of each sum that a start leads to, the sums that it is made of; of the start itself none."""


def are_sums(eqn: Eqn) -> bool:
    """Whether all carries of a ``for`` are sums of numbers, so that ranges of iterations can be summed up apart."""
    (body,) = eqn.blocks
    carries = eqn.params["carries"]
    read = Counter(atom for inner in walk(body) for atom in (*inner.args, *_results(inner)))
    read.update(body.results)
    for param, result in zip(body.params[1:], body.results[:carries], strict=True):
        if not isinstance(param.type, FloatType | IntegerType):
            return False
        sources: _Sources = {param: ()}
        _follow(body, sources)
        if result not in sources:
            return False
        followed = _reads(result, sources)
        if any(read[var] != followed[var] for var in followed):
            return False
    return True


def _results(eqn: Eqn) -> list[Atom]:
    return [atom for block in eqn.blocks for atom in block.results]


def _follow(block: Block, sources: _Sources) -> None:
    """Find the sums in a block to which something in ``sources`` leads, in the order of the program."""
    for eqn in block.eqns:
        match eqn.op:
            case "add":
                source = next((arg for arg in eqn.args if arg in sources), None)
                if source is not None:
                    sources[eqn.outs[0]] = (source,)
            case "sub" if eqn.args[0] in sources:
                sources[eqn.outs[0]] = eqn.args[:1]
            case "if":
                for side in eqn.blocks:
                    _follow(side, sources)
                for k, out in enumerate(eqn.outs):
                    results = tuple(side.results[k] for side in eqn.blocks)
                    if all(result in sources for result in results):
                        sources[out] = results
            case "for":
                _follow_loop(eqn, sources)


def _follow_loop(loop: Eqn, sources: _Sources) -> None:
    (body,) = loop.blocks
    for start, param, result, out in zip(loop.args[1:], body.params[1:], body.results, loop.outs, strict=False):
        inside: _Sources = {param: ()}
        if start not in sources:
            continue
        _follow(body, inside)
        if result in inside:
            sources.update(inside)
            sources[out] = (start, result)


def _reads(result: Atom, sources: _Sources) -> Counter[Atom]:
    """How often what lies between a sum and its start is read for it, both of them included."""
    followed = Counter([result])
    pending = [result]
    while pending:
        atom = pending.pop()
        assert isinstance(atom, Var)
        for source in sources[atom]:
            if source not in followed:
                pending.append(source)
            followed[source] += 1
    return followed
