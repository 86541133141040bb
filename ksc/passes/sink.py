"""Sinking: what one side of an ``if`` alone reads is computed in that side.

    (let ((y (sqrt x))) (if (lt 0.0 x) y x))      ⟶      (if (lt 0.0 x) (let ((y (sqrt x))) y) x)

A side that is not taken sends back a cotangent of zero, and zero times an infinite derivative is no zero. So this
comes before the reverse sweep. Tensors stay where they are, since what changes one in place knows its place.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from ksc.ir.nodes import EFFECTS, Atom, Block, Eqn, Function, Program, Var, walk_inside
from ksc.ir.rewrite import assemble, effectful_functions, free_vars
from ksc.ir.types import BoolType, FloatType, IntegerType
from ksc.ops import PRIMITIVES


@dataclass(slots=True, eq=False)
class _Side:
    """One side of an ``if``, with the equations that move to its start, last one first."""

    block: Block
    sunk: list[Eqn] = field(default_factory=list)

    def finish(self, effectful: Collection[str]) -> Block:
        moved = tuple(reversed(self.sunk))
        return _sink(Block(self.block.params, moved + self.block.eqns, self.block.results, self.block.span), effectful)


def sink(program: Program) -> Program:
    """Move numbers that one side of an ``if`` alone reads into that side."""
    effectful = effectful_functions(program.functions)
    functions = {
        name: Function(name, _sink(function.body, effectful), function.span)
        for name, function in program.functions.items()
    }
    return assemble(functions, program.entry, program.boxes, renew=False)


def _sink(block: Block, effectful: Collection[str]) -> Block:
    # Where a variable is read: in one side, or (None) in the block itself or several sides.
    places: dict[Var, _Side | None] = {}

    def read(atoms: Iterable[Atom], side: _Side | None) -> None:
        for atom in atoms:
            if isinstance(atom, Var):
                places[atom] = side if places.get(atom, side) is side else None

    read(block.results, None)
    kept: list[tuple[Eqn, list[_Side]]] = []
    for eqn in reversed(block.eqns):
        target = _target(eqn, places, effectful)
        if target is not None:
            target.sunk.append(eqn)
            read(eqn.args, target)
            for inner in eqn.blocks:
                read(free_vars(inner), target)
            continue
        read(eqn.args, None)
        sides = [_Side(inner) for inner in eqn.blocks]
        for side in sides:
            read(free_vars(side.block), side if eqn.op == "if" else None)
        kept.append((eqn, sides))
    eqns = [
        Eqn(eqn.outs, eqn.op, eqn.args, eqn.params, tuple(side.finish(effectful) for side in sides), eqn.span)
        if sides
        else eqn
        for eqn, sides in reversed(kept)
    ]
    return Block(block.params, tuple(eqns), block.results, block.span)


def _target(eqn: Eqn, places: dict[Var, _Side | None], effectful: Collection[str]) -> _Side | None:
    """The only side that reads what an equation gives, if it may move there."""
    if not all(isinstance(out.type, FloatType | IntegerType | BoolType) for out in eqn.outs):
        return None
    read_in = {id(side): side for side in (places[out] for out in eqn.outs if out in places)}
    if len(read_in) != 1 or _has_effects(eqn, effectful):
        return None
    return next(iter(read_in.values()))


def _has_effects(eqn: Eqn, effectful: Collection[str]) -> bool:
    """Whether running the equation can be noticed, were it only by an error that stops the kernel."""
    inside = walk_inside(eqn)
    return any(
        one.op in EFFECTS
        or (one.op == "call" and one.params["callee"] in effectful)
        or (one.op in PRIMITIVES and PRIMITIVES[one.op].failure is not None)
        for one in (eqn, *inside)
    )
