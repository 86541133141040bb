"""The reverse of ``update``: the value written takes the cotangent of its place, which is zero before.

y = (update i x v)      ⟶      v_bar = (index i y_bar),  x_bar = (update i y_bar 0.0)

y_bar is not read after that, so its memory becomes that of x_bar.
"""

from __future__ import annotations

from ksc.ir.nodes import Atom, Eqn
from ksc.transforms.reverse.scope import Scope, Taken
from ksc.transforms.reverse.sweep import Sweep
from ksc.transforms.tangents import atom_name, tangent_type, zero_of_part


def reverse(sweep: Sweep, eqn: Eqn, scope: Scope) -> None:
    """Emit the read and the reset."""
    present = scope.presence(eqn.outs[0])
    bar = scope.take(eqn.outs[0])
    if bar is None:
        return
    tensor, *at, value = eqn.args
    builder = scope.builder
    part: Atom | None = None
    if scope.wants(value):
        name = f"{atom_name(value)}_bar"
        (part,) = builder.emit("index", [bar, *at], [tangent_type(value.type)], names=[name])
        scope.add(value, part, present)
    if scope.wants(tensor):
        nothing = zero_of_part(builder, tensor, len(at))
        name = f"{atom_name(tensor)}_bar"
        (rest,) = builder.emit("update", [bar, *at, nothing], [bar.type], names=[name])
        if part is not None:
            scope.taken[rest] = Taken(bar, tuple(at), part)
        scope.add(tensor, rest, present)
