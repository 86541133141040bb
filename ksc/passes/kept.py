"""What two nests of loops in the body of another one compute, and takes long, is kept for the turn of that one.

    s = (build n (lam k … (reduce add m (lam i … r = (reduce add i …) … (mul r r)))))  …
    (build n (lam k … (build m (lam i … r = (reduce add i …) … (acc_add … (mul r …))))))
      ⟶
    s t = (build n (lam k … row = (build m (lam i … r)) … (reduce add m (lam i … (mul r r))) … row))  …
    (build n (lam k … (build m (lam i … r = (index k i t) … (acc_add … (mul r …))))))

Derivatives compute again what they need of the primal. A loop inside two others costs more than to store a number and
read it, and what is kept is as large as these two loops, not as the one around. Likewise functions such as ``exp`` that
a loop computes row by row to tape them, and its reverse once more: what is read from the tape, or of what was changed
and put back, is known to be what it was. Sums and extremes of the outermost loop are kept in a tape of their own, where
that is no larger than the one that is there. Done to what the compiler of a processor is given: threads of a GPU have
no memory of their own to keep much in.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ksc.ir.builder import stack_type
from ksc.ir.liveness import has_effect
from ksc.ir.nodes import Block, Const, Eqn, Function, Program, Var, walk
from ksc.ir.rewrite import effectful_functions, read_vars, with_blocks, with_body, with_eqns, with_functions
from ksc.ir.types import Float, TensorType
from ksc.ops import PRIMITIVES
from ksc.passes.dce import remove_dead_code
from ksc.passes.elements import SHORTEST, reading, table_of
from ksc.passes.numbering import Numbering


def keep_sums(program: Program) -> Program:
    """Keep them in all functions; the same program where there are none."""
    effectful = effectful_functions(program.functions)

    def run(function: Function) -> Function:
        if not any(eqn.op in ("reduce", "for") for eqn in walk(function.body)):
            return function
        kept = _Kept(Numbering.of_function(function), effectful)
        return with_body(function, kept.block(function.body, inside=False))

    changed = with_functions(program, run)
    return program if changed is program else remove_dead_code(changed)


Path = tuple[Eqn, ...]
"""Loops, each in the body of the one before; a ``withacc`` may stand between two."""


@dataclass(frozen=True, slots=True)
class _Site:
    """Where a sum is computed: by which equation of the innermost of the loops in ``path``."""

    path: Path
    total: Eqn

    @property
    def inner(self) -> Block:
        return self.path[-1].blocks[0]

    @property
    def indices(self) -> list[Var]:
        counted = [(loop.blocks[0].params, loop) for loop in self.path if loop.op != "withacc"]
        return [param for params, loop in counted for param in (params[:1] if loop.op == "for" else params)]


class _Kept:
    def __init__(self, numbers: Numbering, effectful: Collection[str]) -> None:
        self.numbers = numbers
        self.effectful = effectful

    def block(self, block: Block, *, inside: bool) -> Block:
        """The block, and those in it, with sums kept that it computes twice, if it is ``inside`` a loop."""
        block = self.kept(block, {}, inside=inside)
        eqns = []
        for eqn in block.eqns:
            around = inside or eqn.op in ("build", "reduce", "for", "while")
            eqns.append(with_blocks(eqn, [self.block(inner, inside=around) for inner in eqn.blocks]))
        return with_eqns(block, eqns)

    def kept(self, block: Block, tables: Mapping[int, Var], *, inside: bool) -> Block:
        """The block with sums kept; what is in ``tables``, by its number, is kept where it is computed first.

        Outside of loops only sums of a loop that tapes are kept, beside its tapes.
        """
        first: dict[int, tuple[int, _Site]] = {}
        for number, eqn in enumerate(block.eqns):
            for site in _sites((), eqn):
                if not inside and not _is_taped(site):
                    continue
                key = self.numbers.atom(site.total.outs[0])
                place, earlier = first.setdefault(key, (number, site))
                found = self.common(earlier, site) if place < number else None
                if found is None:
                    continue
                value, again = found
                what = self.numbers.atom(value)
                made = list(block.eqns[place : place + 1])
                if what not in tables:
                    made, table = _keeping(earlier.path, value)
                    tables = {**tables, what: table}
                read = _reading(site.path, again, Eqn((again,), "index", (tables[what], *site.indices)))
                eqns = (*block.eqns[:place], *made, *block.eqns[place + 1 : number], read, *block.eqns[number + 1 :])
                return self.kept(with_eqns(block, eqns), tables, inside=inside)
        return block

    def common(self, first: _Site, second: _Site) -> tuple[Var, Var] | None:
        """What is kept, in the first nest and in the second: what both make of the sum, or that where it is not one."""
        number = self.numbers.atom
        if any(has_effect(site.total, self.effectful, ()) for site in (first, second)):
            return None
        if any(loop.op == "withacc" or not _keeps_rows(loop) for loop in first.path):
            return None
        if [number(index) for index in first.indices] != [number(index) for index in second.indices]:
            return None
        own = {number(out): out for eqn in first.inner.eqns for out in eqn.outs}
        derived = set(second.total.outs)
        for eqn in second.inner.eqns:
            if not eqn.blocks and not derived.isdisjoint(eqn.args) and all(number(out) in own for out in eqn.outs):
                derived.update(eqn.outs)
        others = [eqn for eqn in second.inner.eqns if derived.isdisjoint(eqn.outs)]
        read = read_vars(others, second.inner.results)
        needed = [var for var in derived if var in read]
        if not needed:
            return None
        again = needed[0] if len(needed) == 1 and needed[0].type == Float else second.total.outs[0]
        return own[number(again)], again


def _sites(path: Path, eqn: Eqn) -> Iterator[_Site]:
    """What loops in an equation compute that is dear: sums of numbers that may be long, and functions of numbers in
    rows that a loop computes one after the other."""
    if path and _is_unordered(path[-1]) and len(eqn.outs) == 1 and eqn.outs[0].type == Float:
        record = PRIMITIVES.get(eqn.op)
        dear = record is not None and record.cost == "expensive" and path[-1].op == "build" and not _is_short(path[-1])
        if (eqn.op == "reduce" and not _is_short(eqn)) or (dear and path[0].op == "for"):
            yield _Site(path, eqn)
    if eqn.op in ("build", "reduce", "withacc", "for") and eqn.params.get("checkpoint", 1) == 1:
        for inner in () if eqn.params.get("nested") else eqn.blocks[0].eqns:
            yield from _sites((*path, eqn), inner)


def _is_unordered(loop: Eqn) -> bool:
    """Whether no iteration of a loop needs what another one computes."""
    return loop.op in ("build", "reduce") or (loop.op == "for" and not loop.outs)


def _is_taped(site: _Site) -> bool:
    """Whether it is a sum in a loop that goes back, or in no more loops than a tape of the outermost has indices."""
    loop = next((loop for loop in site.path if loop.op != "withacc"), None)
    if loop is None or loop.op != "for" or site.total.op != "reduce":
        return False
    ranks = [out.type.rank for out in _stacked(loop) if isinstance(out.type, TensorType)]
    return loop.params["reverse"] or len(site.indices) <= max(ranks, default=0)


def _stacked(loop: Eqn) -> Sequence[Var]:
    return loop.outs[loop.params["carries"] :] if loop.op == "for" else ()


def _keeps_rows(loop: Eqn) -> bool:
    """Whether a loop is none that carries, or keeps a row of each iteration."""
    return loop.op != "for" or any(isinstance(out.type, TensorType) and out.type.rank > 1 for out in _stacked(loop))


def _is_short(loop: Eqn) -> bool:
    return all(isinstance(size, Const) and int(size.value) < SHORTEST for size in loop.args)


def _keeping(path: Path, value: Var) -> tuple[list[Eqn], Var]:
    """A nest of loops that keeps a number that it computes, and the tensor that holds it."""
    loop, *rest = path
    if not rest:
        made = table_of(loop, value)
        return [made, reading(loop, {value: made.outs[0]})], made.outs[0]
    (body,) = loop.blocks
    inner, row = _keeping(tuple(rest), value)
    eqns = [new for eqn in body.eqns for new in (inner if eqn is rest[0] else [eqn])]
    if loop.op != "reduce":
        table = Var(value.name, stack_type(len(loop.args) if loop.op == "build" else 1, row.type))
        both = Block(body.params, tuple(eqns), (*body.results, row), body.span)
        return [Eqn((*loop.outs, table), loop.op, loop.args, loop.params, (both,), loop.span)], table
    made = table_of(with_blocks(loop, [with_eqns(body, eqns)]), row)
    return [made, reading(with_blocks(loop, [with_eqns(body, eqns)]), {row: made.outs[0]})], made.outs[0]


def _reading(path: Path, var: Var, read: Eqn) -> Eqn:
    """A nest of loops with a number read where it is computed now."""
    loop, *rest = path
    (body,) = loop.blocks
    if rest:
        eqns = [_reading(tuple(rest), var, read) if eqn is rest[0] else eqn for eqn in body.eqns]
    else:
        eqns = [Eqn(read.outs, read.op, read.args, span=eqn.span) if var in eqn.outs else eqn for eqn in body.eqns]
    return with_blocks(loop, [with_eqns(body, eqns)])
