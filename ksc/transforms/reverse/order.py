"""In which order equations are reversed: what reads a tensor counts as earlier than what changes it.

    u = (update i t v)                    old = (index i t)
    new = (index i u)          ⟶          u = (update i t v)
    old = (index i t)                     new = (index i u)

The change hands the cotangent of the tensor on as a whole, and elements read are added to it where it is. Reversed as
they are written, the element would come first: zeros for all others, and then the sum of two whole tensors, in each
iteration. Values are at hand in any order, so only cotangents decide, and effects have no part in it. An equation that
reads a tensor both before and after a change comes after it: there the primal itself holds the tensor twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ksc.ir.nodes import Atom, Eqn, Var
from ksc.ir.rewrite import read_vars


def readers_before_changes(eqns: Sequence[Eqn], changed: Mapping[Var, Atom]) -> list[Eqn]:
    """The equations of a block in the order in which to reverse them, the last one first.

    ``changed`` maps the result of an equation that changes a tensor to that tensor.
    """
    order = list(eqns)
    if not any(out in changed for eqn in eqns for out in eqn.outs):
        return order
    reads = {eqn: set(read_vars([eqn])) for eqn in eqns}
    made = {out: eqn for eqn in eqns for out in eqn.outs}
    after: dict[Eqn, set[Eqn]] = {eqn: {made[var] for var in reads[eqn] if var in made} for eqn in eqns}
    for change in eqns:
        tensors = {changed[out] for out in change.outs if out in changed}
        if not tensors:
            continue
        start = end = order.index(change)
        late = {change}
        for position in range(start + 1, len(order)):
            eqn = order[position]
            if not late.isdisjoint(after[eqn]):
                late.add(eqn)
            elif not tensors.isdisjoint(reads[eqn]):
                after[change].add(eqn)
                end = position + 1
        here = order[start:end]
        order[start:end] = [eqn for eqn in here if eqn not in late] + [eqn for eqn in here if eqn in late]
    return order
