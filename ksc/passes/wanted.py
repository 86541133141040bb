"""Of a table whose rows are dear, only those rows are computed that are read.

    t = (build n (lam j (… (for …) …)))
    (build m (lam k (f (index (index k at) t))))
        ⟶
    w = (for (k m) ((w (build n (lam j false)))) (update (index k at) w true))
    t = (build n (lam j (if (index j w) (… (for …) …) 0.0)))
    (build m (lam k (f (index (index k at) t))))

A loop marks first what the readers will read. Where there are more reads than rows, all rows are computed and nothing
is marked, so a reader that meets every row loses next to nothing. What has an effect in other rows, as an assert has,
stays. It is done for processors alone: on a grid the marking would be a thread's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from ksc.ir.builder import Builder
from ksc.ir.liveness import prune_eqns
from ksc.ir.nodes import Atom, Block, Const, Eqn, Program, Var, const, walk
from ksc.ir.rewrite import Env, clone_block, effectful_functions, read_vars, with_body, with_eqns, with_functions
from ksc.ir.types import Bool, Integer, TensorType, is_scalar
from ksc.ops import PRIMITIVES
from ksc.transforms.tangents import default

READS_PER_ROW = 2
"""Rows are marked where there are fewer reads than so many for each of them."""


def compute_wanted_rows(program: Program) -> Program:
    """Do so in all functions."""
    effectful = effectful_functions(program.functions)
    return with_functions(program, lambda function: with_body(function, _Wanted(effectful).block(function.body)))


class _Wanted:
    def __init__(self, effectful: Collection[str]) -> None:
        self.effectful = effectful

    def block(self, block: Block) -> Block:
        """The block of a function; tables that loops make are left alone."""
        eqns: list[Eqn] = []
        for k, eqn in enumerate(block.eqns):
            readers = self.readers(eqn, block, k) if _is_table(eqn) and _is_dear(eqn.blocks[0]) else []
            if not readers:
                eqns.append(eqn)
                continue
            builder = Builder(eqn.span)
            wanted = _marked(eqn.args[0], readers, builder)
            eqns += [*builder.eqns, self.of_wanted_rows(eqn, wanted)]
        return with_eqns(block, eqns)

    def readers(self, table: Eqn, block: Block, position: int) -> list[_Reader]:
        """The readers of the table at a position of a block; none if it is read otherwise too."""
        found: list[_Reader] = []
        later = {out for eqn in block.eqns[position:] for out in eqn.outs}
        for eqn in block.eqns[position + 1 :]:
            if eqn.op == "size" or set(read_vars([eqn])).isdisjoint(table.outs):
                continue
            reader = _reader(eqn, table.outs)
            if reader is None or not later.isdisjoint(reader.reads()):
                return []
            found.append(reader)
        return found if _none_of(block.results, table.outs) else []

    def of_wanted_rows(self, table: Eqn, wanted: Var) -> Eqn:
        """The table, with any numbers in the rows that are not marked."""
        (body,) = table.blocks
        builder = Builder(table.span)
        (mark,) = builder.emit("index", [wanted, body.params[0]], [Bool], names=["wanted"])
        effects = prune_eqns(body.eqns, self.effectful, set())
        skipped = clone_block(Block((), effects, ()), {})
        other = Builder(table.span)
        other.eqns.extend(skipped.eqns)
        results = [_anything(other, result) for result in body.results]
        types = [result.type for result in body.results]
        names = [out.name for out in table.outs]
        sides = [Block((), body.eqns, body.results, body.span), other.block((), results)]
        rows = builder.emit("if", [mark], types, names=names, blocks=sides)
        return replace(table, blocks=(builder.block(body.params, rows, body.span),))


def _is_table(eqn: Eqn) -> bool:
    return eqn.op == "build" and len(eqn.args) == 1 and all(_has_known_sizes(r) for r in eqn.blocks[0].results)


def _is_dear(body: Block) -> bool:
    """Whether a row takes a loop of its own, and only makes the row."""
    inside = list(walk(body))
    own = {param for eqn in inside if eqn.op == "withacc" for param in eqn.blocks[0].params}
    return any(eqn.op in ("for", "while") for eqn in inside) and not any(
        eqn.op in ("box", "callback", "print") or (eqn.op == "acc_add" and eqn.args[0] not in own) for eqn in inside
    )


def _has_known_sizes(atom: Atom) -> bool:
    type_ = atom.type
    return is_scalar(type_) or (isinstance(type_, TensorType) and is_scalar(type_.elem) and None not in type_.sizes)


def _anything(builder: Builder, like: Atom) -> Atom:
    """A value that nothing reads; code generation makes no elements of a ``build`` that is marked so."""
    if not isinstance(like.type, TensorType):
        return default(like.type)
    at = tuple(Var("i", Integer) for _ in like.type.sizes)
    body = Block(at, (), (default(like.type.elem),))
    sizes = [const(size) for size in like.type.sizes if size is not None]
    return builder.emit("build", sizes, [like.type], blocks=[body], params={"unread": True})[0]


@dataclass(frozen=True, slots=True)
class _Reader:
    """A loop that reads rows of a table.

    Attributes:
        loop: the loop.
        arithmetic: what computes in an iteration which rows it reads, from the loop's first index alone.
        rows: the numbers of these rows.
    """

    loop: Eqn
    arithmetic: tuple[Eqn, ...]
    rows: tuple[Var, ...]

    def reads(self) -> set[Atom]:
        """What marking the rows reads of what is around the loop."""
        return {self.loop.args[0], *(arg for eqn in self.arithmetic for arg in eqn.args)}


def _reader(loop: Eqn, tables: Collection[Var]) -> _Reader | None:
    """A loop as a reader of tables; None where it reads otherwise.

    The rows are found in every iteration, so that marking them stops no kernel that would not have stopped.
    """
    if loop.op not in ("build", "for") or not _none_of(loop.args, tables):
        return None
    if not all(isinstance(size, Const) and int(size.value) > 0 for size in _sizes(loop)[1:]):
        return None
    (body,) = loop.blocks
    rows: dict[Var, None] = {}
    for eqn in walk(body):
        if eqn.op == "index" and eqn.args[0] in tables and isinstance(eqn.args[1], Var):
            rows[eqn.args[1]] = None
        elif eqn.op != "size" and not _none_of([*eqn.args, *(r for b in eqn.blocks for r in b.results)], tables):
            return None
    needed: set[Atom] = set(rows)
    arithmetic: list[Eqn] = []
    for eqn in reversed(body.eqns):
        if not needed.isdisjoint(eqn.outs):
            if not _finds_rows(eqn) or not _none_of(eqn.args, tables):
                return None
            arithmetic.insert(0, eqn)
            needed.update(eqn.args)
    made = {out for eqn in arithmetic for out in eqn.outs}
    if not made.issuperset(rows) or not _none_of(body.results, tables) or not needed.isdisjoint(body.params[1:]):
        return None
    return _Reader(loop, tuple(arithmetic), tuple(rows))


def _none_of(atoms: Iterable[Atom], tables: Collection[Var]) -> bool:
    return not any(atom in tables for atom in atoms)


def _sizes(loop: Eqn) -> Sequence[Atom]:
    return loop.args if loop.op == "build" else loop.args[:1]


def _finds_rows(eqn: Eqn) -> bool:
    """Whether an equation looks up an integer, or is arithmetic of integers that cannot fail."""
    record = PRIMITIVES.get(eqn.op)
    cannot_fail = eqn.op == "index" if record is None else not record.can_fail
    return cannot_fail and all(out.type in (Integer, Bool) for out in eqn.outs)


def _marked(count: Atom, readers: Sequence[_Reader], builder: Builder) -> Var:
    """Emit which of ``count`` rows are read: all of them where there are many reads."""
    reads: Atom = const(0)
    for reader in readers:
        found = builder.apply("mul", reader.loop.args[0], const(len(reader.rows)), name="reads")
        reads = builder.apply("add", reads, found, name="reads")
    rows = builder.apply("mul", count, const(READS_PER_ROW), name="rows")
    many = builder.apply("lte", rows, reads, name="many")
    body = Block((Var("j", Integer),), (), (many,))
    (wanted,) = builder.emit("build", [count], [TensorType(1, Bool)], names=["wanted"], blocks=[body])
    for reader in readers:
        trips = builder.apply("select", many, const(0), reader.loop.args[0], name="n")
        wanted = _mark(trips, reader, wanted, count, builder)
    return wanted


def _mark(trips: Atom, reader: _Reader, wanted: Var, count: Atom, builder: Builder) -> Var:
    """Emit the loop that marks the rows of one reader. A number that is no row's is left to the reader to refuse."""
    body = reader.loop.blocks[0]

    def marking(inner: Builder, i: Var, carries: tuple[Var, ...]) -> Sequence[Atom]:
        env: Env = {body.params[0]: i}
        inner.eqns.extend(clone_block(Block((), reader.arithmetic, ()), env).eqns)
        (marks,) = carries
        for row in reader.rows:
            at = env[row]
            natural = inner.apply("lte", const(0), at, name="there")
            below = inner.apply("lt", at, count, name="there")
            there = inner.apply("and", natural, below, name="there")
            marks = _updated(inner, there, marks, at)
        return [marks]

    return builder.for_(trips, [wanted], marking, names=["wanted"])[0]


def _updated(builder: Builder, there: Atom, marks: Var, at: Atom) -> Var:
    def mark(inner: Builder) -> Sequence[Atom]:
        return inner.emit("update", [marks, at, const(True)], [marks.type], names=[marks.name])

    return builder.if_(there, mark, lambda inner: [marks])[0]
