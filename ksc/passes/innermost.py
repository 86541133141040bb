"""One primal for many directions, each tangent with its values for all directions side by side in memory.

    (for b x x_dot (lam (i c c_dot) (tuple (update i (exp y) c) (update i (mul y_dot (exp y)) c_dot))))
        ⟶
    (for b x x_dots (lam (i c c_dots)
      (let (e (exp y)) (tuple (update i e c) (update i (build n (lam d (mul (index d y_dots) e))) c_dots)))))

As in ``ksc.passes.interchange``, but the directions are the last dimensions of what is stacked. So a part of a tensor
is that part for all directions, an ``update`` puts them all in place, a ``build`` has the directions inside of it, and
the innermost loop runs over contiguous memory.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ksc.ir.builder import Builder, sizes_of, stack_type
from ksc.ir.liveness import prune_block
from ksc.ir.nodes import PLACEHOLDER, STRUCTURED, Atom, Block, Const, Eqn, Var, walk
from ksc.ir.rewrite import Env, bound_vars, clone_eqn, read_vars, replace
from ksc.ir.types import Integer, TensorType, Type
from ksc.ops import PRIMITIVES
from ksc.passes.interchange import Spread, is_stackable

Parts = dict[Var, Var]
"""What is read at one direction, by the tensor that holds it for all."""


def directions_innermost(
    builder: Builder,
    sizes: Sequence[Atom],
    directions: Sequence[Var],
    block: Block,
    effectful: Collection[str],
) -> list[Atom]:
    """Emit what ``block`` computes for every direction, and give its results stacked, the directions last.

    The arguments are those of ``over_directions``.
    """
    spread = _Innermost(sizes, directions, effectful)
    pruned = prune_block(block, effectful)
    spread.mark(pruned.eqns)
    spread.sequence(pruned.eqns, pruned.results, builder)
    return [spread.stack(builder, result) for result in pruned.results]


class _Innermost(Spread):
    """The directions, and where the variables that depend on them are stacked, the directions last."""

    def stacked_type(self, type_: Type) -> Type:
        known = tuple(int(size.value) if isinstance(size, Const) else None for size in self.sizes)
        if isinstance(type_, TensorType):
            return TensorType(type_.rank + len(known), type_.elem, (*type_.sizes, *known))
        return TensorType(len(known), type_, known)

    def rows(self, row: Var, like: Var, builder: Builder) -> Var:
        return row

    def moves(self, eqn: Eqn) -> bool:
        if eqn.op == "withacc":
            return False
        if self._stays_whole(eqn) or super().moves(eqn):
            return True
        # A tensor that is carried is changed in place for all directions at once.
        return (
            eqn.op == "for"
            and not self.varies(eqn.args[0])
            and not eqn.params.get("nested")
            and all(is_stackable(out.type) for out in eqn.outs)
            and any(self.varies(out) and isinstance(out.type, TensorType) for out in eqn.outs)
        )

    def _stays_whole(self, eqn: Eqn) -> bool:
        """Whether the equation is done for all directions at once, or has them inside of it."""
        if not all(is_stackable(out.type) for out in eqn.outs):
            return False
        match eqn.op:
            case "index":
                return isinstance(eqn.outs[0].type, TensorType) and not any(map(self.varies, eqn.args[1:]))
            case "update":
                return not any(map(self.varies, eqn.args[1:-1]))
            case "build":
                return not any(map(self.varies, eqn.args)) and not eqn.params.get("nested")
            case _:
                return False

    def interchange(self, eqn: Eqn, builder: Builder) -> None:
        match eqn.op:
            case "index" | "update":
                last = len(eqn.args) - (eqn.op == "update")
                stacked = [self.stack(builder, arg) for arg in (eqn.args[0], *eqn.args[last:])]
                args = (stacked[0], *eqn.args[1:last], *stacked[1:])
                builder.eqns.append(Eqn(self._outs(eqn.outs), eqn.op, args, eqn.params, (), eqn.span))
            case "build":
                self._move_build(eqn, builder)
            case _:
                super().interchange(eqn, builder)

    def _move_build(self, eqn: Eqn, builder: Builder) -> None:
        """A ``build`` with the directions inside: its last dimensions where there is nothing to share."""
        (body,) = eqn.blocks
        block = self.spread(body, eqn.outs, body.params, eqn.span)
        flat = _flattened(block)
        args, block = (eqn.args, block) if flat is None else ((*eqn.args, *flat[0]), flat[1])
        builder.eqns.append(Eqn(self._outs(eqn.outs), "build", args, eqn.params, (block,), eqn.span))

    def flush(self, pending: Sequence[Eqn], live: Collection[Var], builder: Builder) -> None:
        outs = [out for eqn in pending for out in eqn.outs if out in live]
        if not outs:
            return
        self.varying.update(outs)
        made = self._over(pending, outs, [out.name for out in outs], builder)
        self.stacked.update(zip(outs, made, strict=True))

    def stack(self, builder: Builder, atom: Atom) -> Atom:
        if isinstance(atom, Var) and atom in self.stacked:
            return self.stacked[atom]
        name = atom.name if isinstance(atom, Var) else PLACEHOLDER
        if not isinstance(atom.type, TensorType) or self.varies(atom):
            return self._over((), [atom], [name], builder)[0]
        at = tuple(Var("i", Integer) for _ in range(atom.type.rank))
        inner = Builder(builder.span)
        value = inner.emit("index", [atom, *at], [atom.type.elem])
        block = inner.block((*at, *self._fresh_directions()), value)
        sizes = [*sizes_of(builder, atom), *self.sizes]
        return builder.emit("build", sizes, [self.stacked_type(atom.type)], names=[name], blocks=[block])[0]

    def _fresh_directions(self) -> tuple[Var, ...]:
        return tuple(Var(var.name, Integer) for var in self.directions)

    def _over(
        self, eqns: Sequence[Eqn], results: Sequence[Atom], names: Sequence[str], builder: Builder
    ) -> tuple[Var, ...]:
        """Results of equations for all directions, those that are tensors brought into order."""
        at = self._fresh_directions()
        inner = Builder(builder.span)
        env: Env = dict(zip(self.directions, at, strict=True))
        parts: Parts = {}
        for var in read_vars(eqns, results):
            if var not in self.stacked:
                continue
            if not isinstance(var.type, TensorType):
                env[var] = inner.emit("index", [self.stacked[var], *at], [var.type], names=[var.name])[0]
            else:
                env[var] = part = Var(var.name, var.type)
                parts[part] = self.stacked[var]
        copies = [clone_eqn(eqn, env) for eqn in eqns]
        given = [replace(result, env) for result in results]
        inner.eqns += _read_at(copies, given, parts, at)
        types = [stack_type(len(at), result.type) for result in results]
        made = builder.emit("build", self.sizes, types, names=names, blocks=[inner.block(at, given)])
        return tuple(self._directions_last(whole, result, builder) for whole, result in zip(made, results, strict=True))

    def _directions_last(self, whole: Var, like: Atom, builder: Builder) -> Var:
        """What a build has stacked, (Tensor directions … sizes …), with the directions at the end."""
        if not isinstance(like.type, TensorType):
            whole.type = self.stacked_type(like.type)
            return whole
        at = tuple(Var("i", Integer) for _ in range(like.type.rank))
        last = self._fresh_directions()
        inner = Builder(builder.span)
        value = inner.emit("index", [whole, *last, *at], [like.type.elem])
        sizes = [*sizes_of(builder, whole)[len(last) :], *self.sizes]
        type_ = self.stacked_type(like.type)
        return builder.emit("build", sizes, [type_], names=[whole.name], blocks=[inner.block((*at, *last), value)])[0]


def _flattened(block: Block) -> tuple[tuple[Atom, ...], Block] | None:
    """More sizes, and one body for two nested ones, where the outer computes next to nothing itself."""
    *before, last = block.eqns or (None,)
    if last is None or last.op != "build" or last.params.get("nested") or tuple(last.outs) != block.results:
        return None
    if any(size in bound_vars(block) for size in last.args if isinstance(size, Var)):
        return None
    for eqn in before:
        assert eqn is not None
        record = PRIMITIVES.get(eqn.op)
        if eqn.op in STRUCTURED or eqn.op in ("call", "update") or (record is not None and record.cost == "expensive"):
            return None
    (body,) = last.blocks
    eqns = (*(eqn for eqn in before if eqn is not None), *body.eqns)
    return last.args, Block((*block.params, *body.params), eqns, body.results, body.span)


def _read_at(eqns: Sequence[Eqn], results: Sequence[Atom], parts: Parts, at: Sequence[Var]) -> list[Eqn]:
    """The equations, where elements of the tensors in ``parts`` are read from those for all directions.

    A tensor that is read in another way is taken out first.
    """
    builder = Builder()
    for var in [var for var in parts if _is_read_whole(eqns, results, var)]:
        _take_out(builder, var, parts.pop(var), at)
    for eqn in eqns:
        builder.span = eqn.span
        tensor = eqn.args[0] if eqn.args else None
        if eqn.op == "index" and isinstance(tensor, Var) and tensor in parts:
            _index_at(eqn, eqns, results, parts, at, builder)
        elif eqn.op == "size" and isinstance(tensor, Var) and tensor in parts:
            builder.eqns.append(Eqn(eqn.outs, "size", (parts[tensor],), eqn.params, (), eqn.span))
        else:
            blocks = tuple(
                Block(inner.params, tuple(_read_at(inner.eqns, inner.results, parts, at)), inner.results, inner.span)
                for inner in eqn.blocks
            )
            builder.eqns.append(Eqn(eqn.outs, eqn.op, eqn.args, eqn.params, blocks, eqn.span))
    return builder.eqns


def _index_at(
    eqn: Eqn, eqns: Sequence[Eqn], results: Sequence[Atom], parts: Parts, at: Sequence[Var], builder: Builder
) -> None:
    (out,), tensor = eqn.outs, eqn.args[0]
    assert isinstance(tensor, Var)
    whole = parts[tensor]
    if not isinstance(out.type, TensorType):
        builder.eqns.append(Eqn(eqn.outs, "index", (whole, *eqn.args[1:], *at), eqn.params, (), eqn.span))
        return
    assert isinstance(whole.type, TensorType)
    part = Var(out.name, TensorType(out.type.rank + len(at), whole.type.elem))
    builder.eqns.append(Eqn((part,), "index", (whole, *eqn.args[1:]), eqn.params, (), eqn.span))
    if _is_read_whole(eqns, results, out):
        _take_out(builder, out, part, at)
    else:
        parts[out] = part


def _is_read_whole(eqns: Sequence[Eqn], results: Sequence[Atom], var: Var) -> bool:
    """Whether anything but elements, parts and sizes of a tensor is read."""
    if var in results:
        return True
    for eqn in (inner for outer in eqns for inner in walk(Block((), (outer,), ()))):
        reads = eqn.args[1:] if eqn.op in ("index", "size") else eqn.args
        if var in reads or any(var in block.results for block in eqn.blocks):
            return True
    return False


def _take_out(builder: Builder, var: Var, whole: Var, at: Sequence[Var]) -> None:
    """Bind ``var`` to what ``whole`` holds for one direction."""
    assert isinstance(var.type, TensorType)
    own = tuple(Var("i", Integer) for _ in range(var.type.rank))
    inner = Builder(builder.span)
    value = inner.emit("index", [whole, *own, *at], [var.type.elem])
    sizes = tuple(sizes_of(builder, whole)[: var.type.rank])
    builder.eqns.append(Eqn((var,), "build", sizes, blocks=(inner.block(own, value),), span=builder.span))
