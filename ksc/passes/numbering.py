"""Numbers for values, by which those of different loops over the same sizes are compared.

A value in a loop is a function of the indices around it, and an index is known by how many are around it and by its
size. So of two loops one after the other

    (build n (lam i (mul (index i x) 2.0)))  …  (reduce add n (lam j (mul 2.0 (index j x))))

both products have the same number. Where a number is used again, the values are meant to be of one iteration of the
loops around.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from ksc.ir.nodes import Atom, Block, Const, Eqn, Function, Var
from ksc.ir.rewrite import bound_vars
from ksc.ops import PRIMITIVES
from ksc.passes.fuse.facts import Facts

_READS = ("size", "tuple", "get")


class Key(NamedTuple):
    """What a value is: an op, the numbers of its arguments, and whatever else there is to it."""

    op: str
    args: tuple[int, ...] = ()
    what: object = None


_At = tuple[tuple[int, Atom], ...]
"""Indices with their numbers."""


@dataclass
class Numbering:
    """Numbers for values, equal ones for equal expressions over the indices of the loops around.

    What a loop carries has a number of its own, and stands for its value in the iteration of a given index. So what was
    stacked is, read at that index, what was computed there; likewise with tensors that are built, or changed.

    Attributes:
        function: what is numbered.
        keys: what each number stands for.
        made: for a tensor that a loop builds or stacks the numbers of the indices, and the element for these.
        builds: which loop builds a tensor, whose elements are known at other indices too.
        bound: what such a loop binds.
        parts: for what is read of a tensor this tensor and the indices.
        updates: for a tensor that was changed the equation that did so.
    """

    function: Function
    known: dict[Key, int] = field(default_factory=dict)
    keys: list[Key] = field(default_factory=list)
    of_var: dict[Var, int] = field(default_factory=dict)
    made: dict[Atom, tuple[tuple[int, ...], Atom]] = field(default_factory=dict)
    builds: dict[Atom, Eqn] = field(default_factory=dict)
    bound: dict[Eqn, Collection[Var]] = field(default_factory=dict)
    parts: dict[Atom, tuple[Atom, _At]] = field(default_factory=dict)
    updates: dict[Atom, Eqn] = field(default_factory=dict)

    @staticmethod
    def of_function(function: Function) -> Numbering:
        """That of all that a function computes."""
        numbering = Numbering(function)
        numbering.block(function.body, 0)
        return numbering

    @cached_property
    def facts(self) -> Facts:
        """What is known of sizes and indices, by which two elements of a tensor are told apart; few functions ask."""
        return Facts.of(self.function)[0]

    def of(self, op: str, args: Sequence[int] = (), what: object = None) -> int:
        """The number of a value."""
        key = Key(op, tuple(args), what)
        if key not in self.known:
            self.known[key] = len(self.keys)
            self.keys.append(key)
        return self.known[key]

    def atom(self, atom: Atom) -> int:
        """The number of an atom."""
        if not isinstance(atom, Var):
            return self.of("const", (), atom)
        if atom not in self.of_var:
            self.of_var[atom] = self.of("var", (), atom)
        return self.of_var[atom]

    def key(self, atom: Atom) -> Key:
        """What an atom is."""
        return self.keys[self.atom(atom)]

    def block(self, block: Block, depth: int) -> None:
        """Number what a block binds; ``depth`` indices are around it."""
        for eqn in block.eqns:
            sizes = eqn.args if eqn.op in ("build", "reduce") else eqn.args[:1] if eqn.op == "for" else ()
            at = tuple(self.of("i", [self.atom(size)], depth + k) for k, size in enumerate(sizes))
            for inner in eqn.blocks:
                self.of_var.update(zip(inner.params, at, strict=False))
                self.block(inner, depth + len(at))
            self._number(eqn, at)

    def _number(self, eqn: Eqn, at: tuple[int, ...]) -> None:
        """Number what an equation binds, ``at`` being the indices of a loop."""
        what = tuple(sorted(eqn.params.items()))
        if eqn.op in ("build", "for") and not eqn.params.get("nested"):
            first = eqn.params.get("carries", 0)
            stacked = zip(eqn.outs[first:], eqn.blocks[0].results[first:], strict=True)
            self.made.update((out, (at, value)) for out, value in stacked)
            if eqn.op == "build":
                self.builds.update(dict.fromkeys(eqn.outs, eqn))
        if eqn.op in ("build", "reduce", "if"):
            around = at or tuple(map(self.atom, eqn.args))
            for k, out in enumerate(eqn.outs):
                values = [self.atom(block.results[k]) for block in eqn.blocks]
                self.of_var[out] = self.of(eqn.op, (*around, *values), what)
        elif eqn.op == "index":
            tensor, *places = eqn.args
            self.parts[eqn.outs[0]] = tensor, tuple((self.atom(place), place) for place in places)
            self.of_var[eqn.outs[0]] = self._read(eqn.outs[0], ())
        elif eqn.op == "update":
            self.updates[eqn.outs[0]] = eqn
        elif eqn.op in PRIMITIVES or eqn.op in _READS:
            args = [self.atom(arg) for arg in eqn.args]
            if eqn.op in PRIMITIVES and PRIMITIVES[eqn.op].commutative:
                args.sort()
            self.of_var.update(
                (out, self.of(eqn.op, args, (*what, k) if k else what)) for k, out in enumerate(eqn.outs)
            )

    def _read(self, tensor: Atom, at: _At) -> int:
        """The number of what is read of a tensor at indices, the tensor itself where there are none."""
        while True:
            if tensor in self.parts:
                tensor, before = self.parts[tensor]
                at = (*before, *at)
                continue
            if not at:
                return self.atom(tensor)
            if tensor in self.made:
                indices, value = self.made[tensor]
                read = tuple(number for number, _ in at[: len(indices)])
                if indices == read:
                    tensor, at = value, at[len(indices) :]
                    continue
                found = self._element(tensor, value, dict(zip(indices, read, strict=False)))
                if found is not None and len(at) == len(indices):
                    return found
            if tensor in self.updates:
                former, *places, value = self.updates[tensor].args
                pairs = list(zip(places, at, strict=False))
                if len(at) >= len(places) and all(self.atom(place) == number for place, (number, _) in pairs):
                    tensor, at = value, at[len(places) :]
                    continue
                if any(self._differ(place, index) for place, (_, index) in pairs):
                    tensor = former
                    continue
            return self.of("index", [self.atom(tensor), *(number for number, _ in at)])

    def _element(self, tensor: Atom, value: Atom, places: Mapping[int, int]) -> int | None:
        """The number of an element at other indices; None where a loop of its own computes it, or a choice."""
        loop = self.builds.get(tensor)
        if loop is None:
            return None
        if loop not in self.bound:
            self.bound[loop] = bound_vars(loop.blocks[0])
        return self._moved(self.atom(value), places, self.bound[loop])

    def _moved(self, number: int, places: Mapping[int, int], bound: Collection[Var]) -> int | None:
        if number in places:
            return places[number]
        op, args, what = self.keys[number]
        if op in ("build", "reduce", "if") or (op == "var" and what in bound):
            return None
        if not args or op == "i":
            return number
        found = [self._moved(arg, places, bound) for arg in args]
        known = [arg for arg in found if arg is not None]
        if op in PRIMITIVES and PRIMITIVES[op].commutative:
            known.sort()
        return self.of(op, known, what) if len(known) == len(found) else None

    def _differ(self, a: Atom, b: Atom) -> bool:
        """Whether two integers are surely not equal."""
        if isinstance(a, Const) and isinstance(b, Const):
            return a != b
        facts = self.facts
        apart = (facts.polynomial(facts.resolve(a)) - facts.polynomial(facts.resolve(b))).value
        return apart is not None and apart != 0
