"""The forward rules of all ops that are not scalar primitives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ksc.ir.builder import Builder
from ksc.ir.nodes import Atom, Block, Eqn, Var
from ksc.ir.types import AccType, BoxType, is_differentiable
from ksc.transforms.forward.sweep import Sweep
from ksc.transforms.tangents import refuse_accumulators, refuse_callback, tangent_box, tangent_type, zero_of_part
from ksc.transforms.transpose import rule_of

Rule = Callable[[Sweep, Eqn, Builder], None]


def _named(var: Var) -> Var:
    return Var(f"{var.name}_dot", tangent_type(var.type))


def _filled(
    sweep: Sweep, builder: Builder, results: Sequence[Atom], dots: Sequence[Atom | None], which: Sequence[int]
) -> list[Atom]:
    """The tangents of the results ``which``, zeros made up."""
    filled = []
    for k in which:
        dot = dots[k]
        filled.append(sweep.zero(results[k], builder) if dot is None else dot)
    return filled


def _if(sweep: Sweep, eqn: Eqn, builder: Builder) -> None:
    sides = []
    for block in eqn.blocks:
        inner = Builder(eqn.span)
        sides.append((block, inner, sweep.block(block, inner)))
    which = [k for k in range(len(eqn.outs)) if any(dots[k] is not None for _, _, dots in sides)]
    blocks = [
        inner.block((), (*block.results, *_filled(sweep, inner, block.results, dots, which)), block.span)
        for block, inner, dots in sides
    ]
    tangents = tuple(_named(eqn.outs[k]) for k in which)
    builder.eqns.append(Eqn(eqn.outs + tangents, "if", eqn.args, eqn.params, tuple(blocks), eqn.span))
    _bind(sweep, eqn.outs, which, tangents)


def _bind(sweep: Sweep, outs: Sequence[Var], which: Sequence[int], tangents: Sequence[Var]) -> None:
    for k, out in enumerate(outs):
        sweep.set(out, tangents[which.index(k)] if k in which else None)


def _loop(sweep: Sweep, eqn: Eqn, builder: Builder) -> None:
    """``for`` and ``while``.

    (for n x (lam (i c) e))   ⟶   (for n x x_dot (lam (i c c_dot) (tuple e e_dot)))
    """
    *conds, body = eqn.blocks
    n = eqn.params["carries"]
    skip = len(body.params) - n
    params, inits = body.params[skip:], eqn.args[skip:]
    which = [k for k in range(n) if sweep.dot(inits[k]) is not None]
    while True:
        carried = {k: _named(params[k]) for k in which}
        for k, param in enumerate(params):
            sweep.set(param, carried.get(k))
        inner = Builder(eqn.span)
        dots = sweep.block(body, inner)
        more = [k for k in range(n) if dots[k] is not None and k not in which]
        if not more:
            break
        which = sorted((*which, *more))
    stacked = [k for k in range(n, len(body.results)) if dots[k] is not None]
    results = (
        *body.results[:n],
        *_filled(sweep, inner, body.results, dots, which),
        *body.results[n:],
        *_filled(sweep, inner, body.results, dots, stacked),
    )
    blocks = [Block((*c.params, *(_named(params[k]) for k in which)), c.eqns, c.results, c.span) for c in conds]
    blocks.append(inner.block((*body.params, *carried.values()), results))
    carry_dots = tuple(_named(eqn.outs[k]) for k in which)
    stacked_dots = tuple(_named(eqn.outs[k]) for k in stacked)
    outs = eqn.outs[:n] + carry_dots + eqn.outs[n:] + stacked_dots
    starts = [sweep.dot_or_zero(inits[k], builder) for k in which]
    new_params = {**eqn.params, "carries": n + len(which)}
    builder.eqns.append(Eqn(outs, eqn.op, (*eqn.args, *starts), new_params, tuple(blocks), eqn.span))
    _bind(sweep, eqn.outs, which + stacked, carry_dots + stacked_dots)


def _elements(sweep: Sweep, eqn: Eqn, builder: Builder) -> None:
    """``build``, and ``reduce`` by addition: the tangents of the elements are further elements."""
    if eqn.params.get("monoid", "add") != "add":
        # What is left of these is read by nothing that has a derivative.
        builder.eqns.append(eqn)
        return
    (body,) = eqn.blocks
    inner = Builder(eqn.span)
    dots = sweep.block(body, inner)
    which = [k for k, dot in enumerate(dots) if dot is not None]
    results = (*body.results, *_filled(sweep, inner, body.results, dots, which))
    tangents = tuple(_named(eqn.outs[k]) for k in which)
    block = inner.block(body.params, results)
    builder.eqns.append(Eqn(eqn.outs + tangents, eqn.op, eqn.args, eqn.params, (block,), eqn.span))
    _bind(sweep, eqn.outs, which, tangents)


def _withacc(sweep: Sweep, eqn: Eqn, builder: Builder) -> None:
    """The tangent of an accumulator is an accumulator.

    (withacc a0 (lam a (acc_add a x)))   ⟶   (withacc a0 a0_dot (lam (a a_dot) (acc_add a x) (acc_add a_dot x_dot)))
    """
    (body,) = eqn.blocks
    n = len(eqn.args)
    for param, init in zip(body.params, eqn.args, strict=True):
        sweep.set(param, None if sweep.dot(init) is None else _named(param))
    inner = Builder(eqn.span)
    dots = sweep.block(body, inner)
    accs = [k for k in range(n) if sweep.dot(body.params[k]) is not None]
    which = [k for k, dot in enumerate(dots) if dot is not None]
    results = (*body.results, *_filled(sweep, inner, body.results, dots, which))
    acc_params = tuple(sweep.dots[body.params[k]] for k in accs)
    finals = tuple(_named(eqn.outs[k]) for k in accs)
    tangents = tuple(_named(eqn.outs[n + k]) for k in which)
    starts = [sweep.dot_or_zero(eqn.args[k], builder) for k in accs]
    params = (*body.params, *(acc for acc in acc_params if isinstance(acc, Var)))
    outs = eqn.outs[:n] + finals + eqn.outs[n:] + tangents
    block = inner.block(params, results)
    builder.eqns.append(Eqn(outs, "withacc", (*eqn.args, *starts), eqn.params, (block,), eqn.span))
    _bind(sweep, eqn.outs, accs + [n + k for k in which], finals + tangents)


def _acc_add(sweep: Sweep, eqn: Eqn, builder: Builder) -> None:
    builder.eqns.append(eqn)
    acc, *at, value = eqn.args
    dot = sweep.dot(value)
    if dot is None:
        return
    assert isinstance(acc, Var) and isinstance(acc.type, AccType)
    if sweep.dot(acc) is None:
        sweep.set(acc, _named(acc))
    builder.emit("acc_add", [sweep.dots[acc], *at, dot], [])


def _index(sweep: Sweep, eqn: Eqn, builder: Builder) -> None:
    builder.eqns.append(eqn)
    (out,) = eqn.outs
    dot = sweep.dot(eqn.args[0])
    if dot is None:
        sweep.set(out, None)
        return
    tangent = _named(out)
    builder.eqns.append(Eqn((tangent,), "index", (dot, *eqn.args[1:]), eqn.params, (), eqn.span))
    sweep.set(out, tangent)


def _update(sweep: Sweep, eqn: Eqn, builder: Builder) -> None:
    builder.eqns.append(eqn)
    (out,) = eqn.outs
    tensor, *at, value = eqn.args
    if sweep.dot(tensor) is None and sweep.dot(value) is None:
        sweep.set(out, None)
        return
    known = sweep.dot(value)
    element = zero_of_part(builder, out, len(at)) if known is None else known
    tangent = _named(out)
    args = (sweep.dot_or_zero(tensor, builder), *at, element)
    builder.eqns.append(Eqn((tangent,), "update", args, eqn.params, (), eqn.span))
    sweep.set(out, tangent)


def _box(sweep: Sweep, eqn: Eqn, builder: Builder) -> None:
    builder.eqns.append(eqn)
    (out,) = eqn.outs
    fields = [arg for arg in eqn.args if is_differentiable(arg.type)]
    sweep.boxed[out] = eqn
    if all(sweep.dot(arg) is None for arg in fields):
        sweep.set(out, None)
        return
    sweep.module.need_tangent(out.type)
    tangent = _named(out)
    args = tuple(sweep.dot_or_zero(arg, builder) for arg in fields)
    params = {"name": tangent_box(eqn.params["name"])}
    builder.eqns.append(Eqn((tangent,), "box", args, params, (), eqn.span))
    sweep.set(out, tangent)


def _unbox(sweep: Sweep, eqn: Eqn, builder: Builder) -> None:
    builder.eqns.append(eqn)
    (box,) = eqn.args
    dot = sweep.dot(box)
    fields = [out for out in eqn.outs if is_differentiable(out.type)] if dot is not None else []
    assert isinstance(box.type, BoxType)
    for out in eqn.outs:
        sweep.set(out, None)
    if dot is None:
        return
    tangents = tuple(_named(out) for out in fields)
    builder.eqns.append(Eqn(tangents, "unbox", (dot,), eqn.params, (), eqn.span))
    for out, tangent in zip(fields, tangents, strict=True):
        sweep.set(out, tangent)


def _call(sweep: Sweep, eqn: Eqn, builder: Builder) -> None:
    """A call is that of ``[valfwd f]``, which gives the tangents beside the results."""
    dots = [sweep.dot(arg) for arg in eqn.args]
    active = tuple(dot is not None for dot in dots)
    which = [k for k, out in enumerate(eqn.outs) if is_differentiable(out.type)]
    if any(active):
        refuse_accumulators(eqn)
    if not any(active) or not which:
        builder.eqns.append(eqn)
        for out in eqn.outs:
            sweep.set(out, None)
        return
    for out in eqn.outs:
        sweep.module.need_tangent(out.type)
    tangents = tuple(_named(eqn.outs[k]) for k in which)
    by_hand = rule_of(sweep.module, eqn, "fwd")
    if by_hand is not None:
        builder.eqns.append(eqn)
        given = (sweep.dot_or_zero(arg, builder) for arg in eqn.args if is_differentiable(arg.type))
        args = (*eqn.args, *given)
        builder.eqns.append(Eqn(tangents, "call", args, {"callee": by_hand}, (), eqn.span))
        _bind(sweep, eqn.outs, which, tangents)
        return
    callee = sweep.derivatives.valfwd(eqn.params["callee"], active)
    args = (*eqn.args, *(dot for dot in dots if dot is not None))
    builder.eqns.append(Eqn(eqn.outs + tangents, "call", args, {"callee": callee}, (), eqn.span))
    _bind(sweep, eqn.outs, which, tangents)
    moving = sum(1 << k for k, on in enumerate(active) if on)
    for out, reach in zip(eqn.outs, sweep.module.flows[eqn.params["callee"]], strict=True):
        if not reach & moving:
            sweep.set(out, None)


def _callback(sweep: Sweep, eqn: Eqn, builder: Builder) -> None:
    if any(sweep.dot(arg) is not None for arg in eqn.args) and any(is_differentiable(out.type) for out in eqn.outs):
        refuse_callback(eqn)
    _constant(sweep, eqn, builder)


def _constant(sweep: Sweep, eqn: Eqn, builder: Builder) -> None:
    builder.eqns.append(eqn)
    for out in eqn.outs:
        sweep.set(out, None)


RULES: Mapping[str, Rule] = {
    "if": _if,
    "for": _loop,
    "while": _loop,
    "build": _elements,
    "reduce": _elements,
    "withacc": _withacc,
    "acc_add": _acc_add,
    "index": _index,
    "update": _update,
    "box": _box,
    "unbox": _unbox,
    "call": _call,
    "callback": _callback,
    "size": _constant,
    "assert": _constant,
    "print": _constant,
}
