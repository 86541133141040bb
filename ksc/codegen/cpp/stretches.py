"""Innermost loops in stretches over which quotients by their index stay the same, with checks before each.

    for (int64_t j = 0; j < n; ++j) {                       for (int64_t j0 = 0, end = 0; j0 < n; j0 = end) {
        y(i, j) = x(ks::idiv(j, w), ks::imod(j, w));            const int64_t row = ks::idiv(j0, w);
    }                                                ⟶          const int64_t start = row * w;
                                                                end = ks::same_quotient(j0, n, j0, w);
                                                                for (int64_t j = j0; j < end; ++j) {
                                                                    y(i, j) = x(row, j - start);
                                                                }
                                                            }

So it is where dimensions are joined or split, and where an index goes round: ``x[(j - 5) % n]`` is two stretches. What
is divided is the index and numbers that do not change in the loop. A remainder is the index less the start of the
stretch, so elements that lie side by side are read as such, and no iteration divides.

Integers that are the same in all iterations are computed before the loop where they are needed for that. So are checks
of them, behind a test that there is an iteration, since a loop with a branch that stops the kernel is not vectorised;
it is the first iteration that they would stop. Nothing is taken past what may stop the kernel otherwise, or print.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ksc.codegen.cpp.expr import Expr, name_expr
from ksc.codegen.cpp.names import Scope
from ksc.codegen.cpp.printer import Context, Printer
from ksc.codegen.cpp.tensors import check_range
from ksc.ir.nodes import Atom, Block, Const, Eqn, Var, walk
from ksc.ir.rewrite import read_vars
from ksc.ir.types import Integer
from ksc.ops import PRIMITIVES, primitive
from ksc.ops.cpp import ADDITIVE, MULTIPLICATIVE, CppExpr

SHORTEST = 16
"""Fewer iterations are not worth a division before them."""

Terms = tuple[tuple[str, Atom], ...]
"""What is added to the index, or taken from it."""


@dataclass(slots=True)
class Quotient:
    """The index with ``terms`` divided by ``divisor``, and the equations that give the quotient or the remainder."""

    terms: Terms
    divisor: Atom
    divided: list[Eqn] = field(default_factory=list)

    def results(self, p: Printer, op: str) -> Iterator[Eqn]:
        """The equations of one of the two that are read."""
        return (eqn for eqn in self.divided if eqn.op == op and p.analysis.is_read(eqn.outs[0]))


@dataclass(frozen=True, slots=True)
class Check:
    """Dimensions of a tensor that is read, or added to, at indices which have to be checked."""

    eqn: Eqn
    dims: frozenset[int]


@dataclass(frozen=True, slots=True)
class Stretches:
    """What comes before each stretch of a loop, in order, and the body that is left."""

    before: Sequence[Eqn | Quotient | Check]
    body: Block

    @property
    def fixed(self) -> frozenset[Var]:
        """What is computed before the loop."""
        made = [one for one in self.before if isinstance(one, Eqn)]
        made += [eqn for one in self.before if isinstance(one, Quotient) for eqn in one.divided if eqn.op == "idiv"]
        return frozenset(out for eqn in made for out in eqn.outs)

    def head(self, first: str, last: str, begin: str, end: str) -> str:
        """What stands around the loop from ``begin`` to ``end``; these are the limits of all where nothing divides."""
        if any(isinstance(one, Quotient) for one in self.before):
            return f"for (int64_t {begin} = {first}, {end} = {first}; {begin} < {last}; {begin} = {end})"
        return f"if ({first} < {last})"

    def limits(self, name: str, first: str, last: str, scope: Scope) -> tuple[str, str, str]:
        """The loop's index and where it begins and ends."""
        if any(isinstance(one, Quotient) for one in self.before):
            return name, scope.declare("begin"), scope.declare("end")
        return name, first, last

    def print(self, p: Printer, last: str, limits: tuple[str, str, str], at: Context) -> None:
        """Print what comes before the loop with such ``limits``, all of which end at ``last``."""
        _, _, end = limits
        ends = last
        for one in self.before:
            if isinstance(one, Quotient):
                _print_quotient(p, one, limits, ends, at)
                ends = end
            elif isinstance(one, Check):
                check_range(p, one.eqn.args[0], _indices(one.eqn), one.eqn, at, dims=one.dims)
            else:
                p.eqn(one, at)


def _print_quotient(p: Printer, one: Quotient, limits: tuple[str, str, str], ends: str, at: Context) -> None:
    """Print the quotient in a stretch, where its remainders start, and where the stretch ends."""
    name, begin, end = limits
    span = one.divided[0].span
    divisor = p.value(one.divisor)
    record = primitive("idiv")
    if record.failure is not None and p.may_fail(one.divided[0]):
        fails = p.apply(record.failure.cpp, (name_expr(begin), divisor), span)
        p.fail_if(fails, record.failure.code, record.failure.message, span, at)
    dividend = _sum(p, begin, one.terms)
    quotient = f"ks::idiv({dividend}, {divisor.text})"
    for k, eqn in enumerate(one.results(p, "idiv")):
        p.in_range.defined(eqn)
        if k == 0:
            text = p.declare(eqn.outs[0], at)
            at.writer.statement(f"const int64_t {text} = {quotient};", span)
            quotient = text
        p.bind(eqn.outs[0], name_expr(quotient))
    start = ""
    for eqn in one.results(p, "imod"):
        p.in_range.defined(eqn)
        if not start:
            start = at.scope.declare("start")
            at.writer.statement(f"const int64_t {start} = {quotient} * {divisor.cpp.within(MULTIPLICATIVE + 1)};", span)
        p.bind(eqn.outs[0], Expr(CppExpr(f"{_sum(p, name, one.terms)} - {start}", ADDITIVE), span=eqn.span))
    at.writer.line(f"{end} = ks::same_quotient({begin}, {ends}, {dividend}, {divisor.text});", span)


def _sum(p: Printer, name: str, terms: Terms) -> str:
    return " ".join([name, *(f"{sign} {p.value(atom).cpp.within(ADDITIVE + 1)}" for sign, atom in terms)])


def _indices(eqn: Eqn) -> Sequence[Atom]:
    return eqn.args[1:-1] if eqn.op == "acc_add" else eqn.args[1:]


def stretches_of(p: Printer, eqn: Eqn, index: Var, size: Atom) -> Stretches | None:
    """The stretches of the loop over ``index``, the innermost one of ``eqn``, of indices known in range."""
    (body,) = eqn.blocks
    short = isinstance(size, Const) and int(size.value) < SHORTEST
    loops = any(inner.op in ("build", "reduce", "for", "while") for inner in walk(body))
    if short or loops or not p.target.in_lanes or p.packing is not None or p.across_lanes:
        return None
    facts = p.in_range.facts
    found = _Search(p, body, index, body.params if eqn.op == "for" else (index,))
    found.search()
    p.in_range.facts = facts
    return found.stretches()


class _Search:
    def __init__(self, p: Printer, body: Block, index: Var, changing: Sequence[Var]) -> None:
        self.p = p
        self.body = body
        # What is the index and others; what is not known before the loop.
        self.sums: dict[Atom, Terms] = {index: ()}
        self.later: set[Atom] = set(changing)
        self.quotients: dict[tuple[Terms, Atom], Quotient] = {}
        self.order: list[Eqn | Quotient | Check] = []
        self.may_stop = False

    def search(self) -> None:
        """Go through the body."""
        for eqn in self.body.eqns:
            if self.p.analysis.is_live(eqn):
                self.visit(eqn)

    def visit(self, eqn: Eqn) -> None:
        """Take an equation before the loop, or leave it there."""
        fails = eqn.op in PRIMITIVES and self.p.may_fail(eqn)
        fixed = self.later.isdisjoint(eqn.args)
        if eqn.op in PRIMITIVES:
            self.p.in_range.defined(eqn)
        if eqn.op in ("idiv", "imod") and self.is_divided(eqn) and not (fails and self.may_stop):
            key = self.sums[eqn.args[0]], eqn.args[1]
            if key not in self.quotients:
                self.order.append(self.quotients.setdefault(key, Quotient(*key)))
            self.quotients[key].divided.append(eqn)
            if eqn.op == "imod":
                self.later.update(eqn.outs)
            return
        if eqn.op in PRIMITIVES and fixed and eqn.outs[0].type == Integer and not (fails and self.may_stop):
            self.order.append(eqn)
            return
        if eqn.op in ("add", "sub") and eqn.outs[0].type == Integer:
            self.add(eqn)
        self.later.update(eqn.outs)
        if eqn.op in ("index", "acc_add"):
            self.check(eqn)
        elif fails or (eqn.op not in PRIMITIVES and eqn.op != "size"):
            self.may_stop = True

    def is_divided(self, eqn: Eqn) -> bool:
        divided, divisor = eqn.args
        small = isinstance(divisor, Const) and int(divisor.value) < SHORTEST
        return divided in self.sums and divisor not in self.later and not small

    def add(self, eqn: Eqn) -> None:
        """See whether the index is added to something that stays."""
        a, b = eqn.args
        if a in self.sums and b not in self.later:
            self.sums[eqn.outs[0]] = (*self.sums[a], ("+" if eqn.op == "add" else "-", b))
        elif eqn.op == "add" and b in self.sums and a not in self.later:
            self.sums[eqn.outs[0]] = (*self.sums[b], ("+", a))

    def check(self, eqn: Eqn) -> None:
        """Take the checks of an element before the loop, if they are of what stays."""
        tensor, indices = eqn.args[0], _indices(eqn)
        in_range = self.p.in_range
        unsafe = {dim: at for dim, at in enumerate(indices) if not in_range.is_safe(tensor, dim, at, eqn)}
        if unsafe and not self.may_stop and tensor not in self.later and self.later.isdisjoint(unsafe.values()):
            self.order.append(Check(eqn, frozenset(unsafe)))
            for dim, at in unsafe.items():
                in_range.checked(tensor, dim, at)
        elif unsafe:
            self.may_stop = True

    def stretches(self) -> Stretches | None:
        """What was found, without what is computed for nothing of it; None where nothing was."""
        needed: set[Atom] = set()
        before: list[Eqn | Quotient | Check] = []
        for one in reversed(self.order):
            match one:
                case Quotient():
                    needed.update(atom for _, atom in one.terms)
                    needed.add(one.divisor)
                case Check():
                    needed.update(_indices(one.eqn)[dim] for dim in one.dims)
                case Eqn() if one.outs[0] in needed or self.p.may_fail(one):
                    needed.update(one.args)
                case _:
                    continue
            before.insert(0, one)
        if not before:
            return None
        taken = {id(one) for one in before}
        taken |= {id(eqn) for one in self.quotients.values() for eqn in one.divided}
        rest = [eqn for eqn in self.body.eqns if id(eqn) not in taken]
        # Sums that were only divided are read by nobody.
        for eqn in reversed([*rest]):
            if eqn.outs and eqn.outs[0] in self.sums and eqn.outs[0] not in read_vars(rest, self.body.results):
                rest.remove(eqn)
        return Stretches(before, Block(self.body.params, tuple(rest), self.body.results, self.body.span))
