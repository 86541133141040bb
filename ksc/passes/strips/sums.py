"""What lanes add to elements that all of them share, added up by loops over these elements.

    (build n (lam i … (build m (lam k (acc_add k total (f i k))))))
        ⟶
    (build chunks m (lam (c k) (acc_add k total (reduce add chunk (lam l (f (c * chunk + l) k))))))

Threads that go through lanes would all add to the same elements, one atomic addition for each term. So a thread has an
element, and adds up a chunk of the lanes: neighbours read side by side, and add to memory once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ksc.ir.builder import Builder
from ksc.ir.nodes import Atom, Block, Eqn, Var, const
from ksc.ir.rewrite import clone_block
from ksc.ir.types import Float, Integer
from ksc.passes.strips.lanes import Element


@dataclass(frozen=True, slots=True)
class LaneSum:
    """What each lane adds to elements of a tensor from outside: ``value`` at ``places``, in loops of these indices."""

    acc: Var
    indices: tuple[Var, ...]
    bounds: tuple[Atom, ...]
    places: tuple[Element, ...]
    value: Element


def add_lanes(sums: Sequence[LaneSum], local: Var, count: Var, lanes: int) -> Iterator[Eqn]:
    """The loops that add them up, one for those of the same bounds; a chunk is a quarter of so many ``lanes``."""
    chunk = max(2, lanes // 4)
    for bounds in dict.fromkeys(one.bounds for one in sums):
        alike = [one for one in sums if one.bounds == bounds]
        builder = Builder()
        more = builder.apply("add", count, const(chunk - 1))
        chunks = builder.apply("idiv", more, const(chunk), name="chunks")
        yield from builder.eqns
        yield Eqn((), "build", (chunks, *bounds), {}, (_chunk(alike, local, count, chunk),))


def _chunk(sums: Sequence[LaneSum], local: Var, count: Var, chunk: int) -> Block:
    number, lane = Var("chunk", Integer), Var(local.name, Integer)
    params = tuple(Var(index.name, Integer) for index in sums[0].indices)
    builder = Builder()
    first = builder.apply("mul", number, const(chunk))
    left = builder.apply("sub", count, first)
    length = builder.apply("min", const(chunk), left)
    inner = Builder()
    here = inner.apply("add", first, lane)
    values = [_copied(inner, one.value, {local: here, **dict(zip(one.indices, params, strict=True))}) for one in sums]
    names = [one.acc.name for one in sums]
    block = inner.block((lane,), values)
    totals = builder.emit(
        "reduce", [length], [Float] * len(sums), names=names, params={"monoid": "add"}, blocks=[block]
    )
    for one, total in zip(sums, totals, strict=True):
        places = [_copied(builder, place, dict(zip(one.indices, params, strict=True))) for place in one.places]
        builder.emit("acc_add", [one.acc, *places, total], [])
    return builder.block((number, *params), ())


def _copied(builder: Builder, element: Element, env: dict[Var, Atom]) -> Atom:
    block = clone_block(Block((), tuple(element.eqns), (element.result,)), env)
    builder.eqns += block.eqns
    return block.results[0]
