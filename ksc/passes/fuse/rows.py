"""Loops over rows: two ``build``, the second of which reads the first one's rows at its own index, become one loop.

    s = (build n (lam i (reduce add m (lam k (index i k x)))))
    y = (build n m (lam (i j) (div (index i j x) (index i s))))
        ⟶
    s y = (build n (lam i
      (let (s (reduce add m (lam k (index i k x)))) (tuple s (build m (lam j (div (index i j x) s)))))))

So a sum along a row is a scalar of that row's turn, and a row that is read twice is kept for that turn alone. A loop of
more dimensions than the rows are counted by becomes a loop over rows of a loop along each; what the latter computes
alike for the whole row is computed in front of it. An element must not be read more often than before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ksc.ir.liveness import adds, has_effect
from ksc.ir.nodes import Atom, Block, Eqn, Function, Program, Var, walk
from ksc.ir.rewrite import Env, effectful_functions, free_vars, read_vars, replace, with_functions
from ksc.ir.types import TensorType
from ksc.ops import PRIMITIVES
from ksc.passes.fuse.changes import changed_tensors
from ksc.passes.fuse.cost import LARGEST, fails
from ksc.passes.fuse.facts import Facts
from ksc.passes.fuse.sizes import Place
from ksc.passes.product import product_of


def fuse_rows(program: Program) -> Program:
    """Merge loops over rows in all functions; the same program where there is nothing to do."""
    effectful = effectful_functions(program.functions)
    return with_functions(program, lambda function: merge_rows(function, effectful, *Facts.of(function)))


def merge_rows(function: Function, effectful: Collection[str], facts: Facts, top: Place) -> Function:
    """Do so in one function, of which the facts are known; the same one where there is nothing to do."""
    rows = _Rows(facts, effectful)
    body = rows.block(function.body, top)
    return Function(function.name, body, function.span) if rows.merged else function


class _Rows:
    def __init__(self, facts: Facts, effectful: Collection[str]) -> None:
        self.facts = facts
        self.effectful = effectful
        self.merged: set[Var] = set()

    def block(self, block: Block, place: Place) -> Block:
        """The block with pairs of loops merged, here and inside; a merged loop is not looked at again."""
        eqns = list(block.eqns)
        second = 0
        while second < len(eqns):
            if eqns[second].op != "build" or not self.merges(eqns, second, block.results):
                second += 1
        for k, eqn in enumerate(eqns):
            if not self.is_merged(eqn):
                blocks = tuple(self.block(inner, Place(eqn, place)) for inner in eqn.blocks)
                eqns[k] = Eqn(eqn.outs, eqn.op, eqn.args, eqn.params, blocks, eqn.span)
        return Block(block.params, tuple(eqns), block.results, block.span)

    def is_merged(self, eqn: Eqn) -> bool:
        """Whether this is a loop that was merged: nothing is known of what it binds."""
        return not self.merged.isdisjoint(eqn.outs)

    def merges(self, eqns: list[Eqn], second: int, results: Sequence[Atom]) -> bool:
        """Merge the loop at position ``second`` with one before it whose rows it reads, if there is one."""
        reader = eqns[second]
        if self.is_merged(reader):
            return False
        free = set(free_vars(reader.blocks[0]))
        for first in reversed(range(second)):
            maker = eqns[first]
            if maker.op != "build" or not free.intersection(maker.outs) or self.is_merged(maker):
                continue
            if not self.fits(maker, reader):
                continue
            depth = self.depth(maker, reader)
            if depth == 0 or any(self.is_whole(out, results) for out in maker.outs if out in free):
                continue
            between = eqns[first + 1 : second]
            changed = {tensor for eqn in between for tensor in changed_tensors(eqn)}
            late = changed.isdisjoint(free_vars(maker.blocks[0]))
            if late and not any(out in read_vars(between) for out in maker.outs):
                eqns[first : second + 1] = [*between, self.merge(maker, reader, depth)]
                return True
            bound = {out for eqn in between for out in eqn.outs}
            if not bound.intersection(free) and not bound.intersection(reader.args):
                eqns[first : second + 1] = [self.merge(maker, reader, depth), *between]
                return True
        return False

    def merge(self, maker: Eqn, reader: Eqn, depth: int) -> Eqn:
        """The two loops as one."""
        self.merged.update(maker.outs, reader.outs)
        return _merged(maker, reader, depth, self.safe(maker, reader))

    def fits(self, maker: Eqn, reader: Eqn) -> bool:
        """Whether two loops may change their order with what is between, and are not too large together."""
        if maker.params.get("nested") or reader.params.get("nested"):
            return False
        if product_of(maker) is not None or product_of(reader) is not None:
            return False
        if sum(1 for eqn in (maker, reader) for _ in walk(eqn.blocks[0])) > LARGEST:
            return False
        return not any(has_effect(eqn, self.effectful, ()) or adds(eqn) for eqn in (maker, reader))

    def safe(self, *loops: Eqn) -> frozenset[Var]:
        """The elements that loops read at indices that are known to be in range."""
        return frozenset(
            eqn.outs[0]
            for loop in loops
            for eqn in loop.blocks[0].eqns
            if eqn.op == "index" and not fails(eqn, self.facts.places[eqn.outs[0]], self.facts)
        )

    def is_whole(self, tensor: Var, results: Sequence[Atom]) -> bool:
        """Whether a tensor has to be made as a whole: something other than a loop's body reads it."""
        if tensor in results:
            return True
        home = self.facts.places[tensor]
        return any(
            read.eqn is None or read.eqn.op != "index" or read.place is home
            for read in self.facts.reads.get(tensor, ())
        )

    def depth(self, maker: Eqn, reader: Eqn) -> int:
        """By how many indices the rows are counted at which the reader reads what the maker made; 0 if at others."""
        (body,) = reader.blocks
        reads = list(_reads(body, maker.outs, ()))
        depth = min(len(maker.args), len(reader.args))
        for read in reads:
            if read.eqn.op != "index":
                return 0
            same = 0
            for index, param in zip(read.eqn.args[1 : depth + 1], body.params, strict=False):
                if index is not param:
                    break
                same += 1
            depth = min(depth, same)
        sizes = zip(maker.args[:depth], reader.args[:depth], strict=True)
        if not all(self.facts.equal(self.facts.resolve(a), self.facts.resolve(b)) for a, b in sizes):
            return 0
        return depth if all(self.is_once(read, body.params[depth:]) for read in reads) else 0

    def is_once(self, read: _Read, along: Sequence[Var]) -> bool:
        """Whether an element is read once a turn: by indices of all loops inside, or of none."""
        symbols = {s for index in read.eqn.args[1:] for s in self.facts.polynomial(index).symbols()}
        inner = set(read.loops)
        row = set(along)
        return inner <= symbols and (row <= symbols or not (inner or row & symbols))


@dataclass(frozen=True, slots=True)
class _Read:
    """An equation that reads a tensor, and the indices of the loops inside the body around it."""

    eqn: Eqn
    loops: tuple[Var, ...]


def _reads(block: Block, tensors: Collection[Var], loops: tuple[Var, ...]) -> Iterator[_Read]:
    for eqn in block.eqns:
        if any(arg in tensors for arg in eqn.args):
            yield _Read(eqn, loops)
        for inner in eqn.blocks:
            indices = inner.params if eqn.op in ("build", "reduce") else inner.params[:1] if eqn.op == "for" else ()
            yield from _reads(inner, tensors, (*loops, *indices))


def _merged(maker: Eqn, reader: Eqn, depth: int, safe: frozenset[Var]) -> Eqn:
    """One loop over rows that are counted by ``depth`` indices: the row of the one, then that of the other."""
    first = _by_rows(maker, depth, safe)
    (body,) = reader.blocks
    env: Env = dict(zip(body.params[:depth], first.params, strict=True))
    rows = dict(zip(maker.outs, first.results, strict=True))
    seen = _reading_rows(Block(body.params, body.eqns, body.results, body.span), rows, depth, env)
    second = _by_rows(Eqn(reader.outs, "build", reader.args, reader.params, (seen,), reader.span), depth, safe)
    block = Block(first.params, first.eqns + second.eqns, first.results + second.results, first.span)
    return Eqn(maker.outs + reader.outs, "build", maker.args[:depth], maker.params, (block,), reader.span)


def _reading_rows(block: Block, rows: Mapping[Var, Atom], depth: int, env: Env) -> Block:
    """A body in which elements are read of the rows at hand; ``env`` gives its indices and what is known at once."""
    eqns = []
    for eqn in block.eqns:
        tensor = eqn.args[0] if eqn.args else None
        if eqn.op == "index" and isinstance(tensor, Var) and tensor in rows:
            rest = tuple(replace(index, env) for index in eqn.args[1 + depth :])
            if rest:
                eqns.append(Eqn(eqn.outs, "index", (rows[tensor], *rest), eqn.params, (), eqn.span))
            else:
                env[eqn.outs[0]] = rows[tensor]
            continue
        blocks = tuple(_reading_rows(inner, rows, depth, env) for inner in eqn.blocks)
        args = tuple(replace(arg, env) for arg in eqn.args)
        eqns.append(Eqn(eqn.outs, eqn.op, args, eqn.params, blocks, eqn.span))
    return Block(block.params, tuple(eqns), tuple(replace(result, env) for result in block.results), block.span)


def _by_rows(eqn: Eqn, depth: int, safe: frozenset[Var]) -> Block:
    """The body of a loop over rows that makes what ``eqn`` makes, a row a turn; ``safe`` elements are there."""
    (body,) = eqn.blocks
    if len(eqn.args) == depth:
        return body
    along = set(body.params[depth:])
    front: list[Eqn] = []
    left: list[Eqn] = []
    for inner in body.eqns:
        record = PRIMITIVES.get(inner.op)
        total = record.speculatable if record is not None else inner.op == "size" or safe.issuperset(inner.outs)
        if total and not along.intersection(arg for arg in inner.args if isinstance(arg, Var)):
            front.append(inner)
        else:
            left.append(inner)
            along.update(inner.outs)
    types = [_row_type(out, depth) for out in eqn.outs]
    outs = tuple(Var(out.name, type_) for out, type_ in zip(eqn.outs, types, strict=True))
    row = Block(body.params[depth:], tuple(left), body.results, body.span)
    loop = Eqn(outs, "build", eqn.args[depth:], eqn.params, (row,), eqn.span)
    return Block(body.params[:depth], (*front, loop), outs, body.span)


def _row_type(tensor: Var, depth: int) -> TensorType:
    assert isinstance(tensor.type, TensorType)
    return TensorType(tensor.type.rank - depth, tensor.type.elem, tensor.type.sizes[depth:])
