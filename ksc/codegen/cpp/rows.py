"""Loops on a grid whose iterations go through rows: a team of threads takes each iteration.

    ks::parallel(rt, x_rows, ks::rows{x_cols}, ks::no_memory, [=](ks::runtime &rt, int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i) {
            float most = -ks::inf<float>;
            ks::along(rt, x_cols, ks::no_memory, …

A thread that walked along a row of its own would read apart from its neighbours, and few long rows would have few
threads; a product of matrices that an iteration makes is a row of as many steps as it has terms. So the loops in the
body are divided as well, and it is decided at run time, from the number of rows and their length, whether a thread,
eight neighbours, a warp, a block or the whole grid takes a row. What a body does only for an element that is NaN is no
row: a team would take each iteration for the sake of a few.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from ksc.codegen.cpp.lanes import count
from ksc.codegen.cpp.printer import Printer
from ksc.ir.nodes import Atom, Block, Const, Eqn, Var, walk
from ksc.ir.rewrite import bound_in
from ksc.ir.types import TensorType
from ksc.ops.cpp import PRIMARY
from ksc.passes.product import product_of

LOOPS = ("build", "reduce", "for")


def row_length(p: Printer, eqn: Eqn) -> str:
    """How many elements of its row an iteration goes through, in C++; empty where it goes through none."""
    search = _Search(p, frozenset(bound_in(eqn)), _indices(eqn))
    return search.length if search.block(eqn.blocks[-1]) and not search.across else ""


def _indices(loop: Eqn) -> tuple[Var, ...]:
    params = loop.blocks[-1].params
    return tuple(params[:1] if loop.op == "for" else params)


@dataclass(slots=True)
class _Search:
    """What the loops in a body read.

    Attributes:
        own: what the body binds.
        outer: the indices of an iteration.
        parts: tensors that are parts of others at these.
        nans: whether something is NaN.
        length: of the first row that is read.
        across: whether something is read side by side by neighbouring iterations.
    """

    p: Printer
    own: frozenset[Var]
    outer: tuple[Var, ...]
    parts: set[Atom] = field(default_factory=set)
    nans: set[Atom] = field(default_factory=set)
    length: str = ""
    across: bool = False

    def block(self, block: Block) -> bool:
        """Look through a block; false where something in it would be done by all of a team, and take long."""
        return all(self.eqn(eqn) for eqn in block.eqns if self.p.analysis.is_live(eqn))

    def eqn(self, eqn: Eqn) -> bool:
        match eqn.op:
            case "index" if isinstance(eqn.outs[0].type, TensorType):
                tensor, *at = eqn.args
                if tensor in self.parts or any(index in self.outer for index in at):
                    self.parts.add(eqn.outs[0])
                return True
            case "isnan":
                self.nans.update(eqn.outs)
                return True
            case "if" if eqn.args[0] in self.nans:
                rare = replace(self, parts={*self.parts})
                return rare.block(eqn.blocks[0]) and self.block(eqn.blocks[1])
            case "if" | "withacc":
                return all(map(self.block, eqn.blocks))
            case "build" if (product := product_of(eqn)) is not None:
                self.length = self.length or self.text([*eqn.args, product.depth])
                return True
            case "build" | "reduce" | "for" if id(eqn) in self.p.outermost:
                self.loop(eqn)
                return True
            case "build" | "reduce":
                return count(eqn) is not None
            case "for" | "while" | "call" | "callback" | "box" | "unbox":
                return False
            case _:
                return True

    def loop(self, eqn: Eqn) -> None:
        indices = _indices(eqn)
        for inner in walk(eqn.blocks[-1]):
            if inner.op == "index" and not isinstance(inner.outs[0].type, TensorType):
                self.across |= inner.args[-1] is self.outer[-1]
        for inner in _directly(eqn.blocks[-1]):
            if inner.op != "index" or isinstance(inner.outs[0].type, TensorType) or inner.args[-1] is not indices[-1]:
                continue
            if inner.args[0] in self.parts or any(index in self.outer for index in inner.args[1:-1]):
                self.length = self.length or self.count(eqn)

    def count(self, eqn: Eqn) -> str:
        """The count of a loop; empty where it is known only in the body, or small."""
        if eqn.op != "for" and count(eqn) is not None:
            return ""
        return self.text(eqn.args[:1] if eqn.op == "for" else eqn.args)

    def text(self, counts: Sequence[Atom]) -> str:
        """The product of sizes; empty where they are known only in the body."""
        if any(atom in self.own for atom in counts):
            return ""
        if not all(isinstance(atom, Const) or self.p.in_range.is_size(atom) for atom in counts):
            return ""
        return " * ".join(self.p.value(atom).cpp.within(PRIMARY) for atom in counts)


def _directly(block: Block) -> Iterator[Eqn]:
    """The equations of a block that no loop in it repeats."""
    for eqn in block.eqns:
        yield eqn
        if eqn.op not in (*LOOPS, "while"):
            for inner in eqn.blocks:
                yield from _directly(inner)
