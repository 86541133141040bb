"""The reverse of ``index``: the cotangent is added at the same place.

y = (index i x)      ⟶      (acc_add x_bar i y_bar)
"""

from __future__ import annotations

from ksc.ir.nodes import Eqn
from ksc.transforms.reverse.scope import Scope
from ksc.transforms.reverse.sweep import Sweep


def reverse(sweep: Sweep, eqn: Eqn, scope: Scope) -> None:
    """Emit the addition."""
    scope.add_at(eqn.args[0], eqn.args[1:], scope.take(eqn.outs[0]))
