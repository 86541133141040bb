"""What is subtracted before ``exp``, and does not matter in the end, has no derivative.

    m = (with_value … (stop_gradient (reduce max n (lam i (index i x)))))
    e = (build n (lam i (exp (sub (index i x) m))))
    y = (build n (lam i (div (index i e) (reduce add n (lam j (index j e))))))
      ⟶      m = (stop_gradient (reduce max n (lam i (index i x)))), the rest as it was

An extreme, read here as the shift, is followed through what reads it: a number that grows by a multiple of it, or is
multiplied by a power of e to it, as e and its sum are. Where nothing that leaves does either, no result depends on it
for any x, so all derivatives with respect to it are zero: which element it was, and how many are equal to it, is not
asked. (Computed, its derivative is the rounding of numbers that cancel.)
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from fractions import Fraction
from math import isfinite

from ksc.ir.nodes import Atom, Block, Const, Eqn, Program, Var
from ksc.ir.rewrite import bound_vars, free_vars, with_blocks, with_body, with_eqns, with_functions
from ksc.ir.rewrite import replace as at
from ksc.ir.types import Float, Integer, TensorType
from ksc.ops import PRIMITIVES
from ksc.passes.dce import remove_dead_code

Term = tuple[tuple[Atom, ...], tuple[tuple[Var, int], ...]]
"""An element of the shift, by its indices, times powers of numbers that do not depend on it."""


def stop_shifts(program: Program) -> Program:
    """Give extremes no derivative where it would be zero; the same program where there is none."""
    found = with_functions(program, lambda function: with_body(function, _block(function.body)))
    return program if found is program else remove_dead_code(found)


def _block(block: Block) -> Block:
    eqns: list[Eqn] = []
    extremes: set[Atom] = set()
    inner = with_eqns(block, [with_blocks(eqn, [_block(body) for body in eqn.blocks]) for eqn in block.eqns])
    for k, eqn in enumerate(inner.eqns):
        found = _extremes(eqn, extremes)
        extremes.update(found)
        unread = {shift for shift in found if _is_unread(shift, inner, k + 1)}
        eqns += _stopped(eqn, unread) if unread else [eqn]
    return with_eqns(inner, eqns)


def _extremes(eqn: Eqn, known: AbstractSet[Atom]) -> list[Var]:
    """The results of an equation that are extremes, or tensors of such; ``known`` are those before it."""
    if eqn.op == "with_value" or (eqn.op in ("max", "min") and not known.isdisjoint(eqn.args)):
        return [*eqn.outs]
    if eqn.op not in ("if", "build") or eqn.params.get("nested"):
        return []
    results: set[Var] = set()
    for block in eqn.blocks:
        inside = set(known)
        for made in block.eqns:
            inside.update(_extremes(made, inside))
        are = (result in inside and result.type == Float for result in block.results)
        results.update(out for out, is_extreme in zip(eqn.outs, are, strict=True) if is_extreme)
    return [out for out in eqn.outs if out in results]


def _stopped(eqn: Eqn, unread: Collection[Var]) -> list[Eqn]:
    """The equation with no derivative for what is ``unread``."""
    if eqn.op == "with_value":
        return [Eqn(eqn.outs, "stop_gradient", eqn.args[1:], span=eqn.span)]
    kept = [eqn.blocks[0].results[k] if eqn.op == "build" else out for k, out in enumerate(eqn.outs) if out in unread]
    names = {old: Var(old.name, old.type) for old in kept if isinstance(old, Var)}
    if eqn.op == "build":
        (body,) = eqn.blocks
        stops = [Eqn((new,), "stop_gradient", (old,), span=eqn.span) for old, new in names.items()]
        results = [
            at(result, names) if out in unread else result for out, result in zip(eqn.outs, body.results, strict=True)
        ]
        block = replace(body, eqns=(*body.eqns, *stops), results=tuple(results))
        return [replace(eqn, blocks=(block,))]
    stops = [Eqn((old,), "stop_gradient", (new,), span=eqn.span) for old, new in names.items()]
    return [replace(eqn, outs=tuple(names.get(out, out) for out in eqn.outs)), *stops]


@dataclass(frozen=True, slots=True)
class _Change:
    """How a number, or each element of a tensor, changes with the shift.

    Attributes:
        by_factor: whether it is multiplied by e to the ``rate``, rather than the rate added.
        rate: a sum of terms with their factors.
        indices: what stands in terms for the indices of an element.
    """

    by_factor: bool
    rate: Mapping[Term, Fraction]
    indices: tuple[Var, ...] = ()

    def element(self, indices: Sequence[Atom]) -> _Change:
        """That of what stands at leading indices."""
        env = dict(zip(self.indices, indices, strict=False))
        rate = _sum((((*(at(i, env) for i in place),), others), factor) for (place, others), factor in self.terms())
        return _Change(self.by_factor, rate, self.indices[len(indices) :])

    def terms(self) -> Iterator[tuple[Term, Fraction]]:
        return iter(self.rate.items())

    def vars(self) -> set[Atom]:
        """What the terms read."""
        return {atom for place, others in self.rate for atom in (*place, *(var for var, _ in others))}

    def times(self, factor: Fraction) -> _Change:
        return replace(self, rate={term: factor * own for term, own in self.rate.items()})

    def times_power(self, var: Var, power: int) -> _Change:
        """That of the product with a power of a number."""
        rate: list[tuple[Term, Fraction]] = []
        for (place, others), factor in self.terms():
            powers = dict(others)
            powers[var] = powers.get(var, 0) + power
            rate.append(((place, tuple(sorted(((v, p) for v, p in powers.items() if p), key=_by_identity))), factor))
        return replace(self, rate=_sum(rate))

    def plus(self, other: _Change) -> _Change:
        return replace(self, rate=_sum([*self.terms(), *other.terms()]))


def _by_identity(power: tuple[Var, int]) -> int:
    return id(power[0])


def _sum(terms: Iterator[tuple[Term, Fraction]] | Sequence[tuple[Term, Fraction]]) -> dict[Term, Fraction]:
    total: dict[Term, Fraction] = {}
    for term, factor in terms:
        total[term] = total.get(term, Fraction(0)) + factor
    return {term: factor for term, factor in total.items() if factor}


class _UnknownError(Exception):
    """It cannot be told how something changes with the shift."""


def _is_unread(shift: Var, block: Block, first: int) -> bool:
    """Whether what a block gives, or does, from the equation ``first`` on does not depend on ``shift``."""
    rank = shift.type.rank if isinstance(shift.type, TensorType) else 0
    indices = tuple(Var("i", Integer) for _ in range(rank))
    changes = _Changes({shift: _Change(False, {(indices, ()): Fraction(1)}, indices)})
    try:
        changes.eqns(block.eqns[first:])
        return not any(changes.of(result) for result in block.results)
    except _UnknownError:
        return False


class _Changes:
    """How variables change with the shift; what is not listed does not."""

    def __init__(self, known: dict[Var, _Change]) -> None:
        self.known = known

    def of(self, atom: Atom) -> _Change | None:
        return self.known.get(atom) if isinstance(atom, Var) else None

    def note(self, out: Var, change: _Change | None) -> None:
        if change is not None and change.rate:
            self.known[out] = change

    def eqns(self, eqns: Sequence[Eqn]) -> None:
        for eqn in eqns:
            self.eqn(eqn)

    def eqn(self, eqn: Eqn) -> None:
        if eqn.blocks:
            self.structured(eqn)
        elif any(self.of(arg) for arg in eqn.args) and eqn.op != "size":
            if eqn.op == "index":
                change = self.of(eqn.args[0])
                if change is None:
                    raise _UnknownError
                self.note(eqn.outs[0], change.element(eqn.args[1:]))
            elif eqn.op in PRIMITIVES:
                self.note(eqn.outs[0], self.primitive(eqn))
            else:
                raise _UnknownError

    def structured(self, eqn: Eqn) -> None:
        reads = [var for block in eqn.blocks for var in free_vars(block)]
        if not any(self.of(atom) for atom in (*eqn.args, *reads)):
            return
        if any(self.of(arg) for arg in eqn.args) or eqn.op not in ("build", "reduce", "if"):
            raise _UnknownError
        for block in eqn.blocks:
            self.eqns(block.eqns)
        if eqn.op == "if":
            then, other = (block.results for block in eqn.blocks)
            for out, a, b in zip(eqn.outs, then, other, strict=True):
                self.note(out, self.outside(self.alike(a, b), *eqn.blocks))
            return
        (body,) = eqn.blocks
        for out, result in zip(eqn.outs, body.results, strict=True):
            change = self.of(result)
            if change is None:
                continue
            if eqn.op == "build":
                indices = (*body.params, *change.indices)
                self.note(out, replace(self.outside(change, body, but=indices), indices=indices))
            elif eqn.params["monoid"] in ("max", "min") or (eqn.params["monoid"] == "add" and change.by_factor):
                self.note(out, self.outside(change, body))
            else:
                raise _UnknownError

    def outside(self, change: _Change | None, *blocks: Block, but: Sequence[Var] = ()) -> _Change:
        """A change that does not depend on what blocks bind, ``but`` for the indices of elements."""
        if change is None or any(not bound_vars(block).isdisjoint(change.vars() - set(but)) for block in blocks):
            raise _UnknownError
        return change

    def alike(self, *atoms: Atom) -> _Change:
        """How either of two numbers changes, if they change alike; constants may that stay what they are."""
        found: list[_Change] = []
        for atom in atoms:
            change = self.of(atom)
            if change is not None:
                found.append(change)
            elif not isinstance(atom, Const):
                raise _UnknownError
        first = found[0]
        stays = all(
            self.of(atom) is not None or _is_zero(atom) or (not first.by_factor and _is_infinite(atom))
            for atom in atoms
        )
        zero = any(self.of(atom) is None and _is_zero(atom) for atom in atoms)
        if not stays or (zero and not first.by_factor) or any(change != first for change in found):
            raise _UnknownError
        return first

    def primitive(self, eqn: Eqn) -> _Change | None:
        """How the result changes where an argument does."""
        match eqn.op, [self.of(arg) for arg in eqn.args]:
            case "add" | "sub", [a, b] if not (a and a.by_factor) and not (b and b.by_factor):
                sign = Fraction(1 if eqn.op == "add" else -1)
                other = None if b is None else b.times(sign)
                return other if a is None else a if other is None else a.plus(other)
            case "add" | "sub" | "max" | "min", _:
                return self.alike(*eqn.args)
            case "neg" | "abs", [a] if a is not None and a.by_factor:
                return a
            case "neg", [a] if a is not None:
                return a.times(Fraction(-1))
            case "mul" | "div", [a, b] if not (a and not a.by_factor) and not (b and not b.by_factor):
                sign = Fraction(1 if eqn.op == "mul" else -1)
                other = None if b is None else b.times(sign)
                return other if a is None else a if other is None else a.plus(other)
            case "mul", [a, None] if a is not None:
                return _multiplied(a, eqn.args[1], 1)
            case "mul", [None, b] if b is not None:
                return _multiplied(b, eqn.args[0], 1)
            case "div", [a, None] if a is not None:
                return _multiplied(a, eqn.args[1], -1)
            case "exp", [a] if a is not None and not a.by_factor:
                return replace(a, by_factor=True)
            case "log", [a] if a is not None and a.by_factor:
                return replace(a, by_factor=False)
            case "sqrt", [a] if a is not None and a.by_factor:
                return a.times(Fraction(1, 2))
            case "eq" | "ne" | "lt" | "lte" | "gt" | "gte", _:
                self.alike(*eqn.args)
                return None
            case "isnan" | "isfinite" | "isinf", _:
                return None
            case "select", [None, _, _]:
                return self.alike(*eqn.args[1:])
            case _:
                raise _UnknownError


def _multiplied(change: _Change, by: Atom, power: int) -> _Change:
    if isinstance(by, Var):
        return change.times_power(by, power)
    value = float(by.value)
    if not isfinite(value) or value == 0:
        raise _UnknownError
    return change.times(Fraction(value) ** power)


def _is_zero(atom: Atom) -> bool:
    return isinstance(atom, Const) and atom.value == 0


def _is_infinite(atom: Atom) -> bool:
    return isinstance(atom, Const) and isinstance(atom.value, float) and atom.value in (float("inf"), -float("inf"))
