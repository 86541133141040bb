"""Horizontal fusion: loops of equal sizes that do not read each other's results become one with several results.

    s = (reduce add n (lam i (index i x)))
    q = (reduce add n (lam i (mul (index i x) (index i x))))
                            ⟶      s q = (reduce add n (lam i (tuple (index i x) (mul (index i x) (index i x)))))

What both compute, such as the sum of a row, is computed once. Nothing moves across an equation with an effect, but for
additions to accumulators, and for asserts that may be made before the loops as well: these cannot fail.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from ksc.ir.liveness import adds, has_effect
from ksc.ir.nodes import Atom, Block, Eqn, Function, Program, Var, walk
from ksc.ir.rewrite import assemble, effectful_functions, read_vars, substitute_block, with_blocks, with_eqns
from ksc.passes.fuse.changes import changed_tensors
from ksc.passes.fuse.cost import fails
from ksc.passes.fuse.facts import Facts
from ksc.passes.fuse.sizes import Place
from ksc.passes.product import product_of
from ksc.passes.share import share_in

LARGEST = 200
"""The number of equations that a merged body may have."""

Key = tuple[object, ...]


def fuse_neighbours(program: Program) -> Program:
    """Merge every ``build`` and ``reduce`` that can be, in all blocks."""
    effectful = effectful_functions(program.functions)
    functions = {name: _Neighbours(f, effectful).run() for name, f in program.functions.items()}
    return assemble(functions, program.entry, program.boxes, renew=False)


class _Segment:
    """Equations in a row none of which has an effect, but for asserts that can be made before all of its loops."""

    def __init__(self) -> None:
        self.eqns: list[Eqn] = []
        self.made: set[Atom] = set()
        self.has_loops = False
        self._judged = 0

    def add(self, eqn: Eqn) -> None:
        """The next equation; what loops give, and what is computed of that, is ``made`` in it."""
        self.eqns.append(eqn)
        self.has_loops |= bool(eqn.blocks)
        if eqn.blocks or not self.made.isdisjoint(eqn.args):
            self.made.update(eqn.outs)

    def fails(self, place: Place, facts: Facts) -> bool:
        """Whether an equation of it other than the asserts may stop the kernel; one that may not is asked once."""
        while self._judged < len(self.eqns):
            eqn = self.eqns[self._judged]
            if eqn.op != "assert" and fails(eqn, place, facts):
                return True
            self._judged += 1
        return False


class _Neighbours:
    def __init__(self, function: Function, effectful: Collection[str]) -> None:
        self.function = function
        self.effectful = effectful
        self.known: tuple[Facts, Place] | None = None
        self._reads: dict[int, tuple[Eqn, Collection[Var]]] = {}

    def run(self) -> Function:
        function = self.function
        return Function(function.name, self.block(function.body, ()), function.span)

    def block(self, block: Block, around: Sequence[Eqn]) -> Block:
        """The block with neighbours merged, here and inside; ``around`` are the equations that it is in."""
        done: list[Eqn] = []
        segment = _Segment()
        for eqn in block.eqns:
            if not has_effect(eqn, self.effectful, ()) or self.may_be_first(eqn, segment, around):
                segment.add(eqn)
            else:
                done += [*self.merged(segment.eqns), eqn]
                segment = _Segment()
        done += self.merged(segment.eqns)
        # Inside afterwards, so that what two merged bodies have in common still looks alike.
        eqns = [with_blocks(eqn, [self.block(inner, (*around, eqn)) for inner in eqn.blocks]) for eqn in done]
        return with_eqns(block, eqns)

    def may_be_first(self, eqn: Eqn, segment: _Segment, around: Sequence[Eqn]) -> bool:
        """Whether this is an assert that can be made before the loops of ``segment``."""
        if eqn.op != "assert" or not segment.made.isdisjoint(eqn.args):
            return False
        if self.known is None and segment.has_loops:
            self.known = Facts.of(self.function)
        if self.known is None:
            return True
        facts, place = self.known
        for owner in around:
            place = Place(owner, place)
        return not segment.fails(place, facts)

    def merged(self, eqns: list[Eqn]) -> list[Eqn]:
        keys = Counter(key for eqn in eqns if (key := _key(eqn)) is not None)
        for key, count in keys.items():
            if count > 1:
                eqns = self.merge(eqns, key)
        return eqns

    def merge(self, eqns: list[Eqn], key: Key) -> list[Eqn]:
        """Merge the loops of one key that are as many such loops away from what is given.

        Of two of these none can read, through whatever stands between, what the other one gives.
        """
        where = [k for k, eqn in enumerate(eqns) if _key(eqn) == key]
        first, last = where[0], where[-1] + 1
        depth: dict[Var, int] = {}
        read: dict[Var, int] = {}
        ranked: list[tuple[int, Eqn]] = []
        added = 0
        for eqn in eqns[first:last]:
            used = self.read_by(eqn)
            own = max((depth.get(var, 0) for var in used), default=0)
            # What reads a tensor stays before what may change it in place, lest it be copied.
            own = max((own, *(read.get(var, 0) for var in changed_tensors(eqn))))
            if adds(eqn):
                added = own = max(own, added)
            is_loop = _key(eqn) == key
            depth.update(dict.fromkeys(eqn.outs, own + is_loop))
            read.update((var, max(read.get(var, 0), own + is_loop)) for var in used)
            ranked.append((2 * own + is_loop, eqn))
        ranks = [rank for rank, _ in ranked if rank % 2]
        if len(set(ranks)) == len(ranks):
            return eqns
        middle: list[Eqn] = []
        previous = -1
        for rank, eqn in sorted(ranked, key=lambda pair: pair[0]):
            if rank % 2 and rank == previous and _size(middle[-1]) + _size(eqn) <= LARGEST:
                middle[-1] = self.together(middle[-1], eqn)
            else:
                middle.append(eqn)
            previous = rank
        return [*eqns[:first], *middle, *eqns[last:]]

    def read_by(self, eqn: Eqn) -> Collection[Var]:
        """What an equation reads, found once although loops of several kinds stand around it."""
        known = self._reads.get(id(eqn))
        if known is None:
            known = self._reads[id(eqn)] = eqn, read_vars([eqn])
        return known[1]

    def together(self, first: Eqn, second: Eqn) -> Eqn:
        a, b = first.blocks[0], second.blocks[0]
        seen = substitute_block(b, dict(zip(b.params, a.params, strict=True)))
        body = Block(a.params, a.eqns + seen.eqns, a.results + seen.results, a.span)
        shared = share_in(body, self.effectful)
        return Eqn(first.outs + second.outs, first.op, first.args, first.params, (shared,), first.span or second.span)


def _key(eqn: Eqn) -> Key | None:
    """What loops that are merged have in common."""
    if eqn.op not in ("build", "reduce") or eqn.params.get("nested") or adds(eqn) or product_of(eqn) is not None:
        return None
    return eqn.op, eqn.args, eqn.params.get("monoid")


def _size(eqn: Eqn) -> int:
    return sum(1 for _ in walk(eqn.blocks[0]))
