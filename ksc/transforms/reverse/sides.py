"""How cotangents leave the sides of an ``if`` that was built for them.

    y = (if c (mul a b) b)      ⟶      a_bar b_bar = (if c
                                         (tuple (mul b y_bar) (mul a y_bar))
                                         (tuple 0.0 y_bar))

Here b_bar is certainly there, a_bar where c holds. Where neither side nor the condition tells, the ``if`` gives one
more Bool. A tensor that has a cotangent already goes through the ``if``, see ``if_``.
"""

from __future__ import annotations

from ksc.ir.nodes import Atom, Span, Var
from ksc.ir.types import Bool
from ksc.transforms.reverse.presence import ABSENT, Presence, as_bool, either, there_if
from ksc.transforms.reverse.scope import Scope
from ksc.transforms.reverse.sweep import Sweep
from ksc.transforms.tangents import add, tangent_type, zero

_Marks = tuple[Presence, Presence]


def emit_sides(sweep: Sweep, scope: Scope, cond: Atom, then: Scope, else_: Scope, span: Span | None) -> None:
    """Emit ``if cond`` with the code collected in two scopes, and add to ``scope`` what leaves them."""
    inners = (then, else_)
    sides = [inner.leave() for inner in inners]
    targets = list({var: None for given in sides for var in given})
    continued = {var for inner in inners for var in inner.continued}
    accumulated = list({var: None for inner in inners for var in inner.added})
    marks: list[_Marks] = [(then.left(var, sides[0]), else_.left(var, sides[1])) for var in targets]
    marks += [(then.added.get(var, ABSENT), else_.added.get(var, ABSENT)) for var in accumulated]
    known: dict[_Marks, Presence] = {}
    flags: dict[_Marks, Var] = {}
    for var, pair in zip((*targets, *accumulated), marks, strict=True):
        if pair not in known and pair not in flags:
            _decide(scope, cond, pair, known, flags, f"has_{var.name}_bar")
    blocks = []
    for k, (inner, given) in enumerate(zip(inners, sides, strict=True)):
        results = [_leaving(var, given.get(var), inner, scope, continued) for var in targets]
        results += [as_bool(inner.builder, pair[k], flag.name) for pair, flag in flags.items()]
        blocks.append(inner.finish((), results, sweep.pairs.module.effectful))
    names = [f"{var.name}_bar" for var in targets] + [flag.name for flag in flags.values()]
    types = [tangent_type(var.type) for var in targets] + [Bool for _ in flags]
    outs = scope.builder.emit("if", [cond], types, names=names, blocks=blocks, span=span)
    known.update(zip(flags, map(there_if, outs[len(targets) :]), strict=True))
    for var, out, pair in zip(targets, outs, marks, strict=False):
        if var in continued:
            scope.put(var, out, either(scope.presence(var), known[pair]))
        else:
            scope.add(var, out, known[pair])
    for var, pair in zip(accumulated, marks[len(targets) :], strict=True):
        scope.note_added(var, known[pair])


def _decide(
    scope: Scope, cond: Atom, pair: _Marks, known: dict[_Marks, Presence], flags: dict[_Marks, Var], name: str
) -> None:
    """Find out whether what the two sides give is there, or ask for a Bool of the ``if`` that says so."""
    a, b = pair
    if a == b:
        known[pair] = a
    elif a is None and b == ABSENT:
        known[pair] = there_if(cond)
    elif b is None and a == ABSENT:
        known[pair] = there_if(scope.builder.apply("not", cond, name="otherwise"))
    else:
        flags[pair] = Var(name, Bool)


def _leaving(var: Var, bar: Atom | None, inner: Scope, around: Scope, continued: set[Var]) -> Atom:
    """What a side gives for the cotangent of a variable: all of it where a side goes on from that around the ``if``."""
    if var not in continued or var in inner.continued:
        return zero(inner.builder, var) if bar is None else bar
    before = around.bars[var]
    return before if bar is None else add(inner.builder, before, bar, f"{var.name}_bar")
