"""Which tensors of a function can live in scalars, and which loops have to be written out for that.

A tensor can where its sizes are known and small, and every element that is read, replaced or added to has indices
that are constants once loops of few iterations are written out. It is worth it where elements are used one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

from ksc.ir.nodes import Atom, Block, Const, Eqn, Function, Var
from ksc.ir.types import AccType, BoolType, IntegerType, TensorType, Type, is_scalar
from ksc.ops import PRIMITIVES
from ksc.passes.small.literal import elements_of, known_sizes

LARGEST = 16
"""Tensors of more elements stay in memory."""

MOST_ITERATIONS = 4
"""A loop of more iterations stays one, which fills vector registers."""

MOST_COPIES = 32
"""The iterations of a loop nest that only copies elements and chooses among them."""

MOST_EQUATIONS = 600
"""The number of equations that one loop may become."""

MOST_IN_ALL = 3000
"""The number of equations that all loops of a function may become; where they would be more, all stay as they are."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The tensors and accumulators that are held in scalars, and the loops that are written out."""

    held: frozenset[Var]
    loops: frozenset[Eqn]


def small_sizes(type_: Type) -> tuple[int, ...] | None:
    """The sizes of a small tensor of scalars, or of an accumulator of one; None for any other type."""
    tensor = type_.value if isinstance(type_, AccType) else type_
    if not isinstance(tensor, TensorType) or not is_scalar(tensor.elem):
        return None
    sizes = tuple(size for size in tensor.sizes if size is not None)
    return sizes if len(sizes) == tensor.rank and 1 <= prod(sizes) <= LARGEST else None


def plan(function: Function) -> Plan:
    """What is done in one function."""
    survey = _Survey()
    survey.lost.update(function.params)
    survey.foreign.update(function.params)
    survey.block(function.body)
    return survey.plan()


class _Survey:
    def __init__(self) -> None:
        self.lost: set[Var] = set()
        self.used: set[Var] = set()
        self.needs: dict[Var, set[Eqn]] = {}
        self.linked: list[tuple[Var, Var]] = []
        self.flows: list[tuple[Atom, Var]] = []
        # Each update, as the tensor that it changes and the one that it gives.
        self.updates: list[tuple[Var, Var]] = []
        # What is not the function's to change in place: its parameters and their parts.
        self.foreign: set[Var] = set()
        # The loops that the value of an integer or truth value depends on, where it is known in each iteration.
        self.known: dict[Var, frozenset[Eqn]] = {}
        self.extents: dict[Eqn, int | None] = {}
        # Loops whose index decides which side of an ``if`` runs, or what is selected.
        self.deciding: set[Eqn] = set()
        # Loops that go through a small tensor, wherever it is.
        self.reading: set[Eqn] = set()

    def plan(self) -> Plan:
        self.lose()
        worth = self.used - self.lost
        # What a scalar comes from is best a scalar itself; a loop's results come from inside of it.
        before = -1
        while len(worth) != before:
            before = len(worth)
            self.join_linked(worth)
            for source, target in reversed(self.flows):
                if target in worth and isinstance(source, Var) and source not in self.lost:
                    worth.add(source)
        held = frozenset(var for var in self.needs if var in worth and var not in self.lost)
        loops = frozenset(loop for var in held for loop in self.needs[var]) | self.deciding
        if held:
            # What is read from memory beside is arithmetic of the same elements.
            loops |= self.reading
        if sum(self.extent(loop) or 0 for loop in loops) > MOST_IN_ALL:
            return Plan(frozenset(), frozenset())
        return Plan(held, loops)

    def lose(self) -> None:
        """Let whatever cannot be held take with it what is linked to it, and what is made by changing it in place.

        A tensor in memory takes one store for each element that changes; in scalars it would be read and written whole.
        """
        before = -1
        while len(self.lost) != before:
            before = len(self.lost)
            self.join_linked(self.lost)
            self.lost.update(
                out
                for source, out in self.updates
                if source not in self.foreign and (source in self.lost or source not in self.needs)
            )

    def join_linked(self, found: set[Var]) -> None:
        """Add what is linked to what was found."""
        before = -1
        while len(found) != before:
            before = len(found)
            for a, b in self.linked:
                if a in found or b in found:
                    found.update((a, b))

    # How long a loop is once it is written out.

    def extent(self, eqn: Eqn) -> int | None:
        """The number of equations that an equation becomes, None where one inside it cannot be written out."""
        if eqn not in self.extents:
            self.extents[eqn] = self._extent(eqn)
        return self.extents[eqn]

    def _extent(self, eqn: Eqn) -> int | None:
        inner = [self.extent(one) for block in eqn.blocks for one in block.eqns]
        if any(one is None for one in inner):
            return None
        total = 1 + sum(one for one in inner if one is not None)
        if eqn.op in ("while", "call", "callback"):
            return None
        if eqn.op not in ("build", "reduce", "for"):
            return total
        sizes = known_sizes(eqn) if eqn.op != "for" else _count(eqn)
        if sizes is None or eqn.params.get("nested") or min(sizes) < 1:
            return None
        made = eqn.blocks[0].results[eqn.params.get("carries", 0) :]
        if not all(is_scalar(a.type) or (eqn.op != "reduce" and small_sizes(a.type) is not None) for a in made):
            return None
        if max(sizes) > MOST_ITERATIONS and (prod(sizes) > MOST_COPIES or not _only_copies(eqn.blocks[0])):
            return None
        total *= prod(sizes)
        return total if total <= MOST_EQUATIONS else None

    # The walk.

    def block(self, block: Block) -> None:
        for eqn in block.eqns:
            self.eqn(eqn)

    def enter(self, var: Var, loops: Sequence[Eqn] = ()) -> None:
        """A tensor that may be held where these loops are written out."""
        if small_sizes(var.type) is not None:
            self.needs.setdefault(var, set()).update(loops)

    def link(self, param: Var, out: Var) -> None:
        """What a block takes and what its equation gives are held together, or neither is."""
        self.enter(param)
        self.enter(out)
        self.linked.append((param, out))
        if small_sizes(param.type) != small_sizes(out.type):
            self.lost.update((param, out))

    def static(self, atoms: Sequence[Atom]) -> frozenset[Eqn] | None:
        """The loops that the atoms depend on, None where they are not known in each iteration."""
        found: set[Eqn] = set()
        for atom in atoms:
            if isinstance(atom, Var):
                if atom not in self.known:
                    return None
                found |= self.known[atom]
        return frozenset(found)

    def element(self, tensor: Atom, at: Sequence[Atom]) -> None:
        """Elements of a tensor or accumulator are used, at these indices."""
        if isinstance(tensor, Var) and small_sizes(tensor.type) is not None:
            loops = self.static(at)
            if loops is None:
                self.lost.add(tensor)
                return
            self.reading |= loops
            if tensor in self.needs:
                self.needs[tensor] |= loops
                self.used.add(tensor)

    def eqn(self, eqn: Eqn) -> None:
        # An accumulator that is handed on is needed in one piece.
        handed_on = eqn.args[1:] if eqn.op == "acc_add" else eqn.args
        self.lost.update(arg for arg in handed_on if isinstance(arg, Var) and isinstance(arg.type, AccType))
        if eqn.op in ("if", "select"):
            self.deciding |= self.static(eqn.args[:1]) or frozenset()
        match eqn.op:
            case "index":
                self.element(eqn.args[0], eqn.args[1:])
                self.part(eqn)
            case "update":
                self.enter(eqn.outs[0])
                self.element(eqn.outs[0], eqn.args[1:-1])
                self.flows += ((eqn.args[0], eqn.outs[0]), (eqn.args[-1], eqn.outs[0]))
                if isinstance(eqn.args[0], Var):
                    self.updates.append((eqn.args[0], eqn.outs[0]))
            case "acc_add":
                self.element(eqn.args[0], eqn.args[1:-1])
                if isinstance(eqn.args[0], Var):
                    self.flows.append((eqn.args[-1], eqn.args[0]))
            case "build" | "reduce" | "for":
                self.loop(eqn)
            case "while":
                self.carried(eqn)
            case "withacc":
                self.withacc(eqn)
            case "if":
                for k, out in enumerate(eqn.outs):
                    self.enter(out)
                    self.flows += ((block.results[k], out) for block in eqn.blocks)
            case _:
                self.scalar(eqn)
        for block in eqn.blocks:
            self.block(block)

    def part(self, eqn: Eqn) -> None:
        (out,), source = eqn.outs, eqn.args[0]
        if isinstance(out.type, TensorType) and isinstance(source, Var):
            if source in self.needs:
                self.enter(out)
                self.linked.append((source, out))
            elif source in self.foreign:
                self.foreign.add(out)

    def loop(self, eqn: Eqn) -> None:
        counted = eqn.blocks[0].params[: len(eqn.args)] if eqn.op != "for" else eqn.blocks[0].params[:1]
        written_out = self.extent(eqn) is not None
        if written_out:
            self.known.update(dict.fromkeys(counted, frozenset((eqn,))))
        if eqn.op == "for":
            self.carried(eqn)
        made = eqn.outs[eqn.params["carries"] :] if eqn.op == "for" else eqn.outs if eqn.op == "build" else ()
        if elements_of(eqn) is not None:
            for out in made:
                self.enter(out)
        elif written_out:
            for out in made:
                self.enter(out, (eqn,))

    def carried(self, eqn: Eqn) -> None:
        n = eqn.params["carries"]
        for out, init, result in zip(eqn.outs, eqn.args[len(eqn.args) - n :], eqn.blocks[-1].results, strict=False):
            self.flows += ((init, out), (result, out))
        for block in eqn.blocks:
            params = block.params[len(block.params) - n :]
            for param, out in zip(params, eqn.outs, strict=False):
                self.link(param, out)

    def withacc(self, eqn: Eqn) -> None:
        for param, init, out in zip(eqn.blocks[0].params, eqn.args, eqn.outs, strict=False):
            self.link(param, out)
            self.flows.append((init, out))
        for out, result in zip(eqn.outs[len(eqn.args) :], eqn.blocks[0].results, strict=True):
            self.enter(out)
            self.flows.append((result, out))

    def scalar(self, eqn: Eqn) -> None:
        if eqn.op in PRIMITIVES and all(isinstance(var.type, IntegerType | BoolType) for var in _all(eqn)):
            loops = self.static(eqn.args)
            if loops is not None:
                self.known[eqn.outs[0]] = loops


def _all(eqn: Eqn) -> Iterator[Atom]:
    yield from eqn.args
    yield from eqn.outs


_COPIES = frozenset({"index", "select", "update", "if", "build", "for"})


def _only_copies(block: Block) -> bool:
    """Whether the block computes no number that is not an index."""
    return all(
        all(map(_only_copies, eqn.blocks))
        and (eqn.op in _COPIES or all(isinstance(var.type, IntegerType | BoolType) for var in _all(eqn)))
        for eqn in block.eqns
    )


def _count(eqn: Eqn) -> list[int] | None:
    count = eqn.args[0]
    return [int(count.value)] if isinstance(count, Const) else None
