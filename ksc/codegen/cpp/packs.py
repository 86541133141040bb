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

So is a whole function that a ``vmap`` lifts over its lanes, if it has loops: compilers put none of these side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from ksc.codegen.cpp.expr import name_expr
from ksc.codegen.cpp.memory import open_scratch, scratch, winds_back
from ksc.codegen.cpp.names import Scope
from ksc.codegen.cpp.parallel import Region
from ksc.codegen.cpp.printer import Context, NotPackedError, Packing, Printer
from ksc.codegen.cpp.storage import bound_by, bound_in
from ksc.codegen.cpp.types import cpp_type
from ksc.codegen.cpp.varying import Varying
from ksc.codegen.cpp.work import work_of
from ksc.ir.nodes import Const, Eqn, Function, Var, walk
from ksc.ir.types import FloatType, Integer, TensorType

MOST_UNROLLED = 16
"""Loops of so many iterations compilers unroll, and put what is around them side by side."""


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
    try:
        return Varying(p, body.params[0], bound_in(eqn), set(sums)).run(body)
    except NotPackedError:
        return None


def packing_of(p: Printer, function: Function) -> Packing:
    """How calls of a function run side by side; NotPackedError where they do not, or compilers do it as well."""
    if not function.result_types or not any(map(_is_long, walk(function.body))):
        raise NotPackedError
    differ = {param for param in function.params if isinstance(param.type, FloatType)}
    return Varying(p, Var("lane", Integer), bound_by(function.body), differ, ways=True).run(function.body)


def _is_long(eqn: Eqn) -> bool:
    counts = eqn.args if eqn.op in ("build", "reduce") else eqn.args[:1]
    return eqn.op == "while" or (
        eqn.op in ("build", "reduce", "for")
        and not all(isinstance(count, Const) and int(count.value) <= MOST_UNROLLED for count in counts)
    )


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
    pack = found.pack
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
            type_ = cpp_type(TensorType(tensor.type.rank - 1, tensor.type.elem), found.pack)
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
