"""One primal for few directions: what depends on the direction is there once for each, side by side.

    (for n x x_dot (lam (i c c_dot) (tuple (exp c) (mul c_dot (exp c)))))      for the directions 0 and 1
        ⟶
    (for n x x_dot0 x_dot1 (lam (i c c_dot0 c_dot1)
      (let (e (exp c)) (tuple e (mul c_dot0 e) (mul c_dot1 e)))))

No tensor holds the values of several directions, so nothing is stacked, sliced or copied, and numbers stay in
registers. An equation whose count, sizes or condition depend on the direction is repeated with all that is inside.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import product
from math import prod

from ksc.ir.builder import Builder, sizes_of
from ksc.ir.liveness import prune_block
from ksc.ir.nodes import STRUCTURED, Atom, Block, Const, Eqn, Var, const, walk
from ksc.ir.rewrite import Env, clone_eqn, read_vars
from ksc.ir.types import Integer, TensorType, Type, is_scalar
from ksc.passes.varying import Varying

MOST_DIRECTIONS = 4
"""So many directions are written out."""

MOST_EQUATIONS = 1200
"""No more equations than this are made of those that depend on the direction."""


def is_worth_unrolling(sizes: Sequence[Atom], directions: Sequence[Var], block: Block) -> bool:
    """Whether the directions are so few, and the equations that depend on them too, that they are written out."""
    if not all(isinstance(size, Const) for size in sizes):
        return False
    count = prod(int(size.value) for size in sizes if isinstance(size, Const))
    if not 1 <= count <= MOST_DIRECTIONS or not all(_can_be_joined(result.type) for result in block.results):
        return False
    varying = Varying(directions)
    varying.mark(block.eqns)
    dependent = sum(any(map(varying.varies, (*eqn.outs, *eqn.args))) for eqn in walk(block))
    return dependent * count <= MOST_EQUATIONS


def unroll_directions(
    builder: Builder,
    sizes: Sequence[Atom],
    directions: Sequence[Var],
    block: Block,
    effectful: Collection[str],
    *,
    innermost: bool = False,
) -> list[Atom]:
    """Emit what ``block`` computes for every direction, and give its results stacked.

    The arguments are those of ``over_directions``; ``is_worth_unrolling`` holds of them. The directions are the first
    dimensions, or the last ones with ``innermost``.
    """
    pruned = prune_block(block, effectful)
    places = list(product(*(range(int(size.value)) for size in sizes if isinstance(size, Const))))
    unrolling = _Unrolling(directions, places)
    unrolling.mark(pruned.eqns)
    unrolling.sequence(pruned.eqns, builder)
    return [_joined(builder, sizes, unrolling.all_of(result), innermost=innermost) for result in pruned.results]


def _can_be_joined(type_: Type) -> bool:
    return is_scalar(type_) or (isinstance(type_, TensorType) and is_scalar(type_.elem))


class _Unrolling(Varying):
    """The directions, and for each variable that depends on them what it is in each."""

    def __init__(self, directions: Sequence[Var], places: Sequence[Sequence[int]]) -> None:
        super().__init__(directions)
        self.count = len(places)
        self.copies: dict[Var, tuple[Atom, ...]] = {
            var: tuple(const(place[k]) for place in places) for k, var in enumerate(directions)
        }

    def all_of(self, atom: Atom) -> tuple[Atom, ...]:
        """The atom for each direction."""
        return self.copies.get(atom, (atom,) * self.count) if isinstance(atom, Var) else (atom,) * self.count

    def sequence(self, eqns: Sequence[Eqn], builder: Builder) -> None:
        """Emit the equations of a block."""
        for eqn in eqns:
            if not any(map(self.varies, eqn.outs)) and not any(map(self.varies, read_vars([eqn]))):
                builder.eqns.append(eqn)
            elif eqn.op in STRUCTURED and not self._heads_vary(eqn):
                builder.eqns.append(self._widened(eqn))
            else:
                self._repeat(eqn, builder)

    def _heads_vary(self, eqn: Eqn) -> bool:
        """Whether how often, or which of, the blocks run depends on the direction."""
        match eqn.op:
            case "for":
                return self.varies(eqn.args[0])
            case "while":
                return self.varies(eqn.blocks[0].results[0])
            case "withacc":
                return False
            case _:
                return any(map(self.varies, eqn.args))

    def _repeat(self, eqn: Eqn, builder: Builder) -> None:
        envs: list[Env] = [
            {var: self.copies[var][k] for var in read_vars([eqn]) if var in self.copies} for k in range(self.count)
        ]
        repeated = [clone_eqn(eqn, env) for env in envs]
        builder.eqns.extend(repeated)
        self.varying.update(eqn.outs)
        self.copies.update(zip(eqn.outs, zip(*(copy.outs for copy in repeated), strict=True), strict=True))

    def _widened(self, eqn: Eqn) -> Eqn:
        """The structured equation with a result, carry and parameter for each direction where they depend on it."""
        skip = len(eqn.args) - self._inits(eqn)
        carried = eqn.blocks[-1].params[-self._inits(eqn) :] if self._inits(eqn) else ()
        args = (*eqn.args[:skip], *self._spread(eqn.args[skip:], carried))
        blocks = tuple(self._block(eqn, block) for block in eqn.blocks)
        params = eqn.params
        if "carries" in params:
            params = {**params, "carries": len(args) - skip}
        outs = tuple(self._bound(eqn.outs))
        return Eqn(outs, eqn.op, args, params, blocks, eqn.span)

    def _inits(self, eqn: Eqn) -> int:
        """How many of the last arguments give parameters of the blocks their first values."""
        return len(eqn.args) if eqn.op == "withacc" else eqn.params.get("carries", 0)

    def _block(self, eqn: Eqn, block: Block) -> Block:
        params = tuple(self._bound(block.params))
        inner = Builder(eqn.span)
        self.sequence(block.eqns, inner)
        if eqn.op == "while" and block is eqn.blocks[0]:
            return inner.block(params, block.results)
        likes = eqn.outs[len(eqn.args) :] if eqn.op == "withacc" else eqn.outs
        return inner.block(params, self._spread(block.results, likes))

    def _bound(self, variables: Sequence[Var]) -> list[Var]:
        """What is bound in the place of some variables."""
        new: list[Var] = []
        for var in variables:
            if self.varies(var):
                copies = tuple(Var(var.name, var.type) for _ in range(self.count))
                self.copies[var] = copies
                new.extend(copies)
            else:
                new.append(var)
        return new

    def _spread(self, atoms: Sequence[Atom], likes: Sequence[Var]) -> list[Atom]:
        """The atoms, each for every direction where the variable that it goes to depends on the direction."""
        new: list[Atom] = []
        for atom, like in zip(atoms, likes, strict=True):
            new.extend(self.all_of(atom) if self.varies(like) else (atom,))
        return new


def _joined(builder: Builder, sizes: Sequence[Atom], parts: Sequence[Atom], *, innermost: bool) -> Atom:
    """The tensor of some atoms of one type, the directions first or last."""
    (like, *_) = parts
    inner_sizes = sizes_of(builder, like) if isinstance(like.type, TensorType) else []
    at = tuple(Var("d", Integer) for _ in sizes)
    inner_at = tuple(Var("i", Integer) for _ in inner_sizes)
    body = Builder(builder.span)
    number: Atom = at[0]
    for index, size in zip(at[1:], sizes[1:], strict=True):
        number = body.apply("add", body.apply("mul", number, size, name="d"), index, name="d")
    value = _chosen(body, number, list(parts), 0, inner_at)
    scalar = like.type.elem if isinstance(like.type, TensorType) else like.type
    known = like.type.sizes if isinstance(like.type, TensorType) else ()
    directions = (None,) * len(at)
    ordered = (*known, *directions) if innermost else (*directions, *known)
    type_ = TensorType(len(ordered), scalar, ordered)
    name = like.name if isinstance(like, Var) else "parts"
    indices, counts = (
        ((*inner_at, *at), [*inner_sizes, *sizes]) if innermost else ((*at, *inner_at), [*sizes, *inner_sizes])
    )
    blocks = [body.block(indices, [value])]
    return builder.emit("build", counts, [type_], names=[name], blocks=blocks)[0]


def _chosen(body: Builder, number: Atom, parts: Sequence[Atom], first: int, at: Sequence[Var]) -> Atom:
    """The element of the part of this number, counted from ``first``, found by halving."""
    if len(parts) == 1:
        (part,) = parts
        if not at:
            return part
        assert isinstance(part.type, TensorType)
        return body.emit("index", [part, *at], [part.type.elem])[0]
    half = len(parts) // 2
    early = body.apply("lt", number, const(first + half))

    def then(inner: Builder) -> list[Atom]:
        return [_chosen(inner, number, parts[:half], first, at)]

    def otherwise(inner: Builder) -> list[Atom]:
        return [_chosen(inner, number, parts[half:], first + half, at)]

    return body.if_(early, then, otherwise)[0]
