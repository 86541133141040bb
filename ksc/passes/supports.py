"""Of tangents for many directions, only those directions are computed in which a row may be different from zero.

    (for n t (lam (b t) (update b t (build 26 (lam d (mul (index (index b parents) d t) (index b x)))))))
        ⟶
    (for n t los his (lam (b t los his)
      (let ((p (index b parents)) (lo (index p los)) (hi (index p his)))
        (values (update b t (build 26 (lam d (select (and (lte lo d) (lt d hi)) (mul …) 0.0))))
                (update b los lo) (update b his hi)))))

A *support* is a range of directions outside of which a tangent is zero. It starts at the elements of unit tangents
(``kronecker``), and is followed through arithmetic, branches and loops. What updates change row by row has a support
for each row, kept in two tensors of Integers beside it. Ranges may depend on data, as the parent of a bone does. Loops
over directions are then printed from the first to the last of their range (``ksc/codegen/cpp/spans.py``).

Such a zero is no number that was computed, but the absence of a tangent: times infinity it is zero, as it is where a
transform knows that a tangent is zero (note 1 of docs/design). Only zeros of tangents are taken so: those of a tensor
into which tangents of a known support are put, never those of other tensors. It is done for processors alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ksc.ir.builder import Builder
from ksc.ir.nodes import Atom, Block, Const, Eqn, Function, Program, Var, const, walk
from ksc.ir.rewrite import with_body, with_functions
from ksc.ir.types import Bool, FloatType, Integer, TensorType
from ksc.passes.dce import remove_dead_code
from ksc.passes.hoist import hoist_sizes
from ksc.passes.support_reads import Range, mark_inside

FEWEST_DIRECTIONS = 16
"""With fewer directions a row fits into a register or two."""

_NOWHERE = 1 << 48
"""Larger than any index: where the range begins that holds none."""


def limit_to_supports(program: Program) -> Program:
    """Do so in all functions; the same program where nothing is known of any support."""
    limited = with_functions(program, _function)
    return program if limited is program else remove_dead_code(hoist_sizes(limited))


def _function(function: Function) -> Function:
    body = function.body
    known = any(eqn.op == "kronecker" for eqn in walk(body)) and any(map(_changes_rows, walk(body)))
    return with_body(function, _Supports().function(body)) if known else function


def _changes_rows(eqn: Eqn) -> bool:
    """Whether a row of a tensor is put in place: without, no support is lost where tensors are made anew."""
    return eqn.op == "update" and isinstance(eqn.args[-1].type, TensorType)


@dataclass(frozen=True, slots=True)
class Support:
    """Where a tangent may be different from zero.

    Attributes:
        lo: the first direction.
        hi: the one behind the last; there is none where it is not above ``lo``.
        rows: of a tensor, the same for each index of its first dimension.
        absent: whether zeros outside are the absence of a tangent. A tensor of zeros may be anything.
        assumed: the same, but still to be found true of a carry.
    """

    lo: Atom
    hi: Atom
    rows: tuple[Var, Var] | None = None
    absent: bool = False
    assumed: bool = False

    @property
    def absorbs(self) -> bool:
        """Whether a product with a zero outside is such a zero again."""
        return self.absent or self.assumed


_EMPTY = Support(const(_NOWHERE), const(0))


class _Supports:
    """A walk over a function: new equations, level by level, and what is known of tensors."""

    def __init__(self) -> None:
        self.levels: list[Builder] = []
        self.depth: dict[Var, int] = {}
        self.known: dict[Var, Support] = {}
        self.memo: list[dict[tuple[str, Atom, Atom], Atom]] = []
        self.sure: list[bool] = []
        self.ranges: dict[Var, Range] = {}

    def function(self, body: Block) -> Block:
        """The body of a function, the same where no loop became shorter."""
        new = self.block(body)
        return mark_inside(new, self.ranges) if self.ranges else body

    def block(self, block: Block, *, sure: bool = False) -> Block:
        self.open(block.params, sure=sure)
        for eqn in block.eqns:
            self.eqn(eqn)
        return self.close(block.params, block.results, block)

    def open(self, params: Sequence[Var], *, sure: bool = False) -> None:
        """Begin a block, of which it is ``sure`` that it runs where the one around it does."""
        self.levels.append(Builder())
        self.sure.append(sure)
        self.memo.append({})
        self.bind(params)

    def close(self, params: Sequence[Var], results: Sequence[Atom], like: Block) -> Block:
        self.memo.pop()
        self.sure.pop()
        return self.levels.pop().block(params, results, like.span)

    def bind(self, variables: Sequence[Var]) -> None:
        self.depth.update(dict.fromkeys(variables, len(self.levels) - 1))

    def append(self, eqn: Eqn) -> None:
        self.levels[-1].eqns.append(eqn)
        self.bind(eqn.outs)

    # Arithmetic of ranges, each equation as far out as its operands are.

    def level_of(self, atom: Atom) -> int:
        return self.depth[atom] if isinstance(atom, Var) else 0

    def apply(self, op: str, a: Atom, b: Atom, name: str, like: Eqn) -> Atom:
        if isinstance(a, Const) and isinstance(b, Const):
            x, y = int(a.value), int(b.value)
            return const({"min": min(x, y), "max": max(x, y), "add": x + y}[op])
        return self.emit(op, a, b, max(self.level_of(a), self.level_of(b)), name, like)

    def look_up(self, rows: tuple[Var, Var], at: Atom, like: Eqn) -> tuple[Atom, Atom]:
        """The support of a row, looked up where the tensor is surely read at this index."""
        level = len(self.levels) - 1
        while self.sure[level] and level > max(map(self.level_of, (*rows, at))):
            level -= 1
        lo, hi = (self.emit("index", one, at, level, one.name, like) for one in rows)
        return lo, hi

    def emit(self, op: str, a: Atom, b: Atom, level: int, name: str, like: Eqn) -> Atom:
        key = (op, a, b)
        if key not in self.memo[level]:
            (out,) = self.levels[level].emit(op, [a, b], [Integer], names=[name], span=like.span)
            self.depth[out] = level
            self.memo[level][key] = out
        return self.memo[level][key]

    def put(self, rows: tuple[Var, Var], at: Atom, row: tuple[Atom, Atom], like: Eqn) -> tuple[Var, Var]:
        """The supports of rows with that of one replaced."""
        outs: list[Var] = []
        for one, end in zip(rows, row, strict=True):
            outs += self.levels[-1].emit("update", [one, at, end], [one.type], names=[one.name], span=like.span)
        self.bind(outs)
        return outs[0], outs[1]

    def union(self, a: Support | None, b: Support | None, like: Eqn) -> Support | None:
        if a is None or b is None:
            return None
        absent, assumed = a.absent or b.absent, a.assumed or b.assumed
        if _is_empty(a) or _is_empty(b):
            one = b if _is_empty(a) else a
            return Support(one.lo, one.hi, None, absent, assumed)
        if (a.lo, a.hi) == (b.lo, b.hi):
            return Support(a.lo, a.hi, None, absent, assumed)
        lo, hi = self.apply("min", a.lo, b.lo, "lo", like), self.apply("max", a.hi, b.hi, "hi", like)
        return Support(lo, hi, None, absent, assumed)

    # Equations outside of loops over directions.

    def eqn(self, eqn: Eqn) -> None:
        match eqn.op:
            case "build":
                self.build(eqn)
            case "for":
                self.loop(eqn)
            case "if":
                self.branch(eqn)
            case "index" if isinstance(eqn.outs[0].type, TensorType):
                self.append(eqn)
                self.row(eqn)
            case "update":
                self.append(eqn)
                self.update(eqn)
            case _:
                blocks = tuple(self.block(block) for block in eqn.blocks)
                self.append(replace(eqn, blocks=blocks) if blocks else eqn)

    def build(self, eqn: Eqn) -> None:
        (body,) = eqn.blocks
        if not body.results and any(one.op == "acc_add" for one in body.eqns):
            self.append(self.added(eqn))
            return
        if body.results and all(isinstance(result.type, FloatType) for result in body.results):
            found = _Directions(self, eqn).supports()
            self.append(self.shortened(eqn, found))
            for out, support in zip(eqn.outs, found, strict=True):
                if support is not None:
                    self.known[out] = support
            return
        block = self.block(body, sure=_surely_runs(eqn.args))
        self.append(replace(eqn, blocks=(block,)))
        for out, result in zip(eqn.outs, block.results, strict=True):
            support = self.known.get(result) if isinstance(result, Var) else None
            if support is not None and max(map(self.level_of, (support.lo, support.hi))) < len(self.levels):
                self.known[out] = replace(support, rows=None)

    def shortened(self, eqn: Eqn, found: list[Support | None]) -> Eqn:
        """The loop over directions, with zeros outside of what all of its results have as support."""
        (body,) = eqn.blocks
        size, direction = eqn.args[-1], body.params[-1]
        whole: Support | None = _EMPTY
        for support in found:
            whole = self.union(whole, support, eqn)
        if whole is None or not whole.absorbs or _is_empty(whole):
            return eqn
        if isinstance(size, Const) and int(size.value) < FEWEST_DIRECTIONS:
            return eqn
        inner = Builder(eqn.span)
        inner.eqns.extend(body.eqns)
        after = inner.apply("lte", whole.lo, direction, name="after")
        before = inner.apply("lt", direction, whole.hi, name="before")
        (inside,) = inner.emit("and", [after, before], [Bool], names=["inside"])
        results = [inner.apply("select", inside, result, const(0.0)) for result in body.results]
        self.ranges[direction] = whole.lo, whole.hi
        return replace(eqn, blocks=(inner.block(body.params, results, body.span),))

    def added(self, eqn: Eqn) -> Eqn:
        """A loop over directions that only adds to accumulators, with zeros outside of the support of all of that."""
        (body,) = eqn.blocks
        adds = [one for one in body.eqns if one.op == "acc_add"]
        nested = any(one.op == "acc_add" and one not in adds for one in walk(body))
        if nested or any(one.args[-2] is not body.params[-1] for one in adds):
            return replace(eqn, blocks=(self.block(body, sure=_surely_runs(eqn.args)),))
        directions = _Directions(self, eqn)
        rest = tuple(one for one in body.eqns if one not in adds)
        values = Block(body.params, rest, tuple(one.args[-1] for one in adds), body.span)
        found = self.shortened(replace(eqn, blocks=(values,)), [directions.of(value) for value in values.results])
        (short,) = found.blocks
        if short is values:
            return eqn
        eqns = [replace(one, args=(*one.args[:-1], v)) for one, v in zip(adds, short.results, strict=True)]
        return replace(eqn, blocks=(Block(body.params, (*short.eqns, *eqns), (), body.span),))

    def row(self, eqn: Eqn) -> None:
        """A part of a tensor."""
        tensor, *at = eqn.args
        support = self.known.get(tensor) if isinstance(tensor, Var) else None
        if support is None:
            return
        if support.rows is not None:
            lo, hi = self.look_up(support.rows, at[0], eqn)
            support = replace(support, lo=lo, hi=hi)
        self.known[eqn.outs[0]] = replace(support, rows=None)

    def update(self, eqn: Eqn) -> None:
        """A tensor with one more part: that part's support, and what it is together with the others'."""
        tensor, *at, value = eqn.args
        support = self.known.get(tensor) if isinstance(tensor, Var) else None
        if support is None or not isinstance(value, Var) or not isinstance(value.type, TensorType):
            return
        stored = self.known.get(value) or Support(const(0), self.size(value, eqn))
        whole = self.union(support, stored, eqn)
        assert whole is not None
        absent = support.absent or (stored.absent and value in self.known)
        rows = support.rows
        if rows is not None:
            part: Support | None = stored
            if len(at) > 1:
                part = self.union(Support(*self.look_up(rows, at[0], eqn)), stored, eqn)
            assert part is not None
            rows = self.put(rows, at[0], (part.lo, part.hi), eqn)
        self.known[eqn.outs[0]] = Support(whole.lo, whole.hi, rows, absent, support.assumed)

    def size(self, tensor: Var, like: Eqn, dim: int = -1) -> Atom:
        assert isinstance(tensor.type, TensorType)
        dim %= tensor.type.rank
        known = tensor.type.sizes[dim]
        if known is not None:
            return const(known)
        (out,) = self.levels[-1].emit("size", [tensor], [Integer], names=["n"], params={"dim": dim}, span=like.span)
        self.bind([out])
        return out

    def branch(self, eqn: Eqn) -> None:
        blocks: list[Block] = []
        supports: list[list[Support | None]] = []
        for side in eqn.blocks:
            self.open(())
            for inner in side.eqns:
                self.eqn(inner)
            supports.append([self.known.get(r) if isinstance(r, Var) else None for r in side.results])
            blocks.append(self.close((), side.results, side))
        outs: list[Var] = list(eqn.outs)
        given: list[list[Atom]] = [list(block.results) for block in blocks]
        for k, out in enumerate(eqn.outs):
            a, b = (side[k] for side in supports)
            if a is None or b is None or not isinstance(out.type, TensorType):
                continue
            lo, hi, *rows = self.more(out, a.rows is not None and b.rows is not None)
            outs += [lo, hi, *rows]
            for atoms, support in zip(given, (a, b), strict=True):
                atoms += [support.lo, support.hi, *((support.rows or ()) if rows else ())]
            kept = (rows[0], rows[1]) if rows else None
            self.known[out] = Support(lo, hi, kept, a.absent or b.absent, a.assumed or b.assumed)
        sides = tuple(
            Block((), block.eqns, tuple(atoms), block.span) for block, atoms in zip(blocks, given, strict=True)
        )
        self.append(Eqn(tuple(outs), "if", eqn.args, eqn.params, sides, eqn.span))

    def more(self, like: Var, rows: bool) -> list[Var]:
        """Variables for a support, and for those of rows."""
        table = TensorType(1, Integer, like.type.sizes[:1]) if isinstance(like.type, TensorType) else Integer
        types = [Integer, Integer, *([table, table] if rows else ())]
        return [Var(f"{like.name}_{end}", type_) for end, type_ in zip(("lo", "hi") * 2, types, strict=False)]

    def loop(self, eqn: Eqn) -> None:
        """A loop that takes along the supports of what it carries, where updates keep them narrow."""
        n = eqn.params["carries"]
        tried = [k for k in range(n) if self.is_candidate(eqn.args[1 + k])]
        while True:
            state = dict(self.known), dict(self.ranges), [dict(memo) for memo in self.memo]
            marks = [len(level.eqns) for level in self.levels]
            lost = self.loop_with(eqn, tried)
            if not lost:
                return
            for level, mark in zip(self.levels, marks, strict=True):
                del level.eqns[mark:]
            self.known, self.ranges, self.memo = state
            tried = [k for k in tried if k not in lost]

    def is_candidate(self, init: Atom) -> bool:
        return isinstance(init, Var) and init in self.known and isinstance(init.type, TensorType)

    def loop_with(self, eqn: Eqn, tried: Sequence[int]) -> set[int]:
        """Append the loop with the supports of these carries; those of which nothing is known after all, if any."""
        n = eqn.params["carries"]
        (body,) = eqn.blocks
        starts: list[Atom] = []
        params: list[Var] = []
        held: dict[int, list[Var]] = {}
        for k in tried:
            init = eqn.args[1 + k]
            assert isinstance(init, Var) and isinstance(init.type, TensorType)
            support = self.known[init]
            starts += [support.lo, support.hi]
            if init.type.rank > 1:
                starts += support.rows or self.filled(init, support, eqn)
            held[k] = self.more(body.params[1 + k], init.type.rank > 1)
            params += held[k]
        self.open((*body.params, *params), sure=_surely_runs(eqn.args[:1]))
        for k in tried:
            lo, hi, *rows = held[k]
            kept = (rows[0], rows[1]) if rows else None
            self.known[body.params[1 + k]] = Support(lo, hi, kept, False, assumed=True)
        for inner in body.eqns:
            self.eqn(inner)
        finals: list[Atom] = []
        lost = set()
        for k in tried:
            result, init = body.results[k], eqn.args[1 + k]
            final = self.known.get(result) if isinstance(result, Var) else None
            proved = final is not None and (final.absent or (isinstance(init, Var) and self.known[init].absent))
            if final is None or not proved or (len(held[k]) > 2 and final.rows is None):
                lost.add(k)
                continue
            finals += [final.lo, final.hi, *(final.rows or ())[: len(held[k]) - 2]]
        results = (*body.results[:n], *finals, *body.results[n:])
        block = self.close((*body.params, *params), results, body)
        if lost:
            return lost
        outs = []
        for k in tried:
            lo, hi, *rows = self.more(eqn.outs[k], len(held[k]) > 2)
            outs += [lo, hi, *rows]
            self.known[eqn.outs[k]] = Support(lo, hi, (rows[0], rows[1]) if rows else None, absent=True)
        self.append(
            Eqn(
                (*eqn.outs[:n], *outs, *eqn.outs[n:]),
                "for",
                (*eqn.args[: 1 + n], *starts, *eqn.args[1 + n :]),
                {**eqn.params, "carries": n + len(params)},
                (block,),
                eqn.span,
            )
        )
        return set()

    def filled(self, tensor: Var, support: Support, like: Eqn) -> tuple[Var, Var]:
        """The supports of rows that all have the same."""
        assert isinstance(tensor.type, TensorType)
        size = self.size(tensor, like, 0)
        block = Block((Var("i", Integer),), (), (support.lo, support.hi))
        table = TensorType(1, Integer, tensor.type.sizes[:1])
        names = [f"{tensor.name}_{end}" for end in ("lo", "hi")]
        lo, hi = self.levels[-1].emit("build", [size], [table, table], names=names, blocks=[block], span=like.span)
        self.bind([lo, hi])
        return lo, hi


class _Directions:
    """The body of a loop over directions, the last of its indices: where each of its results may differ from zero."""

    def __init__(self, around: _Supports, loop: Eqn) -> None:
        (self.body,) = loop.blocks
        self.around = around
        self.loop = loop
        self.direction = self.body.params[-1] if self.body.params else None
        self.makers = {out: eqn for eqn in walk(self.body) for out in eqn.outs}
        self.inside = {*self.body.params, *self.makers}
        self.inside.update(param for eqn in walk(self.body) for block in eqn.blocks for param in block.params)
        self.sure = set(_surely_run(self.body))
        self.found: dict[Var, Support | None] = {}

    def supports(self) -> list[Support | None]:
        """That of each result; None where nothing is known."""
        return [self.of(result) for result in self.body.results]

    def of(self, atom: Atom) -> Support | None:
        if isinstance(atom, Const):
            return _EMPTY if atom.value == 0.0 else None
        if atom not in self.found:
            maker = self.makers.get(atom)
            self.found[atom] = None if maker is None else self.made(maker, maker.outs.index(atom))
        return self.found[atom]

    def made(self, eqn: Eqn, k: int) -> Support | None:
        match eqn.op:
            case "kronecker":
                return self.unit(eqn)
            case "neg":
                return self.of(eqn.args[0])
            case "add" | "sub":
                return self.around.union(self.of(eqn.args[0]), self.of(eqn.args[1]), self.loop)
            case "mul":
                return next((s for s in map(self.of, eqn.args) if s is not None and s.absorbs), None)
            case "div":
                top = self.of(eqn.args[0])
                return top if top is not None and top.absorbs else None
            case "select":
                return self.around.union(self.of(eqn.args[1]), self.of(eqn.args[2]), self.loop)
            case "if":
                a, b = (self.of(side.results[k]) for side in eqn.blocks)
                return self.around.union(a, b, self.loop)
            case "reduce" if eqn.params["monoid"] == "add":
                return self.of(eqn.blocks[0].results[k])
            case "index":
                return self.read(eqn)
            case _:
                return None

    def unit(self, eqn: Eqn) -> Support | None:
        """An element of a unit tangent differs from zero in one direction."""
        others = [arg for arg in eqn.args if arg is not self.direction]
        if len(others) != 1 or others[0] in self.inside:
            return None
        (at,) = others
        return Support(at, self.around.apply("add", at, const(1), "hi", self.loop), absent=True)

    def read(self, eqn: Eqn) -> Support | None:
        """An element of a tensor of tangents in this direction."""
        tensor, *at = eqn.args
        if not isinstance(tensor, Var) or at[-1] is not self.direction or tensor not in self.around.known:
            return None
        if any(one is self.direction for one in at[:-1]):
            return None
        support = self.around.known[tensor]
        if support.rows is not None and eqn in self.sure and at[0] not in self.inside:
            lo, hi = self.around.look_up(support.rows, at[0], eqn)
            return replace(support, lo=lo, hi=hi, rows=None)
        return replace(support, rows=None)


def _is_empty(support: Support) -> bool:
    return support.lo == const(_NOWHERE)


def _surely_runs(sizes: Sequence[Atom]) -> bool:
    """Whether a loop over these sizes has an iteration."""
    return all(isinstance(size, Const) and int(size.value) > 0 for size in sizes)


def _surely_run(block: Block) -> Iterator[Eqn]:
    """The equations that each run of a block comes to, those in sums of known counts included."""
    for eqn in block.eqns:
        yield eqn
        if eqn.op == "reduce" and _surely_runs(eqn.args):
            yield from _surely_run(eqn.blocks[0])
