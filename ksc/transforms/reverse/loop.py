"""What the reverses of ``for``, ``while``, ``build`` and ``reduce`` have in common.

A reversed loop adds to the cotangents of variables from outside through accumulators, so it is

    x_bar = (withacc (x_bar 0.0) (for … (acc_add x_bar …)))
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ksc.ir.builder import Builder
from ksc.ir.nodes import Atom, Block, Const, Eqn, Var, const
from ksc.ir.rewrite import Env, bound_vars
from ksc.ir.types import AccType, Bool, Float, Integer, TensorType, Type
from ksc.transforms.reverse.closing import counted, counter_step
from ksc.transforms.reverse.given import give_elements
from ksc.transforms.reverse.keeping import versions_of
from ksc.transforms.reverse.presence import ABSENT, Presence, as_bool, both, either, there_if
from ksc.transforms.reverse.scope import ReadTooEarlyError, Scope
from ksc.transforms.reverse.sweep import Kept, Sweep
from ksc.transforms.reverse.undo import take_back
from ksc.transforms.tangents import emit_unbox, tangent_type, zero


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
    runs: Callable[[Var], Presence],
) -> tuple[Var, ...]:
    """Emit a reversed loop, whose body was built in ``inner``, with the accumulators that it adds to around it.

    ``runs`` says whether the loop has an iteration, as it matters to a variable.
    """
    _count_terms(inner, block_params)
    body = inner.finish(block_params, results, sweep.pairs.module.effectful)
    outs = tuple(Var(name, type_) for name, type_ in zip(names, types, strict=True))
    span = scope.builder.span
    loop = Eqn(outs, op, tuple(args), params, (body,), span)
    accs = inner.accs
    if not accs and not inner.terms:
        if outs or body.eqns:
            scope.builder.eqns.append(loop)
        for var, mark in inner.added.items():
            scope.note_added(var, both(scope.builder, runs(var), mark, f"has_{var.name}_bar"))
        return outs
    inits = [scope.so_far(var) for var in accs] + [const(0.0) for _ in inner.terms]
    finals = [Var(f"{var.name}_bar", tangent_type(var.type)) for var in accs]
    terms = {mark: Var(acc.name, Float) for mark, acc in inner.terms.items()}
    given = tuple(Var(out.name, out.type) for out in outs)
    around = Block((*accs.values(), *inner.terms.values()), (loop,), outs)
    new = Eqn((*finals, *terms.values(), *given), "withacc", tuple(inits), {}, (around,), span)
    scope.builder.eqns.append(new)
    counted: dict[Presence, Presence] = {
        mark: there_if(scope.builder.apply("lt", const(0.0), count, name="has_terms")) for mark, count in terms.items()
    }
    final_of = dict(zip(accs, finals, strict=True))
    for var, mark in inner.added.items():
        present = counted[mark] if mark in counted else both(scope.builder, runs(var), mark, f"has_{var.name}_bar")
        if var in final_of:
            scope.put(var, final_of[var], either(scope.presence(var), present))
        else:
            scope.note_added(var, present)
    return given


def _count_terms(inner: Scope, params: Sequence[Var]) -> None:
    """Count the iterations that add to an accumulator, where that differs from one to the next."""
    bound = bound_vars(inner.builder.block(params, ()))
    for var, mark in inner.added.items():
        if mark is not None and mark not in inner.terms and not bound.isdisjoint(mark.conditions):
            inner.terms[mark] = acc = Var(f"{var.name}_bar_terms", AccType(Float))
            there = as_bool(inner.builder, mark, f"has_{var.name}_bar")
            term = inner.builder.apply("select", there, const(1.0), const(0.0), name="term")
            inner.builder.emit("acc_add", [acc, term], [])


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
        kept: how its iterations are taken back, and what was stacked for that.
    """

    eqn: Eqn
    body: Block
    index: Var | None
    count: Atom
    reverse: bool
    inits: Sequence[Atom]
    tapes: Sequence[Var]
    saved: Mapping[int, Var]
    kept: Kept

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


def reverse_carries(sweep: Sweep, scope: Scope, loop: Carried, bars: Sequence[tuple[Atom | None, Presence]]) -> None:
    """Emit the reverse of a loop with carries.

    The cotangents of the carries are the carries of the reversed loop, which goes through the iterations the other way.
    Those that are always zero are found by trying: it starts with the carries whose final value has a cotangent, and
    goes on until no further one gets any. Those that are not there in all iterations are found likewise, and go with a
    Bool that is carried too. A copy of the loop starts with what was found for another, lest nested loops multiply.
    Tensors whose changes are taken back are carried beside them.

    Args:
        sweep: the sweep.
        scope: where the reversed loop is put.
        loop: the forward loop.
        bars: the cotangents of the final values of the carries, then those of the stacked results, each with whether
            it is there.
    """
    body, inits, params = loop.body, loop.inits, loop.params
    n = len(inits)
    case = sweep.origin(loop.eqn), _pattern(bars)
    if case in sweep.carried:
        active, sure, groups = sweep.carried[case]
    else:
        active = [k for k in range(n) if bars[k][0] is not None and params[k] in sweep.varied]
        sure = {k for k in active if bars[k][1] is None}
        groups = _alike((k, bars[k][1]) for k in active if k not in sure)
    while True:
        inner = scope.inside("loop")
        i = Var("i", Integer)
        inner.indices = (i,)
        env: Env = {} if loop.index is None else {loop.index: i}
        restored: list[tuple[int, Var, Atom]] = []
        trails = () if sweep.origin(loop.eqn) in sweep.whole else loop.kept.trails
        if trails:
            _read_log(sweep, inner, loop, i, env)
        for k, param in enumerate(params):
            if k in trails:
                after = _changed_last(sweep, inner, loop, k, env)
                restored.append((k, after, env[param]))
            elif k in loop.kept.undos:
                after = Var(param.name, param.type)
                (env[param],) = take_back(inner.builder, loop.kept.undos[k], i, after, loop.eqn.outs)
                restored.append((k, after, env[param]))
            else:
                env[param] = loop.before(k, i, inner.builder)
        for position, values in loop.saved.items():
            result = body.results[position]
            if result not in env:
                value = inner.builder.emit("index", [values, i], [result.type], names=[values.name])[0]
                sweep.unpack(body, position, value, env, inner)
        images = [env[param] for param in params]
        eqns, results = sweep.recompute(body, env, inner)
        carried = {k: Var(f"{params[k].name}_bar", tangent_type(params[k].type)) for k in active}
        flags = [Var(f"has_{carried[members[0]].name}", Bool) for members in groups]
        marks = {k: there_if(flag) for members, flag in zip(groups, flags, strict=True) for k in members}
        for k, bar in carried.items():
            inner.add(results[k], bar, marks.get(k))
        for result, (tensor, mark) in zip(results[n:], bars[n:], strict=False):
            if tensor is not None and inner.wants(result):
                name = f"{result.name}_bar" if isinstance(result, Var) else "bar"
                element = inner.builder.emit("index", [tensor, i], [tangent_type(result.type)], names=[name])[0]
                inner.add(result, element, mark)
        sweep.reverse(eqns, inner)
        there = [inner.presence(image) for image in images]
        given = [inner.take(image) for image in images]
        more = [k for k in range(n) if given[k] is not None and k not in active and params[k] in sweep.varied]
        unsure = {k for k in sure if there[k] is not None}
        split = [part for members in groups for part in _alike((k, there[k]) for k in members)]
        if not more and not unsure and len(split) == len(groups):
            break
        active = sorted((*active, *more))
        sure = sure - unsure
        groups = split + _alike([*((k, bars[k][1]) for k in sorted(unsure)), *((k, ABSENT) for k in more)])
    sweep.carried[case] = active, sure, groups
    inner.leave()
    outgoing: list[Atom] = []
    for k in active:
        last = given[k]
        outgoing.append(zero(inner.builder, images[k]) if last is None else last)
    stores = list(inner.stores.items())
    carries = [*carried.values(), *(after for _, after, _ in restored), *flags]
    outgoing += [before for _, _, before in restored]
    outgoing += [as_bool(inner.builder, there[k], flag.name) for (k, *_), flag in zip(groups, flags, strict=True)]
    results = [*outgoing, *(bar for _, bar in stores)]
    start = []
    for k in active:
        first = bars[k][0]
        start.append(zero(scope.builder, inits[k]) if first is None else first)
    start += [loop.eqn.outs[k] for k, _, _ in restored]
    start += [as_bool(scope.builder, bars[members[0]][1]) for members in groups]
    loop_params = {"carries": len(carries), "reverse": loop.reverse}
    if "checkpoint" in loop.eqn.params:
        loop_params["checkpoint"] = loop.eqn.params["checkpoint"]
    runs = _has_iterations(loop.count, scope.builder)
    types = [var.type for var in carries] + [tangent_type(var.type) for var, _ in stores]
    names = [var.name for var in carries] + [f"{var.name}_bar" for var, _ in stores]
    try:
        outs = emit_loop(
            sweep,
            scope,
            inner,
            "for",
            [loop.count, *start],
            loop_params,
            (i, *carries),
            results,
            types,
            names,
            lambda var: runs,
        )
    except ReadTooEarlyError:
        sweep.whole.add(sweep.origin(loop.eqn))
        reverse_carries(sweep, scope, loop, bars)
        return
    for members, end in zip(groups, outs[len(active) + len(restored) :], strict=False):
        marks.update(dict.fromkeys(members, there_if(end)))
    for k, out in zip(active, outs, strict=False):
        scope.add(inits[k], out, marks.get(k))
    for (k, _, _), out in zip(restored, outs[len(active) :], strict=False):
        scope.restore(inits[k], loop.eqn.outs[k], out)
    for (var, _), out in zip(stores, outs[len(carries) :], strict=True):
        scope.add(var, out)


def _read_log(sweep: Sweep, inner: Scope, loop: Carried, i: Var, env: Env) -> None:
    """Read the values of iteration ``i`` that taking it back change by change needs."""
    types = {
        position: element.type
        for undo in loop.kept.undos.values()
        for position, element in zip(undo.logs, undo.code.params[2:], strict=True)
    }
    for value, position in loop.kept.logged.items():
        (element,) = inner.builder.emit("index", [loop.eqn.outs[position], i], [types[position]], names=[value.name])
        if types[position] != value.type:
            (element,) = emit_unbox(inner.builder, element, sweep.boxes, [value.name])
        env[value] = element
        sweep.given.add(element)


def _changed_last(sweep: Sweep, inner: Scope, loop: Carried, k: int, env: Env) -> Var:
    """The tensor of a carry after an iteration; of what it was before each change there is a name alone as yet."""
    after, *earlier = versions_of(loop.body.results[k], sweep.steps)
    assert isinstance(after, Var)
    last = Var(after.name, after.type)
    env[after] = last
    sweep.given.add(last)
    for version in earlier:
        assert isinstance(version, Var)
        image = Var(version.name, version.type)
        env[version] = image
        inner.unmade[image] = last
        sweep.given.add(image)
    return last


def _has_iterations(count: Atom, builder: Builder) -> Presence:
    if isinstance(count, Const):
        return None if isinstance(count.value, int) and count.value > 0 else ABSENT
    return there_if(builder.apply("lt", const(0), count, name="runs"))


def _alike(members: Iterable[tuple[int, Presence]]) -> list[list[int]]:
    """Those of which the same is known together."""
    found: dict[Presence, list[int]] = {}
    for k, mark in members:
        found.setdefault(mark, []).append(k)
    return list(found.values())


def _pattern(bars: Sequence[tuple[Atom | None, Presence]]) -> tuple[int, ...]:
    """Which cotangents there are, and of which of them the same is known: what a fixpoint starts from."""
    numbers: dict[Presence, int] = {None: 0}
    return tuple(-1 if bar is None else numbers.setdefault(mark, len(numbers)) for bar, mark in bars)


def reverse_elements(
    sweep: Sweep,
    scope: Scope,
    eqn: Eqn,
    saved: Mapping[int, Var],
    bar_of: Callable[[Builder, int, Atom, Sequence[Var]], Atom | None],
    marks: Sequence[Presence],
) -> None:
    """Emit the reverse of ``build`` or ``reduce``: a ``build`` over the same indices, which adds to accumulators.

    Args:
        sweep: the sweep.
        scope: where the reversed loop is put.
        eqn: the forward equation.
        saved: for positions of results of the body the tensors saved from it.
        bar_of: gives the cotangent of the result of the body at a position, with this value, for these indices.
        marks: for each result whether its cotangent is there.
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
    if eqn.op == "build":
        give_elements(sweep, body, eqn.outs, at, env, inner)
    eqns, results = sweep.recompute(body, env, inner)
    for k, result in enumerate(results):
        if k not in saved and inner.wants(result):
            inner.add(result, bar_of(inner.builder, k, result, at), marks[k])
    sweep.reverse(eqns, inner)
    inner.leave()
    stores = list(inner.stores.items())
    some: Presence = None
    if eqn.op == "reduce":
        for size in eqn.args:
            some = both(scope.builder, some, _has_iterations(size, scope.builder), "runs")

    def runs(var: Var) -> Presence:
        return None if isinstance(var.type, TensorType) else some

    elements = [bar for _, bar in stores]
    types = [tangent_type(var.type) for var, _ in stores]
    names = [f"{var.name}_bar" for var, _ in stores]
    outs = emit_loop(sweep, scope, inner, "build", eqn.args, {}, at, elements, types, names, runs)
    for (var, _), out in zip(stores, outs, strict=True):
        scope.add(var, out)


def augmented_body(sweep: Sweep, body: Block, span: Any, at_hand: Collection[Atom] = ()) -> tuple[list[Eqn], list[Var]]:
    """The forward sweep over the body of a loop: its equations and what it saves, save what is ``at_hand`` anyhow."""
    inner = Builder(span)
    inner.eqns = sweep.augment(body.eqns)
    values = [value for value in sweep.to_save(inner.eqns) if value not in at_hand]
    return inner.eqns, sweep.packed(values, inner, body)


def at_hand(sweep: Sweep, eqn: Eqn) -> set[Atom]:
    """The values of the body of a loop that taking its iterations back gives, or reads."""
    trails = sweep.keeping.trails(eqn)
    logged = sweep.logged[eqn] if trails else ()
    return {*logged, *(version for k in trails for version in sweep.keeping.versions(eqn, k))}


def note(sweep: Sweep, eqn: Eqn, new: Eqn, kept: Kept, eqns: Sequence[Eqn]) -> Eqn:
    """Remember what was added to a loop, and what of it is saved."""
    sweep.kept[new] = kept
    if eqn in sweep.keeping.loops:
        first = kept.results + (new.op == "while")
        tapes = new.outs[first : first + kept.tapes]
        undone = [tape for k, tape in enumerate(tapes) if k in kept.undos]
        sweep.partly[new] = [out for out in new.outs if out not in undone]
    elif new.op == "build" and len(new.outs) > kept.results:
        sweep.partly[new] = new.outs[kept.results :]
    if any(eqn in sweep.saved for eqn in eqns):
        sweep.saved.add(new)
    return new
