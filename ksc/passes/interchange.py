"""One primal for many directions: a ``build`` over directions is moved inwards, past all that does not depend on them.

    (build n (lam d (for t x (seed d) (lam (i c c_dot) (tuple (exp c) (mul c_dot (exp c)))))))
        ⟶
    (for t x (build n (lam d (seed d))) (lam (i c c_dots)
      (let (e (exp c)) (tuple e (build n (lam d (mul (index d c_dots) e)))))))

* What does not depend on the direction moves in front.
* ``for``, ``while`` and ``if`` that compute such a thing, and whose count or condition is no direction's own, change
  places with the directions.
* ``build`` and ``reduce`` keep, in tensors made in front, what is expensive and the same for all directions.

A value that depends on the direction and is read across a moved loop is stacked, the directions as leading dimensions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from ksc.ir.builder import Builder, stack_type
from ksc.ir.liveness import adds_outside, has_effect, prune_block, prune_eqns
from ksc.ir.nodes import PLACEHOLDER, STRUCTURED, Atom, Block, Eqn, Span, Var, const, walk, walk_inside
from ksc.ir.rewrite import Env, clone_block, clone_eqn, read_vars, replace, substitute_block
from ksc.ir.types import AccType, Float, Integer, TensorType, Type, is_scalar
from ksc.ops import PRIMITIVES
from ksc.passes.varying import Varying


def over_directions(
    builder: Builder,
    sizes: Sequence[Atom],
    directions: Sequence[Var],
    block: Block,
    effectful: Collection[str],
) -> list[Atom]:
    """Emit what ``block`` computes for every direction, and give its results stacked.

    Args:
        builder: where the equations go.
        sizes: how many directions there are, in one or several dimensions.
        directions: the variables, of type Integer, by which the equations of ``block`` know the direction.
        block: equations and results; it has no parameters, and its variables are bound here and nowhere else.
        effectful: the functions whose calls have effects.
    """
    spread = Spread(sizes, directions, effectful)
    pruned = prune_block(block, effectful)
    spread.mark(pruned.eqns)
    spread.sequence(pruned.eqns, pruned.results, builder)
    return [spread.stack(builder, result) for result in pruned.results]


def is_stackable(type_: Type) -> bool:
    """Whether values of the type for several directions make up one tensor."""
    return is_scalar(type_) or (isinstance(type_, TensorType) and is_scalar(type_.elem))


def _of_one_size(type_: Type) -> bool:
    """Whether values of different iterations surely have the same size."""
    return is_scalar(type_) or (isinstance(type_, TensorType) and is_scalar(type_.elem) and None not in type_.sizes)


def _is_expensive(eqns: Iterable[Eqn]) -> bool:
    for eqn in eqns:
        record = PRIMITIVES.get(eqn.op)
        if eqn.op == "call" or eqn.op in STRUCTURED or (record is not None and record.cost == "expensive"):
            return True
    return False


class Spread(Varying):
    """The directions, and where the variables that depend on them are stacked."""

    def __init__(self, sizes: Sequence[Atom], directions: Sequence[Var], effectful: Collection[str]) -> None:
        super().__init__(directions)
        self.sizes = tuple(sizes)
        self.directions = tuple(directions)
        self.effectful = effectful
        self.stacked: dict[Var, Var] = {}
        self.accs: dict[Var, Var] = {}

    def stacked_type(self, type_: Type) -> Type:
        """The type of what holds values of a type for all directions."""
        return stack_type(len(self.sizes), type_)

    # Equations in order: those in front, those that wait for a build, those that change places with it.

    def sequence(self, eqns: Sequence[Eqn], results: Sequence[Atom], builder: Builder) -> None:
        """Emit the equations of a block; each of its results that depends on the direction is stacked after that."""
        pending: list[Eqn] = []
        for k, eqn in enumerate(eqns):
            builder.span = eqn.span
            if not any(map(self.varies, eqn.outs)) and not any(map(self.varies, read_vars([eqn]))):
                builder.eqns.append(eqn)
                continue
            if self.moves(eqn):
                later = read_vars(eqns[k:], results)
                if all(is_stackable(out.type) for wait in pending for out in wait.outs if out in later):
                    self.flush(pending, later, builder)
                    pending = []
                    self.interchange(eqn, builder)
                    continue
            pending.append(self.lightened(eqn, builder))
        self.flush(pending, read_vars((), results), builder)

    def flush(self, pending: Sequence[Eqn], live: Collection[Var], builder: Builder) -> None:
        """Emit waiting equations in a build, which gives those of their results that are in ``live``."""
        outs = [out for eqn in pending for out in eqn.outs if out in live]
        if not outs and not any(_adds_to(eqn, self.accs) for eqn in pending):
            return
        self.varying.update(outs)
        made = self._build(pending, outs, [out.name for out in outs], builder)
        self.stacked.update(zip(outs, made, strict=True))

    def stack(self, builder: Builder, atom: Atom) -> Atom:
        """The value of ``atom`` for all directions; a block that depends on it has been emitted."""
        if isinstance(atom, Var) and atom in self.stacked:
            return self.stacked[atom]
        return self._build((), [atom], [atom.name if isinstance(atom, Var) else PLACEHOLDER], builder)[0]

    def _build(
        self, eqns: Sequence[Eqn], results: Sequence[Atom], names: Sequence[str], builder: Builder
    ) -> tuple[Var, ...]:
        inner = Builder(builder.span)
        at = tuple(Var(var.name, Integer) for var in self.directions)
        env: Env = dict(zip(self.directions, at, strict=True))
        for var in read_vars(eqns, results):
            if var in self.stacked:
                args = [self.stacked[var], *at]
                env[var] = inner.emit("index", args, [var.type], names=[var.name])[0]
        inner.eqns += [_at_directions(clone_eqn(eqn, env), self.accs, at) for eqn in eqns]
        types = [stack_type(len(at), result.type) for result in results]
        block = inner.block(at, [replace(result, env) for result in results])
        return builder.emit("build", self.sizes, types, names=names, blocks=[block])

    # Control flow that changes places with the directions.

    def moves(self, eqn: Eqn) -> bool:
        """Whether the equation is control flow that all directions share, with something to compute once in it."""
        if eqn.op == "withacc":
            return any(map(self.moves, eqn.blocks[0].eqns)) and all(is_stackable(out.type) for out in eqn.outs)
        if eqn.op not in ("if", "for", "while"):
            return False
        first = eqn.args[: 0 if eqn.op == "while" else 1]
        conds = [block.results[0] for block in eqn.blocks[:-1]] if eqn.op == "while" else []
        if any(map(self.varies, [*first, *conds])) or not all(is_stackable(out.type) for out in eqn.outs):
            return False
        if eqn.params.get("nested"):
            return False
        return any(
            inner.op == "call" or (inner.op in PRIMITIVES and inner.outs[0].type == Float)
            for block in eqn.blocks
            for inner in walk(block)
            if not any(map(self.varies, inner.outs))
        )

    def interchange(self, eqn: Eqn, builder: Builder) -> None:
        """Emit the control flow with the directions inside of it."""
        if eqn.op == "if":
            self._if(eqn, builder)
        elif eqn.op == "withacc":
            self._withacc(eqn, builder)
        else:
            self._loop(eqn, builder)

    def spread(self, block: Block, outs: Sequence[Var], params: Sequence[Var], span: Span | None) -> Block:
        """A block for all directions, its results stacked where those of ``outs`` that they become are."""
        inner = Builder(span)
        self.sequence(block.eqns, block.results, inner)
        results = [
            self.stack(inner, result) if self.varies(out) else result
            for out, result in zip(outs, block.results, strict=True)
        ]
        return inner.block(params, results)

    def _if(self, eqn: Eqn, builder: Builder) -> None:
        blocks = tuple(self.spread(block, eqn.outs, (), eqn.span) for block in eqn.blocks)
        builder.eqns.append(Eqn(self._outs(eqn.outs), "if", eqn.args, eqn.params, blocks, eqn.span))

    def _withacc(self, eqn: Eqn, builder: Builder) -> None:
        """An accumulator for all directions: each adds at its own indices, which come first."""
        (body,) = eqn.blocks
        inits = [self.stack(builder, init) for init in eqn.args]
        params = tuple(Var(param.name, AccType(init.type)) for param, init in zip(body.params, inits, strict=True))
        self.accs.update(zip(body.params, params, strict=True))
        block = self.spread(body, eqn.outs[len(inits) :], params, eqn.span)
        builder.eqns.append(Eqn(self._outs(eqn.outs), "withacc", tuple(inits), eqn.params, (block,), eqn.span))

    def _outs(self, outs: Sequence[Var]) -> tuple[Var, ...]:
        """The same variables, a stacked one for each that depends on the direction."""
        new = []
        for out in outs:
            if self.varies(out):
                self.stacked[out] = Var(out.name, self.stacked_type(out.type))
                new.append(self.stacked[out])
            else:
                new.append(out)
        return tuple(new)

    def _loop(self, eqn: Eqn, builder: Builder) -> None:
        *conds, body = eqn.blocks
        n = eqn.params["carries"]
        skip = len(body.params) - n
        inits = [
            self.stack(builder, init) if self.varies(param) else init
            for init, param in zip(eqn.args[skip:], body.params[skip:], strict=True)
        ]
        heads = [Block(self._outs(cond.params), cond.eqns, cond.results, cond.span) for cond in conds]
        params = (*body.params[:skip], *self._outs(body.params[skip:]))
        inside = self.spread(body, eqn.outs, params, eqn.span)
        carried = self._outs(eqn.outs[:n])
        rows = [
            Var(out.name, stack_type(1, result.type)) if self.varies(out) else out
            for out, result in zip(eqn.outs[n:], inside.results[n:], strict=True)
        ]
        blocks = (*heads, inside)
        args = (*eqn.args[:skip], *inits)
        builder.eqns.append(Eqn((*carried, *rows), eqn.op, args, eqn.params, blocks, eqn.span))
        for out, row in zip(eqn.outs[n:], rows, strict=True):
            if self.varies(out):
                self.stacked[out] = self.rows(row, out, builder)

    def rows(self, row: Var, like: Var, builder: Builder) -> Var:
        """What a loop has stacked, (Tensor iterations directions …), with the directions in front."""
        (count,) = builder.emit("size", [row], [Integer], names=["n"], params={"dim": 0})
        at = tuple(Var(var.name, Integer) for var in self.directions)
        i = Var("i", Integer)
        assert isinstance(like.type, TensorType)
        elem = like.type.elem if like.type.rank == 1 else TensorType(like.type.rank - 1, like.type.elem)
        inner = Builder(builder.span)
        value = inner.emit("index", [row, i, *at], [elem], names=[like.name])
        type_ = stack_type(len(at) + 1, elem)
        sizes = [*self.sizes, count]
        return builder.emit("build", sizes, [type_], names=[like.name], blocks=[inner.block((*at, i), value)])[0]

    # What stays inside, without what is the same for all directions.

    def lightened(self, eqn: Eqn, builder: Builder) -> Eqn:
        """The equation without what can be computed in front of the directions, which is emitted."""
        if eqn.op == "withacc":
            return self._emptied(eqn, builder)
        if eqn.op in ("build", "reduce", "for"):
            eqn = self._fission(eqn, builder)
        shared = {out for out in eqn.outs if not self.varies(out)}
        if not shared:
            return eqn
        if eqn.op not in STRUCTURED or adds_outside(eqn):
            self.varying.update(eqn.outs)
            return eqn
        (front,) = prune_eqns([eqn], self.effectful, set(shared))
        blocks = tuple(clone_block(block, {}) for block in front.blocks)
        builder.eqns.append(Eqn(front.outs, front.op, front.args, front.params, blocks, front.span))
        (rest,) = prune_eqns([eqn], self.effectful, set(eqn.outs) - shared)
        return rest

    def _emptied(self, eqn: Eqn, builder: Builder) -> Eqn:
        """A ``withacc`` without what its body computes for all directions alike."""
        (body,) = eqn.blocks
        self.varying.update((*body.params, *eqn.outs))
        kept = []
        for inner in body.eqns:
            if self._is_shared(inner):
                builder.eqns.append(inner)
            else:
                kept.append(self.lightened(inner, builder))
        return Eqn(
            eqn.outs,
            eqn.op,
            eqn.args,
            eqn.params,
            (Block(body.params, tuple(kept), body.results, body.span),),
            eqn.span,
        )

    def _is_shared(self, eqn: Eqn) -> bool:
        """Whether the equation depends on no direction and does nothing beyond giving its results."""
        if any(map(self.varies, eqn.outs)) or any(map(self.varies, read_vars([eqn]))):
            return False
        return not has_effect(eqn, self.effectful, ()) and not adds_outside(eqn)

    def _fission(self, eqn: Eqn, builder: Builder) -> Eqn:
        """Keep in tensors what a loop's body computes expensively, from its indices and for all directions alike."""
        (body,) = eqn.blocks
        sizes = list(eqn.args[:1] if eqn.op == "for" else eqn.args)
        if any(map(self.varies, sizes)):
            return eqn
        kept, rest = self._worth_keeping(body, body.params[len(sizes) :])
        if not kept:
            return eqn
        if eqn.op == "for":
            sizes = [builder.apply("max", sizes[0], const(0), name="n")]
        front = clone_block(prune_block(Block(body.params[: len(sizes)], *self._slice(body, kept)), self.effectful), {})
        types = [stack_type(len(sizes), var.type) for var in kept]
        names = [var.name for var in kept]
        tensors = builder.emit("build", sizes, types, names=names, blocks=[front])
        inner = Builder(eqn.span)
        at = body.params[: len(sizes)]
        env: Env = {}
        for var, tensor in zip(kept, tensors, strict=True):
            env[var] = inner.emit("index", [tensor, *at], [var.type], names=[var.name])[0]
        tail = substitute_block(Block((), tuple(rest), body.results, body.span), env)
        block = Block(body.params, (*inner.eqns, *tail.eqns), tail.results, tail.span)
        return Eqn(eqn.outs, eqn.op, eqn.args, eqn.params, (block,), eqn.span)

    def _worth_keeping(self, body: Block, carried: Sequence[Var]) -> tuple[list[Var], list[Eqn]]:
        """What to keep of a loop's body: values that do not depend on its carries, are expensive and read by the rest.

        The second result is the rest.
        """
        blocked = set(carried)
        own: list[Eqn] = []
        for eqn in body.eqns:
            if self._is_shared(eqn) and not any(var in blocked for var in read_vars([eqn])):
                own.append(eqn)
            else:
                blocked.update(eqn.outs)
        made = {out for eqn in own for out in eqn.outs}
        others = [eqn for eqn in body.eqns if eqn not in own]
        kept = [
            var
            for var in read_vars(others, body.results)
            if var in made and _of_one_size(var.type) and _is_expensive(prune_eqns(own, self.effectful, {var}))
        ]
        while True:
            needed = set(read_vars(others, body.results)).difference(kept)
            again = set()
            for eqn in reversed(own):
                if any(out in needed for out in eqn.outs):
                    again.add(eqn)
                    needed.update(read_vars([eqn]))
            # An equation that is run again gives all of its results again.
            left = [var for var in kept if not any(var in eqn.outs for eqn in again)]
            if left == kept:
                return kept, [eqn for eqn in body.eqns if eqn not in own or eqn in again]
            kept = left

    def _slice(self, body: Block, kept: Sequence[Var]) -> tuple[tuple[Eqn, ...], tuple[Var, ...]]:
        """The equations of a body that these values need, and the values."""
        return prune_eqns([eqn for eqn in body.eqns if self._is_shared(eqn)], self.effectful, set(kept)), tuple(kept)


def _adds_to(eqn: Eqn, accs: Collection[Atom]) -> bool:
    inside = [eqn, *walk_inside(eqn)]
    return any(inner.op == "acc_add" and inner.args[0] in accs for inner in inside)


def _at_directions(eqn: Eqn, accs: Mapping[Var, Var], at: Sequence[Var]) -> Eqn:
    """The equation, where additions to accumulators of one direction are to those of all, at the indices ``at``."""
    if not accs:
        return eqn
    args = eqn.args
    if eqn.op == "acc_add" and isinstance(args[0], Var) and args[0] in accs:
        args = (accs[args[0]], *at, *args[1:])
    blocks = tuple(
        Block(block.params, tuple(_at_directions(inner, accs, at) for inner in block.eqns), block.results, block.span)
        for block in eqn.blocks
    )
    return Eqn(eqn.outs, eqn.op, args, eqn.params, blocks, eqn.span)
