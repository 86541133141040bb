"""Sums over the rows of a matrix go through it row by row.

    s = (build m (lam j (reduce add n (lam i (index i j x)))))
      ⟶      s = (reduce add n (lam i (build m (lam j (index i j x)))))

An element of the left loop is a sum over a column, whose numbers are far apart in memory; on the right each row is
added to the sums so far. What else is computed of a column stays in a loop over columns: before the sum what the sum
needs of it, and after it what is made of the sum. Extremes are found in this way too, and what stands in a ``for`` over
columns, if no iteration changes it; a number of the row may be in all its terms. This is done to what the compiler of a
processor is given: there the row is never made (``ksc.codegen.cpp.tensors``). The numbers of a column are added in
order, not in lanes.

Windows are gone through in this way too, where they are those of several rows:

    (build (tuple o m) (lam (c j) (reduce add k (lam i (mul (index (tuple c i) w) (index (tuple c (add j i)) x))))))

Each number of a window is read next to that of the next window, however short they are.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace

from ksc.ir.builder import stack_type
from ksc.ir.liveness import prune_eqns
from ksc.ir.nodes import Atom, Block, Const, Eqn, Function, Program, Var, const, walk
from ksc.ir.rewrite import (
    Env,
    clone_block,
    effectful_functions,
    free_in,
    with_blocks,
    with_body,
    with_eqns,
    with_functions,
)
from ksc.ir.types import Integer, is_scalar
from ksc.ops import PRIMITIVES
from ksc.passes.fuse.cost import fails
from ksc.passes.fuse.facts import Facts
from ksc.passes.fuse.polynomial import Polynomial
from ksc.passes.fuse.sizes import Place
from ksc.passes.order import changing
from ksc.passes.product import product_of

NARROWEST = 17
"""The number of columns below which they are summed up one by one: a row does not fill registers."""


WRITTEN_OUT = 64
"""The number of terms up to which sums are written out, so that the columns fill registers as they are."""


def sum_by_rows(program: Program) -> Program:
    """Do so in all functions; the same program where there is nothing to do."""
    effectful = effectful_functions(program.functions)

    def change(function: Function) -> Function:
        if not any(_may_be_moved(eqn) for eqn in walk(function.body) if eqn.op in ("build", "for")):
            return function
        facts, top = Facts.of(function)
        return with_body(function, _Columns(facts, effectful).block(function.body, top))

    return with_functions(program, change)


def _may_be_moved(loop: Eqn) -> bool:
    """Whether the body of a loop has a sum over what is read at an index of its own before that of the loop."""
    (body,) = loop.blocks
    column = _column(loop)
    sides = [one for eqn in body.eqns if eqn.op == "if" for side in eqn.blocks for one in side.eqns]
    return any(
        eqn.op == "reduce" and (_is_down(eqn, loop) or _has_windows(_flat(eqn), column)) for eqn in (*body.eqns, *sides)
    )


def _column(loop: Eqn) -> Var:
    """The index that counts columns: the last one of a ``build``."""
    return loop.blocks[0].params[-1 if loop.op == "build" else 0]


def _is_down(total: Eqn, loop: Eqn) -> bool:
    """Whether the terms of a sum in the body of a loop over columns are read down these, or are the same in a row."""
    if len(total.args) != 1:
        return False
    (body,) = total.blocks
    column = _column(loop)
    short = _is_written_out(total)
    if short and (loop.op == "for" or not loop.outs):
        return False
    across = changing([column], loop.blocks[0].eqns)
    across |= changing(across, body.eqns)
    along = set[Atom](body.params) if short else changing(body.params, body.eqns)
    reads = [eqn.args[1:] for eqn in body.eqns if eqn.op == "index" and not along.isdisjoint(eqn.args[1:])]
    down = [at for at in reads if at[-1] is column and not along.isdisjoint(at[:-1])]
    return bool(down) and all(at in down or (not short and across.isdisjoint(at)) for at in reads)


def _has_windows(total: Eqn, column: Var) -> bool:
    """Whether each term is read next to that of the next column, one at least at an index of the sum too."""
    (body,) = total.blocks
    if total.params["monoid"] != "add" or _is_written_out(total):
        return False
    across, along = changing([column], body.eqns), changing(body.params, body.eqns)
    found = False
    for eqn in body.eqns:
        if eqn.op != "index" or across.isdisjoint(eqn.args):
            continue
        *before, last = eqn.args[1:]
        steps = last is column or any(
            one.op == "add" and last in one.outs and column in one.args and len(across.intersection(one.args)) == 1
            for one in body.eqns
        )
        if not steps or not across.isdisjoint(before):
            return False
        found = found or not along.isdisjoint(eqn.args)
    return found


def _is_written_out(total: Eqn) -> bool:
    """Whether a sum has so few terms that a loop over columns fills registers as it is."""
    sizes = [int(size.value) for size in total.args if isinstance(size, Const)]
    return len(sizes) == len(total.args) and math.prod(sizes) <= WRITTEN_OUT


def _flat(total: Eqn) -> Eqn:
    """A sum of sums as one over all indices."""
    (body,) = total.blocks
    inner = body.eqns[-1] if body.eqns else total
    if inner.op != "reduce" or inner.params != total.params or body.results != inner.outs:
        return total
    made = {*body.params, *(out for eqn in body.eqns for out in eqn.outs)}
    if any(eqn.blocks for eqn in body.eqns[:-1]) or not made.isdisjoint(inner.args):
        return total
    inner = _flat(inner)
    (terms,) = inner.blocks
    whole = Block((*body.params, *terms.params), (*body.eqns[:-1], *terms.eqns), terms.results, terms.span)
    return Eqn(total.outs, "reduce", (*total.args, *inner.args), total.params, (whole,), total.span)


class _Columns:
    def __init__(self, facts: Facts, effectful: Collection[str]) -> None:
        self.facts = facts
        self.effectful = effectful

    def block(self, block: Block, place: Place) -> Block:
        eqns: list[Eqn] = []
        for eqn in block.eqns:
            if eqn.op in ("build", "for") and not eqn.params.get("nested"):
                moved = self.moved(eqn, place)
                if moved is not None:
                    eqns += moved
                    continue
            inner = [self.block(inner, self.facts.inside(inner, eqn, place)) for inner in eqn.blocks]
            eqns.append(with_blocks(eqn, inner))
        return with_eqns(block, eqns)

    def moved(self, loop: Eqn, place: Place) -> list[Eqn] | None:
        """The loop with sums over columns in front of it; None where it has none that can be moved."""
        (body,) = loop.blocks
        built = loop.op == "build"
        *lead, width = loop.args if built else loop.args[:1]
        narrow = isinstance(width, Const) and int(width.value) < NARROWEST
        inside = Place(loop, place)
        if narrow or (built and not all(is_scalar(result.type) for result in body.results)):
            return None
        windows = built and (place.owner is not None or any(size != const(1) for size in lead))
        if product_of(loop) is not None:
            return None
        body = with_eqns(body, [one for eqn in body.eqns for one in self.lifted(eqn, inside)])
        flat = {eqn: _flat(eqn) for eqn in body.eqns if eqn.op == "reduce" and windows}
        body = replace(body, eqns=tuple(flat.get(eqn, eqn) for eqn in body.eqns))
        sums = [eqn for eqn in body.eqns if self.is_movable(eqn, inside, windows=windows)]
        twice = self.run_twice(body, sums)
        if not sums or any(has_blocks(eqn) for eqn in twice):
            return None
        if not built:
            if not set(body.params[1:]).isdisjoint(free_in(*twice, *sums)):
                return None
            made, rest = self.by_rows(body, sums, width, body.params[0], {})
            return [*made, Eqn(loop.outs, "for", loop.args, loop.params, (rest,), loop.span)]
        if all(size == const(1) for size in lead):
            env: Env = dict.fromkeys(body.params[:-1], const(0))
            made, rest = self.by_rows(body, sums, width, body.params[-1], env)
            names = {} if lead else _given(rest, loop.outs)
            if names:
                return [replace(one, outs=tuple(names.get(out, out) for out in one.outs)) for one in made]
            return [*made, Eqn(loop.outs, "build", loop.args, loop.params, (rest,), loop.span)]
        made, rest = self.by_rows(body, sums, width, body.params[-1], {})
        types = [stack_type(1, result.type) for result in body.results]
        outs = tuple(Var(out.name, type_) for out, type_ in zip(loop.outs, types, strict=True))
        row = Block(rest.params[-1:], rest.eqns, rest.results, rest.span)
        whole = Eqn(outs, "build", (width,), loop.params, (row,), loop.span)
        block = Block(body.params[:-1], (*made, whole), outs, body.span)
        return [Eqn(loop.outs, "build", tuple(lead), loop.params, (block,), loop.span)]

    def lifted(self, eqn: Eqn, inside: Place) -> list[Eqn]:
        """An ``if`` with the sums of its sides in front of it: by rows they take less time, even if few are needed."""
        if eqn.op != "if":
            return [eqn]
        sums: list[Eqn] = []
        sides = []
        for side in eqn.blocks:
            bound = {out for one in side.eqns for out in one.outs}
            of_side = [
                one
                for one in side.eqns
                if self.is_movable(one, inside, windows=False)
                and not _is_written_out(one)
                and bound.isdisjoint(free_in(one))
                and all(term.op not in PRIMITIVES or PRIMITIVES[term.op].cost == "cheap" for term in one.blocks[0].eqns)
            ]
            sums += of_side
            sides.append(with_eqns(side, [one for one in side.eqns if one not in of_side]))
        return [*sums, with_blocks(eqn, sides)]

    def run_twice(self, body: Block, sums: Sequence[Eqn]) -> Sequence[Eqn]:
        """What sums need of the equations that stay in the loop."""
        needs = {var for eqn in sums for var in free_in(eqn)}
        made = {out for eqn in sums for out in eqn.outs}
        needed = prune_eqns(_binding(body.eqns), self.effectful, needs - made)
        return [eqn for eqn in needed if made.isdisjoint(eqn.outs)]

    def is_movable(self, eqn: Eqn, inside: Place, *, windows: bool) -> bool:
        """Whether a sum goes down columns, by simple terms that cannot stop the kernel."""
        assert inside.owner is not None and inside.parent is not None
        loop = inside.owner
        if eqn.op != "reduce" or not (_is_down(eqn, loop) or (windows and _has_windows(eqn, _column(loop)))):
            return False
        if any(isinstance(size, Var) and not self.facts.is_visible(size, inside.parent) for size in eqn.args):
            return False
        if not all(is_scalar(out.type) for out in eqn.outs):
            return False
        if not all(
            self.is_natural(size) or self.facts.never_negative(self.polynomial(size), inside) for size in eqn.args
        ):
            return False
        (terms,) = eqn.blocks
        at = Place(eqn, inside)
        return all(
            (one.op == "index" or (one.op in PRIMITIVES and PRIMITIVES[one.op].speculatable))
            and not fails(one, at, self.facts)
            for one in terms.eqns
        )

    def polynomial(self, size: Atom) -> Polynomial:
        return self.facts.polynomial(self.facts.resolve(size))

    def is_natural(self, size: Atom) -> bool:
        """Whether a size is not negative, be there columns or not."""
        return self.facts.is_natural(self.polynomial(size))

    def by_rows(self, body: Block, sums: Sequence[Eqn], width: Atom, column: Var, lead: Env) -> tuple[list[Eqn], Block]:
        """The sums of all columns, with tensors of what they need of theirs, and the body that reads them."""
        made: list[Eqn] = []
        done: list[Eqn] = []
        bound: set[Var] = set()
        totals: dict[Var, Var] = {}
        for eqn in body.eqns:
            if eqn not in sums:
                done.append(eqn)
                bound.update(eqn.outs)
                continue
            env = dict(lead)
            needs = [var for var in free_in(eqn) if var in bound]
            others = [var for var in needs if var not in totals]
            tensors = self.of_columns(done, others, width, column, lead)
            made += tensors
            kept = {**totals, **dict(zip(others, (out for one in tensors for out in one.outs), strict=True))}
            (terms,) = eqn.blocks
            index = Var(column.name, Integer)
            env[column] = index
            reads = []
            for var in needs:
                tensor, element = kept[var], Var(var.name, var.type)
                reads.append(Eqn((element,), "index", (tensor, index), span=eqn.span))
                env[var] = element
            copy = clone_block(terms, env)
            rows = tuple(Var(out.name, stack_type(1, out.type)) for out in eqn.outs)
            row = Eqn(rows, "build", (width,), {}, (Block((index,), (*reads, *copy.eqns), copy.results),), eqn.span)
            whole = tuple(Var(out.name, stack_type(1, out.type)) for out in eqn.outs)
            block = Block(copy.params, (row,), rows, terms.span)
            counts = [size if self.is_natural(size) else Var("count", Integer) for size in eqn.args]
            for size, count in zip(eqn.args, counts, strict=True):
                if isinstance(count, Var) and count is not size:
                    made.append(Eqn((count,), "max", (size, const(0)), span=eqn.span))
            made.append(Eqn(whole, "reduce", tuple(counts), eqn.params, (block,), eqn.span))
            totals.update(zip(eqn.outs, whole, strict=True))
            for out, total in zip(eqn.outs, whole, strict=True):
                done.append(Eqn((out,), "index", (total, column), span=eqn.span))
                bound.add(out)
        return made, Block(body.params, tuple(done), body.results, body.span)

    def of_columns(self, eqns: Sequence[Eqn], needs: Sequence[Var], width: Atom, column: Var, lead: Env) -> list[Eqn]:
        """The loop that keeps what equations bind for each column."""
        if not needs:
            return []
        env: Env = {**lead, column: Var(column.name, Integer)}
        needed = prune_eqns(_binding(eqns), self.effectful, set(needs))
        copy = clone_block(Block((column,), needed, tuple(needs)), env)
        outs = tuple(Var(var.name, stack_type(1, var.type)) for var in needs)
        return [Eqn(outs, "build", (width,), {}, (copy,), eqns[-1].span)]


def _binding(eqns: Sequence[Eqn]) -> list[Eqn]:
    """Those that bind something: no sum needs an assert, as what may stop the kernel is not moved."""
    return [eqn for eqn in eqns if eqn.outs]


def _given(body: Block, outs: Sequence[Var]) -> dict[Var, Var]:
    """The names of sums that are results of the loop as they are; empty where something else is made of one."""
    if not all(eqn.op == "index" and eqn.args[1:] == body.params for eqn in body.eqns):
        return {}
    sums = {eqn.outs[0]: eqn.args[0] for eqn in body.eqns}
    given = [sums.get(result) if isinstance(result, Var) else None for result in body.results]
    names = {total: out for total, out in zip(given, outs, strict=True) if isinstance(total, Var)}
    return names if len(names) == len(outs) == len(body.eqns) else {}


def has_blocks(eqn: Eqn) -> bool:
    """Whether an equation has a body, which is not to be run twice."""
    return bool(eqn.blocks) or eqn.op in ("call", "callback", "acc_add", "assert", "print")
