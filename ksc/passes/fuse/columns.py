"""Columns that share work, and are read row by row, are what they share and elements computed where they are read.

    c = (build m (lam j (let (s (reduce add n (lam i (index i j x)))) (build n (lam i (div (index i j x) s))))))
    y = (build n m (lam (i j) (index j i c)))
        ⟶
    s = (build m (lam j (reduce add n (lam i (index i j x)))))
    y = (build n m (lam (i j) (div (index i j x) (index j s))))

So a loop over columns goes through memory as one over rows does. Rows that are read as rows are merged with what reads
them (``rows.py``).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from ksc.ir.builder import stack_type
from ksc.ir.liveness import adds, has_effect
from ksc.ir.nodes import Block, Eqn, Function, Var
from ksc.ir.rewrite import Env, clone_block, free_in, substitute_block
from ksc.ir.types import TensorType, is_scalar
from ksc.passes.fuse.cost import fails
from ksc.passes.fuse.facts import Facts
from ksc.passes.fuse.reading import reading_of
from ksc.passes.fuse.sizes import Place


def part_columns(function: Function, effectful: Collection[str], facts: Facts, top: Place) -> Function:
    """Do so in one function, of which the facts are known; the same one where there are no such columns."""
    columns = _Columns(facts, effectful)
    body = columns.block(function.body, top)
    return Function(function.name, substitute_block(body, columns.env), function.span) if columns.env else function


class _Columns:
    def __init__(self, facts: Facts, effectful: Collection[str]) -> None:
        self.facts = facts
        self.effectful = effectful
        self.instead: dict[Eqn, Sequence[Eqn]] = {}
        self.env: Env = {}

    def block(self, block: Block, place: Place) -> Block:
        eqns: list[Eqn] = []
        for eqn in block.eqns:
            if eqn in self.instead:
                eqns += self.instead[eqn]
                continue
            # What reads one column may make another: one at a time.
            shared = self.shared(eqn, place) if eqn.op == "build" and not self.env else None
            if shared is None:
                blocks = tuple(self.block(inner, Place(eqn, place)) for inner in eqn.blocks)
                shared = Eqn(eqn.outs, eqn.op, eqn.args, eqn.params, blocks, eqn.span)
            eqns.append(shared)
        return Block(block.params, tuple(eqns), block.results, block.span)

    def shared(self, loop: Eqn, place: Place) -> Eqn | None:
        """The loop that makes what columns share, if it can take the place of the one that makes columns."""
        (body,) = loop.blocks
        columns = {eqn.outs[0]: eqn for eqn in body.eqns if _is_column(eqn) and eqn.outs[0] in body.results}
        shared = [eqn for eqn in body.eqns if eqn not in columns.values()]
        bound = {out for eqn in shared for out in eqn.outs}
        needs = [var for var in free_in(*columns.values()) if var in bound]
        if loop.params.get("nested") or len(body.params) != 1 or columns.keys() != {*body.results}:
            return None
        if not columns.keys().isdisjoint(free_in(*shared)) or not all(is_scalar(var.type) for var in needs):
            return None
        if not needs or all(eqn.op in ("index", "size") for eqn in shared):
            return None
        if any(has_effect(eqn, self.effectful, ()) or adds(eqn) for eqn in body.eqns):
            return None
        inside = Place(loop, place)
        if all(any(fails(eqn, inside, self.facts) for eqn in part) for part in (shared, columns.values())):
            return None
        reads = [self.reads_by_rows(tensor) for tensor in loop.outs]
        if not all(reads):
            return None
        tables = tuple(Var(var.name, stack_type(1, var.type)) for var in needs)
        for read, result in zip(reads, body.results, strict=True):
            assert read is not None and isinstance(result, Var)
            self.compute(read, body.params[0], columns[result], dict(zip(needs, tables, strict=True)))
        block = Block(body.params, tuple(shared), tuple(needs), body.span)
        return Eqn(tables, "build", loop.args, loop.params, (block,), loop.span)

    def reads_by_rows(self, tensor: Var) -> Eqn | None:
        """What reads all elements, each once, in a loop over something else than columns; None if they are not."""
        assert isinstance(tensor.type, TensorType)
        reading = reading_of(tensor, tensor.type.rank, self.facts, once=True, alike=True)
        if reading.whole or len(reading.eqns) != 1 or not reading.elements[0].covers:
            return None
        (eqn,) = reading.eqns
        (place,) = {read.place for read in self.facts.reads[tensor] if read.eqn is eqn}
        owner = place.owner
        by_rows = owner is not None and owner.op == "build" and owner.blocks[0].params[0] is not eqn.args[1]
        return eqn if by_rows else None

    def compute(self, read: Eqn, index: Var, column: Eqn, tables: Mapping[Var, Var]) -> None:
        """Put an element of a column, by what ``tables`` have of it, in the place of what reads it."""
        (body,) = column.blocks
        env: Env = dict(zip((index, *body.params), read.args[1:], strict=True))
        eqns: list[Eqn] = []
        for var, table in tables.items():
            number = Var(var.name, var.type)
            eqns.append(Eqn((number,), "index", (table, read.args[1]), span=read.span))
            env[var] = number
        copy = clone_block(Block((), body.eqns, body.results, body.span), env)
        self.instead[read] = (*eqns, *copy.eqns)
        self.env[read.outs[0]] = copy.results[0]


def _is_column(eqn: Eqn) -> bool:
    """Whether this is one tensor whose elements are made one by one."""
    plain = eqn.op == "build" and len(eqn.outs) == 1 and not eqn.params.get("nested")
    return plain and is_scalar(eqn.blocks[0].results[0].type)
