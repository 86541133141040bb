"""Sums of products in lanes, made for all lanes of a piece: which they are, and the equations that compute them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

from ksc.ir.builder import Builder, stack_type
from ksc.ir.nodes import Atom, Block, Eqn, Span, Var, const
from ksc.ir.rewrite import replace as at
from ksc.ir.types import Float, Integer
from ksc.passes.fuse.cost import fails
from ksc.passes.fuse.sizes import Place
from ksc.passes.product import product_of
from ksc.passes.strips.lanes import Element, Lanes, table

Read = tuple[Var, tuple[Var, ...]]
"""A tensor, and the indices by which it is read."""


@dataclass(frozen=True, slots=True)
class Contraction:
    """A product of tensors for all lanes of a piece.

    Attributes:
        whole: the product.
        indices: those of an element of it, in order.
        summed: that over which it is summed.
        bounds: how many values each index takes at most.
        corner: two of the indices, of which the first one is less than the other in the lanes' loops.
        reads: the tensors that are multiplied.
        guarded: whether zeros stand for what is not inside of the corner. With what is not finite they make a NaN.
        tables: what is made for it once, in front of all pieces.
        eqns: what is made for each piece.
        new: what of that others may use, once it is made.
    """

    whole: Var
    indices: tuple[Var, ...]
    summed: Var
    bounds: Mapping[Var, Atom]
    corner: tuple[Var, Var] | None
    reads: Sequence[Read]
    guarded: bool
    tables: Sequence[Eqn]
    eqns: Sequence[Eqn]
    new: Mapping[Hashable, Var]

    def is_within(self, indices: Sequence[Var]) -> bool:
        """Whether elements are those of a corner of these indices alone."""
        return self.corner is not None and set(self.corner) <= {*indices}

    def term(self, sign: int) -> tuple[Eqn, ...]:
        """What reads an element, or with a ``sign`` below zero its negative."""
        total = Var(self.whole.name, Float)
        eqns = self.element(total, None)
        return eqns if sign > 0 else (*eqns, Eqn((Var(self.whole.name, Float),), "neg", (total,)))

    def element(self, out: Var, span: Span | None) -> tuple[Eqn, ...]:
        """What reads an element, the last equation being that of ``out``; a NaN is summed up without the zeros."""
        if not self.guarded or self.corner is None:
            return (Eqn((out,), "index", (self.whole, *self.indices), span=span),)
        whole = Builder(span)
        read = _read(whole, (self.whole, self.indices), {})
        is_nan = whole.apply("isnan", read)
        summed = Var(self.summed.name, Integer)
        env: dict[Var, Atom] = {self.summed: summed}
        inner = Builder(span)
        term = inner.apply("mul", *(_read(inner, read, env) for read in self.reads))
        inside = inner.apply("lt", *(at(index, env) for index in self.corner))
        block = inner.block((summed,), (inner.apply("select", inside, term, const(0.0)),))
        total = Var(out.name, Float)
        sums = Eqn((total,), "reduce", (self.bounds[self.summed],), {"monoid": "add"}, (block,), span)
        sides = (Block((), (sums,), (total,)), Block((), (), (read,)))
        return *whole.eqns, Eqn((out,), "if", (is_nan,), {}, sides, span)


def _read(builder: Builder, read: Read, env: Mapping[Var, Atom]) -> Var:
    tensor, indices = read
    (number,) = builder.emit("index", [tensor, *(at(index, env) for index in indices)], [Float], names=[tensor.name])
    return number


@dataclass(slots=True)
class _Terms:
    """The two factors of a sum of products, and what runs through them.

    Attributes:
        factors: the elements that are multiplied, and their indices: those of both, then the others in one order, so
            that products which sum over different indices read the same tensor.
        indices: those of the product.
    """

    name: str
    span: Span | None
    factors: Sequence[tuple[Element, tuple[Var, ...]]]
    summed: Var
    indices: tuple[Var, ...]
    bounds: Mapping[Var, Atom]
    corner: tuple[Var, Var] | None
    new: dict[Hashable, Var] = field(default_factory=dict)

    def counts(self, indices: Sequence[Var]) -> list[Atom]:
        return [self.bounds[index] for index in indices]


class Contractions:
    """Makes products of the terms that lanes add up, each once."""

    def __init__(self, lanes: Lanes, count: Var) -> None:
        self.lanes = lanes
        self.count = count
        self.known: dict[Hashable, Var] = {}

    def bound(self, index: Var) -> Atom | None:
        """How many values an index takes at most."""
        if index is self.lanes.local:
            return self.count
        count = self.lanes.facts.counts[index]
        if isinstance(count, Var) and not self.lanes.is_outside(count):
            count = self.lanes.facts.counts.get(count, count)
        return count if self.lanes.is_outside(count) else None

    def triangle(self, index: Var) -> tuple[Var, Var] | None:
        """The index and another one below which it stays, if that is how often its loop runs."""
        count = self.lanes.facts.counts.get(index)
        return (index, count) if isinstance(count, Var) and not self.lanes.is_outside(count) else None

    def of(self, name: str, value: Eqn, summed: Var, nest: Sequence[Var]) -> Contraction | None:
        """The sum over ``summed`` of a multiplication in loops of ``nest``, the outermost first, if it is a product."""
        terms = self.terms(name, value, summed, nest)
        if terms is None:
            return None
        tables: list[Eqn] = []
        eqns: list[Eqn] = []
        reads: list[Read] = []
        corner = terms.corner if summed is not self.lanes.local else None
        for element, indices in terms.factors:
            masked = corner is not None and set(corner) <= {*indices}
            if masked and self.lanes.local in indices:
                return None
            extended = terms.corner is not None and not masked and not {*terms.corner}.isdisjoint(indices)
            if extended and self.may_fail(element, terms, indices, self.lanes.facts.places[value.outs[0]]):
                return None
            made = eqns if self.lanes.local in indices else tables
            reads.append((self.tensor(element, terms, indices, made, corner if masked else None), indices))
        if corner is not None and all(set(corner) - {*indices} for _, indices in reads):
            return None
        whole = self.product(terms, reads, eqns)
        if whole is None:
            return None
        guarded = corner is not None
        return Contraction(
            whole, terms.indices, summed, terms.bounds, terms.corner, reads, guarded, tables, eqns, terms.new
        )

    def terms(self, name: str, value: Eqn, summed: Var, nest: Sequence[Var]) -> _Terms | None:
        """What is multiplied, if one factor is not the lane's own and each has one index that the other one has not."""
        local = self.lanes.local
        found = [self.lanes.element(arg, nest) for arg in value.args]
        elements = [one for one in found if one is not None]
        if len(elements) != 2:
            return None
        order = [local, *nest]
        both, every = elements[0].used & elements[1].used, elements[0].used | elements[1].used
        own = [[index for index in order if index in one.used and index not in both] for one in elements]
        if summed not in both or not all(own) or local not in every or (local in both and summed is not local):
            return None
        if local in own[1]:
            elements.reverse()
            own.reverse()
        # Of several indices one is that of a matrix, the lanes' if it is among them, and the others say which matrix.
        matrix = [local if local in mine else mine[-1] for mine in own]
        shared = [index for index in order if index in every and index not in (*matrix, summed)]
        factors = [
            (one, (*(i for i in shared if i in one.used), *sorted((mine, summed), key=order.index)))
            for one, mine in zip(elements, matrix, strict=True)
        ]
        corners = [corner for index in every if (corner := self.triangle(index)) is not None]
        bounds = {index: bound for index in every if (bound := self.bound(index)) is not None}
        if len(corners) > 1 or any(index not in every for corner in corners for index in corner):
            return None
        if len(bounds) < len(every):
            return None
        indices = (*shared, *matrix)
        return _Terms(name, value.span, factors, summed, indices, bounds, corners[0] if corners else None)

    def tensor(
        self,
        element: Element,
        terms: _Terms,
        indices: tuple[Var, ...],
        made: list[Eqn],
        corner: tuple[Var, Var] | None,
    ) -> Var:
        """The tensor of a factor: what it is read from, one that is there, or one that is made."""
        last = element.eqns[-1] if element.eqns else None
        if corner is None and len(element.eqns) == 1 and last is not None and last.op == "index":
            source = last.args[0]
            if tuple(last.args[1:]) == indices and element.result is last.outs[0] and isinstance(source, Var):
                return source
        at = None if corner is None else tuple(map(indices.index, corner))
        key = ("table", element.key(indices), *terms.counts(indices), at)
        known = self.known.get(key) or terms.new.get(key)
        if known is None:
            name = element.result.name if isinstance(element.result, Var) else terms.name
            made.append(table(name, element, indices, terms.counts(indices), within=corner))
            known = terms.new[key] = made[-1].outs[0]
        return known

    def may_fail(self, element: Element, terms: _Terms, indices: Sequence[Var], place: Place) -> bool:
        """Whether an element may stop the kernel at indices that lanes never come to, after all asserts of a place."""
        lanes = self.lanes
        whole = table("", element, indices, self.all_lanes(terms.counts(indices)), base=(lanes.base, const(0)))
        lanes.facts.adopt([whole], place)
        return any(fails(eqn, Place(whole, place), lanes.facts) for eqn in whole.blocks[0].eqns)

    def all_lanes(self, counts: Sequence[Atom]) -> list[Atom]:
        """The counts, if one piece had all lanes."""
        return [self.lanes.loop.args[0] if count is self.count else count for count in counts]

    def take(self, made: Contraction) -> None:
        """Have what a product is made of, and it itself, read by others."""
        self.known.update(made.new)
        for eqn in (*made.tables, *made.eqns):
            (out,) = eqn.outs
            self.lanes.made.add(out)
            self.lanes.learn(out, self.all_lanes(eqn.args), eqn.blocks[0].results[0])

    def product(self, terms: _Terms, reads: Sequence[Read], eqns: list[Eqn]) -> Var | None:
        """The product of two tensors, which is made unless it is there; None where it is none of matrices."""
        places = {index: k for k, index in enumerate((*terms.indices, terms.summed))}
        factors = ((tensor, *(places[index] for index in indices)) for tensor, indices in reads)
        key = ("product", *factors, *terms.counts((*terms.indices, terms.summed)))
        if key in self.known:
            return self.known[key]
        params: dict[Var, Var] = {index: Var(index.name, Integer) for index in places}
        inner = Builder(terms.span)
        term = inner.apply("mul", *(_read(inner, read, params) for read in reads))
        block = inner.block((params[terms.summed],), (term,))
        outer = Builder(terms.span)
        count = terms.bounds[terms.summed]
        total = outer.emit("reduce", [count], [Float], names=[terms.name], params={"monoid": "add"}, blocks=[block])
        body = outer.block([params[index] for index in terms.indices], total)
        whole = Var(terms.name, stack_type(len(terms.indices), Float))
        made = Eqn((whole,), "build", tuple(terms.counts(terms.indices)), {}, (body,), terms.span)
        if product_of(made) is None:
            return None
        eqns.append(made)
        terms.new[key] = whole
        return whole
