"""Iterations of an outermost loop side by side, where the loops inside of them are short or add up in order.

    for (; ks::pack<double>::fits(first, last); first += ks::pack<double>::lanes) {
        const ks::tensor<ks::pack<double>, 1> x_rows = ks::rows(rt, x, first);
        for (int64_t k = 0; k < components; ++k) {
            ks::pack<double> r = 0.0;
            for (int64_t j = 0; j < d; ++j) { r += q(k, j) * x_rows(j); }
            q_bar(k) += ks::sum(r);

The body is printed a second time; what varies between iterations is a ``ks::pack``, all else is computed once for all
of them. So iterations only contribute to sums, all loops in them run equally often, and their indices are the same.
What is read at the iteration's own index and more than once is put side by side before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from ksc.codegen.cpp.expr import name_expr
from ksc.codegen.cpp.memory import open_scratch, scratch, winds_back
from ksc.codegen.cpp.names import Scope
from ksc.codegen.cpp.parallel import Region
from ksc.codegen.cpp.printer import Context, NotPackedError, Packing, Printer
from ksc.codegen.cpp.storage import bound_in
from ksc.codegen.cpp.types import cpp_type
from ksc.codegen.cpp.work import work_of
from ksc.ir.nodes import Atom, Block, Eqn, Var
from ksc.ir.types import BoolType, FloatType, TensorType
from ksc.ops import PRIMITIVES

ARITHMETIC = frozenset({"add", "sub", "mul", "div", "div_by", "neg", "stop_gradient", "select", "and", "or", "not"})
COMPARISONS = frozenset({"eq", "ne", "lt", "lte", "gt", "gte", "isnan", "isinf", "isfinite"})
FUNCTIONS = frozenset(
    "abs floor ceil trunc round exp exp2 expm1 log log2 log10 log1p sqrt rsqrt sigmoid softplus sin cos tan atan sinh "
    "cosh tanh erf erfc max min pow".split()
)
"""The scalar primitives that ``ks/pack.h`` has for packs."""

_Loops = tuple[tuple[Var, Atom], ...]
"""Indices of loops around an equation, with their counts."""


@dataclass(slots=True)
class _Search:
    """Looks for what varies between iterations of a loop, until nothing more is found.

    Variables that are ``linked`` are the same memory, or one C++ variable.
    """

    p: Printer
    index: Var
    own: set[Var]
    varying: set[Var] = field(default_factory=set)
    linked: dict[Var, set[Var]] = field(default_factory=dict)
    rows: dict[Var, None] = field(default_factory=dict)
    reads: list[int] = field(default_factory=list)
    deepest: int = 0

    def run(self, block: Block) -> Packing:
        before = -1
        while before != len(self.varying):
            before = len(self.varying)
            self.rows.clear()
            self.reads.clear()
            self.block(block, ())
        if not self.varying <= self.own or any(read >= self.deepest for read in self.reads):
            raise NotPackedError
        return Packing(self.index, frozenset(self.varying), frozenset(self.own), dict.fromkeys(self.rows, ""))

    def is_varying(self, atom: Atom) -> bool:
        return isinstance(atom, Var) and atom in self.varying

    def need(self, holds: bool) -> None:
        if not holds:
            raise NotPackedError

    def need_same(self, atoms: Sequence[Atom]) -> None:
        """Sizes, counts, conditions and indices have to be the same for all iterations."""
        self.need(not any(self.is_varying(atom) or atom is self.index for atom in atoms))

    def mark(self, var: Var) -> None:
        pending = [var]
        while pending:
            one = pending.pop()
            if one not in self.varying:
                elem = one.type.elem if isinstance(one.type, TensorType) else one.type
                value = getattr(elem, "value", elem)
                value = value.elem if isinstance(value, TensorType) else value
                self.need(isinstance(value, FloatType))
                self.varying.add(one)
                pending += self.linked.get(one, ())

    def link(self, *atoms: Atom) -> None:
        """All of these vary if one does."""
        variables = [atom for atom in atoms if isinstance(atom, Var)]
        for var in variables:
            self.linked.setdefault(var, set()).update(variables)
        for var in variables:
            if var in self.varying:
                for other in variables:
                    self.mark(other)

    def flow(self, source: Atom, target: Var) -> None:
        """``target`` is given the value of ``source``; of tensors that is the same memory."""
        if isinstance(target.type, TensorType):
            self.link(source, target)
        elif self.is_varying(source):
            self.mark(target)

    def block(self, block: Block, loops: _Loops) -> None:
        for eqn in block.eqns:
            if self.p.analysis.is_live(eqn):
                self.eqn(eqn, loops)

    def eqn(self, eqn: Eqn, loops: _Loops) -> None:
        match eqn.op:
            case "index":
                self.read(eqn, loops)
            case "size":
                pass
            case "assert":
                self.need_same(eqn.args)
            case "update":
                tensor, *at, value = eqn.args
                self.need_same(at)
                self.need(not isinstance(value.type, TensorType))
                self.link(tensor, eqn.outs[0])
                if self.is_varying(value):
                    self.mark(eqn.outs[0])
            case "acc_add":
                self.add(eqn)
            case "build" | "reduce":
                self.loop(eqn, loops)
            case "for":
                self.sequence(eqn, loops)
            case "if":
                self.need_same(eqn.args)
                for side in eqn.blocks:
                    self.block(side, loops)
                    for result, out in zip(side.results, eqn.outs, strict=True):
                        self.flow(result, out)
            case "withacc":
                self.accumulate(eqn, loops)
            case _:
                self.primitive(eqn, loops)

    def primitive(self, eqn: Eqn, loops: _Loops) -> None:
        self.need(eqn.op in PRIMITIVES and self.index not in eqn.args)
        if any(map(self.is_varying, eqn.args)):
            self.need(eqn.op in ARITHMETIC or eqn.op in COMPARISONS or eqn.op in FUNCTIONS)
            (out,) = eqn.outs
            if isinstance(out.type, BoolType):
                self.varying.add(out)
            else:
                self.mark(out)
            self.deepest = max(self.deepest, len(loops))

    def read(self, eqn: Eqn, loops: _Loops) -> None:
        tensor, *at = eqn.args
        (out,) = eqn.outs
        if self.index not in at:
            self.need_same(at)
            if isinstance(out.type, TensorType):
                self.link(tensor, out)
            elif self.is_varying(tensor):
                self.mark(out)
            return
        first, *rest = at
        self.need(first is self.index and tensor not in self.own and isinstance(out.type, FloatType))
        self.need_same(rest)
        self.mark(out)
        assert isinstance(tensor, Var)
        if self.is_read_again(tensor, rest, loops):
            self.rows[tensor] = None
            self.reads.append(len(rest))
        else:
            self.reads.append(len(loops) if rest else 0)

    def is_read_again(self, tensor: Var, rest: Sequence[Atom], loops: _Loops) -> bool:
        """Whether all of an iteration's own row is read, and more than once."""
        facts = self.p.in_range.sizes
        counts = dict(loops)
        return 0 < len(rest) < len(loops) and all(
            isinstance(index, Var)
            and index in counts
            and facts.equal(facts.resolve(counts[index]), facts.size(tensor, 1 + k))
            for k, index in enumerate(rest)
        )

    def add(self, eqn: Eqn) -> None:
        acc, *at, value = eqn.args
        self.need_same(at)
        self.need(isinstance(value.type, FloatType))
        if acc in self.own and self.is_varying(value):
            assert isinstance(acc, Var)
            self.mark(acc)

    def loop(self, eqn: Eqn, loops: _Loops) -> None:
        (body,) = eqn.blocks
        self.need_same(eqn.args)
        self.need(not eqn.params.get("nested"))
        self.block(body, (*loops, *zip(body.params, eqn.args, strict=True)))
        for result, out in zip(body.results, eqn.outs, strict=True):
            if eqn.op == "build" and isinstance(result.type, TensorType):
                self.link(result, out)
            elif self.is_varying(result):
                self.need(eqn.op == "build" or not isinstance(out.type, TensorType))
                self.mark(out)
            # What an iteration needs for itself is a row.
            if out in self.varying and isinstance(out.type, TensorType):
                self.need(out.type.rank == 1)

    def sequence(self, eqn: Eqn, loops: _Loops) -> None:
        (body,) = eqn.blocks
        carries = eqn.params["carries"]
        self.need_same(eqn.args[:1])
        self.need(eqn.params.get("checkpoint", 1) == 1 and not eqn.params.get("nested"))
        for param, init, out in zip(body.params[1:], eqn.args[1:], eqn.outs, strict=False):
            self.flow(init, param)
            self.link(param, out)
        self.block(body, (*loops, (body.params[0], eqn.args[0])))
        for k, result in enumerate(body.results):
            target = body.params[1 + k] if k < carries else eqn.outs[k]
            self.need(k < carries or not isinstance(result.type, TensorType))
            if k < carries:
                self.flow(result, target)
            elif self.is_varying(result):
                self.mark(target)

    def accumulate(self, eqn: Eqn, loops: _Loops) -> None:
        (body,) = eqn.blocks
        for param, init, out in zip(body.params, eqn.args, eqn.outs, strict=False):
            self.flow(init, param)
            self.link(param, out)
            if isinstance(out.type, TensorType):
                self.link(init, param)
        self.block(body, loops)
        for result, out in zip(body.results, eqn.outs[len(body.params) :], strict=True):
            self.flow(result, out)


def packing(p: Printer, eqn: Eqn) -> Packing | None:
    """How iterations of an outermost loop run side by side; None where they do not, or it would not pay."""
    body = eqn.blocks[-1]
    if not p.target.in_lanes:
        return None
    if eqn.op not in ("for", "reduce") and any(map(p.analysis.is_read, eqn.outs)):
        return None
    if eqn.op != "for" and len(body.params) > 1:
        return None
    if eqn.op == "reduce" and eqn.params["monoid"] != "add":
        return None
    sums = [param for param in body.params[1:] if p.analysis.is_read(param)] if eqn.op == "for" else []
    if len(eqn.outs) != eqn.params.get("carries", len(eqn.outs)):
        return None
    read = [out for out in eqn.outs if p.analysis.is_read(out)]
    if not all(isinstance(var.type, FloatType) for var in (*sums, *read)):
        return None
    search = _Search(p, body.params[0], bound_in(eqn), set(sums))
    try:
        return search.run(body)
    except NotPackedError:
        return None


def print_packs(
    p: Printer,
    eqn: Eqn,
    region: Region,
    totals: Sequence[str],
    at: Context,
    body: Callable[[Sequence[str], Context], None],
) -> None:
    """Print the loop over packs of the iterations of ``region``; what is left follows from ``region.first`` on.

    Args:
        totals: the C++ variables that iterations add to.
        body: prints an iteration that adds to other variables instead, in a loop that is open.
    """
    found = packing(p, eqn)
    if found is None:
        return
    pack = f"ks::pack<{p.float_type}>"
    scope = Scope(at.scope)
    names = [scope.declare(f"{total}_lanes") for total in totals]
    inner = at.writer.fork()
    try:
        with _packed(p, found, region):
            _print_body(p, eqn, found, Context(inner, Scope(scope)), lambda inside: body(names, inside))
    except NotPackedError:
        return
    region.lanes = f"{pack}::lanes"
    region.work = work_of(p, eqn, packed=True).text()
    zero = "0.0f" if p.float_type == "float" else "0.0"
    for name in names:
        at.writer.line(f"{pack} {name} = {zero};", eqn.span)
    fits = f"{pack}::fits({region.first}, {region.last})"
    at.writer.line(f"for (; {fits}; {region.first} += {pack}::lanes) {{", eqn.span)
    at.writer.lines.extend(inner.lines)
    at.writer.line("}", eqn.span)
    for total, name in zip(totals, names, strict=True):
        at.writer.line(f"{total} += ks::sum({name});", eqn.span)


def _print_body(p: Printer, eqn: Eqn, found: Packing, at: Context, body: Callable[[Context], None]) -> None:
    if found.rows and not winds_back(p, eqn):
        open_scratch(p, at)
    with scratch(p, eqn, at):
        for tensor in found.rows:
            value = p.value(tensor)
            assert isinstance(tensor.type, TensorType)
            name = at.scope.declare(f"{value.text}_rows" if value.text.isidentifier() else "rows")
            type_ = cpp_type(TensorType(tensor.type.rank - 1, tensor.type.elem), f"ks::pack<{p.float_type}>")
            at.writer.statement(f"const {type_} {name} = ks::rows(rt, {value.text}, {p.value(found.index).text});")
            found.rows[tensor] = name
        p.needs_runtime |= bool(found.rows)
        body(at)


@contextmanager
def _packed(p: Printer, found: Packing, region: Region) -> Iterator[None]:
    """Print packs; what is known only of this copy of the body is forgotten after it."""
    kept = p.in_range.facts, dict(p.places), p.copies
    p.packing = found
    p.bind(found.index, name_expr(region.first, mutable=True))
    try:
        yield
    finally:
        p.packing = None
        p.in_range.facts, p.places, p.copies = kept
