"""What two nests of loops in the body of another one compute, and takes long, is kept for the turn of that one.

    s = (build n (lam k … (reduce add m (lam i … r = (reduce add i …) … (mul r r)))))  …
    (build n (lam k … (build m (lam i … r = (reduce add i …) … (acc_add … (mul r …))))))
      ⟶
    s t = (build n (lam k … row = (build m (lam i … r)) … (reduce add m (lam i … (mul r r))) … row))  …
    (build n (lam k … (build m (lam i … r = (index k i t) … (acc_add … (mul r …))))))

Derivatives compute again what they need of the primal. A loop inside two others costs more than to store a number and
read it, and what is kept is as large as these two loops, not as the one around. Likewise functions such as ``exp`` that
a loop computes row by row to tape them, and its reverse once more: what is read from the tape, or of what was changed
and put back, is known to be what it was. Done to what the compiler of a processor is given: threads of a GPU have no
memory of their own to keep much in.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping
from dataclasses import dataclass, field

from ksc.ir.builder import stack_type
from ksc.ir.liveness import has_effect
from ksc.ir.nodes import Atom, Block, Const, Eqn, Function, Program, Var, walk
from ksc.ir.rewrite import effectful_functions, read_vars, with_blocks, with_body, with_eqns, with_functions
from ksc.ir.types import Float, TensorType
from ksc.ops import PRIMITIVES
from ksc.passes.dce import remove_dead_code
from ksc.passes.elements import SHORTEST, reading, table_of
from ksc.passes.fuse.facts import Facts


def keep_sums(program: Program) -> Program:
    """Keep them in all functions; the same program where there are none."""
    effectful = effectful_functions(program.functions)

    def kept(function: Function) -> Function:
        if not any(eqn.op in ("reduce", "for") for eqn in walk(function.body)):
            return function
        numbers = _Numbers(Facts.of(function)[0], effectful)
        numbers.block(function.body, 0)
        return with_body(function, _Kept(numbers).block(function.body, inside=False))

    changed = with_functions(program, kept)
    return program if changed is program else remove_dead_code(changed)


Path = tuple[Eqn, ...]
"""Loops, each in the body of the one before; a ``withacc`` may stand between two."""

_At = tuple[tuple[int, Atom], ...]
"""Indices with their numbers."""


@dataclass(slots=True)
class _Numbers:
    """Numbers for values: equal ones for equal expressions, whichever loops of equal sizes they stand in.

    What a loop carries has a number of its own, and stands for its value in the iteration of a given index. So what was
    stacked is, read at that index, what was computed there; likewise with tensors that are built, or changed.
    """

    facts: Facts
    effectful: Collection[str]
    known: dict[Hashable, int] = field(default_factory=dict)
    of: dict[Atom, int] = field(default_factory=dict)
    made: dict[Atom, tuple[tuple[int, ...], Atom]] = field(default_factory=dict)
    parts: dict[Atom, tuple[Atom, _At]] = field(default_factory=dict)
    updates: dict[Atom, Eqn] = field(default_factory=dict)

    def block(self, block: Block, depth: int) -> None:
        """Number what a block computes, inside as many loops."""
        for eqn in block.eqns:
            args = [self.atom(arg) for arg in eqn.args]
            indices: dict[Eqn, tuple[int, ...]] = {}
            if eqn.op in ("build", "reduce", "for"):
                (body,) = eqn.blocks
                sizes = args[:1] if eqn.op == "for" else args
                for k, param in enumerate(body.params[: len(sizes)]):
                    self.of[param] = self.number(("index", depth, tuple(sizes), k))
                indices[eqn] = tuple(self.of[param] for param in body.params[: len(sizes)])
            for inner in eqn.blocks:
                self.block(inner, depth + (eqn in indices))
            record = PRIMITIVES.get(eqn.op)
            if eqn.op == "index":
                self.part(eqn)
            elif eqn in indices and eqn.op != "reduce" and not eqn.params.get("nested"):
                first = eqn.params.get("carries", 0)
                for out, result in zip(eqn.outs[first:], eqn.blocks[0].results[first:], strict=True):
                    self.made[out] = indices[eqn], result
            if record is not None and record.commutative:
                args.sort()
            blocks = eqn.op in ("build", "reduce", "if") and not has_effect(eqn, self.effectful, ())
            for k, out in enumerate(eqn.outs):
                given = tuple(self.atom(inner.results[k]) for inner in eqn.blocks) if blocks else k
                if blocks or record is not None or eqn.op in ("size", "tuple", "get"):
                    self.of[out] = self.number((eqn.op, tuple(args), tuple(sorted(eqn.params.items())), given))
            if eqn.op == "update":
                self.updates[eqn.outs[0]] = eqn

    def part(self, eqn: Eqn) -> None:
        """An element, or a part, of a tensor."""
        tensor, *at = eqn.args
        places = tuple((self.atom(index), index) for index in at)
        self.of[eqn.outs[0]] = self.read(tensor, places)
        self.parts[eqn.outs[0]] = tensor, places

    def read(self, tensor: Atom, at: _At) -> int:
        """The number of what is read of a tensor at indices, the tensor itself where there are none."""
        if not at:
            return self.atom(tensor)
        if tensor in self.parts:
            whole, before = self.parts[tensor]
            return self.read(whole, (*before, *at))
        if tensor in self.made:
            indices, result = self.made[tensor]
            if indices == tuple(number for number, _ in at[: len(indices)]):
                return self.read(result, at[len(indices) :])
        if tensor in self.updates:
            before_it, *places, value = self.updates[tensor].args
            pairs = list(zip(places, at, strict=False))
            if len(at) >= len(places) and all(self.atom(place) == number for place, (number, _) in pairs):
                return self.read(value, at[len(places) :])
            if any(self.differ(place, index) for place, (_, index) in pairs):
                return self.read(before_it, at)
        return self.number(("index", self.atom(tensor), tuple(number for number, _ in at)))

    def differ(self, a: Atom, b: Atom) -> bool:
        """Whether two integers are surely not equal."""
        facts = self.facts
        apart = (facts.polynomial(facts.resolve(a)) - facts.polynomial(facts.resolve(b))).value
        return apart is not None and apart != 0

    def atom(self, atom: Atom) -> int:
        """The number of a variable, or of a constant."""
        return self.of[atom] if atom in self.of else self.number(atom)

    def number(self, key: Hashable) -> int:
        return self.known.setdefault(key, len(self.known))


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
    def __init__(self, numbers: _Numbers) -> None:
        self.numbers = numbers

    def block(self, block: Block, *, inside: bool) -> Block:
        """The block, and those in it, with sums kept that it computes twice, if it is ``inside`` a loop."""
        if inside:
            block = self.kept(block, {})
        eqns = []
        for eqn in block.eqns:
            around = inside or eqn.op in ("build", "reduce", "for", "while")
            eqns.append(with_blocks(eqn, [self.block(inner, inside=around) for inner in eqn.blocks]))
        return with_eqns(block, eqns)

    def kept(self, block: Block, tables: Mapping[int, Var]) -> Block:
        """The block with sums kept; of those in ``tables`` that is done where they are computed first."""
        first: dict[int, tuple[int, _Site]] = {}
        for number, eqn in enumerate(block.eqns):
            for site in _sites((), eqn):
                key = self.numbers.of.get(site.total.outs[0], -1)
                place, earlier = first.setdefault(key, (number, site))
                found = self.common(earlier, site) if key >= 0 and place < number else None
                if found is None:
                    continue
                value, again = found
                made = list(block.eqns[place : place + 1])
                if key not in tables:
                    made, table = _keeping(earlier.path, value)
                    tables = {**tables, key: table}
                read = _reading(site.path, again, Eqn((again,), "index", (tables[key], *site.indices)))
                eqns = (*block.eqns[:place], *made, *block.eqns[place + 1 : number], read, *block.eqns[number + 1 :])
                return self.kept(with_eqns(block, eqns), tables)
        return block

    def common(self, first: _Site, second: _Site) -> tuple[Var, Var] | None:
        """What is kept, in the first nest and in the second: what both make of the sum, or that where it is not one."""
        numbers = self.numbers.of
        if any(loop.op == "withacc" or not _keeps_rows(loop) for loop in first.path):
            return None
        if [numbers[index] for index in first.indices] != [numbers[index] for index in second.indices]:
            return None
        own = {numbers[out]: out for eqn in first.inner.eqns for out in eqn.outs if out in numbers}
        derived = set(second.total.outs)
        for eqn in second.inner.eqns:
            if not eqn.blocks and not derived.isdisjoint(eqn.args) and all(numbers.get(o) in own for o in eqn.outs):
                derived.update(eqn.outs)
        others = [eqn for eqn in second.inner.eqns if derived.isdisjoint(eqn.outs)]
        read = read_vars(others, second.inner.results)
        needed = [var for var in derived if var in read]
        if not needed:
            return None
        again = needed[0] if len(needed) == 1 and needed[0].type == Float else second.total.outs[0]
        return own[numbers[again]], again


def _sites(path: Path, eqn: Eqn) -> Iterator[_Site]:
    """What loops in an equation compute that is dear: sums of numbers that may be long, and functions of numbers in
    rows that a loop computes one after the other."""
    if path and path[-1].op in ("build", "reduce") and len(eqn.outs) == 1 and eqn.outs[0].type == Float:
        record = PRIMITIVES.get(eqn.op)
        dear = record is not None and record.cost == "expensive" and path[-1].op == "build" and not _is_short(path[-1])
        if (eqn.op == "reduce" and not _is_short(eqn)) or (dear and path[0].op == "for"):
            yield _Site(path, eqn)
    if eqn.op in ("build", "reduce", "withacc", "for") and eqn.params.get("checkpoint", 1) == 1:
        for inner in () if eqn.params.get("nested") else eqn.blocks[0].eqns:
            yield from _sites((*path, eqn), inner)


def _keeps_rows(loop: Eqn) -> bool:
    """Whether a loop is none that carries, or keeps a row of each iteration."""
    stacked = loop.outs[loop.params["carries"] :] if loop.op == "for" else ()
    return loop.op != "for" or any(isinstance(out.type, TensorType) and out.type.rank > 1 for out in stacked)


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
