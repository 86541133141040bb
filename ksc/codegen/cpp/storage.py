"""Which tensors are changed in place, and which have to be copied first.

An ``update`` may change its tensor in place where nothing that may share memory with it is read later: not the tensor
itself, no part of it, no tensor that it is a part of, nothing in a box, no argument of the kernel. "Later" includes the
iterations to come of every loop around. The same holds of

- the start of a loop's carry that the body changes in place: where it is read later, it is copied once, beforehand;
- the start of an accumulator;
- an argument of a function that changes that parameter: the caller copies it where it must.

    (let (row (index i t))             t is changed in place, and row, which is a part of it, read afterwards:
      (let (u (update j t v))          so row is a copy, which is smaller than one of t
        (index 0 row)))

Elements of tensors of tensors are never changed in place. Everything here is a may-analysis over variables: what may
share memory grows until it no longer changes, over the iterations of loops and over recursive calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from ksc.codegen.cpp.aliases import FROZEN, Aliases
from ksc.codegen.cpp.analysis import Analysis
from ksc.codegen.cpp.storage_plan import Storage, Summary
from ksc.ir.nodes import Atom, Block, Eqn, Function, Program, Span, Var
from ksc.ir.rewrite import bound_in
from ksc.ir.types import AccType, BoxType, TensorType, Type

Live = dict[Var, Span | None]
"""The variables that are read later, each with the place of the first reading."""


def plan_storage(program: Program, analyses: Mapping[str, Analysis]) -> dict[str, Storage]:
    """The decisions for each function that has an analysis; the entry's parameters belong to the host."""
    summaries = dict.fromkeys(analyses, Summary())
    apart: dict[int, str] = {}
    while True:
        known = len(apart)
        plans = {
            name: _Follower(program, analysis, summaries, apart).function(
                program.functions[name], own=name != program.entry
            )
            for name, analysis in analyses.items()
        }
        found = {name: summaries[name].joined(plan.summary) for name, plan in plans.items()}
        if found == summaries and len(apart) == known:
            for name, plan in plans.items():
                analyses[name].settle(partial(_assigns_nothing, analyses[name], plan))
            return plans
        summaries = found


def holds_memory(type_: Type) -> bool:
    """Whether values of the type refer to memory in the arena."""
    return isinstance(type_, TensorType | BoxType) or (isinstance(type_, AccType) and holds_memory(type_.value))


def _assigns_nothing(analysis: Analysis, plan: Storage, eqn: Eqn) -> bool:
    """Whether all that an ``if`` gives is memory that was there before it."""
    live = [out for out in eqn.outs if analysis.is_read(out)]
    return bool(live) and all(plan.root(out) is not out for out in live)


class _Follower:
    """Follows one function, its loops until what may share memory no longer grows.

    Decisions are made anew whenever an equation is met, so the last ones, made when most is known, count. ``apart``
    holds the equations whose result is a copy of a part, by their ``id``, with the reasons, and learns of more.
    """

    def __init__(
        self, program: Program, analysis: Analysis, summaries: Mapping[str, Summary], apart: dict[int, str]
    ) -> None:
        self.program = program
        self.analysis = analysis
        self.summaries = summaries
        self.apart = apart
        self.parts: dict[Var, Eqn] = {}
        self.aliases = Aliases()
        self.written: set[Var] = set()
        self.plan = Storage()
        self._free: dict[int, Live] = {}
        self._owned: dict[tuple[int, object], tuple[list[int], set[Var]]] = {}
        self._bound: dict[int, set[Var]] = {}

    def function(self, function: Function, *, own: bool) -> Storage:
        """Follow the body; without ``own`` the parameters must not be changed."""
        for param in function.params:
            self.aliases.bind(param, [] if own else [FROZEN])
        self.block(function.body, function.body.results, {})
        self.plan.frozen = self.aliases.all_frozen()
        params = list(enumerate(function.params))
        results = function.body.results
        shared = [self.sharing(atom) for atom in results]
        self.plan.summary = Summary(
            written=frozenset(k for k, param in params if param in self.written),
            frozen=frozenset(k for k, param in params if self.aliases.frozen(param)),
            shares=tuple(frozenset(k for k, param in params if param in group) for group in shared),
            pairs=frozenset((i, j) for i in range(len(results)) for j in range(i) if self.meet(results[i], results[j])),
            kept=frozenset(k for k, group in enumerate(shared) if FROZEN in group),
        )
        return self.plan

    def sharing(self, atom: Atom) -> set[Var]:
        """All that may share memory with an atom, itself included; nothing for scalars."""
        return self.aliases.of(atom) if isinstance(atom, Var) and holds_memory(atom.type) else set()

    def meet(self, a: Atom, b: Atom) -> bool:
        """Whether two atoms may share memory that might be changed."""
        return not (self.sharing(a) - {FROZEN}).isdisjoint(self.sharing(b))

    # Liveness.

    def block(self, block: Block, results: Sequence[Atom], live_out: Live) -> None:
        """Follow the live equations of a block, of which ``results`` and after it ``live_out`` are read."""
        eqns = [eqn for eqn in block.eqns if self.analysis.is_live(eqn)]
        live = {**live_out, **_memory(results, None)}
        after: list[Live] = []
        for eqn in reversed(eqns):
            for out in eqn.outs:
                live.pop(out, None)
            # The others do not ask what is read later.
            after.append(dict(live) if eqn.blocks or eqn.op in ("update", "call") else {})
            live.update(self.reads(eqn))
        for eqn, later in zip(eqns, reversed(after), strict=True):
            self.eqn(eqn, later)

    def reads(self, eqn: Eqn) -> Live:
        """What an equation reads, its blocks included, of variables that hold memory."""
        args: Sequence[Atom] = eqn.args
        if eqn.op in ("for", "while"):
            first = len(args) - eqn.params["carries"]
            args = [atom for atom, needed in zip(args[first:], self.analysis.live_carries(eqn), strict=True) if needed]
        return {**self.free(eqn), **_memory(args, eqn.span)}

    def free(self, eqn: Eqn) -> Live:
        """What the blocks of an equation read of variables outside."""
        known = self._free.get(id(eqn))
        if known is None:
            known = {}
            for inner in eqn.blocks:
                bound = set(inner.params)
                for deeper in inner.eqns:
                    if self.analysis.is_live(deeper):
                        known.update((v, s) for v, s in self.reads(deeper).items() if v not in known)
                        bound.update(deeper.outs)
                known.update(_memory(self.analysis.needed_results(eqn, inner), eqn.span))
                known = {var: span for var, span in known.items() if var not in bound}
            self._free[id(eqn)] = known
        return known

    def bound_inside(self, eqn: Eqn) -> set[Var]:
        """All variables that the blocks of an equation bind."""
        known = self._bound.get(id(eqn))
        if known is None:
            known = self._bound[id(eqn)] = bound_in(eqn)
        return known

    # Decisions.

    def obstacle(self, var: Var, live: Live) -> str | None:
        """Why the memory of ``var`` must not be changed, None where it may."""
        if self.aliases.frozen(var):
            return "it is not the kernel's to change"
        if var in live:
            return f"it is read again{_in_line(live[var])}"
        group = self.aliases.of(var)
        for other, span in live.items():
            if other in group:
                return f"{other.name}, which may share its memory, is read{_in_line(span)}"
        return None

    def change(self, eqn: Eqn, var: Var) -> None:
        """The memory of ``var`` is changed by the equation."""
        seen = self.aliases.of(var)
        self.written |= seen
        place = self.analysis.place(eqn)
        self.plan.writes[place] = self.plan.writes.get(place, frozenset()) | seen

    def take(self, eqn: Eqn, k: int, live: Live, others: Iterable[Atom] = ()) -> bool:
        """Let the equation change its argument ``k`` in place if it may, else have it copied.

        ``others`` are arguments of the same equation that must keep their values.
        """
        atom = eqn.args[k]
        assert isinstance(atom, Var)
        later = {**live, **_memory(others, eqn.span)}
        reason = self.obstacle(atom, later)
        self.plan.copied.pop((id(eqn), k), None)
        if reason is not None:
            self.plan.copied[id(eqn), k] = reason
            self.apart.update(self.parts_in_the_way(atom, later))
            return False
        self.change(eqn, atom)
        return True

    def parts_in_the_way(self, var: Var, live: Live) -> dict[int, str]:
        """The equations that took the parts of ``var`` for whose sake it is not changed; none if that is not all."""
        if self.aliases.frozen(var) or var in live:
            return {}
        found = {}
        group = self.aliases.of(var)
        for other, span in live.items():
            if other in group:
                taken = self.parts.get(self.plan.root(other))
                if taken is None:
                    return {}
                found[id(taken)] = f"it is read{_in_line(span)} after its tensor has changed"
        return found

    def own(self, out: Var, others: Iterable[Var] = ()) -> None:
        """``out`` has a C++ variable of its own, and may share memory with ``others``."""
        self.aliases.bind(out, others)
        self.plan.roots.pop(out, None)

    def inherit(self, out: Var, source: Var) -> None:
        """``out`` is the same memory as ``source``, under the same C++ variable."""
        self.aliases.bind(out, self.aliases.of(source))
        self.plan.roots[out] = self.plan.root(source)

    # Equations.

    def eqn(self, eqn: Eqn, live: Live) -> None:
        match eqn.op:
            case "update":
                self.update(eqn, live)
            case "if":
                self.branch(eqn, live)
            case "for" | "while":
                self.loop(eqn, live)
            case "build" | "reduce":
                self.nest(eqn, live)
            case "withacc":
                self.accumulators(eqn, live)
            case "call":
                self.call(eqn, live)
            case "index":
                self.index(eqn)
            case "box":
                for atom in eqn.args:
                    self.keep(atom)
            case "unbox":
                for out in eqn.outs:
                    self.own(out, [FROZEN])
            case _:
                for out in eqn.outs:
                    self.own(out)

    def keep(self, atom: Atom) -> None:
        """The memory of an atom is kept where it can be read at any time."""
        if isinstance(atom, Var) and holds_memory(atom.type):
            self.aliases.freeze(atom)

    def index(self, eqn: Eqn) -> None:
        (out,), tensor = eqn.outs, eqn.args[0]
        nested = isinstance(tensor.type, TensorType) and holds_memory(tensor.type.elem)
        if id(eqn) in self.apart:
            self.plan.copied[id(eqn), 0] = self.apart[id(eqn)]
            self.own(out)
            return
        if holds_memory(out.type) and not nested:
            self.parts[out] = eqn
        self.own(out, [FROZEN] if nested else self.sharing(tensor) if holds_memory(out.type) else [])

    def update(self, eqn: Eqn, live: Live) -> None:
        (out,), tensor = eqn.outs, eqn.args[0]
        assert isinstance(tensor, Var) and isinstance(tensor.type, TensorType)
        if self.take(eqn, 0, live):
            self.inherit(out, tensor)
        else:
            self.own(out)
        if holds_memory(tensor.type.elem):
            self.keep(eqn.args[-1])

    def branch(self, eqn: Eqn, live: Live) -> None:
        wanted = [k for k, out in enumerate(eqn.outs) if self.analysis.is_read(out)]
        for side in eqn.blocks:
            self.block(side, self.analysis.needed_results(eqn, side), live)
        inner = self.bound_inside(eqn)
        groups = {k: set[Var]().union(*(self.sharing(side.results[k]) for side in eqn.blocks)) for k in wanted}
        pairs = [
            (i, j)
            for i in wanted
            for j in wanted
            if j < i and any(self.meet(side.results[i], side.results[j]) for side in eqn.blocks)
        ]
        for k in wanted:
            roots = {self.plan.root(r) if isinstance(r, Var) else r for r in (side.results[k] for side in eqn.blocks)}
            self.own(eqn.outs[k], groups[k])
            (root, *different) = roots
            if isinstance(root, Var) and not different and root not in inner and holds_memory(root.type):
                self.plan.roots[eqn.outs[k]] = root
        for i, j in pairs:
            self.aliases.relate(eqn.outs[i], eqn.outs[j])

    def nest(self, eqn: Eqn, live: Live) -> None:
        (body,) = eqn.blocks
        self.block(body, self.analysis.needed_results(eqn, body), {**live, **self.free(eqn)})
        if eqn.params.get("nested", False):
            for atom in body.results:
                self.keep(atom)
        for out in eqn.outs:
            self.own(out)

    def accumulators(self, eqn: Eqn, live: Live) -> None:
        (body,) = eqn.blocks
        inside = {**live, **self.free(eqn)}
        count = len(body.params)
        for k, (out, param, init) in enumerate(zip(eqn.outs, body.params, eqn.args, strict=False)):
            self.own(param)
            if isinstance(init, Var) and isinstance(init.type, TensorType):
                if self.take(eqn, k, inside, eqn.args[:k] + eqn.args[k + 1 :]):
                    self.inherit(out, init)
                else:
                    self.own(out)
        self.block(body, self.analysis.needed_results(eqn, body), live)
        for k, result in enumerate(body.results):
            self.own(eqn.outs[count + k], self.sharing(result))

    def call(self, eqn: Eqn, live: Live) -> None:
        summary = self.summaries.get(eqn.params["callee"], Summary())
        free = set()
        for k in sorted(summary.written):
            if not self.take(eqn, k, live, eqn.args[:k] + eqn.args[k + 1 :]):
                free.add(k)
        for k in summary.frozen - free:
            self.keep(eqn.args[k])
        for j, out in enumerate(eqn.outs):
            shared = summary.shares[j] - free if summary.shares else frozenset()
            group = set[Var]().union(*(self.sharing(eqn.args[k]) for k in shared))
            self.own(out, group | ({FROZEN} if j in summary.kept else set()))
        for i, j in summary.pairs:
            self.aliases.relate(eqn.outs[i], eqn.outs[j])

    # Loops.

    def loop(self, eqn: Eqn, live: Live) -> None:
        """Find the carries that the body would change in place were they its own; have them made so; then decide."""
        body = eqn.blocks[-1]
        carries = eqn.params["carries"]
        first = len(eqn.args) - carries
        params = body.params[len(body.params) - carries :]
        inits = eqn.args[first:]
        needed = self.analysis.live_carries(eqn)
        held = [k for k in range(carries) if needed[k] and holds_memory(params[k].type)]
        around = {**live, **self.free(eqn)}
        self.written -= set(params)
        seen = self._seen(eqn, around)
        known = self._owned.get((id(eqn), seen))
        settled = False
        if known is None:
            owned, meeting, known = self._were_own(eqn, held, around)
            self._owned[id(eqn), seen] = known
            settled = not any((*owned.values(), meeting)) and self._seen(eqn, around) == seen
        changed, written = known
        self.written |= written
        for k in held:
            self.plan.changed.discard((id(eqn), k))
            self.plan.copied.pop((id(eqn), first + k), None)
        groups: dict[int, set[Var]] = {}
        copies = set()
        for k in held:
            if k not in changed:
                groups[k] = self.sharing(inits[k])
                continue
            self.plan.changed.add((id(eqn), k))
            groups[k] = set()
            if not self.take(eqn, first + k, around, inits[:k] + inits[k + 1 :]):
                copies.add(k)
        pairs = {
            (i, j)
            for i in held
            for j in held
            if j < i and i not in changed and j not in changed and self.meet(inits[i], inits[j])
        }
        if any((*groups.values(), pairs)) or not settled:
            seen = self._seen(eqn, around)
            groups, pairs = self._rounds(eqn, groups, pairs, around)
            if self._seen(eqn, around) != seen:
                groups, pairs = self._rounds(eqn, groups, pairs, around)
        for k in held:
            init, result = inits[k], body.results[k]
            steady = isinstance(result, Var) and self.plan.root(result) is params[k]
            taken = k in changed and k not in copies
            self.own(eqn.outs[k], groups[k] | (self.sharing(init) if taken else set()))
            self.plan.steady.discard((id(eqn), k))
            if steady:
                self.plan.steady.add((id(eqn), k))
                if k not in copies and isinstance(init, Var):
                    self.plan.roots[eqn.outs[k]] = self.plan.root(init)
        for i, j in pairs:
            self.aliases.relate(eqn.outs[i], eqn.outs[j])
        for out in eqn.outs[carries:]:
            self.own(out)

    def _were_own(
        self, eqn: Eqn, held: Sequence[int], around: Live
    ) -> tuple[dict[int, set[Var]], set[tuple[int, int]], tuple[list[int], set[Var]]]:
        """Follow the body as if its carries were its own: what they may share memory with then, as ``_rounds`` does;
        which of them it changes in place, and all variables whose memory it changes.
        """
        params = eqn.blocks[-1].params[-eqn.params["carries"] or len(eqn.blocks[-1].params) :]
        before, self.written = self.written, set()
        owned, meeting = self._rounds(eqn, {k: set() for k in held}, set(), around)
        changed = self._changed(params, eqn.blocks[-1].results, held)
        written, self.written = self.written, before
        return owned, meeting, (changed, written)

    def _seen(self, eqn: Eqn, around: Live) -> object:
        """All that the decisions in a loop depend on, but for what its carries may share memory with.

        Where it is as it was, the loop is not followed once more as if its carries were its own: otherwise loops in
        loops would be followed twice as often for each level.
        """
        inner = self.bound_inside(eqn)
        shared = {var: frozenset(self.aliases.of(var) - inner) for var in self.free(eqn)}
        near = set[Var]().union(*shared.values())
        later = frozenset((var, span) for var, span in around.items() if var in near)
        return frozenset(shared.items()), later, len(self.apart)

    def _changed(self, params: Sequence[Var], results: Sequence[Atom], held: Sequence[int]) -> list[int]:
        """The carries whose start is changed in place, in the first iteration or after it was handed on to another."""
        tensors = [k for k in held if isinstance(params[k].type, TensorType)]
        changed = {k for k in tensors if params[k] in self.written}
        while True:
            sources = set[Var]().union(*(self.sharing(results[k]) for k in changed))
            more = {k for k in tensors if params[k] in sources} - changed
            if not more:
                return sorted(changed)
            changed |= more

    def _rounds(
        self, eqn: Eqn, groups: dict[int, set[Var]], pairs: set[tuple[int, int]], around: Live
    ) -> tuple[dict[int, set[Var]], set[tuple[int, int]]]:
        """Follow the body until what its carries may share memory with, others and each other, no longer grows."""
        *conds, body = eqn.blocks
        carries = eqn.params["carries"]
        params = body.params[len(body.params) - carries :]
        inner = self.bound_inside(eqn)
        held = sorted(groups)
        groups, pairs = {k: set(group) for k, group in groups.items()}, set(pairs)
        while True:
            for k in held:
                self.own(params[k], groups[k])
            for i, j in pairs:
                self.aliases.relate(params[i], params[j])
            for cond in conds:
                for k in held:
                    self.inherit(cond.params[k], params[k])
                self.block(cond, cond.results, {**around, **_memory(params, eqn.span)})
            self.block(body, self.analysis.needed_results(eqn, body), around)
            if eqn.params.get("nested", False):
                for atom in body.results[carries:]:
                    self.keep(atom)
            before = sum(map(len, groups.values())) + len(pairs)
            for k in held:
                groups[k] |= self.sharing(body.results[k]) - inner
            pairs |= {(i, j) for i in held for j in held if j < i and self.meet(body.results[i], body.results[j])}
            if before == sum(map(len, groups.values())) + len(pairs):
                return groups, pairs


def _memory(atoms: Iterable[Atom], span: Span | None) -> Live:
    return {atom: span for atom in atoms if isinstance(atom, Var) and holds_memory(atom.type)}


def _in_line(span: Span | None) -> str:
    return f" in line {span.line}" if span is not None else ""
