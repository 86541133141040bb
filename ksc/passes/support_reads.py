"""Rows of tangents that are made in a range of directions, and read in that range only.

What is outside of the range need not be made: the loop that makes the row is marked ``inside``, and is printed without
the zeros around it (``ksc/codegen/cpp/spans.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ksc.ir.nodes import Atom, Block, Var
from ksc.ir.types import TensorType

Range = tuple[Atom, Atom]
"""The first direction, and the one behind the last."""


def mark_inside(body: Block, ranges: Mapping[Var, Range]) -> Block:
    """The body with such loops marked; ``ranges`` are those of loops, by the index that counts directions."""
    return _Readers(body, ranges).block(body)


class _Readers:
    """Which rows that a loop makes in a range are read in that range only: what is outside of it need not be made."""

    def __init__(self, body: Block, ranges: Mapping[Var, Range]) -> None:
        self.ranges = ranges
        self.reads: dict[Var, set[Range]] = {}
        self.elsewhere: set[Atom] = set(body.results)
        self.parts: dict[Var, Var] = {}
        self.visit(body, {})

    def visit(self, block: Block, inside: dict[Atom, Range]) -> None:
        for eqn in block.eqns:
            for k, arg in enumerate(eqn.args):
                if not isinstance(arg, Var) or not isinstance(arg.type, TensorType) or eqn.op == "size":
                    continue
                if eqn.op == "index" and k == 0 and len(eqn.args) > arg.type.rank and eqn.args[-1] in inside:
                    self.reads.setdefault(arg, set()).add(inside[eqn.args[-1]])
                else:
                    self.elsewhere.add(arg)
            for inner in eqn.blocks:
                last = inner.params[-1] if inner.params else None
                limited = last is not None and last in self.ranges
                self.visit(inner, {**inside, last: self.ranges[last]} if limited and last is not None else inside)
                for out, result in zip(eqn.outs, inner.results, strict=False):
                    if eqn.op == "build" and isinstance(result, Var) and result not in self.parts:
                        self.parts[result] = out
                    else:
                        self.elsewhere.add(result)

    def only_in(self, var: Var, range_: Range) -> bool:
        """Whether elements of a tensor, or of that of which it becomes a part, are read in this range alone."""
        if var in self.elsewhere or not self.reads.get(var, {range_}) <= {range_}:
            return False
        return var not in self.parts or self.only_in(self.parts[var], range_)

    def block(self, block: Block) -> Block:
        eqns = []
        for eqn in block.eqns:
            params = eqn.params
            last = eqn.blocks[0].params[-1:] if eqn.op == "build" else ()
            range_ = self.ranges.get(last[0]) if last else None
            if range_ is not None and all(self.only_in(out, range_) for out in eqn.outs):
                params = {**params, "inside": True}
            eqns.append(replace(eqn, params=params, blocks=tuple(map(self.block, eqn.blocks))) if eqn.blocks else eqn)
        return Block(block.params, tuple(eqns), block.results, block.span)
