"""What an iteration of a loop costs, as a C++ expression of the sizes that are known before it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ksc.codegen.cpp.printer import Printer
from ksc.codegen.cpp.storage import bound_in
from ksc.ir.nodes import Atom, Block, Const, Eqn, Var
from ksc.ir.types import Integer
from ksc.ops import PRIMITIVES
from ksc.passes.cost import EXPENSIVE

WORTH_DIVIDING = 2 * 131072
"""As in prelude/ks/parallel.h: two parts of a loop that are worth a thread each, in additions of floats."""

GUESS = 8
"""The count of a loop whose count is not known before the outer one."""

CALL = 100
"""The cost of a call, which nobody looks into."""

_READABLE = re.compile(r"[A-Za-z_]\w*(\.size\[\d+\])?")

_FREE = frozenset({"size", "get", "tuple", "bool_to_float", "to_float", "not", "and", "or", "assert"})


@dataclass(frozen=True, slots=True)
class Work:
    """A sum of products of sizes, each product with its coefficient; sizes are texts, sorted."""

    terms: Mapping[tuple[str, ...], int] = field(default_factory=dict)

    def plus(self, other: Work) -> Work:
        """The sum of both."""
        terms = dict(self.terms)
        for sizes, coefficient in other.terms.items():
            terms[sizes] = terms.get(sizes, 0) + coefficient
        return Work(terms)

    def times(self, size: str | int) -> Work:
        """The product with a size."""
        if isinstance(size, int):
            return Work({sizes: coefficient * size for sizes, coefficient in self.terms.items()})
        return Work({tuple(sorted((*sizes, size))): coefficient for sizes, coefficient in self.terms.items()})

    def known(self) -> int | None:
        """The number, where it depends on no size."""
        return self.terms.get((), 0) if set(self.terms) <= {()} else None

    def text(self) -> str:
        """C++ for about as much: only the products of most sizes count."""
        degree = max((len(sizes) for sizes in self.terms), default=0)
        leading = sorted((sizes, c) for sizes, c in self.terms.items() if len(sizes) == degree and c > 0)
        products = [" * ".join([*([str(c)] if c > 1 or not sizes else []), *sizes]) for sizes, c in leading]
        return " + ".join(products[:3]) or "1"


def work_of(p: Printer, eqn: Eqn) -> Work:
    """The cost of one iteration of the outermost index of a loop, in additions of floats."""
    inside = bound_in(eqn)
    work = _block(p, eqn.blocks[-1], inside)
    if eqn.op in ("build", "reduce"):
        for size in eqn.args[1:]:
            work = work.times(_size(p, size, inside))
    return work


def _block(p: Printer, block: Block, inside: set[Var]) -> Work:
    total = Work({(): 1})
    for eqn in block.eqns:
        if p.analysis.is_live(eqn):
            total = total.plus(_eqn(p, eqn, inside))
    return total


def _eqn(p: Printer, eqn: Eqn, inside: set[Var]) -> Work:
    match eqn.op:
        case "if":
            return max((_block(p, side, inside) for side in eqn.blocks), key=lambda w: (len(w.text()), w.text()))
        case "while":
            return _block(p, eqn.blocks[0], inside).plus(_block(p, eqn.blocks[1], inside)).times(GUESS)
        case "for" | "build" | "reduce":
            work = _block(p, eqn.blocks[0], inside)
            for size in eqn.args[: 1 if eqn.op == "for" else None]:
                work = work.times(_size(p, size, inside))
            return work
        case "withacc":
            return _block(p, eqn.blocks[0], inside)
        case "call":
            return Work({(): CALL})
        case _:
            return Work({(): _plain(eqn)})


def _plain(eqn: Eqn) -> int:
    record = PRIMITIVES.get(eqn.op)
    if eqn.op in _FREE or (record is not None and all(arg.type == Integer for arg in eqn.args)):
        return 0
    return EXPENSIVE if record is not None and record.cost == "expensive" else 1


def _size(p: Printer, size: Atom, inside: set[Var]) -> str | int:
    if isinstance(size, Const):
        return int(size.value)
    if size in inside:
        return GUESS
    text = p.value(size).text
    return text if _READABLE.fullmatch(text) else GUESS
