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

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from ksc.codegen.cpp.expr import name_expr
from ksc.codegen.cpp.lanes import has_small_loops, is_row, mentions_runtime
from ksc.codegen.cpp.memory import open_scratch, scratch, winds_back
from ksc.codegen.cpp.names import Scope
from ksc.codegen.cpp.parallel import Region
from ksc.codegen.cpp.printer import Context, NotPackedError, Packing, Printer
from ksc.codegen.cpp.types import cpp_type, declaration
from ksc.codegen.cpp.varying import Varying
from ksc.codegen.cpp.work import work_of
from ksc.codegen.cpp.writer import INDENT, Line, Writer
from ksc.ir.nodes import Const, Eqn, Function, Var, walk
from ksc.ir.rewrite import bound_in, bound_vars
from ksc.ir.sums import are_sums
from ksc.ir.types import AccType, FloatType, Integer, TensorType
from ksc.ops.cpp import PRIMARY
from ksc.passes.small.literal import elements_of

MOST_UNROLLED = 16
"""Loops of so many iterations compilers unroll, and put what is around them side by side."""


FEW_ELEMENTS = 16
"""Bodies of straight code that read and write fewer elements of rows stay as they are."""


def packing(p: Printer, eqn: Eqn) -> Packing | None:
    """How iterations of an outermost loop run side by side; None where they do not, or it would not pay."""
    return _packing_of_sums(p, eqn) or _packing_of_rows(p, eqn) if p.target.in_lanes else None


def _packing_of_sums(p: Printer, eqn: Eqn) -> Packing | None:
    """Where iterations only add to what they share."""
    body = eqn.blocks[-1]
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


def _packing_of_rows(p: Printer, eqn: Eqn) -> Packing | None:
    """Where iterations read and write rows of their own."""
    body = eqn.blocks[-1]
    if eqn.op not in ("build", "for") or (eqn.op == "build" and len(body.params) > 1) or eqn.params.get("nested"):
        return None
    if _fills_registers(eqn):
        return None
    sums = {param for param in body.params[1:] if p.analysis.is_read(param)} if eqn.op == "for" else set()
    if not all(isinstance(var.type, FloatType) for var in sums):
        return None
    look = Varying(p, body.params[0], bound_in(eqn), set(sums), ways=True, whole_rows=True)
    try:
        found = look.run(body)
    except NotPackedError:
        return None
    if (
        not found.rows
        or _is_small(eqn, found)
        or any(p.records.get(name, members) != members for name, members in found.records.items())
    ):
        return None
    p.records |= found.records
    return dataclasses.replace(found, loop=eqn, sums=bool(sums))


def _fills_registers(eqn: Eqn) -> bool:
    """Whether compilers put iterations side by side by themselves, or what loops over rows in them do."""
    inside = list(walk(eqn.blocks[-1]))
    if has_small_loops(eqn):
        tensors = (out for inner in inside if inner.op == "if" for out in inner.outs)
        return not any(isinstance(out.type, TensorType) for out in tensors)
    if any(inner.op == "while" or (inner.op == "for" and not are_sums(inner)) for inner in inside):
        return False
    return any(
        _is_long(inner) or (inner.op == "build" and is_row(inner) and elements_of(inner) is None) for inner in inside
    )


def _is_small(eqn: Eqn, found: Packing) -> bool:
    """Whether a body without loops reads and writes so few elements that compilers gather them as fast."""
    if any(inner.op in ("build", "reduce", "for", "while") for inner in walk(eqn.blocks[-1])):
        return False
    sizes = [_tensor_type(tensor).sizes[1:] for tensor in found.rows]
    sizes += [result.type.sizes if isinstance(result.type, TensorType) else () for result in eqn.blocks[-1].results]
    return sum(math.prod(size or 0 for size in row) for row in sizes) < FEW_ELEMENTS


def packing_of(p: Printer, function: Function) -> Packing:
    """How calls of a function run side by side; NotPackedError where they do not, or compilers do it as well."""
    if not function.result_types or not any(map(_is_long, walk(function.body))):
        raise NotPackedError
    differ = {param for param in function.params if isinstance(param.type, FloatType)}
    return Varying(p, Var("lane", Integer), bound_vars(function.body), differ, ways=True).run(function.body)


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
    if found.whole_rows:
        found = dataclasses.replace(found, count=scope.declare("count"))
    names = [scope.declare(f"{total}_lanes") for total in totals]
    for number in found.totals:
        totals = [*totals, p.value(number).text]
        found.totals[number] = scope.declare(f"{totals[-1]}_lanes")
        names.append(found.totals[number])
    inner = at.writer.fork()
    try:
        with _packed(p, found, region):
            carried = names[: len(names) - len(found.totals)]
            _print_body(p, eqn, found, Context(inner, Scope(scope)), lambda inside: body(carried, inside))
        leaves = found.leaves or any("throw ks::one_by_one" in line.text for line in inner.lines)
        if leaves and found.shared:
            raise NotPackedError
        if found.whole_rows and mentions_runtime(inner.lines) and not found.shared:
            p.needs_runtime = leaves = True
        found = dataclasses.replace(found, leaves=leaves)
    except NotPackedError:
        return
    region.lanes = f"{pack}::lanes"
    # Rows whose length is not known may be too long for packs.
    if not found.whole_rows or _elements(p, found).isdigit():
        region.work = work_of(p, eqn, packed=True).text()
    zero = "0.0f" if p.float_type == "float" else "0.0"
    # What a pack has added counts once it has come to its end.
    whole = [scope.declare(f"{total}_sum") for total in totals] if found.whole_rows and found.leaves else names
    for name in whole:
        at.writer.line(f"{pack} {name} = {zero};", eqn.span)
    if found.whole_rows:
        _print_loop_of_rows(p, eqn, found, region, _to_the_end(pack, whole, names, inner), at)
    else:
        fits = f"{pack}::fits({region.first}, {region.last})"
        at.writer.line(f"for (; {fits}; {region.first} += {pack}::lanes) {{", eqn.span)
        at.writer.lines.extend(inner.lines)
        at.writer.line("}", eqn.span)
    for total, name in zip(totals, whole, strict=True):
        at.writer.line(f"{total} += ks::sum({name});", eqn.span)


def _to_the_end(pack: str, whole: Sequence[str], names: Sequence[str], body: Writer) -> list[str | Line]:
    """The body of a pack, which adds to ``whole`` at its end what it added to ``names``."""
    if whole == names:
        return [*body.lines]
    begun = [f"{INDENT}{pack} {name} = {total};" for name, total in zip(names, whole, strict=True)]
    ended = [f"{INDENT}{total} = {name};" for name, total in zip(names, whole, strict=True)]
    return [*begun, *body.lines, *ended]


def _print_loop_of_rows(
    p: Printer, eqn: Eqn, found: Packing, region: Region, body: Sequence[str | Line], at: Context
) -> None:
    """The loop over packs of iterations that have rows, unless these are too long; what is left runs one by one."""
    first, last, pack = region.first, region.last, found.pack
    adds = found.shared or found.sums or found.totals
    # What adds to shared tensors cannot be given up where its temporaries take too much memory.
    most = ", ks::memory_of_pack / 64" if found.shared else ""
    remaining = f"ks::side_by_side<{pack}>({_elements(p, found)}, {last} - {first}{most})"
    if adds:
        remaining = f"{pack}::fits({first}, {last}) && {remaining}"
    held = f"{pack}::lanes" if adds else f"ks::lanes_left<{pack}>({first}, {last})"
    lines: list[str | Line] = [
        f"for (; {remaining}; {first} += {pack}::lanes) {{",
        f"{INDENT}const int64_t {found.count} = {held};",
        *body,
        "}",
    ]
    if found.leaves:
        p.needs_runtime = True
        lines = [
            "rt.limit(ks::memory_of_pack);",
            "try {",
            *_indented(lines),
            "} catch (const ks::one_by_one &) {",
            "}",
            "rt.limit(INT64_MAX);",
        ]
    for line in lines:
        if isinstance(line, str):
            at.writer.line(line, eqn.span)
        else:
            at.writer.lines.append(line)


def _indented(lines: Sequence[str | Line]) -> list[str | Line]:
    return [
        f"{INDENT}{line}" if isinstance(line, str) else dataclasses.replace(line, text=INDENT + line.text)
        for line in lines
    ]


def _elements(p: Printer, found: Packing) -> str:
    """The number of elements that an iteration reads and writes in its rows, in C++."""
    known, others = 0, []
    for tensor in found.rows:
        type_ = _tensor_type(tensor)
        sizes = type_.sizes[1:]
        if None not in sizes:
            known += math.prod(size or 0 for size in sizes)
        else:
            text = p.value(tensor).cpp.within(PRIMARY)
            others.append(
                " * ".join(f"{text}.size[{k + 1}]" if size is None else str(size) for k, size in enumerate(sizes))
            )
    return " + ".join([*others, *([str(known)] if known or not others else [])])


def _tensor_type(var: Var) -> TensorType:
    type_ = var.type.value if isinstance(var.type, AccType) else var.type
    assert isinstance(type_, TensorType)
    return type_


def _print_whole_rows(p: Printer, eqn: Eqn, found: Packing, at: Context, body: Callable[[Context], None]) -> None:
    """Rows are read before the body, and written after it."""
    first = p.value(found.index).text
    written = {inner.args[0] for inner in walk(eqn.blocks[-1]) if inner.op == "acc_add"}
    if not winds_back(p, eqn):
        open_scratch(p, at)
    with scratch(p, eqn, at):
        for tensor in found.rows:
            type_ = _tensor_type(tensor)
            value = p.value(tensor)
            name = at.scope.declare(f"{value.text}_lanes" if value.text.isidentifier() else "rows")
            number = type_.rank == 1
            row = type_.elem if number else TensorType(type_.rank - 1, type_.elem)
            head = declaration(row, name, found.pack, const=not number or tensor not in written)
            given = ", ".join([*([] if number else ["rt"]), value.text, first, found.count])
            at.writer.statement(f"{head} = ks::rows<{found.pack}>({given});", eqn.span)
            found.rows[tensor] = name
        body(at)
        for tensor, name in found.rows.items():
            if tensor in written:
                where = f"{p.value(tensor).text}, {first}, {found.count}, {name}"
                number = _tensor_type(tensor).rank == 1
                text = f"ks::put_rows({where});" if number else f"ks::put_rows(rt, {where}, 0);"
                at.writer.statement(text, eqn.span)
        p.needs_runtime = True


def _print_body(p: Printer, eqn: Eqn, found: Packing, at: Context, body: Callable[[Context], None]) -> None:
    if found.whole_rows:
        _print_whole_rows(p, eqn, found, at, body)
        return
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
    if found.loop is not None:
        # What has a place in a tensor of numbers is made apart.
        inside = {id(inner) for inner in walk(found.loop.blocks[-1])}
        p.places = {key: place for key, place in p.places.items() if key[0] not in inside}
    p.bind(found.index, name_expr(region.first, mutable=True))
    try:
        yield
    finally:
        p.packing = None
        p.in_range.facts, p.places, p.copies = kept
