"""Loops over many points that hold products for all points, run by pieces of so many points.

    (build n (lam i (build m (lam r … (reduce add d (lam k (mul (index (r k) q) (f i k))))))))
        ⟶
    (for p … (let (t (build piece d (lam (i k) (f (base + i) k))))
                  (y (build piece m (lam (i r) (reduce add d (lam k (mul (index (r k) q) (index (i k) t)))))))
       (build piece (lam i (build m (lam r … (index (i r) y))))))

What a point has of its own is put into tensors for a piece of the points, so the sums are products of matrices, several
where other loops are around, and never are there tensors for all points. What adds up products over the points adds up
those of a piece first. A sum over the numbers below an index of a loop around is one of a triangular matrix, with zeros
beside it; where that makes a NaN, it is summed as before. What a sum needs of what is made
of all others, as of their maximum, makes a cut: the lanes are loops one after another, with tensors in between. What
lanes add to elements that all of them share is added up by loops over the elements, see ``ksc.passes.strips.sums``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from ksc.ir.builder import Builder
from ksc.ir.nodes import Atom, Block, Const, Eqn, Function, Program, Var, const, walk
from ksc.ir.rewrite import clone_block, clone_eqn, read_vars, replace, with_functions
from ksc.ir.types import Float, Integer
from ksc.passes.fuse.facts import Facts
from ksc.passes.fuse.sizes import Place
from ksc.passes.hoist import hoist_invariants
from ksc.passes.strips.lanes import Added, Element, Lanes
from ksc.passes.strips.products import Contraction, Contractions
from ksc.passes.strips.sums import LaneSum, add_lanes

LANES = 256
"""So many lanes make a loop worth it."""

SIDE = 16
"""The size of matrices from which on a product is faster than sums."""

NUMBERS = 1 << 23
"""How many numbers each of the tensors of a piece has at most."""


def strip_mine(program: Program, *, lanes: int = LANES, side: int = SIDE, numbers: int = NUMBERS) -> Program:
    """Run by pieces what pays where there are ``lanes`` and matrices of ``side`` at least, as is asked at run time."""

    def change(function: Function) -> Function:
        return _Mine(function, lanes, side, numbers).run() if _multiplies(function) else function

    if not any(map(_multiplies, program.functions.values())):
        return program
    # What a lane computes of sizes is known in front of it.
    hoisted = hoist_invariants(program)
    mined = with_functions(hoisted, change)
    return program if mined is hoisted else mined


def _multiplies(function: Function) -> bool:
    """Whether there is a sum of multiplications, or an addition to a tensor, in a loop in a loop."""
    return any(
        inner.op == "reduce" or (inner.op == "acc_add" and len(inner.args) > 2)
        for eqn in walk(function.body)
        if eqn.op in ("build", "reduce") and len(eqn.args) == 1
        for within in walk(eqn.blocks[0])
        for block in within.blocks
        for inner in block.eqns
    )


class _Mine:
    def __init__(self, function: Function, lanes: int, side: int, numbers: int) -> None:
        self.function = function
        self.lanes = lanes
        self.side = side
        self.numbers = numbers
        self.facts, self.top = Facts.of(function)

    def run(self) -> Function:
        body = self.block(self.function.body, self.top)
        return self.function if body is self.function.body else Function(self.function.name, body, self.function.span)

    def block(self, block: Block, place: Place) -> Block:
        eqns: list[Eqn] = []
        for eqn in block.eqns:
            if eqn.op in ("build", "reduce"):
                eqns += self.mined(eqn, place) or (eqn,)
            elif eqn.op in ("withacc", "for", "if", "while"):
                blocks = tuple(self.block(inner, self.facts.inside(inner, eqn, place)) for inner in eqn.blocks)
                same = all(new is old for new, old in zip(blocks, eqn.blocks, strict=True))
                eqns.append(eqn if same else Eqn(eqn.outs, eqn.op, eqn.args, eqn.params, blocks, eqn.span))
            else:
                eqns.append(eqn)
        return (
            block
            if len(eqns) == len(block.eqns) and all(map(_is, eqns, block.eqns))
            else Block(block.params, tuple(eqns), block.results, block.span)
        )

    def mined(self, loop: Eqn, place: Place) -> Sequence[Eqn] | None:
        if len(loop.args) != 1 or (loop.op == "build") == bool(loop.outs):
            return None
        if loop.op == "reduce" and (loop.params["monoid"] != "add" or any(out.type != Float for out in loop.outs)):
            return None
        if any(eqn.op in ("print", "callback", "call", "box", "unbox") for eqn in walk(loop.blocks[0])):
            return None
        strip = _Strip(loop, place, self.facts)
        return strip.emitted(self.lanes, self.side, self.numbers) if strip.found else None


def _is(a: object, b: object) -> bool:
    return a is b


class _Strip:
    """The products of one loop, and the loop over pieces."""

    def __init__(self, loop: Eqn, home: Place, facts: Facts) -> None:
        self.loop = loop
        self.facts = facts
        self.count = Var("count", Integer)
        self.lanes = Lanes(loop, home, facts)
        self.contractions = Contractions(self.lanes, self.count)
        self.cuts = {0}
        self.front: dict[int, list[Eqn]] = {}
        self.tables: list[Eqn] = []
        self.before: dict[Eqn, list[Eqn]] = {}
        self.found: list[Contraction] = []
        self.trips: dict[Atom, int] = {}
        self.asserts: list[Eqn] = []
        self.sums: dict[int, list[LaneSum]] = {}
        self.step = 0
        for step, eqn in enumerate(self.lanes.body.eqns):
            self.step = step
            self.visit([eqn], (), {})

    # What becomes a product.

    def visit(self, eqns: Sequence[Eqn], nest: Sequence[tuple[Var, Eqn]], accs: Mapping[Var, int]) -> None:
        """Look at equations in loops, and at accumulators that are opened in so many of them."""
        for eqn in eqns:
            known = all(self.contractions.bound(index) is not None for index, _ in nest)
            if eqn.op == "reduce" and known and self.is_sum(eqn, [index for index, _ in nest]):
                continue
            if eqn.op == "acc_add":
                if known and not self.is_addition(eqn, nest, accs):
                    self.add_up(eqn, nest, accs)
                continue
            if eqn.op == "assert" and self.is_shared(eqn, nest):
                self.asserts.append(clone_eqn(eqn, {}))
                self.run([index for index, _ in nest])
            elif eqn.op in ("build", "reduce"):
                (body,) = eqn.blocks
                self.visit(body.eqns, (*nest, *((param, eqn) for param in body.params)), accs)
            elif eqn.op == "withacc":
                (body,) = eqn.blocks
                self.visit(body.eqns, nest, {**accs, **dict.fromkeys(body.params, len(nest))})

    def is_shared(self, eqn: Eqn, nest: Sequence[tuple[Var, Eqn]]) -> bool:
        """Whether all lanes assert the same, in loops whose counts are those of all lanes."""
        counts = (self.facts.counts[index] for index, _ in nest)
        return all(map(self.lanes.is_outside, (*eqn.args, *counts)))

    def is_sum(self, eqn: Eqn, nest: Sequence[Var]) -> bool:
        """Have a sum looked up in a product for all lanes, if it is an element of one."""
        (body,) = eqn.blocks
        if eqn.params["monoid"] != "add" or len(eqn.args) != 1 or len(eqn.outs) != 1:
            return False
        value = self.facts.definition(body.results[0])
        if value is None or value.op != "mul" or eqn.outs[0].type != Float:
            return False
        (summed,) = body.params
        made = self.contractions.of(eqn.outs[0].name, value, summed, (*nest, summed))
        if made is None:
            return False
        self.take(made, nest)
        self.lanes.replace(eqn, made.element(eqn.outs[0], eqn.span))
        return True

    def is_addition(self, eqn: Eqn, nest: Sequence[tuple[Var, Eqn]], accs: Mapping[Var, int]) -> bool:
        """Add up a product for all lanes, if what is added in loops are its terms."""
        acc, *at, added = eqn.args
        value, sign = self.facts.definition(added), 1
        if value is not None and value.op == "neg":
            value, sign = self.facts.definition(value.args[0]), -1
        if value is None or value.op != "mul" or added.type != Float:
            return False
        if not isinstance(acc, Var) or not isinstance(added, Var):
            return False
        depth = accs.get(acc)
        every = [index for index, _ in nest]
        inner = [self.lanes.local, *every] if depth is None else every[depth:]
        places = [self.lanes.element(index, every) for index in at]
        used = {index for place in places if place is not None for index in place.used}
        if any(place is None or place.cut for place in places) or not used <= {*inner}:
            return False
        # A product over the innermost index reads the tensors of the sum whose reverse this is.
        for summed in (*inner[:1], *reversed(inner[1:])):
            made = None if summed in used else self.contractions.of(added.name, value, summed, every)
            if made is None or not set(every) <= {*made.indices, summed}:
                continue
            free = [index for index in inner if index is not summed]
            if not self.is_everywhere(acc, at, free, made, self.facts.places[added]):
                continue
            self.take(made, every)
            known = [place for place in places if place is not None]
            if depth is not None:
                self.before.setdefault(nest[depth][1], []).append(self.addition(eqn, made, free, sign))
                self.know(acc, at, free, made, sign)
            elif self.lanes.local in free and self.lanes.local not in used and not made.is_within(free):
                self.add_elements(acc, known, [index for index in free if index is not self.lanes.local], made, sign)
            else:
                self.front[self.step].append(self.addition(eqn, made, free, sign))
            self.lanes.replace(eqn, ())
            return True
        return False

    def know(self, acc: Var, at: Sequence[Atom], free: Sequence[Var], made: Contraction, sign: int) -> None:
        """Keep in mind which product is added to a tensor of the lanes' own."""
        if not made.is_within(free):
            bounds = tuple(made.bounds[index] for index in free)
            self.lanes.added.setdefault(acc, []).append(Added(tuple(at), tuple(free), bounds, made.term(sign)))

    def add_elements(
        self, acc: Var, places: Sequence[Element], indices: Sequence[Var], made: Contraction, sign: int
    ) -> None:
        """Have the elements of a product that all lanes add to the same ones of a tensor added up."""
        eqns = made.term(sign)
        value = Element(eqns[-1].outs[0], [*eqns], {*indices, self.lanes.local})
        bounds = tuple(made.bounds[index] for index in indices)
        self.sums.setdefault(self.step, []).append(LaneSum(acc, tuple(indices), bounds, tuple(places), value))

    def add_up(self, eqn: Eqn, nest: Sequence[tuple[Var, Eqn]], accs: Mapping[Var, int]) -> None:
        """Have what all lanes add to the same elements added up by a loop over these, if it can be computed there."""
        acc, *at, added = eqn.args
        every = [index for index, _ in nest]
        if not isinstance(acc, Var) or any(self.contractions.triangle(index) is not None for index in every):
            return
        bounds = [bound for index in every if (bound := self.contractions.bound(index)) is not None]
        depth = accs.get(acc)
        if depth is not None:
            own = Added(tuple(at), tuple(every[depth:]), tuple(bounds[depth:]), added)
            self.lanes.added.setdefault(acc, []).append(own)
            return
        places = [self.lanes.element(index, every) for index in at]
        value = self.lanes.element(added, every) if at and added.type == Float else None
        if value is None or self.lanes.local not in value.used:
            return
        known = [place for place in places if place is not None]
        if len(known) < len(at) or any(place.cut or not place.used <= {*every} for place in known):
            return
        self.sums.setdefault(self.step, []).append(LaneSum(acc, tuple(every), tuple(bounds), tuple(known), value))
        self.cuts |= {self.step, self.step + 1}
        self.lanes.replace(eqn, ())

    def is_everywhere(self, acc: Var, at: Sequence[Atom], free: Sequence[Var], made: Contraction, place: Place) -> bool:
        """Whether all elements of a sum may be added: what the lanes never add to is 0, and has a place."""
        if made.corner is None or set(made.corner) <= {*free}:
            return True
        more = {*made.corner} & {*free}
        for dim, index in enumerate(at):
            found = self.lanes.element(index, free)
            if found is None or more.isdisjoint(found.used):
                continue
            size = self.facts.polynomial(self.facts.size(acc, dim))
            if not isinstance(index, Var) or index not in more:
                return False
            if not self.facts.never_negative(size - self.facts.polynomial(made.bounds[index]), place):
                return False
        return True

    def addition(self, eqn: Eqn, made: Contraction, free: Sequence[Var], sign: int) -> Eqn:
        """The loop that adds the elements of a product where the lanes' loops added its terms."""
        acc, *at, added = eqn.args
        params = {index: Var(index.name, Integer) for index in free}
        env: dict[Var, Atom] = dict(params)
        inner = Builder(eqn.span)
        places: list[Atom] = []
        for index in at:
            place = self.lanes.element(index, free)
            assert place is not None
            block = clone_block(Block((), tuple(place.eqns), (place.result,)), dict(env))
            inner.eqns += block.eqns
            places.append(block.results[0])
        assert isinstance(added, Var)
        element = Var(added.name, Float)
        inner.eqns += clone_block(Block((), made.element(element, eqn.span), ()), env).eqns
        term = replace(element, env)
        inner.emit("acc_add", [acc, *places, term if sign > 0 else inner.apply("neg", term)], [])
        body = inner.block(params.values(), ())
        if made.corner is not None and made.is_within(free):
            outer = Builder(eqn.span)
            inside = outer.apply("lt", *(replace(index, env) for index in made.corner))
            outer.emit("if", [inside], [], blocks=[Block((), body.eqns, ()), Block((), (), ())])
            body = outer.block(params.values(), ())
        return Eqn((), "build", tuple(made.bounds[index] for index in free), {}, (body,), eqn.span)

    def take(self, made: Contraction, nest: Sequence[Var]) -> None:
        self.found.append(made)
        self.contractions.take(made)
        self.tables += made.tables
        self.front.setdefault(self.step, []).extend(made.eqns)
        # What reads products is a loop of its own, so that it can be divided further.
        self.cuts |= {self.step, self.step + 1}
        self.run(nest)

    def run(self, nest: Sequence[Var]) -> None:
        """Take it that loops are not run through in vain."""
        for index in nest:
            bound = self.contractions.bound(index)
            if bound is not None:
                # Below the first row of a triangle there is nothing.
                least = 1 if self.contractions.triangle(index) is None else 2
                self.trips[bound] = max(least, self.trips.get(bound, 0))

    # The loop over pieces.

    def emitted(self, lanes: int, side: int, numbers: int) -> Sequence[Eqn] | None:
        """The equations in the place of the loop: a choice, when the sizes are known, between pieces and the loop."""
        loop = self.loop
        builder = Builder(loop.span)
        local = self.lanes.local
        products = [(*made.indices, made.summed) for made in self.found]
        # The largest tensor of a piece has all indices of a product but one.
        wholes = dict.fromkeys(
            tuple(made.bounds[index] for index in indices if index not in (local, left))
            for made, indices in zip(self.found, products, strict=True)
            for left in (indices[-1], indices[-2])
        )
        widths = [_times(builder, whole) for whole in wholes]
        width: Atom = const(1)
        for one in widths:
            width = builder.apply("max", width, one)
        piece = builder.apply("max", builder.apply("idiv", const(numbers), width), const(1), name="piece")
        enough = builder.apply("lte", const(lanes), loop.args[0])
        lengths = dict.fromkeys(
            made.bounds[index]
            for made, indices in zip(self.found, products, strict=True)
            for index in indices[-3:]
            if index is not local
        )
        for least, size in [
            *((side, length) for length in lengths),
            *((least, trip) for trip, least in self.trips.items() if trip not in lengths or least > side),
        ]:
            if isinstance(size, Const):
                if int(size.value) < least:
                    return None
                continue
            enough = builder.apply("and", enough, builder.apply("lte", const(least), size))
        for step, sums in self.sums.items():
            self.front.setdefault(step, []).extend(add_lanes(sums, self.lanes.local, self.count, lanes))
        pieces = self.pieces(piece)
        if pieces is None:
            return None
        other = clone_eqn(loop, {})
        sides = (clone_block(pieces, {}), Block((), (other,), other.outs))
        builder.eqns.append(Eqn(loop.outs, "if", (enough,), {}, sides, loop.span))
        return builder.eqns

    def pieces(self, piece: Atom) -> Block | None:
        """All tables, and the loop over pieces."""
        loop = self.loop
        n = loop.args[0]
        builder = Builder(loop.span)
        builder.eqns += [*self.asserts, *self.tables]
        at = Var("at", Integer)
        sums = tuple(Var(out.name, out.type) for out in loop.outs)
        inner = Builder(loop.span)
        # It is no less than 0 anyhow, which is to be seen.
        inner.eqns.append(Eqn((self.lanes.base,), "max", (at, const(0)), span=loop.span))
        left = inner.apply("sub", n, self.lanes.base)
        inner.eqns.append(Eqn((self.count,), "min", (piece, left), span=loop.span))
        segments = self.segments()
        if segments is None:
            return None
        inner.eqns += segments
        following = inner.apply("add", self.lanes.base, piece)
        added = [inner.apply("add", one, out) for one, out in zip(sums, loop.outs, strict=True)]
        body = inner.block((at, *sums), (following, *added))
        heads = (Var(at.name, Integer), *(Var(one.name, one.type) for one in sums))
        test = Builder(loop.span)
        head = test.block(heads, (test.apply("lt", heads[0], n),))
        outs = (Var(at.name, Integer), *(Var(out.name, out.type) for out in loop.outs))
        starts = (const(0), *(const(0.0) for _ in sums))
        builder.eqns.append(Eqn(outs, "while", starts, {"carries": len(outs)}, (head, body), loop.span))
        return builder.block((), outs[1:])

    def segments(self) -> Sequence[Eqn] | None:
        """What each piece computes: products, and the lanes in between."""
        body = self.lanes.body
        rest = [self.rewritten(eqn) for eqn in body.eqns]
        bounds = [*sorted(self.cuts - {len(rest)}), len(rest)]
        parts = [[eqn for one in rest[first:last] for eqn in one] for first, last in pairwise(bounds)]
        # From the last one, so that it is known of each what later ones need.
        wholes = [self.segment(parts, k) for k in reversed(range(len(parts)))]
        eqns: list[Eqn] = []
        for k, part in enumerate(reversed(wholes)):
            if part is None:
                return None
            for step in range(bounds[k], bounds[k + 1]):
                eqns += self.front.get(step, ())
            eqns += part
        return eqns

    def segment(self, parts: Sequence[Sequence[Eqn]], k: int) -> Sequence[Eqn] | None:
        """The lanes of one part, which keeps what later ones need of it."""
        loop, lanes = self.loop, self.lanes
        last = k == len(parts) - 1
        bound = {out: eqn for eqn in parts[k] for out in eqn.outs}
        kept = [var for var in lanes.stacks if var in bound and not last]
        results = lanes.body.results if last else ()
        eqns = list(parts[k])
        needed = read_vars(eqns, results)
        earlier = [eqn for part in parts[:k] for eqn in part]
        copies: list[Eqn] = []
        reads: list[Eqn] = []
        for eqn in reversed(earlier):
            wanted = [out for out in eqn.outs if out in needed]
            if not wanted:
                continue
            if all(out not in lanes.stacks and lanes.is_cheap(out) for out in wanted):
                copies.insert(0, eqn)
                needed.update(read_vars([eqn]))
                continue
            for out in wanted:
                stack = lanes.stack(out)
                if stack is None:
                    return None
                reads.append(Eqn((out,), "index", (stack, lanes.local), span=eqn.span))
        shift = Eqn((lanes.index,), "add", (lanes.base, lanes.local), span=loop.span)
        front = (shift, *reads, *copies)
        outs = loop.outs if last else tuple(lanes.stacks[var] for var in kept)
        op = loop.op if last else "build"
        own = self.nested(eqns, kept) if op == "build" else None
        if own is not None:
            block = Block((lanes.local, *own[1].params), (*front, *own[1].eqns), own[1].results)
            return [Eqn(outs, "build", (self.count, *own[0]), {}, (clone_block(block, {}),), loop.span)]
        block = Block((lanes.local,), (*front, *eqns), (*results, *kept))
        params = loop.params if last else {}
        return [Eqn(outs, op, (self.count,), params, (clone_block(block, {}),), loop.span)]

    def nested(self, eqns: Sequence[Eqn], kept: Sequence[Var]) -> tuple[Sequence[Atom], Block] | None:
        """The counts and the body of the one loop that lanes consist of, which is divided among threads with them."""
        only = eqns[0] if len(eqns) == 1 else None
        if (
            only is None
            or only.op != "build"
            or only.params.get("nested")
            or not all(map(self.lanes.is_outside, only.args))
        ):
            return None
        (body,) = only.blocks
        places = [only.outs.index(var) for var in kept]
        return only.args, Block(body.params, body.eqns, tuple(body.results[k] for k in places), body.span)

    def rewritten(self, eqn: Eqn) -> list[Eqn]:
        eqns = list(self.before.get(eqn, ()))
        for new in self.lanes.instead.get(eqn, (eqn,)):
            blocks = [
                Block(
                    block.params, tuple(e for one in block.eqns for e in self.rewritten(one)), block.results, block.span
                )
                for block in new.blocks
            ]
            eqns.append(Eqn(new.outs, new.op, new.args, new.params, tuple(blocks), new.span) if blocks else new)
        return eqns


def _times(builder: Builder, factors: Sequence[Atom]) -> Atom:
    whole: Atom = const(1)
    for factor in factors:
        whole = factor if whole == const(1) else builder.apply("mul", whole, factor)
    return whole
