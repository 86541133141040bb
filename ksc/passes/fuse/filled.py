"""A tensor whose rows a loop fills, each iteration its own, is built.

    (for n ((t zeros)) (lam (i t)                                    (build n (lam i
      (update i t (build m (lam j (index (tuple i j) x))))))    ⟶      (build m (lam j (index (tuple i j) x)))))

So ``out[i] = …`` in a loop is as good as a comprehension: it needs no carry, no tape in reverse and no tangent of the
whole tensor in forward mode, and it is fused. An iteration may read its row, change elements of it one by one, in loops
and branches, or leave it as it was. The loop must run over all rows, and carry nothing else. So it is with columns that
loops fill (``out[i, j] = …``, i in the inner loop). Where a loop around carries the tensor, and single elements of a
row are stored, they stay stores: a row that is built would be copied for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import repeat

from ksc.ir.builder import Builder, sizes_of, stack_type
from ksc.ir.nodes import Atom, Block, Eqn, Function, Program, Var, const, walk
from ksc.ir.rewrite import Env, read_vars, replace, with_functions
from ksc.ir.types import Integer, TensorType, Type, compatible, is_scalar
from ksc.passes.fuse.facts import Facts
from ksc.passes.small.plan import small_sizes


def build_filled_tensors(program: Program) -> Program:
    """Replace such loops in all functions."""
    return with_functions(program, build_filled)


def build_filled(function: Function) -> Function:
    """Do so in one function; the same one where no loop carries tensors alone."""
    if not any(eqn.op == "for" and _carries_tensors(eqn) for eqn in walk(function.body)):
        return function
    return Function(function.name, Filled(Facts.of(function)[0]).block(function.body), function.span)


def _carries_tensors(loop: Eqn) -> bool:
    """Whether a loop carries tensors, and gives nothing else."""
    return 0 < loop.params["carries"] == len(loop.outs) and all(map(is_tensor_of_numbers, loop.args[1:]))


class _NotRowsError(Exception):
    """The loop does something else with a tensor than to fill its rows."""


@dataclass(slots=True)
class Filled:
    """The loops of a function that fill tensors, by its facts."""

    facts: Facts

    def block(self, block: Block) -> Block:
        eqns: list[Eqn] = []
        for eqn in block.eqns:
            new = self.built(eqn) if eqn.op == "for" else None
            columns = self.columns(eqn) if eqn.op == "for" and new is None else None
            if columns is not None:
                loop, *transposed = columns
                eqns += [self.inside(loop), *transposed]
            else:
                eqns.append(self.inside(new or eqn))
        return Block(block.params, tuple(eqns), block.results, block.span)

    def inside(self, eqn: Eqn) -> Eqn:
        return Eqn(eqn.outs, eqn.op, eqn.args, eqn.params, tuple(map(self.block, eqn.blocks)), eqn.span)

    def built(self, loop: Eqn) -> Eqn | None:
        """The ``build`` that a loop is, if it fills all tensors that it carries and carries nothing else."""
        block = self.filling(loop, 0)
        if block is None or any(map(self.would_copy, loop.args[1:], block.results, repeat(block))):
            return None
        if not all(_is_made_of(out.type, row.type) for row, out in zip(block.results, loop.outs, strict=True)):
            return None
        return Eqn(loop.outs, "build", loop.args[:1], {}, (block,), loop.span)

    def would_copy(self, init: Atom, row: Atom, block: Block) -> bool:
        """Whether the rows are those of a tensor that a loop around carries on, but for single elements."""
        long = isinstance(row.type, TensorType) and small_sizes(row.type) is None
        return long and self.is_carried(init) and _is_changed_in_places(row, block)

    def is_carried(self, tensor: Atom) -> bool:
        """Whether this is a tensor that a loop around carries, or what it becomes by changes of its elements."""
        if not isinstance(tensor, Var):
            return False
        made = self.facts.definition(tensor)
        if made is None:
            owner = self.facts.places[tensor].owner
            return owner is not None and owner.op in ("for", "while")
        match made.op:
            case "update":
                return self.is_carried(made.args[0])
            case "for" | "while" if made.outs.index(tensor) < made.params["carries"]:
                return self.is_carried(made.args[made.outs.index(tensor) - made.params["carries"]])
        return False

    def columns(self, loop: Eqn) -> list[Eqn] | None:
        """The ``build`` of columns, or of parts along another dimension, that a loop is, and what makes rows of them.

        That is done where loops fill the columns: of single elements in a row, each is one store.
        """
        inits = loop.args[1:]
        ranks = [init.type.rank for init in inits if isinstance(init.type, TensorType)]
        for dim in range(1, min(ranks, default=0)):
            block = self.filling(loop, dim)
            if block is None:
                continue
            filled = {out for eqn in block.eqns if eqn.op == "for" and _carries_tensors(eqn) for out in eqn.outs}
            if not filled.issuperset(block.results):
                return None
            parts = [Var(out.name, stack_type(1, row.type)) for out, row in zip(loop.outs, block.results, strict=True)]
            eqns = [Eqn(tuple(parts), "build", loop.args[:1], {}, (block,), loop.span)]
            for out, part, init in zip(loop.outs, parts, inits, strict=True):
                eqns += _elements(out, part, init, dim, loop)
            return eqns
        return None

    def filling(self, loop: Eqn, dim: int) -> Block | None:
        """What an iteration makes of its own rows, or parts along ``dim``, of the tensors that a loop fills."""
        count, *inits = loop.args
        (body,) = loop.blocks
        at, *carries = body.params
        if not _carries_tensors(loop):
            return None
        size = self.facts.resolve(count)
        if not all(self.facts.equal(size, self.facts.size(init, dim)) for init in inits if isinstance(init, Var)):
            return None
        rows = _Rows(self.facts, at, body, dim)
        starts: list[Sequence[Eqn]] = []
        for carry, init in zip(carries, inits, strict=True):
            start = Var(carry.name, _row_type(carry.type, dim))
            starts.append(_part(start, init, at, dim, loop))
            rows.known[carry] = _Version(carry, init, start)
        try:
            eqns = rows.eqns(body.eqns)
            results = tuple(rows.of(result, carry) for result, carry in zip(body.results, carries, strict=True))
        except _NotRowsError:
            return None
        read = read_vars(eqns, results)
        needed = [eqn for start in starts if start[-1].outs[0] in read for eqn in start]
        return Block((at,), (*needed, *eqns), results)


def _is_changed_in_places(row: Atom, block: Block) -> bool:
    """Whether a row is, but for elements that are stored one by one, what it was."""
    made = next((eqn for eqn in block.eqns if row in eqn.outs), None)
    match made.op if made is not None else "":
        case "update":
            assert made is not None
            return _is_changed_in_places(made.args[0], block)
        case "if":
            assert made is not None
            k = made.outs.index(row) if isinstance(row, Var) else 0
            return all(_is_changed_in_places(side.results[k], side) for side in made.blocks)
    return made is None or made.op == "index"


def _is_made_of(type_: Type, row: Type) -> bool:
    """Whether a ``build`` of rows has this type; a known number of rows that are tensors stays carried."""
    built = stack_type(1, row)
    return built == type_ or (is_scalar(row) and compatible(built, type_))


def is_tensor_of_numbers(atom: Atom) -> bool:
    """Whether this is a tensor of numbers."""
    return isinstance(atom.type, TensorType) and is_scalar(atom.type.elem)


def _row_type(type_: Type, dim: int) -> Type:
    assert isinstance(type_, TensorType)
    sizes = type_.sizes[:dim] + type_.sizes[dim + 1 :]
    return type_.elem if type_.rank == 1 else TensorType(type_.rank - 1, type_.elem, sizes)


def _part(out: Var, tensor: Atom, at: Atom, dim: int, like: Eqn) -> Sequence[Eqn]:
    """What makes ``out`` the part of a tensor at the index ``at`` along a dimension."""
    if dim == 0:
        return (Eqn((out,), "index", (tensor, at), span=like.span),)
    assert isinstance(out.type, TensorType)
    builder = Builder(like.span)
    sizes = sizes_of(builder, tensor)
    indices = tuple(Var("i", Integer) for _ in sizes[1:])
    element = Var(out.name, out.type.elem)
    read = Eqn((element,), "index", (tensor, *indices[:dim], at, *indices[dim:]), span=like.span)
    body = Block(indices, (read,), (element,))
    return (*builder.eqns, Eqn((out,), "build", (*sizes[:dim], *sizes[dim + 1 :]), {}, (body,), like.span))


def _elements(out: Var, parts: Var, tensor: Atom, dim: int, like: Eqn) -> Sequence[Eqn]:
    """What makes ``out`` of its parts along a dimension, which lie one after the other; of the sizes of ``tensor``."""
    assert isinstance(out.type, TensorType)
    builder = Builder(like.span)
    sizes = sizes_of(builder, tensor)
    indices = tuple(Var("i", Integer) for _ in sizes)
    element = Var(out.name, out.type.elem)
    at = (indices[dim], *indices[:dim], *indices[dim + 1 :])
    body = Block(indices, (Eqn((element,), "index", (parts, *at), span=like.span),), (element,))
    return (*builder.eqns, Eqn((out,), "build", tuple(sizes), {}, (body,), like.span))


@dataclass(frozen=True, slots=True)
class _Version:
    """A version of the tensor ``carry``, which the loop gets as ``init``, and its row."""

    carry: Var
    init: Atom
    row: Atom


@dataclass(slots=True)
class _Rows:
    """The versions of tensors in the iteration ``at`` of a loop with this body, which fills them along ``dim``.

    What is called a row here is the part of a tensor at an index of that dimension.
    """

    facts: Facts
    at: Var
    body: Block
    dim: int = 0
    known: dict[Atom, _Version] = field(default_factory=dict)
    env: Env = field(default_factory=dict)

    def of(self, atom: Atom, carry: Var) -> Atom:
        """The row of a version of ``carry``."""
        version = self.known.get(atom)
        if version is None or version.carry is not carry:
            raise _NotRowsError
        return version.row

    def eqns(self, eqns: Sequence[Eqn]) -> tuple[Eqn, ...]:
        """What the equations are once they compute with rows."""
        return tuple(new for eqn in eqns for new in self.eqn(eqn))

    def eqn(self, eqn: Eqn) -> Sequence[Eqn]:
        eqn = Eqn(eqn.outs, eqn.op, tuple(replace(arg, self.env) for arg in eqn.args), eqn.params, eqn.blocks, eqn.span)
        versions = [arg for arg in eqn.args if arg in self.known]
        match eqn.op:
            case "index" | "update" if versions == [eqn.args[0]]:
                return self.access(eqn, self.known[eqn.args[0]])
            case "size" if versions:
                init = self.known[eqn.args[0]].init
                return (Eqn(eqn.outs, "size", (init,), eqn.params, (), eqn.span),)
            case "if" if not versions:
                return (self.branches(eqn),)
            case "for" | "while" if eqn.params["carries"] == len(eqn.outs):
                return (self.loop(eqn),)
        if versions:
            raise _NotRowsError
        return (Eqn(eqn.outs, eqn.op, eqn.args, eqn.params, tuple(map(self.closed, eqn.blocks)), eqn.span),)

    def closed(self, block: Block) -> Block:
        """A block that gives no version of a tensor."""
        eqns = self.eqns(block.eqns)
        results = tuple(replace(result, self.env) for result in block.results)
        if any(result in self.known for result in results):
            raise _NotRowsError
        return Block(block.params, eqns, results, block.span)

    def access(self, eqn: Eqn, version: _Version) -> Sequence[Eqn]:
        _, *places = eqn.args
        (out,) = eqn.outs
        value = places.pop() if eqn.op == "update" else out
        if len(places) <= self.dim or places.pop(self.dim) is not self.at:
            raise _NotRowsError
        if eqn.op == "index":
            if places:
                return (Eqn(eqn.outs, "index", (version.row, *places), eqn.params, (), eqn.span),)
            self.env[out] = version.row
            return ()
        if places:
            row = Var(out.name, version.row.type)
            self.known[out] = _Version(version.carry, version.init, row)
            return (Eqn((row,), "update", (version.row, *places, value), eqn.params, (), eqn.span),)
        new: tuple[Eqn, ...] = ()
        if isinstance(value, Var) and isinstance(value.type, TensorType):
            new = self.whole_row(value, version, eqn)
            value = new[-1].outs[0]
        self.known[out] = _Version(version.carry, version.init, value)
        return new

    def whole_row(self, value: Var, version: _Version, eqn: Eqn) -> tuple[Eqn, ...]:
        """A copy of ``value``, of the sizes that the row has; elementwise, so that it is fused."""
        type_, tensor = version.row.type, version.init
        assert isinstance(type_, TensorType)
        assert isinstance(tensor, Var)
        eqns: list[Eqn] = []
        sizes: list[Atom] = []
        for dim, known in enumerate(type_.sizes):
            if not self.facts.equal_after(self.body, self.facts.size(value, dim), self.facts.size(tensor, dim + 1)):
                raise _NotRowsError
            if known is None:
                size = Var("n", Integer)
                eqns.append(Eqn((size,), "size", (tensor,), {"dim": dim + 1}, (), eqn.span))
                sizes.append(size)
            else:
                sizes.append(const(known))
        at = tuple(Var("j", Integer) for _ in sizes)
        element, row = Var("t", type_.elem), Var(value.name, type_)
        read = Eqn((element,), "index", (value, *at), span=eqn.span)
        return (*eqns, Eqn((row,), "build", tuple(sizes), {}, (Block(at, (read,), (element,)),), eqn.span))

    def branches(self, eqn: Eqn) -> Eqn:
        blocks = [(self.eqns(block.eqns), [replace(r, self.env) for r in block.results]) for block in eqn.blocks]
        outs = list(eqn.outs)
        for k, out in enumerate(eqn.outs):
            versions = [self.known.get(results[k]) for _, results in blocks]
            if versions == [None, None]:
                continue
            then, other = versions
            if then is None or other is None or then.carry is not other.carry or then.row.type != other.row.type:
                raise _NotRowsError
            outs[k] = self.enter(out, then)
            for (_, results), version in zip(blocks, (then, other), strict=True):
                results[k] = version.row
        new = tuple(Block((), eqns, tuple(results)) for eqns, results in blocks)
        return Eqn(tuple(outs), "if", eqn.args, eqn.params, new, eqn.span)

    def loop(self, eqn: Eqn) -> Eqn:
        *conds, body = eqn.blocks
        args, outs = list(eqn.args), list(eqn.outs)
        params = [list(block.params) for block in eqn.blocks]
        for k in range(1, len(outs) + 1):
            version = self.known.get(args[-k])
            if version is not None:
                args[-k] = version.row
                outs[-k] = self.enter(eqn.outs[-k], version)
                for own in params:
                    own[-k] = self.enter(own[-k], version)
        heads = [
            self.closed(Block(tuple(own), cond.eqns, cond.results, cond.span))
            for own, cond in zip(params, conds, strict=False)
        ]
        eqns = self.eqns(body.eqns)
        results = [replace(result, self.env) for result in body.results]
        for k, (result, out) in enumerate(zip(results, eqn.outs, strict=True)):
            if out in self.known:
                results[k] = self.of(result, self.known[out].carry)
            elif result in self.known:
                raise _NotRowsError
        block = Block(tuple(params[-1]), eqns, tuple(results))
        return Eqn(tuple(outs), eqn.op, tuple(args), eqn.params, (*heads, block), eqn.span)

    def enter(self, var: Var, version: _Version) -> Var:
        """A variable for the row of ``var``, a later version."""
        row = Var(var.name, version.row.type)
        self.known[var] = _Version(version.carry, version.init, row)
        return row
