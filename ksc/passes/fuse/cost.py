"""What it costs to compute an element of a tensor again instead of keeping the tensor."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from ksc.ir.liveness import adds, has_effect
from ksc.ir.nodes import Block, Eqn, Var, walk
from ksc.ops import PRIMITIVES
from ksc.passes.cost import work
from ksc.passes.fuse.facts import Facts
from ksc.passes.fuse.sizes import Place

CHEAP = 8
"""The cost up to which an element is computed in several places, each of which reads an element once."""

SPLIT = 12
"""The cost up to which the terms of a sum are computed in a loop of their own beside the loop that needs them too."""

LARGEST = 150
"""The number of equations up to which a body is fused with others, so that none grows without bounds."""

FREE = 1
"""The cost up to which an element is computed wherever it is read, however often: a view, a broadcast, a scaling."""


class Stops:
    """Whether some equations, or those computed in a place of them, may stop the kernel.

    That takes a proof for each index, and only few ask, so it is found out for them.
    """

    __slots__ = ("_answer", "_found", "_parts")

    def __init__(self, answer: Callable[[], bool], parts: Sequence[Stops] = ()) -> None:
        self._answer = answer
        self._parts = parts
        self._found: bool | None = None

    def __bool__(self) -> bool:
        seen: set[Stops] = set()
        pending = [self]
        while pending and self._found is None:
            one = pending.pop()
            if one in seen or one._found is False:
                continue
            seen.add(one)
            if one._found or one._answer():
                self._found = True
            pending += one._parts
        self._found = bool(self._found)
        return self._found


@dataclass(frozen=True, slots=True)
class Cost:
    """What evaluating some equations once means.

    Attributes:
        work: about how many additions of floats it costs; reading memory and arithmetic of indices are free.
        stops: whether it may stop the kernel.
        acts: whether it has an effect, so that it must be evaluated where it is and nowhere else.
        equations: how many they are.
    """

    work: int
    stops: Stops
    acts: bool
    equations: int = 1

    def beside(self, other: Cost) -> Cost:
        """Of two sides of which one is evaluated."""
        work = 1 + max(self.work, other.work)
        equations = 1 + self.equations + other.equations
        return Cost(work, Stops(_never, (self.stops, other.stops)), self.acts or other.acts, equations)

    def with_part(self, part: Cost) -> Cost:
        """With something that is computed in a place of it."""
        stops = Stops(_never, (self.stops, part.stops))
        return Cost(self.work + part.work, stops, self.acts, self.equations + part.equations)


def _never() -> bool:
    return False


NOTHING = Cost(0, Stops(_never), acts=False)
"""The cost of what is there."""


def cost_of(block: Block, place: Place, facts: Facts, effectful: Collection[str]) -> Cost:
    """The cost of a block that stands at ``place``."""
    acts = any(has_effect(eqn, effectful, ()) or adds(eqn) for eqn in block.eqns)
    stops = Stops(lambda: any(fails(eqn, place, facts) for eqn in block.eqns))
    return Cost(work(block), stops, acts, sum(1 for _ in walk(block)))


def fails(eqn: Eqn, place: Place, facts: Facts, *, asserts: bool = True) -> bool:
    """Whether an equation, or one inside it, may stop the kernel; without ``asserts``, otherwise than by these."""
    record = PRIMITIVES.get(eqn.op)
    if record is not None:
        return record.can_fail and not (eqn.op in ("idiv", "imod") and facts.is_nonzero(eqn.args[1], place))
    if eqn.op in ("index", "update"):
        tensor, *at = eqn.args
        if eqn.op == "update":
            *at, value = at
            if not isinstance(tensor, Var) or value.type != getattr(tensor.type, "elem", None):
                return True
        return not isinstance(tensor, Var) or not all(
            facts.in_range(index, facts.size(tensor, dim), place) for dim, index in enumerate(at)
        )
    if eqn.op in ("build", "reduce") and not all(
        facts.is_natural(facts.polynomial(facts.resolve(n))) for n in eqn.args
    ):
        return True
    if eqn.op in ("if", "build", "reduce", "for"):
        inside = [(block, facts.inside(block, eqn, place)) for block in eqn.blocks]
        return any(fails(inner, within, facts, asserts=asserts) for block, within in inside for inner in block.eqns)
    return eqn.op not in ("size", "get", "tuple") and (asserts or eqn.op != "assert")
