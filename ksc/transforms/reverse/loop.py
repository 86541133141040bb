"""What the reverses of ``for``, ``while``, ``build`` and ``reduce`` have in common.

A reversed loop adds to the cotangents of variables from outside through accumulators, so it is

    x_bar = (withacc (x_bar 0.0) (for … (acc_add x_bar …)))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ksc.ir.builder import Builder
from ksc.ir.nodes import Atom, Block, Eqn, Var
from ksc.ir.rewrite import Env
from ksc.ir.types import Integer, Type
from ksc.transforms.reverse.closing import counted, counter_step
from ksc.transforms.reverse.scope import Scope
from ksc.transforms.reverse.sweep import Kept, Sweep
from ksc.transforms.reverse.undo import Undo, take_back
from ksc.transforms.tangents import tangent_type, zero


def emit_loop(
    sweep: Sweep,
    scope: Scope,
    inner: Scope,
    op: str,
    args: Sequence[Atom],
    params: Mapping[str, Any],
    block_params: Sequence[Var],
    results: Sequence[Atom],
    types: Sequence[Type],
    names: Sequence[str],
) -> tuple[Var, ...]:
    """Emit a reversed loop, whose body was built in ``inner``, with the accumulators that it adds to around it."""
    body = inner.finish(block_params, results, sweep.pairs.module.effectful)
    outs = tuple(Var(name, type_) for name, type_ in zip(names, types, strict=True))
    span = scope.builder.span
    loop = Eqn(outs, op, tuple(args), params, (body,), span)
    accs = inner.accs
    if not accs:
        if outs or body.eqns:
            scope.builder.eqns.append(loop)
        return outs
    inits = [scope.so_far(var) for var in accs]
    finals = [Var(f"{var.name}_bar", tangent_type(var.type)) for var in accs]
    given = tuple(Var(out.name, out.type) for out in outs)
    around = Block(tuple(accs.values()), (loop,), outs)
    scope.builder.eqns.append(Eqn((*finals, *given), "withacc", tuple(inits), {}, (around,), span))
    for var, final in zip(accs, finals, strict=True):
        scope.bars[var] = final
    return given


@dataclass(frozen=True, slots=True)
class Carried:
    """A loop with carries, as its reverse sees it.

    Attributes:
        eqn: the forward loop, with all that the forward sweep added to it.
        body: its body; parameters other than the carries come first.
        index: the parameter of the body that counts iterations, if it has one.
        count: how many iterations there were.
        reverse: whether the reversed loop counts down.
        inits: the initial values of the carries.
        tapes: for each carry the values it had at the start of each iteration.
        saved: for positions of results of the body the stacked values saved from it.
        undos: by the number of a carry, how an iteration is taken back.
    """

    eqn: Eqn
    body: Block
    index: Var | None
    count: Atom
    reverse: bool
    inits: Sequence[Atom]
    tapes: Sequence[Var]
    saved: Mapping[int, Var]
    undos: Mapping[int, Undo]

    @property
    def params(self) -> tuple[Var, ...]:
        """The carries as the body sees them."""
        return self.body.params[len(self.body.params) - len(self.inits) :]

    def before(self, k: int, i: Var, builder: Builder) -> Atom:
        """Emit the value of a carry at the start of iteration ``i``, from its tape where it has to have one."""
        param = self.params[k]
        step = counter_step(self.body, param, self.body.results[k]) if self.reverse else None
        if step is not None:
            return counted(self.inits[k], i, step)(builder)
        return builder.emit("index", [self.tapes[k], i], [param.type], names=[param.name])[0]


def reverse_carries(
    sweep: Sweep, scope: Scope, loop: Carried, bars: Sequence[Atom | None], stacked_bars: Sequence[Atom | None]
) -> None:
    """Emit the reverse of a loop with carries.

    The cotangents of the carries are the carries of the reversed loop, which goes through the iterations the other way.
    Those that are always zero are found by trying: it starts with the carries whose final value has a cotangent, and
    goes on until no further one gets any. Tensors whose changes are taken back are carried beside them.

    Args:
        sweep: the sweep.
        scope: where the reversed loop is put.
        loop: the forward loop.
        bars: the cotangents of the final values of the carries.
        stacked_bars: the cotangents of the stacked results.
    """
    body, inits, params = loop.body, loop.inits, loop.params
    n = len(inits)
    active = [k for k in range(n) if bars[k] is not None and params[k] in sweep.varied]
    while True:
        inner = scope.inside("loop")
        i = Var("i", Integer)
        inner.indices = (i,)
        env: Env = {} if loop.index is None else {loop.index: i}
        restored: list[tuple[int, Var, Atom]] = []
        for k, param in enumerate(params):
            if k in loop.undos:
                after = Var(param.name, param.type)
                (env[param],) = take_back(inner.builder, loop.undos[k], i, after, loop.eqn.outs)
                restored.append((k, after, env[param]))
            else:
                env[param] = loop.before(k, i, inner.builder)
        for position, values in loop.saved.items():
            result = body.results[position]
            value = inner.builder.emit("index", [values, i], [result.type], names=[values.name])[0]
            sweep.unpack(body, position, value, env, inner)
        images = [env[param] for param in params]
        eqns, results = sweep.recompute(body, env, inner)
        carried = {k: Var(f"{params[k].name}_bar", tangent_type(params[k].type)) for k in active}
        for k, bar in carried.items():
            inner.add(results[k], bar)
        for result, tensor in zip(results[n:], stacked_bars, strict=False):
            if tensor is not None and inner.wants(result):
                name = f"{result.name}_bar" if isinstance(result, Var) else "bar"
                element = inner.builder.emit("index", [tensor, i], [tangent_type(result.type)], names=[name])[0]
                inner.add(result, element)
        sweep.reverse(eqns, inner)
        given = [inner.take(image) for image in images]
        more = [k for k in range(n) if given[k] is not None and k not in active and params[k] in sweep.varied]
        if not more:
            break
        active = sorted((*active, *more))
    inner.leave()
    outgoing: list[Atom] = []
    for k in active:
        last = given[k]
        outgoing.append(zero(inner.builder, images[k]) if last is None else last)
    stores = list(inner.stores.items())
    carries = [*carried.values(), *(after for _, after, _ in restored)]
    outgoing += [before for _, _, before in restored]
    results = [*outgoing, *(bar for _, bar in stores)]
    start = []
    for k in active:
        first = bars[k]
        start.append(zero(scope.builder, inits[k]) if first is None else first)
    start += [loop.eqn.outs[k] for k, _, _ in restored]
    loop_params = {"carries": len(carries), "reverse": loop.reverse}
    if "checkpoint" in loop.eqn.params:
        loop_params["checkpoint"] = loop.eqn.params["checkpoint"]
    types = [var.type for var in carries] + [tangent_type(var.type) for var, _ in stores]
    names = [var.name for var in carries] + [f"{var.name}_bar" for var, _ in stores]
    outs = emit_loop(
        sweep, scope, inner, "for", [loop.count, *start], loop_params, (i, *carries), results, types, names
    )
    for k, out in zip(active, outs, strict=False):
        scope.add(inits[k], out)
    for (k, _, _), out in zip(restored, outs[len(active) :], strict=False):
        scope.restore(inits[k], loop.eqn.outs[k], out)
    for (var, _), out in zip(stores, outs[len(carries) :], strict=True):
        scope.add(var, out)


def reverse_elements(
    sweep: Sweep,
    scope: Scope,
    eqn: Eqn,
    saved: Mapping[int, Var],
    bar_of: Callable[[Builder, int, Atom, Sequence[Var]], Atom | None],
) -> None:
    """Emit the reverse of ``build`` or ``reduce``: a ``build`` over the same indices, which adds to accumulators.

    Args:
        sweep: the sweep.
        scope: where the reversed loop is put.
        eqn: the forward equation.
        saved: for positions of results of the body the tensors saved from it.
        bar_of: gives the cotangent of the result of the body at a position, with this value, for these indices.
    """
    (body,) = eqn.blocks
    inner = scope.inside("loop")
    at = tuple(Var(param.name, Integer) for param in body.params)
    inner.indices = at
    env: Env = dict(zip(body.params, at, strict=True))
    for position, values in saved.items():
        type_ = body.results[position].type
        value = inner.builder.emit("index", [values, *at], [type_], names=[values.name])[0]
        sweep.unpack(body, position, value, env, inner)
    eqns, results = sweep.recompute(body, env, inner)
    for k, result in enumerate(results):
        if k not in saved and inner.wants(result):
            inner.add(result, bar_of(inner.builder, k, result, at))
    sweep.reverse(eqns, inner)
    inner.leave()
    stores = list(inner.stores.items())
    elements = [bar for _, bar in stores]
    types = [tangent_type(var.type) for var, _ in stores]
    names = [f"{var.name}_bar" for var, _ in stores]
    outs = emit_loop(sweep, scope, inner, "build", eqn.args, {}, at, elements, types, names)
    for (var, _), out in zip(stores, outs, strict=True):
        scope.add(var, out)


def augmented_body(sweep: Sweep, body: Block, span: Any) -> tuple[list[Eqn], list[Var]]:
    """The forward sweep over the body of a loop: its equations and what it saves."""
    inner = Builder(span)
    inner.eqns = sweep.augment(body.eqns)
    return inner.eqns, sweep.packed(sweep.to_save(inner.eqns), inner)


def note(sweep: Sweep, new: Eqn, kept: Kept, eqns: Sequence[Eqn]) -> Eqn:
    """Remember what was added to a loop, and that it is saved where its body is."""
    sweep.kept[new] = kept
    if any(eqn in sweep.saved for eqn in eqns):
        sweep.saved.add(new)
    return new
