"""What an iteration of a loop costs, as a C++ expression of the sizes that are known before it.

The unit is what an addition costs for one of the 16 numbers of a register. An addition by itself costs ``ALONE`` of
them: loops that the compiler puts into registers are up to 16 times as fast as others, and so are bodies whose
iterations run side by side.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ksc.codegen.cpp.lanes import count, has_small_loops
from ksc.codegen.cpp.printer import Printer
from ksc.ir.nodes import Atom, Block, Const, Eqn, Var, const, walk
from ksc.ir.rewrite import bound_in
from ksc.ir.sums import are_sums
from ksc.ir.types import Integer
from ksc.ops import PRIMITIVES
from ksc.passes.cost import EXPENSIVE

ALONE = 16
"""The cost of an addition that shares no register with others."""

ACCESS = 4
"""What it costs to read or store a number of a full register, in additions."""

WORTH_DIVIDING = 2 * 262144 * ALONE
"""As in prelude/ks/parallel.h: two parts of a loop that are worth a thread each."""

GUESS = 8
"""The count of a loop whose count is not known before the outer one."""

CALL = 100 * ALONE
"""The cost of a call, which nobody looks into."""

_READABLE = re.compile(r"[A-Za-z_]\w*(\.size\[\d+\])?")

_FREE = frozenset({"size", "get", "tuple", "bool_to_float", "to_float", "not", "and", "or", "assert"})

_WHOLE = frozenset({"for", "while", "build", "reduce", "withacc", "call", "callback", "assert"})
"""What keeps iterations of the loop around it from sharing registers."""


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
        """C++ for about as much: the products of most sizes, and a number beside which they are small."""
        degree = max((len(sizes) for sizes in self.terms), default=0)
        leading = sorted((sizes, c) for sizes, c in self.terms.items() if len(sizes) == degree and c > 0)
        number = self.terms.get((), 0)
        if degree > 0 and number > GUESS * sum(c for _, c in leading):
            leading = [*leading[:2], ((), number)]
        products = [" * ".join([*([str(c)] if c > 1 or not sizes else []), *sizes]) for sizes, c in leading]
        return " + ".join(products[:3]) or "1"


def divided_index(p: Printer, eqn: Eqn) -> int:
    """Which index of a loop threads share out: the outermost one, on a processor of those not known to be of size 1."""
    if p.target.is_grid or eqn.op == "for":
        return 0
    return next((k for k, size in enumerate(eqn.args) if size != const(1)), 0)


def work_of(p: Printer, eqn: Eqn, *, packed: bool = False) -> Work:
    """The cost of one iteration of the index of a loop that threads share out.

    Args:
        packed: whether iterations run side by side (``packs.py``).
    """
    together = packed or (p.target.in_lanes and has_small_loops(eqn))
    estimate = _Estimate(p, bound_in(eqn))
    lanes = estimate.register if together else estimate.lanes(eqn)
    work = estimate.block(eqn.blocks[-1], lanes, is_stored=eqn.op == "build")
    if eqn.op in ("build", "reduce"):
        divided = divided_index(p, eqn)
        for k, size in enumerate(eqn.args):
            work = work.times(estimate.size(size)) if k != divided else work
    return work


@dataclass(frozen=True, slots=True)
class _Estimate:
    """Adds up equations; ``lanes`` is how many of their iterations share a register."""

    p: Printer
    inside: set[Var]

    @property
    def register(self) -> int:
        return 16 if self.p.float_type == "float" else 8

    def lanes(self, eqn: Eqn) -> int:
        """How many iterations of a loop share a register: of an innermost one that hands on nothing but sums."""
        if not self.p.target.in_lanes or (eqn.op == "for" and not are_sums(eqn)):
            return 1
        looked_up: set[Atom] = set()
        for inner in walk(eqn.blocks[-1]):
            if not self.p.analysis.is_live(inner):
                continue
            by_lookup = not looked_up.isdisjoint(inner.args)
            if inner.op in _WHOLE or (by_lookup and inner.op in ("index", "update", "acc_add")):
                return 1
            if (inner.op == "index" or by_lookup) and all(out.type == Integer for out in inner.outs):
                looked_up.update(inner.outs)
        known = count(eqn) if eqn.op != "for" else None
        return self.register if known is None else max(1, min(self.register, known))

    def block(self, block: Block, lanes: int, *, is_stored: bool = False) -> Work:
        total = Work({(): _access(lanes) if is_stored else ALONE // lanes})
        for eqn in block.eqns:
            if self.p.analysis.is_live(eqn):
                total = total.plus(self.eqn(eqn, lanes))
        return total

    def eqn(self, eqn: Eqn, lanes: int) -> Work:
        match eqn.op:
            case "if":
                one, other = (self.block(side, lanes) for side in eqn.blocks)
                return one.plus(other) if lanes > 1 else max(one, other, key=lambda w: (len(w.text()), w.text()))
            case "while":
                return self.block(eqn.blocks[0], lanes).plus(self.block(eqn.blocks[1], lanes)).times(GUESS)
            case "for" | "build" | "reduce":
                own = lanes if lanes > 1 else self.lanes(eqn)
                work = self.block(eqn.blocks[0], own, is_stored=eqn.op == "build")
                for size in eqn.args[: 1 if eqn.op == "for" else None]:
                    work = work.times(self.size(size))
                return work
            case "withacc":
                return self.block(eqn.blocks[0], lanes)
            case "call":
                return Work({(): CALL})
            case _:
                return Work({(): self.plain(eqn, lanes)})

    def plain(self, eqn: Eqn, lanes: int) -> int:
        record = PRIMITIVES.get(eqn.op)
        if eqn.op in _FREE or (record is not None and all(arg.type == Integer for arg in eqn.args)):
            return 0
        if record is None:
            return _access(lanes)
        return (EXPENSIVE if record.cost == "expensive" else 1) * ALONE // lanes

    def size(self, size: Atom) -> str | int:
        if isinstance(size, Const):
            return int(size.value)
        if size in self.inside:
            return GUESS
        text = self.p.value(size).text
        return text if _READABLE.fullmatch(text) else GUESS


def _access(lanes: int) -> int:
    return min(ALONE, ACCESS * ALONE // lanes)
