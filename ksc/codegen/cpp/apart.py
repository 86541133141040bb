"""Loops over more tensors than a compiler compares at run time, whose iterations are known not to meet in memory.

    KS_APART
    for (int64_t i = 0; i < n; ++i) {
        const double t_bar = …;
        bias_bar(i) += t_bar;
        bias_bar(n + i) += t_bar * …;

A compiler runs iterations side by side if it sees that none reads or writes what another one writes. It asks that of
each two tensors before the loop, as long as they are few. Here it is known: what a loop makes is new, and accumulators
are not read; additions to one are apart if each is at a place of its own, and no two of them at each other's.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import combinations

from ksc.codegen.cpp.lanes import ROW, count
from ksc.codegen.cpp.printer import Printer
from ksc.ir.nodes import Atom, Block, Const, Eqn, Var, walk
from ksc.ir.types import TensorType, is_scalar
from ksc.ops import PRIMITIVES
from ksc.passes.fuse.polynomial import Polynomial, Symbol
from ksc.passes.fuse.sizes import Place

Places = tuple[Atom, ...]
"""An accumulator, and indices."""

COMPARED = 10
"""The number of pairs of which GCC finds out at run time whether they overlap."""


def are_apart(p: Printer, eqn: Eqn) -> bool:
    """Whether a ``build`` without loops inside reads and writes many tensors, in which its iterations do not meet."""
    (body,) = eqn.blocks
    if eqn.op != "build" or any(inner.blocks for inner in body.eqns) or not _is_straight(p, body):
        return False
    adds = _adds(p, eqn)
    return _pairs(p, eqn, adds) > COMPARED and _do_not_meet(p, eqn, adds)


def sums_in_lanes(p: Printer, eqn: Eqn, before: Collection[Atom] = ()) -> Sequence[Places]:
    """What the innermost of the loops of a ``build`` adds up, if it contains no others and its iterations meet nowhere
    else: numbers, and elements that stay the same, of which it is known that they are in range before the loop.

    What its body binds may be computed ``before`` it."""
    (body,) = eqn.blocks
    short = isinstance(eqn.args[-1], Const) and int(eqn.args[-1].value) < ROW
    if eqn.op != "build" or short or p.packing is not None or not _is_straight(p, body):
        return ()
    adds = _adds(p, eqn)
    inside = {body.params[-1], *(out for inner in walk(body) for out in inner.outs)}.difference(before)
    sums = {
        add.args[:-1]: None
        for add in adds
        if inside.isdisjoint(add.args[:-1])
        and all(p.in_range.is_safe(add.args[0], dim, at) for dim, at in enumerate(add.args[1:-1]))
        and p.value(add.args[0]).text.isidentifier()
    }
    return tuple(sums) if _do_not_meet(p, eqn, [add for add in adds if add.args[:-1] not in sums]) else ()


def adds_apart(p: Printer, eqn: Eqn) -> bool:
    """Whether each iteration of a ``build`` over a row adds numbers at places of its own, for each addition one."""
    if eqn.op != "build" or len(eqn.args) != 1 or (count(eqn) or 0) < ROW or p.packing is not None:
        return False
    adds = _adds(p, eqn)
    single = all(is_scalar(add.args[-1].type) for add in adds)
    return bool(adds) and single and all(add in eqn.blocks[0].eqns for add in adds) and _do_not_meet(p, eqn, adds)


def _is_straight(p: Printer, body: Block) -> bool:
    """Whether a block computes numbers one after the other, choices aside."""
    eqns = [inner for inner in walk(body) if p.analysis.is_live(inner)]
    allowed = ("index", "size", "if", "acc_add")
    return all(inner.op in PRIMITIVES or inner.op in allowed for inner in eqns) and all(
        is_scalar(atom.type) for inner in eqns for atom in (*inner.outs, *inner.args[-1:])
    )


def _adds(p: Printer, eqn: Eqn) -> list[Eqn]:
    return [inner for inner in walk(eqn.blocks[0]) if inner.op == "acc_add" and p.analysis.is_live(inner)]


def _do_not_meet(p: Printer, eqn: Eqn, adds: Sequence[Eqn]) -> bool:
    """Whether no iteration of the innermost loop adds where another one does."""
    index = eqn.blocks[0].params[-1]
    size = p.in_range.sizes.polynomial(p.in_range.sizes.resolve(eqn.args[-1]))
    made = {out for inner in walk(eqn.blocks[0]) for out in inner.outs}
    moving = _Moving(index, size, made)
    return all(_is_own(p, add, moving) for add in adds) and all(
        _never_meet(p, a, b, moving) for a, b in combinations(adds, 2) if a.args[0] is b.args[0]
    )


@dataclass(frozen=True, slots=True)
class _Moving:
    """The index of a loop, below ``size``, and what is ``made`` in it: a quotient by the index moves in its own way."""

    index: Var
    size: Polynomial
    made: Collection[Symbol]

    def step(self, place: Polynomial) -> int:
        """How far a place moves from one iteration to the next; 0 if that is not always as far."""
        factor = place.coefficient(self.index)
        value = factor.value if factor is not None else None
        return value if value is not None and self.is_plain(place) else 0

    def is_plain(self, place: Polynomial) -> bool:
        """Whether nothing in a place but the index differs between iterations."""
        return all(symbol not in self.made for symbol in place.symbols())


def _pairs(p: Printer, eqn: Eqn, adds: Sequence[Eqn]) -> int:
    """How many pairs of places in memory there are of which one at least is written."""
    live = [inner for inner in eqn.blocks[0].eqns if p.analysis.is_live(inner)]
    written = len({add.args[:-1] for add in adds}) + sum(map(p.analysis.is_read, eqn.outs))
    read = len({inner.args for inner in live if inner.op == "index"})
    return written * (written - 1) // 2 + written * read


def _places(p: Printer, add: Eqn) -> list[Polynomial]:
    facts = p.in_range.sizes
    return [facts.polynomial(facts.resolve(at)) for at in add.args[1:-1]]


def _is_own(p: Printer, add: Eqn, moving: _Moving) -> bool:
    """Whether an addition is at another place in each iteration."""
    return any(map(moving.step, _places(p, add)))


def _never_meet(p: Printer, a: Eqn, b: Eqn, moving: _Moving) -> bool:
    """Whether no iteration adds by ``a`` where another one adds by ``b``."""
    pairs = list(zip(_places(p, a), _places(p, b), strict=True))
    if all(one == other for one, other in pairs):
        return True
    place = _home(p, a)
    return place is not None and any(
        _is_after(p, one, other, moving, place) or _is_after(p, other, one, moving, place) for one, other in pairs
    )


def _is_after(p: Printer, one: Polynomial, other: Polynomial, moving: _Moving, place: Place) -> bool:
    """Whether ``one`` is always greater than ``other``, whichever two iterations they are of."""
    if any(moving.index in end.symbols() and moving.step(end) <= 0 for end in (one, other)):
        return False
    if not (moving.is_plain(one) and moving.is_plain(other)):
        return False
    least = one.with_value(moving.index, Polynomial.constant(0))
    most = other.with_value(moving.index, moving.size.plus(-1))
    return p.in_range.never_negative((least - most).plus(-1), place)


def _home(p: Printer, add: Eqn) -> Place | None:
    acc: Atom = add.args[0]
    assert isinstance(acc, Var) and not isinstance(acc.type, TensorType)
    reads = p.in_range.sizes.reads.get(acc, ())
    return next((read.place for read in reads if read.eqn is add), None)
