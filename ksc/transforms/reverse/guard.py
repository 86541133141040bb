"""Equations whose results may have no cotangent at run time are reversed in an ``if`` that asks.

    y = (sqrt x)                                      has_y_bar = (or a b)
    s = (if a y 0.0)                   ⟶              x_bar = (if has_y_bar
    t = (if b (mul 2.0 y) 0.0)                          (div y_bar (mul 2.0 y))
                                                        0.0)

Without it y_bar, a zero in the place of what is not there, would meet an infinite derivative. An ``if`` and no
``select``, so that the same holds for the derivative of the derivative. An equation whose reverse only passes numbers
on, adds them or scales them by what is finite keeps a zero a zero, and needs no ``if``. Neighbours that ask the same
share one.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ksc.ir.builder import Builder, Expr
from ksc.ir.nodes import Atom, Const, Eqn, Span, Var, walk_inside
from ksc.ir.types import BoxType, Float, FloatType, TensorType, Type
from ksc.ops import PRIMITIVES, primitive
from ksc.transforms.reverse.finite import gives_finite, is_finite
from ksc.transforms.reverse.presence import Perhaps, Presence, as_bool, either
from ksc.transforms.reverse.scope import Scope
from ksc.transforms.reverse.sweep import Sweep

_LINEAR = frozenset({"add", "sub", "neg", "select"})


@dataclass(frozen=True, slots=True)
class Guard:
    """The ``if`` at the end of a scope, to which more may be added.

    Attributes:
        present: its condition.
        inner: what is collected for the side where it holds.
        name: what the condition is called.
        span: the place of the equation that it was opened for.
    """

    present: Perhaps
    inner: Scope
    name: str
    span: Span | None


def reverse_guarded(sweep: Sweep, eqn: Eqn, scope: Scope) -> None:
    """Reverse one equation, where need be under the condition that there is something to reverse."""
    guard = scope.guard
    stays = _stays(sweep, eqn)
    if guard is not None and not stays and _belongs(sweep, eqn, scope, guard):
        with _handed_over(sweep, eqn, scope, guard) as inner:
            reverse_guarded(sweep, eqn, inner)
        return
    marks = _marks(sweep, eqn, scope)
    if guard is not None and (_holds(guard.inner, eqn) or (marks and eqn.op not in PRIMITIVES)):
        close_guard(sweep, scope)
        marks = _marks(sweep, eqn, scope)
    present = either(*marks) if marks else None
    if present is None or stays or _keeps_zeros(sweep, eqn):
        sweep.reverse_eqn(eqn, scope)
        return
    close_guard(sweep, scope)
    name = f"has_{eqn.outs[0].name}_bar" if eqn.outs else "present"
    scope.guard = Guard(present, scope.inside("if"), name, eqn.span)
    with _handed_over(sweep, eqn, scope, scope.guard) as inner:
        sweep.reverse_eqn(eqn, inner)


def close_guard(sweep: Sweep, scope: Scope) -> None:
    """Emit the ``if`` that is open at the end of a scope."""
    from ksc.transforms.reverse.sides import emit_sides

    guard = scope.guard
    if guard is None:
        return
    scope.guard = None
    close_guard(sweep, guard.inner)
    cond = as_bool(scope.builder, guard.present, guard.name)
    emit_sides(sweep, scope, cond, guard.inner, scope.inside("if"), guard.span)


def _marks(sweep: Sweep, eqn: Eqn, scope: Scope) -> list[Presence]:
    """Whether the cotangents are there that an equation takes from the scope and from accumulators."""
    taken = [scope.presence(out) for out in eqn.outs if out in scope.bars]
    return taken + [sweep.acc_bars[acc][1] for acc in sweep.accumulated(eqn)]


def _holds(scope: Scope, eqn: Eqn) -> bool:
    """Whether a scope, or the ``if`` open in it, has a cotangent of what an equation gives."""
    return any(out in scope.bars for out in eqn.outs) or (scope.guard is not None and _holds(scope.guard.inner, eqn))


def _belongs(sweep: Sweep, eqn: Eqn, scope: Scope, guard: Guard) -> bool:
    """Whether an equation has nothing to reverse but where the condition of an open ``if`` holds."""
    marks = _marks(sweep, eqn, scope)
    if any(out in guard.inner.continued for out in eqn.outs):
        return False
    if not all(mark is not None and mark.implies(guard.present) for mark in marks):
        return False
    return guard.present in marks or _holds(guard.inner, eqn)


@contextmanager
def _handed_over(sweep: Sweep, eqn: Eqn, scope: Scope, guard: Guard) -> Iterator[Scope]:
    """The side where the condition holds, with the cotangents of an equation; what is there where it holds is there."""
    inner = guard.inner
    inner.builder.span = eqn.span
    for out in eqn.outs:
        if out in scope.bars:
            present = scope.presence(out)
            inner.add(out, scope.take(out), None if guard.present.implies(present) else present)
    outside = {acc: sweep.acc_bars[acc] for acc in sweep.accumulated(eqn)}
    for acc, (final, mark) in outside.items():
        sweep.acc_bars[acc] = final, None if guard.present.implies(mark) else mark
    yield inner
    sweep.acc_bars.update(outside)


def _stays(sweep: Sweep, eqn: Eqn) -> bool:
    """Whether the reverse of an equation is never put in an ``if``.

    A loop that turns a tensor into what it was would have to copy it there. Boxes are made and opened wherever the
    equation was run: only then has a box a cotangent.
    """
    return (eqn in sweep.kept and bool(sweep.kept[eqn].undos)) or _has_boxes(eqn)


def _has_boxes(eqn: Eqn) -> bool:
    inside = walk_inside(eqn)
    return any(_is_box(atom.type) for one in (eqn, *inside) for atom in (*one.args, *one.outs))


def _is_box(type_: Type) -> bool:
    return isinstance(type_, BoxType) or (isinstance(type_, TensorType) and _is_box(type_.elem))


def _keeps_zeros(sweep: Sweep, eqn: Eqn) -> bool:
    """Whether the reverse of an equation makes zeros of zeros where the arguments of the function are finite."""
    inside = walk_inside(eqn)
    return all(_keeps_zero(sweep, one) for one in (eqn, *inside))


def _keeps_zero(sweep: Sweep, eqn: Eqn) -> bool:
    if eqn.op in ("call", "callback"):
        return not any(out in sweep.varied for out in eqn.outs)
    if eqn.op not in PRIMITIVES or eqn.outs[0].type != Float or eqn.outs[0] not in sweep.varied:
        return True
    builder = Builder()
    bar = Var("bar", Float)
    args = [Expr(builder, arg) for arg in eqn.args]
    for k, arg in enumerate(eqn.args):
        if arg in sweep.varied and isinstance(arg.type, FloatType):
            primitive(eqn.op).apply_partial(k, args, Expr(builder, eqn.outs[0]), Expr(builder, bar))
    zeros: set[Atom] = {bar}
    finite = {atom for atom in (*eqn.args, *eqn.outs) if isinstance(atom, Var) and atom in sweep.finite}
    for inner in builder.eqns:
        if zeros.isdisjoint(inner.args):
            if gives_finite(inner, finite):
                finite.update(inner.outs)
        elif inner.op in _LINEAR or _scales(inner, zeros, finite):
            zeros.update(inner.outs)
        else:
            return False
    return True


def _scales(eqn: Eqn, zeros: Collection[Atom], finite: Collection[Var]) -> bool:
    match eqn.op, eqn.args:
        case "mul", (a, b):
            return all(atom in zeros or is_finite(atom, finite) for atom in (a, b))
        case "div", (a, Const(value=value)):
            return a in zeros and isinstance(value, float) and value != 0.0 and not math.isnan(value)
        case _:
            return False
