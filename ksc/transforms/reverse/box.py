"""The reverse of ``box`` and ``unbox``: each is the other, for boxes of cotangents.

b = (box name x n)      ⟶      x_bar = (unbox b_bar), or a zero where the box has no cotangent: its zero is null
x n = (unbox b)         ⟶      b_bar = (box [d name] x_bar)
"""

from __future__ import annotations

from ksc.ir.nodes import Atom, Eqn, Var
from ksc.ir.types import BoxType, is_differentiable
from ksc.transforms.reverse.presence import as_bool, either
from ksc.transforms.reverse.scope import Scope
from ksc.transforms.reverse.sweep import Sweep
from ksc.transforms.tangents import atom_name, emit_box, emit_unbox, tangent_box, zero


def reverse_box(sweep: Sweep, eqn: Eqn, scope: Scope) -> None:
    """Open the box of cotangents."""
    present = scope.presence(eqn.outs[0])
    bar = scope.take(eqn.outs[0])
    if bar is None:
        return
    fields = [arg for arg in eqn.args if is_differentiable(arg.type)]
    names = [f"{atom_name(arg)}_bar" for arg in fields]
    builder = scope.builder
    if present is None:
        opened = emit_unbox(builder, bar, sweep.boxes, names)
    else:
        opened = builder.if_(
            as_bool(builder, present, f"has_{eqn.outs[0].name}_bar"),
            lambda inner: emit_unbox(inner, bar, sweep.boxes, names),
            lambda inner: [zero(inner, arg) for arg in fields],
        )
    for arg, field in zip(fields, opened, strict=True):
        scope.add(arg, field, present)


def reverse_unbox(sweep: Sweep, eqn: Eqn, scope: Scope) -> None:
    """Box the cotangents of the fields."""
    (box,) = eqn.args
    marks = [scope.presence(out) for out in eqn.outs]
    bars = [scope.take(out) for out in eqn.outs]
    if not scope.wants(box) or all(bar is None for bar in bars):
        return
    assert isinstance(box, Var) and isinstance(box.type, BoxType)
    fields: list[Atom] = []
    for out, bar in zip(eqn.outs, bars, strict=True):
        if is_differentiable(out.type):
            fields.append(zero(scope.builder, out) if bar is None else bar)
    sweep.pairs.module.need_tangent(box.type)
    present = either(*marks)
    scope.add(box, emit_box(scope.builder, tangent_box(box.type.name), fields), present)
