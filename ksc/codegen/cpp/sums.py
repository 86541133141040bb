"""Sums that begin with the number that is added to them: a register less for short loops, and the user's own order.

    double t = 0.0;                                double r = q * v(i);
    for (int64_t j = 0; j < i; ++j) {       ⟶      for (int64_t j = 0; j < i; ++j) {
        t += lower(j) * v(j);                          r += lower(j) * v(j);
    }                                              }
    const double r = q * v(i) + t;

The addition is in the same block, nothing else reads the sum, what it is added to is known before the loop, and that
is not divided among threads.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ksc.codegen.cpp.analysis import Analysis
from ksc.codegen.cpp.lanes import is_tree
from ksc.ir.nodes import Atom, Eqn, Var
from ksc.ir.types import is_scalar

if TYPE_CHECKING:
    from ksc.codegen.cpp.printer import Printer


@dataclass(frozen=True, slots=True)
class Addition:
    """What adds a sum to its ``start``."""

    start: Atom
    eqn: Eqn


def additions(eqns: Sequence[Eqn], analysis: Analysis, divided: Collection[int]) -> Iterator[tuple[Var, Addition]]:
    """The sums that loops of a block give, with what adds them to something known before the loop."""
    loops: dict[Var, int] = {}
    made: dict[Var, int] = {}
    for n, eqn in enumerate(eqns):
        for total, start in (eqn.args, eqn.args[::-1]) if eqn.op == "add" else ():
            if not isinstance(total, Var) or total not in loops or analysis.single_use(total) is None:
                continue
            if not isinstance(start, Var) or made.get(start, -1) < loops[total]:
                yield total, Addition(start, eqn)
                break
        if eqn.op == "reduce" and eqn.params["monoid"] == "add" and id(eqn) not in divided and not is_tree(eqn):
            loops.update((out, n) for out in eqn.outs if is_scalar(out.type))
        made.update((out, n) for out in eqn.outs)


def begun(p: Printer, total: Atom) -> Addition | None:
    """The addition that the loop which gives ``total`` takes over, if it does."""
    addition = p.additions.get(total) if isinstance(total, Var) else None
    return addition if addition is not None and p.varies(total) == p.varies(addition.eqn.outs[0]) else None


def is_begun(p: Printer, add: Eqn) -> bool:
    """Whether the loop that gives one of its operands has taken an addition over."""
    return any(addition is not None and addition.eqn is add for addition in (begun(p, arg) for arg in add.args))
