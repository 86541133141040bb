"""What a loop that changes tensors keeps besides what it overwrites, so that its reverse need not compute it again.

    t = (for n x (lam (i t)                         The inner loop overwrites one number in each of its iterations, and
      (for m t (lam (j u)                 ⟶         the outer one records n m of them. So the inner one is not run again
        (update j u (exp (index j u)))))))          when an iteration of the outer one is reversed: its log is read.

A loop inside another one is kept, that is everything its reverse reads of it, where that is no more than a few numbers
for each that it overwrites, and of the same sizes. Within the same limit go the numbers of rows that take long to
compute. So the record of a loop stays of the order that it had (docs/design/0007). What the reverse does not read is
removed, as ever.

The reverse of an iteration then goes backwards only: the tensor after it is turned into what it was before, change by
change, as their reverses need it. A number that the body reads of the tensor between two changes is kept too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import mul

from ksc.ir.nodes import Atom, Block, Eqn, Function, Var
from ksc.ir.rewrite import bound_vars, free_in
from ksc.ir.types import Float, TensorType
from ksc.ops import PRIMITIVES
from ksc.passes.fuse.facts import Facts
from ksc.passes.fuse.polynomial import Polynomial
from ksc.transforms.reverse.closing import counter_step
from ksc.transforms.reverse.segments import WHOLE
from ksc.transforms.reverse.undo import Recorder, Step

MORE = 7
"""How many numbers are kept at most for each that is overwritten."""

_ONE = Polynomial.constant(1)


@dataclass(slots=True)
class Keeping:
    """What is kept of the loops of one function.

    Attributes:
        loops: the loops that are not run again when the loop around them is reversed.
        values: the variables that are kept although what computes them could be run again.
        sizes: the dimensions of tensors, those of results that loops got for what they keep included.
    """

    facts: Facts
    recorder: Recorder
    loops: set[Eqn] = field(default_factory=set)
    values: set[Var] = field(default_factory=set)
    sizes: dict[Var, Sequence[Polynomial]] = field(default_factory=dict)

    @staticmethod
    def of(function: Function, recorder: Recorder) -> Keeping:
        """What to keep of a function whose loops record what they overwrite."""
        if not recorder.undos:
            return Keeping(Facts(), recorder)
        keeping = Keeping(Facts.of(function)[0], recorder)
        keeping._visit(function.body)
        return keeping

    def _visit(self, block: Block) -> None:
        for eqn in block.eqns:
            if self._records(eqn):
                self._decide(eqn)
            else:
                for inner in eqn.blocks:
                    self._visit(inner)

    def _records(self, eqn: Eqn) -> bool:
        return eqn in self.recorder.undos and eqn.params.get("checkpoint") != WHOLE

    def _decide(self, eqn: Eqn) -> set[Polynomial]:
        """Choose what to keep of a loop; how many numbers its updates overwrite in one iteration, one by one."""
        body = eqn.blocks[-1]
        written = [self._elements(update.args[-1]) for update in _updates(body)]
        for inner in body.eqns:
            if not self._records(inner):
                for block in inner.blocks:
                    self._visit(block)
                continue
            overwritten = self._decide(inner)
            if overwritten and self._fits(inner, overwritten):
                self.loops.add(inner)
                written += overwritten
        rows = set(written)
        room = MORE * len(written) - len(self._tapes(eqn))
        for inner in body.eqns:
            if inner.op == "build":
                for value, count in self._dear(inner, _ONE):
                    if room > 0 and count in rows:
                        self.values.add(value)
                        room -= 1
        self._keep_what_is_between(eqn, body)
        return rows

    def _tapes(self, eqn: Eqn) -> list[Var]:
        """The carries of a loop whose values its reverse may ask for, and that have a tape for it."""
        body = eqn.blocks[-1]
        n = eqn.params["carries"]
        params = body.params[len(body.params) - n :]
        undone = self.recorder.undos[eqn]
        counters = (
            counter_step(body, param, result) is not None for param, result in zip(params, body.results, strict=False)
        )
        return [
            param
            for k, (param, counts) in enumerate(zip(params, counters, strict=True))
            if k not in undone and not counts
        ]

    def _fits(self, eqn: Eqn, written: Collection[Polynomial]) -> bool:
        """Whether what a loop keeps for its reverse is of the sizes of what it overwrites, or numbers."""
        tapes = self._tapes(eqn)
        undone = self.recorder.undos[eqn]
        ends = [end for k, end in enumerate(eqn.blocks[-1].results[: eqn.params["carries"]]) if k not in undone]
        sizes = {*written, _ONE}
        return len(tapes) <= MORE * len(written) and all(self._elements(end) in sizes for end in (*tapes, *ends))

    def _dear(self, build: Eqn, around: Polynomial) -> Iterator[tuple[Var, Polynomial]]:
        """The numbers that a build takes long to compute, and how many there are of each."""
        (body,) = build.blocks
        count = reduce(mul, self._counts(build), around)
        for eqn in body.eqns:
            record = PRIMITIVES.get(eqn.op)
            if eqn.op == "build":
                yield from self._dear(eqn, count)
            elif eqn.outs and eqn.outs[0].type == Float and record is not None and record.cost == "expensive":
                yield eqn.outs[0], count

    def _keep_what_is_between(self, eqn: Eqn, body: Block) -> None:
        """Keep the numbers read of a tensor that a kept loop changes, save those read after all changes."""
        between = {version for k in self.trails(eqn) for version in self.versions(eqn, k)[1:]}
        for inner in body.eqns:
            if inner.op in ("size", "update") or inner in self.loops:
                continue
            if not between.isdisjoint(free_in(inner)):
                self.values.update(out for out in inner.outs if not isinstance(out.type, TensorType))

    # What the sweep asks.

    def versions(self, eqn: Eqn, k: int) -> list[Atom]:
        """What a carry is in the body of a loop: after each change, the last one first, and before the first."""
        return versions_of(eqn.blocks[-1].results[k], self.recorder.steps)

    def trails(self, eqn: Eqn) -> list[int]:
        """The numbers of the carries of a loop that a kept loop in its body changes."""
        changed = {out for inner in eqn.blocks[-1].eqns if inner in self.loops for out in inner.outs}
        return [k for k in self.recorder.undos.get(eqn, {}) if not changed.isdisjoint(self.versions(eqn, k))]

    def stacked(self, out: Var, count: Atom, value: Var) -> None:
        """Learn that a loop stacks a value."""
        if isinstance(out.type, TensorType):
            self.sizes[out] = (self.facts.polynomial(self.facts.resolve(count)), *self._dims(value))

    def built(self, out: Var, build: Eqn, value: Var) -> None:
        """Learn that a ``build`` gives a value of its body too."""
        self.sizes[out] = (*self._counts(build), *self._dims(value))

    def is_steady(self, value: Var, body: Block) -> bool:
        """Whether a tensor in the body of a loop has the same sizes in each iteration."""
        if isinstance(value.type, TensorType) and value not in self.sizes and value not in self.facts.places:
            return False
        bound = bound_vars(body)
        symbols = (symbol for size in self._dims(value) for symbol in size.symbols())
        return all((symbol[0] if isinstance(symbol, tuple) else symbol) not in bound for symbol in symbols)

    def _dims(self, value: Var) -> Sequence[Polynomial]:
        if not isinstance(value.type, TensorType):
            return ()
        if value not in self.sizes:
            self.sizes[value] = [self._equated(self.facts.polynomial(size), value) for size in self.facts.sizes(value)]
        return self.sizes[value]

    def _counts(self, build: Eqn) -> list[Polynomial]:
        first = build.blocks[0].params[0]
        return [self._equated(self.facts.polynomial(self.facts.resolve(n)), first) for n in build.args]

    def _elements(self, atom: Atom) -> Polynomial:
        return reduce(mul, self._dims(atom), _ONE) if isinstance(atom, Var) else _ONE

    def _equated(self, size: Polynomial, var: Var) -> Polynomial:
        place = self.facts.places.get(var)
        return size if place is None else self.facts.equated(size, place)


def versions_of(atom: Atom, steps: Mapping[Var, Step]) -> list[Atom]:
    """A tensor that equations of a block change in turn: after each change, the last one first, and before."""
    found = [atom]
    while isinstance(atom, Var) and atom in steps:
        atom = steps[atom].root
        found.append(atom)
    return found


def read_kept(build: Eqn, kept: Collection[Var]) -> Eqn:
    """A ``build`` without those of its results that are ``kept``, whose elements it reads where it computed them."""
    (body,) = build.blocks
    pairs = list(zip(build.outs, body.results, strict=True))
    at_hand: dict[Var, Var] = {}
    for out, result in pairs:
        if out in kept and isinstance(result, Var):
            at_hand.setdefault(result, out)
    eqns = [Eqn((result,), "index", (out, *body.params), span=build.span) for result, out in at_hand.items()]
    for eqn in body.eqns:
        known = [out for out in eqn.outs if out in at_hand]
        if eqn.op == "build" and known:
            eqn = read_kept(eqn, known)
        if not known or eqn.op == "build":
            eqns.append(eqn)
    rest = [(out, result) for out, result in pairs if out not in kept]
    block = Block(body.params, tuple(eqns), tuple(result for _, result in rest), body.span)
    return Eqn(tuple(out for out, _ in rest), build.op, build.args, build.params, (block,), build.span)


def _updates(block: Block) -> Iterator[Eqn]:
    """The updates in a block and in branches of it."""
    for eqn in block.eqns:
        if eqn.op == "update":
            yield eqn
        elif eqn.op == "if":
            for side in eqn.blocks:
                yield from _updates(side)
