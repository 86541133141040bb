"""The reverse of ``callback``: there is none; a callback with a vjp is a call with a rule, see ``call``."""

from __future__ import annotations

from ksc.ir.nodes import Eqn
from ksc.transforms.reverse.scope import Scope
from ksc.transforms.reverse.sweep import Sweep
from ksc.transforms.tangents import refuse_callback


def reverse(sweep: Sweep, eqn: Eqn, scope: Scope) -> None:
    """Refuse where a result of the callback has a cotangent and an argument wants one."""
    bars = [scope.take(out) for out in eqn.outs]
    if any(bar is not None for bar in bars) and any(scope.wants(arg) for arg in eqn.args):
        refuse_callback(eqn)
