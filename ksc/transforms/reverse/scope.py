"""Where cotangents are collected: one scope for each block of the reverse sweep."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ksc.errors import DifferentiationError
from ksc.ir.builder import Builder
from ksc.ir.liveness import prune_block
from ksc.ir.nodes import Atom, Block, Eqn, Span, Var
from ksc.ir.rewrite import Env, free_vars, replace, substitute_eqn
from ksc.ir.types import AccType, BoxType, TensorType
from ksc.transforms.reverse.presence import ABSENT, Perhaps, Presence, either
from ksc.transforms.reverse.reads import read_sizes_before
from ksc.transforms.reverse.records import Boxes, add_records
from ksc.transforms.tangents import add, tangent_type, zero

if TYPE_CHECKING:
    from ksc.transforms.reverse.guard import Guard


class ReadTooEarlyError(Exception):
    """A tensor that a loop takes back change by change is read before it is what it was."""


Kind = Literal["function", "if", "loop"]


@dataclass(frozen=True, slots=True)
class Taken:
    """The part of a tensor that was read at the indices ``at``, and replaced by zeros."""

    tensor: Atom
    at: tuple[Atom, ...]
    part: Atom


@dataclass(frozen=True, slots=True)
class Restored:
    """A tensor that was changed in a block, and what it is turned into again from equation ``position`` on.

    Attributes:
        before: the tensor before the change.
        after: the tensor after it.
        again: what is equal to ``before`` once ``after`` is not read any more.
        position: the number of the equation from which on ``again`` stands for ``before``.
    """

    before: Var
    after: Var
    again: Atom
    position: int


class Scope:
    """The cotangents known in one block of the reverse sweep.

    A cotangent of a variable is summed in the block that contributes. At the end of the block, that of a variable from
    outside leaves it: out of an ``if`` as a result, out of a loop through an accumulator around the outermost loop
    between the two. A cotangent that is zero is not there at all; ``present`` says when one is there that may not be
    at run time, and ``added`` says the same of what was added to accumulators here.
    """

    def __init__(self, kind: Kind, parent: Scope | None, varied: set[Var], boxes: Boxes, builder: Builder) -> None:
        self.kind = kind
        self.parent = parent
        self.varied = varied
        self.boxes = boxes
        self.builder = builder
        self.owned: set[Var] = set()
        self.bars: dict[Var, Atom] = {}
        self.present: dict[Var, Perhaps] = {}
        self.accs: dict[Var, Var] = {}
        self.added: dict[Var, Presence] = {}
        self.terms: dict[Perhaps, Var] = {}
        self.guard: Guard | None = None
        self.indices: tuple[Var, ...] = ()
        self.stores: dict[Var, Atom] = {}
        self.restored: list[Restored] = []
        self.unmade: dict[Var, Var] = {}
        self.continued: set[Var] = set()
        self.taken: dict[Var, Taken] = {}
        self.span = builder.span

    def inside(self, kind: Kind, span: Span | None = None) -> Scope:
        """A scope for a block inside this one; ``span`` is where the user gives what is reversed there."""
        scope = Scope(kind, self, self.varied, self.boxes, Builder(self.builder.span))
        scope.span = span or scope.span
        return scope

    def own(self, eqns: Iterable[Eqn], params: Iterable[Var] = ()) -> None:
        """Note that the cotangents of these variables are complete when this block ends."""
        self.owned.update(params)
        for eqn in eqns:
            self.owned.update(eqn.outs)

    def wants(self, atom: Atom) -> bool:
        """Whether a cotangent of the atom is of any use."""
        return isinstance(atom, Var) and atom in self.varied

    def take(self, var: Atom) -> Atom | None:
        """The cotangent of a variable whose definition is reached; None where it is zero."""
        if not isinstance(var, Var):
            return None
        self.present.pop(var, None)
        return self.bars.pop(var, None)

    def presence(self, var: Atom) -> Presence:
        """Whether the cotangent of a variable is there."""
        return self.present.get(var) if isinstance(var, Var) and var in self.bars else ABSENT

    def put(self, var: Var, bar: Atom, present: Presence) -> None:
        """Replace the cotangent of ``var``."""
        self.bars[var] = bar
        self.present.pop(var, None)
        if present is not None:
            self.present[var] = present

    def add(self, var: Atom, bar: Atom | None, present: Presence = None) -> None:
        """Add a contribution to the cotangent of ``var``."""
        if bar is None or not isinstance(var, Var) or var not in self.varied:
            return
        known, name = self.bars.get(var), f"{var.name}_bar"
        before = self.presence(var)
        if known is not None and isinstance(bar.type, BoxType):
            bar = add_records(self.builder, self.boxes, known, before, bar, present, name)
        elif known is not None:
            bar = add(self.builder, known, bar, name)
        self.put(var, bar, either(before, present))

    def note_added(self, var: Var, present: Presence) -> None:
        """Note that something was added to the accumulator of a variable."""
        self.added[var] = either(self.added.get(var, ABSENT), present)

    def add_at(self, var: Atom, at: Sequence[Atom], bar: Atom | None, present: Presence = None) -> None:
        """Add a contribution to the part of the cotangent of the tensor ``var`` that stands at the indices ``at``."""
        if bar is None or not isinstance(var, Var) or var not in self.varied:
            return
        assert isinstance(var.type, TensorType)
        if not _accumulates(var.type):
            self._store(var, at, bar)
            return
        acc = self.acc(var)
        if acc is not None:
            self.builder.emit("acc_add", [acc, *at, bar], [])
            self.note_added(var, present)
            return
        whole = self._taken_from(var, at, bar)
        if whole is not None:
            self.put(var, whole, either(self.presence(var), present))
            return
        name = f"{var.name}_bar"
        start = self.so_far(var)
        acc = Var(name, AccType(start.type))
        inner = Builder(self.builder.span)
        inner.emit("acc_add", [acc, *at, bar], [])
        body = inner.block([acc], ())
        present = either(self.presence(var), present)
        self.put(var, self.builder.emit("withacc", [start], [start.type], names=[name], blocks=[body])[0], present)

    def _taken_from(self, var: Var, at: Sequence[Atom], bar: Atom) -> Atom | None:
        """The tensor from which ``bar`` was taken at these indices to make the cotangent of ``var``, if it was.

        ``x[i] += v`` takes the cotangent of x[i], leaves zero, and gives it to x[i] again.
        """
        rest = self.bars.get(var)
        taken = self.taken.get(rest) if isinstance(rest, Var) else None
        return taken.tensor if taken is not None and (taken.at, taken.part) == (tuple(at), bar) else None

    def so_far(self, var: Var) -> Atom:
        """The cotangent of a variable, to add to: the zero of its type where nothing was added yet.

        In a side of an ``if`` that is what was added before the ``if``, so that a tensor is not added to another there.
        """
        if not self._continue(var):
            return zero(self.builder, var)
        return self.bars[var]

    def _continue(self, var: Var) -> bool:
        """Whether there is a cotangent of the variable to add to, in this block or in one around its ``if``."""
        if var in self.bars:
            return True
        outside = self.kind == "if" and self.parent is not None and var not in self.owned
        if not outside or not isinstance(var.type, TensorType) or not self.parent._continue(var):  # type: ignore[union-attr]
            return False
        assert self.parent is not None
        self.put(var, self.parent.bars[var], ABSENT)
        self.continued.add(var)
        return True

    def _store(self, var: Var, at: Sequence[Atom], bar: Atom) -> None:
        direct = self.kind == "loop" and self.parent is not None and tuple(at) == self.indices
        if not direct or var in self.stores:
            raise DifferentiationError(
                f"a cotangent of type {tangent_type(var.type)} cannot be accumulated", span=self.builder.span
            )
        self.stores[var] = bar

    def acc(self, var: Var) -> Var | None:
        """The accumulator of a variable from outside of a loop; None where no loop lies between."""
        outermost: Scope | None = None
        scope: Scope | None = self
        while scope is not None and var not in scope.owned:
            if scope.kind == "loop":
                outermost = scope
            scope = scope.parent
        if outermost is None:
            return None
        if isinstance(var.type, TensorType) and not _accumulates(var.type):
            raise DifferentiationError(
                f"cotangents of type {tangent_type(var.type)} from several iterations cannot be added",
                span=self.builder.span,
            )
        if var not in outermost.accs:
            outermost.accs[var] = Var(f"{var.name}_bar", AccType(tangent_type(var.type)))
        return outermost.accs[var]

    def leave(self) -> dict[Var, Atom]:
        """End the block: add to accumulators, and return the cotangents that leave as results."""
        results: dict[Var, Atom] = {}
        for var, bar in self.bars.items():
            if var in self.owned:
                continue
            acc = self.acc(var)
            if acc is None:
                results[var] = bar
            else:
                self.builder.emit("acc_add", [acc, bar], [])
                self.note_added(var, self.present.get(var))
        self.bars.clear()
        return results

    def left(self, var: Var, given: Mapping[Var, Atom]) -> Presence:
        """Whether the cotangent of a variable is among those ``given`` by this block, which has ended."""
        return self.present.get(var) if var in given else ABSENT

    # Tensors that are changed and changed back.

    def restores(self, after: Var) -> bool:
        """Whether a changed tensor was changed back here."""
        return any(restored.after is after for restored in self.restored)

    def restore(self, before: Atom, after: Var, again: Atom) -> None:
        """Note that from here on ``again`` can stand for ``before``, of which ``after`` was made."""
        if isinstance(before, Var):
            self.restored.append(Restored(before, after, again, len(self.builder.eqns)))

    def finish(self, params: Iterable[Var], results: Iterable[Atom], effectful: Collection[str]) -> Block:
        """The block, without what is not read.

        A tensor changed for a reader of its new value, while the old one is read later, is changed back between the
        two, so that one piece of memory holds both. Where nobody reads the new one there is nothing to change back.
        """
        block = self.builder.block(params, results, self.span)
        if self.restored:
            former = {r.after: r.before for r in self.restored if r.before not in self.unmade}
            eqns = read_sizes_before(block.eqns, {**former, **self.unmade})
            block = Block(block.params, eqns, block.results, block.span)
        if self.unmade:
            block = _renamed(block, [r for r in self.restored if r.before in self.unmade])
        pruned = prune_block(block, effectful, self.live_accs())
        made = {out for eqn in pruned.eqns for out in eqn.outs}
        here = {*block.params, *made}
        if self.unmade and not self.unmade.keys().isdisjoint(free_vars(pruned)):
            raise ReadTooEarlyError
        pending = [r for r in self.restored if r.after in made and r.before in here]
        if not pending:
            return pruned
        return prune_block(_renamed(block, pending), effectful, self.live_accs())

    def live_accs(self) -> set[Var]:
        """The accumulators that this block may add to."""
        found: set[Var] = set()
        scope: Scope | None = self
        while scope is not None:
            found.update(scope.accs.values())
            found.update(scope.terms.values())
            scope = scope.parent
        return found


def _renamed(block: Block, restored: Sequence[Restored]) -> Block:
    """The block, reading what a tensor was turned into again from there on."""
    pending = list(restored)
    env: Env = {}
    eqns = []
    for position, eqn in enumerate(block.eqns):
        while pending and pending[0].position <= position:
            found = pending.pop(0)
            env[found.before] = found.again
        eqns.append(substitute_eqn(eqn, env))
    env.update({r.before: r.again for r in pending})
    return Block(block.params, tuple(eqns), tuple(replace(result, env) for result in block.results), block.span)


def _accumulates(type_: TensorType) -> bool:
    return str(type_.elem) == "Float"
