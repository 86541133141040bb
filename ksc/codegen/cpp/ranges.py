"""Which indices cannot be out of range, so that no check is written for them.

Integers are seen as sums of multiples of unknowns, the unknowns being sizes of tensors, loop variables, and whatever
else there is; what holds at a place of the text is kept as sums that are not negative there. An index i is in range of
a dimension of size n where neither i nor n - 1 - i can be negative:

    for i in range(n - 1):  t[i + 1]        0 <= i <= n - 2, so 1 <= i + 1 <= n - 1

Arithmetic wraps at 64 bits, and the sums here do not. That is sound because no tensor has a dimension above 2^48
(``ks::largest_size``), and because no sum is made of integers that are not known to be between two sizes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ksc.ir.nodes import Atom, Block, Const, Eqn, Var, const
from ksc.ir.types import AccType, IntegerType, TensorType
from ksc.passes.fuse.facts import Facts as SizeFacts
from ksc.passes.fuse.polynomial import Polynomial
from ksc.passes.fuse.sizes import Place

Unknown = Var | tuple[Var, int]
"""An integer variable, or a dimension of a tensor."""

LARGEST_FACTOR = 1 << 10
LARGEST_CONSTANT = 1 << 40
MOST_UNKNOWNS = 8


@dataclass(frozen=True, slots=True)
class Sum:
    """``constant`` plus each unknown times its factor, none of which is 0."""

    constant: int = 0
    factors: Mapping[Unknown, int] = field(default_factory=dict)

    def plus(self, other: Sum, times: int = 1) -> Sum:
        """This and a multiple of another one."""
        factors = dict(self.factors)
        for unknown, factor in other.factors.items():
            factors[unknown] = factors.get(unknown, 0) + times * factor
        return Sum(self.constant + times * other.constant, {u: f for u, f in factors.items() if f != 0})

    def is_small(self) -> bool:
        """Whether it cannot leave 64 bits where its unknowns are sizes."""
        return (
            abs(self.constant) <= LARGEST_CONSTANT
            and len(self.factors) <= MOST_UNKNOWNS
            and all(abs(factor) <= LARGEST_FACTOR for factor in self.factors.values())
        )


@dataclass(frozen=True, slots=True)
class Facts:
    """What holds where the text is being written.

    Attributes:
        values: integers that are sums of others.
        below: the greatest value of integers that are not negative.
        known: sums that are not negative, of those of the same multiples of unknowns the least.
        sizes: integers that are sizes of tensors.
        either: conditions of which one holds.
        equated: stands for the integers that were found to be sums after something was said of them.
    """

    values: Mapping[Unknown, Sum] = field(default_factory=dict)
    below: Mapping[Unknown, Sum] = field(default_factory=dict)
    known: Mapping[frozenset[tuple[Unknown, int]], Sum] = field(default_factory=dict)
    sizes: frozenset[Unknown] = frozenset()
    either: tuple[tuple[Atom, Atom], ...] = ()
    equated: object = None


@dataclass(frozen=True, slots=True)
class _Seen:
    """A known sum as it is resolved, and the unknowns that it and its bounds reach.

    It is out of date where more integers are ``equated``, or where less is known to be left than was ``said``.
    """

    equated: object
    said: int
    value: Sum
    reach: frozenset[Unknown]


class InRange:
    """Remembers sizes of tensors and what is known of integers while a function is printed.

    ``sizes`` knows those that follow from the structure of the function: of carries that keep theirs, of their tapes.

    ``facts`` may be set back to an earlier value at the end of a block, beyond which they need not hold.
    """

    def __init__(self, sizes: SizeFacts) -> None:
        self.facts = Facts()
        self._resolve = self.sizes = sizes
        self._sizes: dict[Var, tuple[Atom | tuple[Var, int] | None, ...]] = {}
        self._clipped: set[Var] = set()
        self._comparisons: dict[Var, Eqn] = {}
        self._clamped: dict[Var, Atom] = {}
        self._asserted: set[Var] = set()
        self._known: dict[frozenset[tuple[Unknown, int]], _Seen] = {}

    # What is said.

    def tensor(self, var: Var, sizes: Sequence[Atom | None], *, clipped: bool = False) -> None:
        """The leading dimensions of ``var`` have these sizes, as far as they are known.

        Where they are ``clipped``, a negative one stands for 0; so they are right if there is an element.
        """
        self._sizes[var] = tuple(sizes)
        if clipped:
            self._clipped.add(var)
        else:
            more = {size for size in sizes if isinstance(size, Var)}
            self.facts = replace(self.facts, sizes=self.facts.sizes | more)

    def same(self, var: Var, source: Atom, skipped: int = 0) -> None:
        """``var`` has the sizes of ``source`` without its first ``skipped`` dimensions."""
        if isinstance(source, Var):
            type_ = source.type.value if isinstance(source.type, AccType) else source.type
            rank = type_.rank if isinstance(type_, TensorType) else 0
            given = self._sizes.get(source, ())[skipped:rank]
            rest = ((source, skipped + k) for k in range(len(given), rank - skipped))
            sizes = (*((source, skipped + k) if size is None else size for k, size in enumerate(given)), *rest)
            self._sizes[var] = sizes
            if source in self._clipped and skipped == 0:
                self._clipped.add(var)

    def size(self, out: Var, tensor: Var, dim: int) -> None:
        """``out`` is the size of a dimension of a tensor."""
        self._let(
            out, self._resolved(Sum(0, {(tensor, dim): 1})) if tensor in self._clipped else self._size(tensor, dim)
        )

    def loop(self, index: Var, count: Atom) -> None:
        """The loop variable is at least 0 and below ``count``."""
        if isinstance(count, Var):
            # The loop runs, so its count is not the zero.
            count = self._clamped.get(count, count)
        last = self._sum(count).plus(Sum(-1))
        self.facts = replace(self.facts, below={**self.facts.below, index: last})
        self._learn(last)
        pending = list(self.facts.either)
        for one, other in pending:
            if self._is_refuted(one):
                self.assume(other, True)
                pending += self._sides(other)

    def equal(self, var: Var, other: Atom) -> None:
        """The two integers are the same number."""
        if var is not other:
            self._let(var, self._sum(other))

    def defined(self, eqn: Eqn) -> None:
        """What follows from an equation of a scalar primitive."""
        (out,) = eqn.outs
        if eqn.op in ("eq", "lt", "lte", "gt", "gte", "and", "or", "not"):
            self._comparisons[out] = eqn
        if not isinstance(out.type, IntegerType):
            return
        if eqn.op in ("add", "sub"):
            a, b = map(self._sum, eqn.args)
            self._let_bounded(out, a.plus(b, 1 if eqn.op == "add" else -1))
        elif eqn.op == "mul":
            for factor, other in (eqn.args, eqn.args[::-1]):
                if isinstance(factor, Const):
                    self._let_bounded(out, Sum().plus(self._sum(other), int(factor.value)))
        elif eqn.op == "min":
            if all(map(self.is_size, eqn.args)):
                self._know(Sum(0, {out: 1}))
            for arg in eqn.args:
                self._know(self._sum(arg).plus(Sum(0, {out: 1}), -1))
        elif eqn.op == "max" and eqn.args[1] == const(0):
            self._know(Sum(0, {out: 1}))
            self._clamped[out] = eqn.args[0]
        elif eqn.op == "idiv" and isinstance(eqn.args[1], Const):
            self._quotient(out, self._sum(eqn.args[0]), int(eqn.args[1].value))
        elif eqn.op == "imod" and self.is_size(eqn.args[1]):
            last = self._sum(eqn.args[1]).plus(Sum(-1))
            self.facts = replace(self.facts, below={**self.facts.below, out: last})

    def _quotient(self, out: Var, dividend: Sum, divisor: int) -> None:
        if divisor > 0 and self._holds(dividend) and all(map(self._is_bounded, dividend.factors)):
            most = self._most(dividend)
            if all(factor % divisor == 0 for factor in most.factors.values()):
                last = Sum(most.constant // divisor, {u: f // divisor for u, f in most.factors.items()})
                self.facts = replace(self.facts, below={**self.facts.below, out: last})
                return
            self._know(Sum(0, {out: 1}))
            self._know(dividend.plus(Sum(0, {out: 1}), -divisor))

    def _most(self, value: Sum) -> Sum:
        """The sum with the integers in it that are below others, and are added, at their greatest."""
        for _ in range(16):
            unknown = next((u for u, f in value.factors.items() if f > 0 and u in self.facts.below), None)
            if unknown is None:
                break
            factor = value.factors[unknown]
            rest = value.plus(Sum(0, {unknown: 1}), -factor)
            value = self._resolved(rest.plus(self.facts.below[unknown], factor))
        return value

    def asserted(self, condition: Atom) -> None:
        """The kernel has stopped where ``condition`` does not hold, in the block that is written and those inside."""
        self.assume(condition, True)
        if isinstance(condition, Var):
            self._asserted.add(condition)
        self.facts = replace(self.facts, either=(*self.facts.either, *self._sides(condition)))

    def assume(self, condition: Atom, holds: bool) -> None:
        """A Bool is true, or false, from here to the end of the block."""
        for op, a, b in self._comparisons_in(condition, holds):
            left, right = self._sum(a), self._sum(b)
            match op:
                case "eq":
                    self._equate(left, right)
                case "lt":
                    self._know(right.plus(left, -1).plus(Sum(-1)))
                case "lte":
                    self._know(right.plus(left, -1))

    def not_negative(self, atom: Atom) -> None:
        """From here to the end of the block the integer is known not to be negative."""
        self._know(self._sum(atom))

    def checked(self, tensor: Atom, dim: int, index: Atom) -> None:
        """From here to the end of the block the index is in range, since it was checked."""
        if isinstance(tensor, Var):
            at = self._sum(index)
            self._know(at)
            self._know(self._size(tensor, dim).plus(Sum(-1)).plus(at, -1))

    def counter(self, var: Var, cond: Block, own: Var) -> None:
        """``var`` starts at 0 or more and goes up by one while ``cond``, which calls it ``own``, holds."""
        self._know(self._sum(var))
        comparisons = {eqn.outs[0]: eqn for eqn in cond.eqns if len(eqn.outs) == 1}
        pending = list(cond.results)
        while pending:
            atom = pending.pop()
            eqn = comparisons.get(atom) if isinstance(atom, Var) else None
            if eqn is None:
                continue
            if eqn.op == "and" or (eqn.op == "if" and eqn.blocks[1].results == (Const(False, eqn.outs[0].type),)):
                pending += eqn.args
            elif eqn.op == "lt" and eqn.args[0] is own:
                limit = comparisons.get(eqn.args[1]) if isinstance(eqn.args[1], Var) else None
                if limit is None:
                    last = self._sum(eqn.args[1])
                elif limit.op == "size" and isinstance(limit.args[0], Var):
                    last = self._size(limit.args[0], limit.params["dim"])
                else:
                    continue
                below = {**self.facts.below, var: last.plus(Sum(-1))}
                self.facts = replace(self.facts, below=below, equated=object())
                self._know(last.plus(Sum(-1)))

    # What is asked.

    def is_safe(self, tensor: Atom, dim: int, index: Atom, eqn: Eqn | None = None) -> bool:
        """Whether ``index`` is known to be in range for the dimension, where ``eqn`` reads or writes there."""
        if not isinstance(tensor, Var):
            return False
        at = self._sum(index)
        if self._holds(at) and self._holds(self._size(tensor, dim).plus(Sum(-1)).plus(at, -1)):
            return True
        return eqn is not None and self._is_within(tensor, dim, index, eqn)

    def _is_within(self, tensor: Var, dim: int, index: Atom, eqn: Eqn) -> bool:
        sizes = self._resolve
        place = next((read.place for read in sizes.reads.get(tensor, ()) if read.eqn is eqn), None)
        if place is None or tensor in self._clipped:
            return False
        at, size = sizes.polynomial(index), sizes.polynomial(sizes.size(tensor, dim))
        return self.never_negative(at, place) and self.never_negative(size - at.plus(1), place)

    def never_negative(self, value: Polynomial, place: Place) -> bool:
        """Whether a polynomial cannot be negative at a place, by what was asserted before the line that is printed."""
        return self.sizes.never_negative(value, place, self._asserted)

    def has_sizes(self, tensor: Atom, sizes: Sequence[Atom | None], *, skipped: int = 0) -> bool:
        """Whether a tensor is known to have all of these sizes, after the first ``skipped`` dimensions."""
        if not isinstance(tensor, Var) or tensor in self._clipped:
            return False
        return all(
            size is not None and self._sum(size).plus(self._size(tensor, dim), -1) == Sum()
            for dim, size in enumerate(sizes, skipped)
        )

    def is_size(self, atom: Atom) -> bool:
        """Whether an integer is known not to be negative."""
        return self._holds(self._sum(atom))

    # How.

    def _let(self, var: Unknown, value: Sum) -> None:
        if value.is_small() and var not in value.factors:
            self.facts = replace(self.facts, values={**self.facts.values, var: value})

    def _let_bounded(self, var: Var, value: Sum) -> None:
        if all(self._is_bounded(unknown) for unknown in value.factors):
            self._let(var, value)

    def _know(self, value: Sum) -> None:
        if value.is_small() and value.factors:
            self._learn(value)

    def _learn(self, value: Sum) -> None:
        key = frozenset(value.factors.items())
        said = self.facts.known.get(key)
        if said is None or value.constant < said.constant:
            self.facts = replace(self.facts, known={**self.facts.known, key: value})

    def _equate(self, a: Sum, b: Sum) -> None:
        for one, other in ((a, b), (b, a)):
            if one.constant == 0 and list(one.factors.values()) == [1]:
                (unknown,) = one.factors
                if unknown not in other.factors and other.is_small():
                    values = {**self.facts.values, unknown: other}
                    self.facts = replace(self.facts, values=values, equated=object())
                    return
        difference = a.plus(b, -1)
        for unknown, factor in difference.factors.items():
            if abs(factor) == 1:
                rest = difference.plus(Sum(0, {unknown: 1}), -factor)
                self._let(unknown, Sum().plus(rest, -factor))
                self.facts = replace(self.facts, equated=object())
                return

    def _comparisons_in(self, condition: Atom, holds: bool) -> Iterator[tuple[str, Atom, Atom]]:
        eqn = self._comparisons.get(condition) if isinstance(condition, Var) else None
        if eqn is None:
            return
        if eqn.op == "not":
            yield from self._comparisons_in(eqn.args[0], not holds)
        elif eqn.op in ("and", "or"):
            if holds == (eqn.op == "and"):
                for arg in eqn.args:
                    yield from self._comparisons_in(arg, holds)
        elif isinstance(eqn.args[0].type, IntegerType):
            a, b = eqn.args
            match eqn.op, holds:
                case ("lt", True) | ("gte", False):
                    yield "lt", a, b
                case ("gt", True) | ("lte", False):
                    yield "lt", b, a
                case ("lte", True) | ("gt", False):
                    yield "lte", a, b
                case ("gte", True) | ("lt", False):
                    yield "lte", b, a
                case ("eq", True):
                    yield "eq", a, b

    def _sum(self, atom: Atom) -> Sum:
        return Sum(int(atom.value)) if isinstance(atom, Const) else self._resolved(Sum(0, {atom: 1}))

    def _size(self, tensor: Var, dim: int) -> Sum:
        sizes = self._sizes.get(tensor, ())
        size = sizes[dim] if dim < len(sizes) else None
        if isinstance(size, Var | Const):
            return self._sum(size)
        if isinstance(size, tuple) and size[0] is not tensor:
            return self._size(*size)
        found = self._resolve.size(tensor, dim)
        if isinstance(found, Var | Const):
            return self._sum(found)
        if found[0] is not tensor:
            return self._size(*found)
        return self._resolved(Sum(0, {(tensor, dim): 1}))

    def _resolved(self, value: Sum) -> Sum:
        """The sum in terms of unknowns of which no sum is known."""
        for _ in range(64):
            unknown = next((u for u in value.factors if u in self.facts.values), None)
            if unknown is None:
                break
            factor = value.factors[unknown]
            rest = value.plus(Sum(0, {unknown: 1}), -factor)
            value = rest.plus(self.facts.values[unknown], factor)
        return value

    def _sides(self, condition: Atom) -> list[tuple[Atom, Atom]]:
        """The two conditions of which one holds where ``condition`` does, if it is an ``or``."""
        eqn = self._comparisons.get(condition) if isinstance(condition, Var) else None
        return [(eqn.args[0], eqn.args[1])] if eqn is not None and eqn.op == "or" else []

    def _is_refuted(self, condition: Atom) -> bool:
        """Whether ``condition``, a comparison of which one is less, cannot hold."""
        opposite = list(self._comparisons_in(condition, False))
        return len(opposite) == 1 and all(
            op in ("lt", "lte") and self._holds(self._sum(b).plus(self._sum(a), -1).plus(Sum(-1 if op == "lt" else 0)))
            for op, a, b in opposite
        )

    def _is_size(self, unknown: Unknown) -> bool:
        return isinstance(unknown, tuple) or unknown in self.facts.sizes

    def _is_bounded(self, unknown: Unknown) -> bool:
        """Whether the unknown is a size, or between sums of sizes."""
        if self._is_size(unknown):
            return True
        last = self.facts.below.get(unknown)
        if last is not None:
            return all(map(self._is_bounded, last.factors))
        signs = {
            known.factors[unknown] > 0
            for known in self.facts.known.values()
            if unknown in known.factors and all(map(self._is_size, known.factors.keys() - {unknown}))
        }
        return signs == {True, False}

    def _holds(self, value: Sum) -> bool:
        """Whether the sum is known not to be negative."""
        if not value.is_small():
            return False
        value = self._resolved(value)
        if self._is_positive(value):
            return True
        reach = self._reach(value)
        seen = (self._see(key, known) for key, known in self.facts.known.items())
        return any(self._is_positive(value.plus(one.value, -1)) for one in seen if not reach.isdisjoint(one.reach))

    def _see(self, key: frozenset[tuple[Unknown, int]], known: Sum) -> _Seen:
        seen = self._known.get(key)
        if seen is None or seen.equated is not self.facts.equated or seen.said != known.constant:
            value = self._resolved(known)
            seen = self._known[key] = _Seen(self.facts.equated, known.constant, value, self._reach(value))
        return seen

    def _reach(self, value: Sum) -> frozenset[Unknown]:
        """The unknowns of a resolved sum, and those that they are below."""
        found: set[Unknown] = set()
        pending = list(value.factors)
        while pending:
            unknown = pending.pop()
            if unknown not in found:
                found.add(unknown)
                below = self.facts.below.get(unknown)
                pending += self._resolved(below).factors if below is not None else ()
        return frozenset(found)

    def _is_positive(self, value: Sum) -> bool:
        """Whether no term left is negative once every integer below another one is at its worst."""
        value = self._resolved(value)
        for _ in range(16):
            unknown = next((u for u, f in value.factors.items() if u in self.facts.below), None)
            if unknown is None:
                break
            factor = value.factors[unknown]
            value = value.plus(Sum(0, {unknown: 1}), -factor)
            if factor < 0:
                value = self._resolved(value.plus(self.facts.below[unknown], factor))
        return value.constant >= 0 and all(
            factor > 0 and self._is_size(unknown) for unknown, factor in value.factors.items()
        )
