"""The reverse of ``index``: the cotangent is added at the same place.

y = (index i x)      ⟶      (acc_add i x_bar y_bar)

x_bar is the accumulator around the outermost loop that x is free in, or else what was added to x_bar so far:

                     ⟶      x_bar = (withacc x_bar (lam x_bar (acc_add i x_bar y_bar)))
"""

from __future__ import annotations

from ksc.ir.nodes import Eqn
from ksc.transforms.reverse.scope import Scope
from ksc.transforms.reverse.sweep import Sweep


def reverse(sweep: Sweep, eqn: Eqn, scope: Scope) -> None:
    """Emit the addition."""
    present = scope.presence(eqn.outs[0])
    scope.add_at(eqn.args[0], eqn.args[1:], scope.take(eqn.outs[0]), present)
