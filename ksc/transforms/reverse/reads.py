"""Elements of changed tensors, read from the tensor before the change.

    u = (update i t v)                    u = (update i t v)
    y = (index j u)              ⟶        y = (select (eq i j) v (index j t))

Values computed again for the reverse sweep then need no more than the tensor at the start of the block, mostly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ksc.ir.builder import Builder
from ksc.ir.nodes import Atom, Block, Const, Eqn, Var, const
from ksc.ir.types import TensorType

DEPTH = 4
"""How many updates at other indices a read looks through at most."""

_Layer = tuple[Sequence[Atom], Atom]


def read_through_updates(eqns: Iterable[Eqn]) -> list[Eqn]:
    """The equations of a block, with elements of tensors that an ``update`` in it made read as said above."""
    builder = Builder()
    updates: dict[Var, Eqn] = {}
    for eqn in eqns:
        if eqn.op == "update":
            updates[eqn.outs[0]] = eqn
        found = _layers(eqn, updates) if eqn.op == "index" else None
        if found is None:
            builder.eqns.append(eqn)
        else:
            builder.span = eqn.span
            _emit(eqn, *found, builder)
    return builder.eqns


def read_sizes_before(eqns: Iterable[Eqn], made: Mapping[Var, Var]) -> tuple[Eqn, ...]:
    """The equations, with the sizes of a changed tensor, which ``made`` maps to the one before, read from that one."""
    found = []
    for eqn in eqns:
        blocks = tuple(Block(b.params, read_sizes_before(b.eqns, made), b.results, b.span) for b in eqn.blocks)
        args = eqn.args
        while eqn.op == "size" and args[0] in made:
            args = (made[args[0]],)  # type: ignore[index]
        found.append(Eqn(eqn.outs, eqn.op, args, eqn.params, blocks, eqn.span))
    return tuple(found)


def _layers(eqn: Eqn, updates: Mapping[Var, Eqn]) -> tuple[list[_Layer], Atom | None, Atom] | None:
    """What a read of one element meets: values written at indices that may be its own, the value written at its own,
    or else the tensor that nothing here changed. None where the read stays as it is."""
    tensor, *at = eqn.args
    if tensor not in updates or isinstance(eqn.outs[0].type, TensorType):
        return None
    layers: list[_Layer] = []
    while isinstance(tensor, Var) and tensor in updates:
        earlier, *where, value = updates[tensor].args
        if len(where) != len(at):
            return None
        if where == at:
            return layers, value, tensor
        if not any(isinstance(i, Const) and isinstance(j, Const) and i != j for i, j in zip(where, at, strict=True)):
            layers.append((where, value))
        tensor = earlier
    return (layers, None, tensor) if len(layers) <= DEPTH else None


def _emit(eqn: Eqn, layers: Sequence[_Layer], own: Atom | None, tensor: Atom, builder: Builder) -> None:
    (out,) = eqn.outs
    at = eqn.args[1:]
    if own is None:
        outs = (Var(out.name, out.type),) if layers else eqn.outs
        builder.eqns.append(Eqn(outs, "index", (tensor, *at), {}, (), eqn.span))
        found: Atom = outs[0]
    else:
        found = own
        if not layers:
            builder.eqns.append(Eqn(eqn.outs, "select", (const(True), own, own), {}, (), eqn.span))
    for k, (where, value) in enumerate(reversed(layers)):
        same: Atom = const(True)
        for position, (i, j) in enumerate(zip(where, at, strict=True)):
            equal = builder.apply("eq", i, j, name="same")
            same = builder.apply("and", same, equal, name="same") if position else equal
        outs = eqn.outs if k == len(layers) - 1 else (Var(out.name, out.type),)
        builder.eqns.append(Eqn(outs, "select", (same, value, found), {}, (), eqn.span))
        found = outs[0]
