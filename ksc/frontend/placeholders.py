"""Tensors that stand where a path or a loop has not given one: of the sizes that it would give, where these are known.

What is never read might have any size, but a reverse stacks what a loop carries, and the sizes of results are asked for
before the call.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from ksc.frontend.frame import Frame
from ksc.frontend.tensors.integers import at_least, bounded
from ksc.ir.nodes import Atom, Block, Const, Eqn, Var, const, default_value, walk
from ksc.ir.types import Bool, Integer, TensorType, Type

_TOTAL = ("add", "sub", "mul", "neg", "min", "max", "select", "lt", "lte", "gt", "gte", "eq", "ne", "and", "or", "not")
"""Functions of integers and truth values that have a value wherever they are computed."""


def dummy(frame: Frame, type_: Type, node: ast.AST, sizes: Sequence[Atom | None] = ()) -> Atom:
    """A value for a place that is never read; a tensor of the ``sizes`` that are given, those that are None being 0."""
    value = default_value(type_)
    if value is not None:
        return value
    assert isinstance(type_, TensorType), f"no default for {type_}"
    zero = default_value(type_.elem)
    assert zero is not None
    known = [const(0) if size is None else at_least(frame, node, size, 0) for size in sizes]
    found = known or [const(size or 0) for size in type_.sizes]
    index = tuple(Var("i", Integer) for _ in found)
    return frame.emit(node, "build", found, [type_], blocks=[Block(index, (), (zero,))])[0]


def with_placeholders(frame: Frame, node: ast.AST, body: Block, inits: Sequence[Atom | None]) -> list[Atom]:
    """What a loop carries at first: ``inits``, with a placeholder where its ``body`` is the first to make a tensor.

    A placeholder is of the sizes that the first iteration gives, where these are known before the loop.
    """
    index_count = len(body.params) - len(inits)
    started = dict(zip(body.params, [*[None] * index_count, *inits], strict=True))
    return filled(frame, node, inits, body.results, body.eqns, started)


def filled(
    frame: Frame,
    node: ast.AST,
    atoms: Sequence[Atom | None],
    others: Sequence[Atom | None],
    eqns: Sequence[Eqn],
    started: Mapping[Var, Atom | None] = MappingProxyType({}),
) -> list[Atom]:
    """``atoms`` with a placeholder for each None, of the sizes of the one among ``others`` that ``eqns`` make."""
    known = [atom for atom in atoms if atom is not None]
    if len(known) == len(atoms):
        return known
    outside = _Outside(frame, node, eqns, started)
    found = []
    for atom, other in zip(atoms, others, strict=False):
        if atom is None:
            assert other is not None
            atom = dummy(frame, other.type, node, outside.sizes(other))
        found.append(atom)
    return found


class _Outside:
    """What the sizes of tensors that some equations make are outside of these.

    Args:
        started: the parameters around the equations, with what they are at first; None where that does not tell.
            Iterations are taken not to change the sizes of what they carry.
    """

    def __init__(self, frame: Frame, node: ast.AST, eqns: Sequence[Eqn], started: Mapping[Var, Atom | None]) -> None:
        self.frame, self.node, self.started = frame, node, started
        self.made: dict[Var, Eqn] = {}
        self.inner: set[Var] = set(started)
        for eqn in walk(Block((), tuple(eqns), ())):
            self.made.update(dict.fromkeys(eqn.outs, eqn))
            self.inner.update(eqn.outs, *(block.params for block in eqn.blocks))

    def sizes(self, tensor: Atom) -> list[Atom | None]:
        """The sizes of a tensor, read or computed in the present block; None where one is not known."""
        assert isinstance(tensor.type, TensorType)
        return [self._size(tensor, dim) for dim in range(tensor.type.rank)]

    def _size(self, tensor: Atom | None, dim: int) -> Atom | None:
        if not isinstance(tensor, Var):
            return None
        assert isinstance(tensor.type, TensorType)
        known = tensor.type.sizes[dim]
        if known is not None:
            return const(known)
        if tensor not in self.inner:
            (size,) = self.frame.emit(self.node, "size", [tensor], [Integer], names=["n"], params={"dim": dim})
            return bounded(self.frame, size, 0)
        if tensor in self.started:
            return self._size(self.started[tensor], dim)
        eqn = self.made.get(tensor)
        return None if eqn is None else self._size_made(eqn, eqn.outs.index(tensor), dim)

    def _size_made(self, eqn: Eqn, k: int, dim: int) -> Atom | None:
        match eqn.op:
            case "build" if dim < len(eqn.args):
                return self._number(eqn.args[dim])
            case "update" | "withacc" | "while" if k < len(eqn.args):
                return self._size(eqn.args[k], dim)
            case "for" if k + 1 < len(eqn.args):
                return self._size(eqn.args[k + 1], dim)
            case "index":
                return self._size(eqn.args[0], dim + len(eqn.args) - 1)
            case "if":
                sides = (self._size(block.results[k], dim) for block in eqn.blocks)
                return next((size for size in sides if size is not None), None)
            case _:
                return None

    def _number(self, atom: Atom) -> Atom | None:
        if isinstance(atom, Const) or atom not in self.inner:
            return atom
        eqn = self.made.get(atom)
        if eqn is None:
            return None
        if eqn.op == "size":
            return self._size(eqn.args[0], eqn.params["dim"])
        divides = eqn.op in ("idiv", "imod") and isinstance(eqn.args[1], Const) and eqn.args[1].value != 0
        if not (eqn.op in _TOTAL or divides) or any(arg.type not in (Integer, Bool) for arg in eqn.args):
            return None
        args = [self._number(arg) for arg in eqn.args]
        known = [arg for arg in args if arg is not None]
        return self.frame.apply(self.node, eqn.op, *known) if len(known) == len(args) else None
