"""Vertical fusion: an element of a tensor is computed where it is read, and the tensor is never made.

    t = (build n (lam i (mul 2.0 (index i x))))
    s = (reduce add n (lam i (sin (index i t))))      ⟶      s = (reduce add n (lam i (sin (mul 2.0 (index i x)))))

An ``if`` that gives tensors built on its sides is read as one whose sides give the elements; the scalars that its
sides compute on the way become results of the ``if`` itself. This is done where

* the index is known to be in range, so that no error appears or is lost;
* the element costs next to nothing (views, broadcasts), or is read in one place by loops that read each element once,
  or is cheap and read in several such places (``ksc.passes.fuse.cost``);
* an element that may stop the kernel is read whatever happens;
* no tensor is read that a loop changes, in each iteration, between producer and reader: it would have to be copied;
* a product of matrices stays one, and what it multiplies is there, or a part of what is;
* nothing with an effect is moved.

The body of a tensor of one element stands for that element wherever it is read.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ksc.ir.liveness import prune_block
from ksc.ir.nodes import Atom, Block, Eqn, Function, Program, Var, const, default_value, walk
from ksc.ir.rewrite import Env, clone_block, effectful_functions, free_in, free_vars, replace, with_functions
from ksc.ir.types import TensorType, Type, is_scalar, join
from ksc.passes.cost import work
from ksc.passes.fuse.changes import Changes
from ksc.passes.fuse.cost import CHEAP, FREE, LARGEST, NOTHING, Cost, cost_of
from ksc.passes.fuse.facts import Facts
from ksc.passes.fuse.reading import reading_of
from ksc.passes.fuse.sizes import Place
from ksc.passes.product import product_of


def fuse_producers(program: Program, *, thrifty: bool = False) -> Program:
    """Compute elements where they are read, in all functions; tensors that nobody reads any more are left to dce.

    Where it is ``thrifty``, only views are computed more than once. The same program where there is nothing to do.
    """
    effectful = effectful_functions(program.functions)

    def change(function: Function) -> Function:
        return fuse_elements(function, effectful, *Facts.of(function), thrifty=thrifty)

    return with_functions(program, change)


def fuse_elements(
    function: Function, effectful: Collection[str], facts: Facts, top: Place, *, thrifty: bool
) -> Function:
    """Do so in one function, of which the facts are known; the same one where there is nothing to do."""
    return _Fusion(function, effectful, facts, top, thrifty).run()


@dataclass(frozen=True, slots=True)
class _Built:
    """The elements of a ``build``: the one result of a body."""

    body: Block

    @property
    def rank(self) -> int:
        return len(self.body.params)


@dataclass(frozen=True, slots=True)
class _Stored:
    """The elements of a tensor that is there."""

    tensor: Var

    @property
    def rank(self) -> int:
        assert isinstance(self.tensor.type, TensorType)
        return self.tensor.type.rank


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The elements of a tensor that an ``if`` gives; ``images`` are the results that carry scalars out of its sides."""

    cond: Atom
    sides: tuple[_Source, _Source]
    images: Mapping[Var, Atom]

    @property
    def rank(self) -> int:
        return max(side.rank for side in self.sides)


_Source = _Built | _Stored | _Chosen


def _is_part(source: _Source) -> bool:
    """Whether elements are those of other tensors at the same indices, in whatever order, and not beside them."""
    match source:
        case _Built(body):
            return all(eqn.op == "index" for eqn in body.eqns)
        case _Chosen(_, sides):
            return all(map(_is_part, sides))
    return True


@dataclass(frozen=True, slots=True)
class _Side:
    """What a side of an ``if`` gives, its cost, and the scalars bound on that side that reading it needs."""

    source: _Source
    cost: Cost
    needs: Sequence[Var]


class _Fusion:
    """Fusion in one function, in order: the body of a producer is itself fused when its consumers are met."""

    def __init__(self, function: Function, effectful: Collection[str], facts: Facts, top: Place, thrifty: bool) -> None:
        self.cheap = 0 if thrifty else CHEAP
        self.function = function
        self.effectful = effectful
        self.facts, self.top = facts, top
        self.env: Env = {}
        self.sources: dict[Var, tuple[_Source, Cost]] = {}
        self.fused: dict[Eqn, Var] = {}
        self.moved: dict[Var, tuple[Eqn, Place]] = {}
        self.single: dict[Var, Atom] = {}
        self.changes = Changes(function)
        products = filter(None, map(product_of, walk(function.body)))
        self.factors = {factor.read for product in products for factor in (product.left, product.right)}

    def run(self) -> Function:
        if not any(isinstance(var.type, TensorType) for var in self.facts.definitions):
            return self.function
        body = self.block(self.function.body, self.top)
        return Function(self.function.name, body, self.function.span) if self.env else self.function

    def block(self, block: Block, place: Place) -> Block:
        out: list[Eqn] = []
        self.eqns(block.eqns, place, out)
        return Block(block.params, tuple(out), tuple(replace(result, self.env) for result in block.results), block.span)

    def eqns(self, eqns: Sequence[Eqn], place: Place, out: list[Eqn]) -> None:
        for eqn in eqns:
            tensor = self.fused.get(eqn)
            if tensor is None:
                if not self.opens(eqn, place, out) and not self.moves(eqn, place):
                    self.keep(eqn, place, out)
            elif tensor in self.single:
                self.env[eqn.outs[0]] = self.single[tensor]
            elif tensor in self.moved:
                loop, home = self.moved[tensor]
                (body,) = loop.blocks
                self.env.update(
                    (param, replace(i, self.env)) for param, i in zip(body.params, eqn.args[1:], strict=True)
                )
                self.eqns(body.eqns, Place(loop, home), out)
                self.env[eqn.outs[0]] = replace(body.results[0], self.env)
            else:
                self.replace_index(eqn, tensor, place, out)

    def opens(self, eqn: Eqn, place: Place, out: list[Eqn]) -> bool:
        """Put the body of a ``build`` of one element, of which only that is read, in its place."""
        if eqn.op != "build" or eqn.params.get("nested") or any(size != const(1) for size in eqn.args):
            return False
        (body,) = eqn.blocks
        readings = [reading_of(tensor, len(eqn.args), self.facts) for tensor in eqn.outs]
        if any(reading.whole for reading in readings) or not all(is_scalar(result.type) for result in body.results):
            return False
        self.env.update(dict.fromkeys(body.params, const(0)))
        self.eqns(body.eqns, Place(eqn, place), out)
        for tensor, reading, result in zip(eqn.outs, readings, body.results, strict=True):
            self.single[tensor] = replace(result, self.env)
            self.fused.update(dict.fromkeys(reading.eqns, tensor))
        return True

    def moves(self, eqn: Eqn, place: Place) -> bool:
        """Whether this is a ``build`` whose body goes, as it is, to the one place that reads an element of it."""
        if eqn.op != "build" or len(eqn.outs) != 1 or eqn.params.get("nested"):
            return False
        (tensor,) = eqn.outs
        reads = [read.eqn for read in self.facts.reads.get(tensor, ())]
        if len(reads) != 1 or reads[0] is None or len(reads[0].args) != len(eqn.args) + 1:
            return False
        self.enter_build(eqn, eqn.outs, place)
        if self.fused.get(reads[0]) is not tensor:
            return False
        self.moved[tensor] = (eqn, place)
        return True

    def keep(self, eqn: Eqn, place: Place, out: list[Eqn]) -> None:
        """Append an equation with its blocks fused, and see whether what it gives can be computed where it is read."""
        args = tuple(replace(arg, self.env) for arg in eqn.args)
        blocks = tuple(self.block(inner, Place(eqn, place)) for inner in eqn.blocks)
        new = Eqn(eqn.outs, eqn.op, args, eqn.params, blocks, eqn.span)
        if new.op == "build" and not new.params.get("nested"):
            self.enter_build(new, new.outs, place)
        elif new.op == "if":
            new = self.enter_if(new, place)
        out.append(new)

    def replace_index(self, eqn: Eqn, tensor: Var, place: Place, out: list[Eqn]) -> None:
        """Compute an element in the place of the ``index`` that reads it."""
        source, _ = self.sources[tensor]
        at = [replace(arg, self.env) for arg in eqn.args[1:]]
        first = len(out)
        value = self.emit(source, at, {}, eqn, place, out)
        self.env[eqn.outs[0]] = value
        row = next((new for new in out[first:] if new.op == "build" and new.outs == (value,)), None)
        if row is not None:
            self.enter_build(row, eqn.outs, place)

    # What is fused where.

    def enter(self, tensor: Var, source: _Source, cost: Cost, *, alone: bool = True) -> None:
        """Decide whether a tensor is computed where it is read.

        Where it is not ``alone``, it shares the work of its elements with other tensors.
        """
        self.sources[tensor] = (source, cost)
        if cost.acts or cost.equations > LARGEST:
            return
        free, cheap = cost.work <= min(FREE, self.cheap), cost.work <= self.cheap
        if not (alone or cheap):
            return
        reading = reading_of(
            tensor, source.rank, self.facts, splits=self.splits(source), once=not free, alike=not cheap
        )
        elements = reading.elements
        factor = any(element.eqn in self.factors for element in elements)
        if not elements or (factor and (cost.work > 0 or not _is_part(source))):
            return
        if self.changes and self.changes.between(tensor, reading.eqns, self.needs(source)):
            return
        if (reading.whole or len(elements) > 1 or not elements[0].covers) and cost.stops:
            return
        self.fused.update(dict.fromkeys(reading.eqns, tensor))

    def splits(self, source: _Source) -> bool:
        """Whether the elements of a part that is a tensor can be computed one by one, with no work in common."""
        match source:
            case _Stored():
                return True
            case _Chosen(_, sides, _):
                return all(map(self.splits, sides))
        body = source.body
        (part,) = body.results
        if is_scalar(part.type):
            return True
        row = next((eqn for eqn in body.eqns if part in eqn.outs), None)
        if row is None or row.op != "build" or row.params.get("nested"):
            return work(body) <= FREE
        needed = tuple(free_in(row))
        shared = prune_block(
            Block(body.params, tuple(e for e in body.eqns if e is not row), needed, body.span), self.effectful
        )
        return work(shared) <= FREE and len(row.outs) == 1 and self.splits(_Built(row.blocks[0]))

    def enter_build(self, eqn: Eqn, names: Sequence[Var], place: Place) -> None:
        """Enter the tensors of a ``build``, known by ``names``."""
        if product_of(eqn) is not None:
            return
        (body,) = eqn.blocks
        alone = len(names) == 1
        for k, name in enumerate(names):
            own = (
                body
                if alone
                else prune_block(Block(body.params, body.eqns, body.results[k : k + 1], body.span), self.effectful)
            )
            cost = cost_of(own, Place(eqn, place), self.facts, self.effectful)
            for inner in walk(own):
                if inner in self.fused and self.fused[inner] not in self.single:
                    cost = cost.with_part(self.sources[self.fused[inner]][1])
            self.enter(name, _Built(own), cost, alone=alone)

    def enter_if(self, eqn: Eqn, place: Place) -> Eqn:
        """Enter the tensors that an ``if`` gives; the ``if`` with the scalars that reading them needs as results."""
        images: dict[Var, Atom] = {}
        needed: tuple[dict[Var, None], dict[Var, None]] = ({}, {})
        for k, out in enumerate(eqn.outs):
            sides = [self.side(block.results[k], out, Place(eqn, place), place) for block in eqn.blocks]
            a, b = sides
            if a is None or b is None or a.source.rank != b.source.rank:
                continue
            for known, side in zip(needed, (a, b), strict=True):
                known.update(dict.fromkeys(side.needs))
            cost = a.cost.beside(b.cost)
            source = _Chosen(eqn.args[0], (a.source, b.source), images)
            self.enter(out, source, cost)
        if not any(needed):
            return eqn
        extra = [*needed[0], *needed[1]]
        outs = tuple(Var(var.name, var.type) for var in extra)
        images.update(zip(extra, outs, strict=True))
        blocks = tuple(
            Block(
                (),
                block.eqns,
                (*block.results, *(var if var in own else _nothing(var.type) for var in extra)),
                block.span,
            )
            for block, own in zip(eqn.blocks, needed, strict=True)
        )
        new = Eqn((*eqn.outs, *outs), "if", eqn.args, eqn.params, blocks, eqn.span)
        self.facts.extend(new, place)
        return new

    def side(self, result: Atom, out: Var, inside: Place, outside: Place) -> _Side | None:
        """What a side of an ``if`` gives for ``out``; None where its elements cannot be computed outside."""
        if (
            not isinstance(result, Var)
            or not isinstance(out.type, TensorType)
            or not isinstance(result.type, TensorType)
        ):
            return None
        for dim in range(out.type.rank):
            size = self.facts.size(out, dim)
            if not self.facts.equal(self.facts.size(result, dim), size) or not self.facts.is_visible(size, outside):
                return None
        known = self.sources.get(result)
        if known is None or known[1].acts:
            if not is_scalar(result.type.elem):
                return None
            known = (_Stored(result), NOTHING)
        inner = [var for var in self.needs(known[0]) if not outside.is_inside(self.facts.places[var])]
        if any(default_value(var.type) is None for var in inner):
            return None
        return _Side(*known, inner)

    def needs(self, source: _Source) -> list[Var]:
        """The variables that computing an element reads."""
        match source:
            case _Built(body):
                return free_vars(body)
            case _Stored(tensor):
                return [tensor]
            case _Chosen(cond, sides, images):
                atoms = [cond, *(replace(var, images) for side in sides for var in self.needs(side))]
                return [atom for atom in atoms if isinstance(atom, Var)]

    # Emission.

    def emit(
        self, source: _Source, at: Sequence[Atom], images: Mapping[Var, Atom], like: Eqn, place: Place, out: list[Eqn]
    ) -> Atom:
        """Append what computes the element, or part, at some indices; the atom that is it.

        ``images`` are put in the place of variables that are not seen from here.
        """
        match source:
            case _Stored(tensor):
                return self.read(replace(tensor, images), at, like, out)
            case _Chosen():
                return self.choose(source, at, images, like, place, out)
        rank = source.rank
        env: Env = {**images, **dict(zip(source.body.params, at[:rank], strict=True))}
        copy = clone_block(Block((), source.body.eqns, source.body.results, source.body.span), env)
        self.facts.adopt(copy.eqns, place)
        (value,) = copy.results
        out.extend(copy.eqns)
        if len(at) == rank:
            return value
        row = next((eqn for eqn in copy.eqns if eqn.outs == (value,)), None)
        if row is not None and row.op == "build" and len(row.args) <= len(at) - rank:
            out.remove(row)
            return self.emit(_Built(row.blocks[0]), at[rank:], {}, like, place, out)
        return self.read(value, at[rank:], like, out)

    def read(self, tensor: Atom, at: Sequence[Atom], like: Eqn, out: list[Eqn]) -> Atom:
        element = Var(like.outs[0].name, like.outs[0].type)
        out.append(Eqn((element,), "index", (tensor, *at), span=like.span))
        return element

    def choose(
        self, source: _Chosen, at: Sequence[Atom], images: Mapping[Var, Atom], like: Eqn, place: Place, out: list[Eqn]
    ) -> Atom:
        inner_images = {**images, **{var: replace(image, images) for var, image in source.images.items()}}
        blocks = []
        for side in source.sides:
            eqns: list[Eqn] = []
            value = self.emit(side, at, inner_images, like, Place(None, place), eqns)
            blocks.append(Block((), tuple(eqns), (value,)))
        types = [block.results[0].type for block in blocks]
        element = Var(like.outs[0].name, join(*types))
        out.append(Eqn((element,), "if", (replace(source.cond, images),), blocks=tuple(blocks), span=like.span))
        self.facts.adopt(out[-1:], place)
        return element


def _nothing(type_: Type) -> Atom:
    value = default_value(type_)
    assert value is not None
    return value
