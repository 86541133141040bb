"""A tensor of one constant, which several readers start from and change, is filled anew by each of them.

    zeros = (build n (lam i 0.0))
    a = (update 0 x zeros)                    ⟶      a = (update 0 x (build n (lam i 0.0)))
    b = (update 1 y zeros)                           b = (update 1 y (build n (lam i 0.0)))

All but the last would have to copy it: memory is written twice, and read. A row that a loop takes of such a tensor is
filled too, so a loop that fills all rows needs no tensor to begin with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ksc.ir.nodes import Atom, Block, Const, Eqn, Function, Program, Var, walk
from ksc.ir.rewrite import assemble, read_vars
from ksc.ir.types import TensorType


def fill_starts(program: Program) -> Program:
    """Give each reader that changes a constant tensor one of its own, in all functions."""
    functions = {}
    for name, function in program.functions.items():
        if any(_constants(eqn) for eqn in walk(function.body)):
            reads = read_vars(function.body.eqns, function.body.results)
            function = Function(name, _Starts(reads).block(function.body, {}), function.span)
        functions[name] = function
    return assemble(functions, program.entry, program.boxes, renew=False)


def _constants(eqn: Eqn) -> dict[Var, Const]:
    """The tensors of one constant that an equation gives."""
    if eqn.op != "build" or eqn.params.get("nested") or eqn.blocks[0].eqns:
        return {}
    pairs = zip(eqn.outs, eqn.blocks[0].results, strict=True)
    return {out: value for out, value in pairs if isinstance(value, Const)}


@dataclass(frozen=True, slots=True)
class _Filled:
    """A tensor of one constant: its value, its sizes, and the block that makes it."""

    value: Const
    sizes: tuple[Atom, ...]
    home: Block


@dataclass(slots=True)
class _Starts:
    """The readers of one function; ``reads`` says how often each variable is read."""

    reads: Mapping[Var, int]
    known: dict[Var, _Filled] = field(default_factory=dict)

    def block(self, block: Block, counts: Mapping[Var, Atom]) -> Block:
        """The block, where ``counts`` says how far the indices of the loops around it go."""
        eqns: list[Eqn] = []
        for eqn in block.eqns:
            self.known.update((out, _Filled(value, eqn.args, block)) for out, value in _constants(eqn).items())
            row = self.row(eqn, counts)
            if row is not None:
                eqns.append(row)
                self.known.update((out, _Filled(value, row.args, block)) for out, value in _constants(row).items())
                continue
            args = tuple(
                self.own(arg, eqn, block, eqns) if self.changes(eqn, k) else arg for k, arg in enumerate(eqn.args)
            )
            blocks = tuple(self.block(inner, {**counts, **_indices(eqn, inner)}) for inner in eqn.blocks)
            eqns.append(Eqn(eqn.outs, eqn.op, args, eqn.params, blocks, eqn.span))
        return Block(block.params, tuple(eqns), block.results, block.span)

    def changes(self, eqn: Eqn, k: int) -> bool:
        """Whether the equation may change its k-th argument in place."""
        match eqn.op:
            case "update":
                return k == 0
            case "for" | "while":
                return k >= len(eqn.args) - int(eqn.params["carries"])
            case _:
                return eqn.op == "withacc"

    def own(self, arg: Atom, reader: Eqn, block: Block, before: list[Eqn]) -> Atom:
        """The argument, or a tensor that nobody else reads in its place."""
        if not isinstance(arg, Var) or arg not in self.known:
            return arg
        filled = self.known[arg]
        if filled.home is block and self.reads[arg] == 1:
            return arg
        new = Var(arg.name, arg.type)
        before.append(_fill(new, filled.value, filled.sizes, reader))
        return new

    def row(self, eqn: Eqn, counts: Mapping[Var, Atom]) -> Eqn | None:
        """The part of a constant tensor, filled, where the indices of loops are surely in range."""
        if eqn.op != "index" or not isinstance(eqn.outs[0].type, TensorType):
            return None
        tensor, *at = eqn.args
        filled = self.known.get(tensor) if isinstance(tensor, Var) else None
        if filled is None:
            return None
        for index, size in zip(at, filled.sizes, strict=False):
            if not isinstance(index, Var) or counts.get(index) != size:
                return None
        return _fill(eqn.outs[0], filled.value, filled.sizes[len(at) :], eqn)


def _indices(eqn: Eqn, inner: Block) -> dict[Var, Atom]:
    match eqn.op:
        case "build" | "reduce":
            return dict(zip(inner.params, eqn.args, strict=True))
        case "for":
            return {inner.params[0]: eqn.args[0]}
        case _:
            return {}


def _fill(out: Var, value: Const, sizes: tuple[Atom, ...], like: Eqn) -> Eqn:
    assert isinstance(out.type, TensorType)
    at = tuple(Var("i", size.type) for size in sizes)
    return Eqn((out,), "build", sizes, {}, (Block(at, (), (value,)),), like.span)
