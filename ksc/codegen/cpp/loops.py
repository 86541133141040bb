"""Loops over indices: those that build tensors, and those that reduce what their body gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product

from ksc.codegen.cpp.expr import Expr, name_expr
from ksc.codegen.cpp.lanes import count, is_short_row, is_tree
from ksc.codegen.cpp.memory import allocate, element_sizes, place_in
from ksc.codegen.cpp.names import Scope
from ksc.codegen.cpp.nests import print_nest
from ksc.codegen.cpp.parallel import Shared
from ksc.codegen.cpp.printer import Context, Finish, Printer, assignment, once
from ksc.codegen.cpp.products import print_product
from ksc.codegen.cpp.stacks import stack
from ksc.codegen.cpp.sums import begun
from ksc.codegen.cpp.tables import print_tables
from ksc.codegen.cpp.types import cpp_type, declaration
from ksc.codegen.cpp.updates import make_in_place
from ksc.codegen.cpp.writer import line_of
from ksc.errors import InvalidIRError
from ksc.ir.nodes import Atom, Block, Const, Eqn, Span, Var, const
from ksc.ir.rewrite import read_vars
from ksc.ir.types import BoolType, FloatType, IntegerType, TensorType, Type, is_scalar
from ksc.ops.cpp import LOGICAL_AND, PRIMARY, CppExpr
from ksc.passes.small.literal import elements_of

_NOTHING = (const(0.0), const(-0.0), const(0))
"""Terms that leave a sum as it is."""


def print_build(p: Printer, eqn: Eqn, at: Context) -> None:
    """A loop nest that fills one tensor per result."""
    (body,) = eqn.blocks
    at.writer.comment(eqn.span)
    sizes = [once(p, size, at, "size", eqn.span) for size in eqn.args]
    _refuse_negative(p, eqn.args, sizes, eqn.span, at)
    live = [k for k, out in enumerate(eqn.outs) if p.analysis.is_read(out)]
    if eqn.params.get("unread"):
        for k in live:
            if not callable(p.places.get((id(eqn), k))):
                allocate(p, eqn, k, [size.text for size in sizes], at)
        return
    for k in live:
        make_in_place(p, eqn, k, at)
    if live and (print_tables(p, eqn, at) or print_product(p, eqn, sizes, at)):
        return
    combining = {k: p.combining[id(eqn), k] for k in live if (id(eqn), k) in p.combining}
    stacks = {k: stack(p, eqn, k, sizes, body.results[k], at) for k in live if k not in combining}

    def indices() -> str:
        flat = p.flat.get(body.params)
        return f"[{flat}]" if flat is not None else f"({', '.join(p.value(param).text for param in body.params)})"

    def made_there(k: int) -> set[Var]:
        return place_in(p, body, body.results[k], lambda _: f"{stacks[k].name}.part{indices()}", sides=True)

    # A part that is made in the body is made in its place.
    placed = {k: made_there(k) for k in stacks if stacks[k].in_parts}

    def write(results: Sequence[Atom], inside: Context) -> None:
        for k in live:
            if k in combining:
                name, monoid = combining[k]
                value = p.value(results[k])
                text = assignment(f"{name}{indices()}", _combined(monoid, f"{name}{indices()}", value))
                inside.writer.statement(text, value.span or eqn.span, value.folded)
            elif results[k] not in placed.get(k, ()) or (p.packing is not None and p.packing.loop is eqn):
                stacks[k].put(p, eqn, results[k], indices(), inside)

    # On a grid a loop is divided; the same stores by all threads would meet.
    elements = None if combining or (p.walk is not None and p.walk.together) else _written_out(eqn)
    if elements is not None:
        for n, place in enumerate(product(*(range(int(size.value)) for size in eqn.args if isinstance(size, Const)))):
            for k in live:
                stacks[k].put(p, eqn, elements[k][n], f"({', '.join(map(str, place))})", at)
        return
    in_place = all(kept.form in ("elements", "parts") for kept in stacks.values())
    held = p.walk is not None and not p.walk.together and is_short_row(eqn, 8 if p.float_type == "double" else 4)
    if held:
        whole = dict(stacks)
        for k, kept in whole.items():
            name = at.scope.declare(f"{kept.name}_row")
            at.writer.line(f"ks::short_row<{p.float_type}, {count(eqn)}> {name};", eqn.span)
            stacks[k] = replace(kept, name=name)
    print_nest(
        p,
        eqn,
        sizes,
        Finish(write),
        at,
        lanes="KS_UNROLLED" if held else None,
        in_place=in_place,
        renamed=lambda _: Finish(write),
    )
    if held:
        for k, kept in whole.items():
            at.writer.line(f"{stacks[k].name}.store({kept.name});", eqn.span)


def _written_out(eqn: Eqn) -> tuple[tuple[Atom, ...], ...] | None:
    """The elements of the results where all are at hand; equal ones are filled in by a loop."""
    elements = elements_of(eqn)
    if elements is None or (len(elements[0]) > 1 and all(len(set(row)) == 1 for row in elements)):
        return None
    return elements


_IN_LANES = {"add": "KS_SUM", "max": "KS_MAX", "min": "KS_MIN"}
"""What stands before a loop that combines numbers, whose order is then not that of the text."""


def print_reduce(p: Printer, eqn: Eqn, at: Context) -> None:
    """A loop nest that combines what its body gives."""
    (body,) = eqn.blocks
    monoid = eqn.params["monoid"]
    at.writer.comment(eqn.span)
    sizes = [once(p, size, at, "size", eqn.span) for size in eqn.args]
    _refuse_negative(p, eqn.args, sizes, eqn.span, at)
    live = [k for k, out in enumerate(eqn.outs) if p.analysis.is_read(out)]
    if is_tree(eqn) and not p.across_lanes and p.packing is None:
        _print_tree(p, eqn, at)
        return
    names = {}
    unsized = set()
    rows = set()
    for k in live:
        out = eqn.outs[k]
        if not isinstance(out.type, TensorType):
            names[k] = _begin(p, eqn, out, at)
            continue
        elem = cpp_type(out.type.elem, p.width(out))
        known = element_sizes(p, eqn, body.results[k])
        if known is None:
            unsized.add(k)
            names[k] = p.declare(out, at)
            p.needs_runtime = True
            at.writer.line(f"ks::folded<{elem}, {out.type.rank}> {names[k]}(rt);", eqn.span)
            continue
        names[k] = allocate(p, eqn, k, [size.text for size in known], at)
        atoms = [size.atom for size in known if size.atom is not None]
        if len(atoms) == len(known):
            p.in_range.tensor(out, atoms, clipped=not all(map(p.in_range.is_size, atoms)))
        start = neutral(monoid, out.type.elem, p.float_type)
        maker = _row_of(p, body, body.results[k])
        if maker is not None:
            rows.add(k)
            p.combining[id(maker), [*maker.outs].index(body.results[k])] = names[k], monoid  # type: ignore[arg-type]
        given = f"rt, {names[k]}" if p.target.is_grid else names[k]
        at.writer.line(f"ks::fill<{elem}>({given}, {start});", eqn.span)

    def write(results: Sequence[Atom], inside: Context, names: Mapping[int, str] = names) -> None:
        for k in live:
            # A sum is never -0.0, so a term of 0.0 leaves it as it is.
            if k in rows or (monoid == "add" and results[k] in _NOTHING):
                continue
            value = p.value(results[k])
            if not isinstance(eqn.outs[k].type, TensorType):
                inside.writer.statement(
                    assignment(names[k], _combined(monoid, names[k], value)), value.span or eqn.span, value.folded
                )
                continue
            p.needs_runtime = True
            operation = _operation(monoid, eqn.outs[k].type, p.width(eqn.outs[k]))
            if k in unsized:
                text = f"{names[k]}.combine({value.text}, {line_of(eqn.span)}, {operation});"
            elif monoid == "add":
                text = f"ks::add_to(rt, {names[k]}, {value.text}, {line_of(eqn.span)});"
            else:
                text = f"ks::combine(rt, {names[k]}, {value.text}, {line_of(eqn.span)}, {operation});"
            inside.writer.statement(text, value.span or eqn.span, value.folded)

    types = [type(eqn.outs[k].type) for k in live]
    sums = FloatType in types and set(types) <= ({FloatType, IntegerType} if monoid == "add" else {FloatType})
    in_lanes = sums and p.target.in_lanes and not any(map(p.varies, eqn.outs))
    shared = [_shared(p, monoid, names[k], eqn.outs[k].type) for k in live]
    pragma = f"{_IN_LANES[monoid]}({', '.join(names[k] for k in live)})" if in_lanes and monoid in _IN_LANES else None

    def renamed(lanes: Sequence[str]) -> Finish:
        other = dict(zip(live, lanes, strict=True))
        return Finish(lambda results, inside: write(results, inside, other))

    print_nest(p, eqn, sizes, Finish(write), at, lanes=pragma, in_place=not unsized, shared=shared, renamed=renamed)


def _begin(p: Printer, eqn: Eqn, out: Var, at: Context) -> str:
    """The variable in which a number is combined, with what it is combined with first."""
    addition = begun(p, out)
    if addition is None:
        name = p.declare(out, at)
        start = neutral(eqn.params["monoid"], out.type, p.float_type)
    else:
        start = p.value(addition.start).text
        name = p.declare(addition.eqn.outs[0], at)
        p.bind(out, name_expr(name))
    at.writer.line(f"{declaration(out.type, name, p.width(out), const=False)} = {start};", eqn.span)
    return name


def _row_of(p: Printer, body: Block, result: Atom) -> Eqn | None:
    """The loop in the body of a ``reduce`` whose elements can be combined with what there is, one by one, with no need
    to make the tensor that it gives."""
    if p.target.is_grid or not isinstance(result, Var):
        return None
    if read_vars(body.eqns, body.results).get(result) != 1:
        return None
    maker = next((eqn for eqn in body.eqns if result in eqn.outs), None)
    if maker is None or maker.op != "build" or maker.params.get("nested"):
        return None
    return maker if all(is_scalar(element.type) for element in maker.blocks[0].results) else None


def _print_tree(p: Printer, eqn: Eqn, at: Context) -> None:
    """A sum of so few terms that they are added in pairs, which takes no more steps than a tree is high."""
    (body,), (out,) = eqn.blocks, eqn.outs
    inside = Context(at.writer.fork(), Scope(at.scope))
    if len(body.params) == 1:
        k = inside.scope.declare(body.params[0].name)
        p.bind(body.params[0], name_expr(k))
    else:
        p.flat[body.params] = k = inside.scope.declare("k")
    facts, branch_free = p.in_range.facts, p.branch_free
    for param, size in zip(body.params, eqn.args, strict=True):
        p.in_range.loop(param, size)
    p.branch_free = True

    def give(results: Sequence[Atom], inside: Context) -> None:
        value = p.value(results[0])
        inside.writer.statement(f"return {value.text};", value.span)

    p.block(body, Finish(give), inside)
    p.in_range.facts, p.branch_free = facts, branch_free
    name = p.declare(out, at)
    head = f"{declaration(out.type, name, p.float_type)} = ks::tree_sum<{count(eqn)}, {p.float_type}>"
    at.writer.line(f"{head}([&](int64_t {k}) {{", eqn.span)
    at.writer.lines.extend(inside.writer.lines)
    at.writer.line("});", eqn.span)


def _shared(p: Printer, monoid: str, name: str, type_: Type) -> Shared:
    """A result that iterations combine."""
    elem = type_.elem if isinstance(type_, TensorType) else type_
    how = f"ks::summed({name})"
    if monoid != "add" or not (isinstance(elem, FloatType) or isinstance(type_, IntegerType)):
        text = cpp_type(elem, p.float_type)
        operation = f"[]({text} a, {text} b) {{ return {_combined(monoid, 'a', Expr(CppExpr('b'))).text}; }}"
        how = f"ks::combined<{text}>({name}, {neutral(monoid, elem, p.float_type)}, {operation})"
    return Shared(name, cpp_type(type_, p.float_type), not isinstance(type_, TensorType), how)


def _operation(monoid: str, type_: Type, float_type: str) -> str:
    """A lambda that combines two elements."""
    assert isinstance(type_, TensorType)
    elem = cpp_type(type_.elem, float_type)
    return f"[]({elem} a, {elem} b) {{ return {_combined(monoid, 'a', Expr(CppExpr('b'))).text}; }}"


def neutral(monoid: str, type_: Type, float_type: str) -> str:
    """The neutral element of a monoid as a C++ expression."""
    match type_:
        case BoolType():
            return "true" if monoid == "and" else "false"
        case IntegerType():
            return {"add": "0", "mul": "1", "min": "INT64_MAX", "max": "INT64_MIN"}[monoid]
        case FloatType():
            suffix = "f" if float_type == "float" else ""
            infinity = f"ks::inf<{float_type}>"
            return {"add": f"0.0{suffix}", "mul": f"1.0{suffix}", "min": infinity, "max": f"-{infinity}"}[monoid]
        case _:
            raise InvalidIRError(f"{monoid} does not combine values of type {type_}")


def _combined(monoid: str, name: str, value: Expr) -> Expr:
    symbol = {"add": "+", "mul": "*", "and": "&&", "or": "||"}.get(monoid)
    if symbol is None:
        return Expr(CppExpr(f"ks::{monoid}({name}, {value.text})"))
    text = value.cpp.within(PRIMARY)
    return Expr(CppExpr(f"{name} {symbol} {text}"), infix=(symbol, name, text))


def _refuse_negative(p: Printer, atoms: Sequence[Atom], sizes: Sequence[Expr], span: Span | None, at: Context) -> None:
    for atom, size in zip(atoms, sizes, strict=True):
        if p.in_range.is_size(atom):
            continue
        negative = Expr(CppExpr(f"{size.text} < 0", LOGICAL_AND))
        p.fail_if(negative, "KS_ERROR_INDEX", "a tensor cannot have a negative size", span, at)
        p.in_range.not_negative(atom)
