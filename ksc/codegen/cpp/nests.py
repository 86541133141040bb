"""Loop nests of ``build`` and ``reduce``: divided among threads, side by side in registers, or one after the other."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from ksc.codegen.cpp.angles import angles, one_choice, wrap_choice
from ksc.codegen.cpp.apart import Places, adds_apart, are_apart, sums_in_lanes
from ksc.codegen.cpp.expr import Expr, name_expr
from ksc.codegen.cpp.lanes import count, has_small_loops, is_flat_nest, is_row, mentions_runtime
from ksc.codegen.cpp.memory import scratch
from ksc.codegen.cpp.names import Scope
from ksc.codegen.cpp.packs import print_packs
from ksc.codegen.cpp.parallel import Shared, divide, print_region
from ksc.codegen.cpp.printer import Context, Finish, Printer
from ksc.codegen.cpp.spans import adding, fill_around, span_of
from ksc.codegen.cpp.stretches import stretches_of
from ksc.codegen.cpp.updates import reads_its_place
from ksc.codegen.cpp.work import divided_index
from ksc.codegen.cpp.writer import Line, Writer
from ksc.ir.nodes import Eqn, Var, const
from ksc.ops.cpp import PRIMARY


def print_nest(
    p: Printer,
    eqn: Eqn,
    sizes: Sequence[Expr],
    finish: Finish,
    at: Context,
    *,
    lanes: str | None = None,
    in_place: bool = False,
    shared: Sequence[Shared] = (),
    renamed: Callable[[Sequence[str]], Finish],
) -> None:
    """Loops over the block's parameters, the first outermost.

    ``lanes`` is the pragma that stands before the innermost one if all that the body does is to sum up. Iterations
    combine what is ``shared``; with ``in_place`` what else they give has a place of its own. What is ``renamed``
    finishes an iteration that adds to other variables.
    """
    scope = Scope(at.scope)
    region = divide(p, eqn, scope, shared, in_place=in_place)
    if region is None:
        with p.repeated():
            _loops(p, eqn, sizes, finish, Context(at.writer, scope), "0", sizes[0].text, lanes)
        return

    def iteration(lanes: Sequence[str], inside: Context) -> None:
        p.block(eqn.blocks[0], renamed(lanes), inside)

    def ranges(writer: Writer) -> None:
        print_packs(p, eqn, region, [one.name for one in shared], Context(writer, scope), iteration)
        inside = Context(writer, scope)
        limits = region.first, region.last
        _loops(p, eqn, sizes, finish, inside, *limits, lanes, divided=divided, joined=joined, nest=nest)

    # Neighbouring threads of a grid take neighbouring elements.
    joined = p.target.is_grid and len(sizes) > 1 and all(size != const(0) for size in eqn.args)
    divided = divided_index(p, eqn)
    count = " * ".join(size.cpp.within(PRIMARY) for size in (sizes if joined else sizes[divided : divided + 1]))
    # The elements of a row that a team goes through are few.
    nest = scope.declare_around("nest") if joined and p.walk is not None and not p.walk.teams else ""
    if nest:
        given = ", ".join(size.text for size in sizes)
        at.writer.statement(f"const ks::nest<{len(sizes)}> {nest}({given});", eqn.span)
        count = f"{nest}.count()"
    print_region(p, region, count, eqn, at, ranges)


def _loops(
    p: Printer,
    eqn: Eqn,
    sizes: Sequence[Expr],
    finish: Finish,
    at: Context,
    first: str,
    last: str,
    lanes: str | None,
    *,
    divided: int = 0,
    joined: bool = False,
    nest: str = "",
    cut: bool = True,
) -> None:
    """The loops, the ``divided`` one from ``first`` to ``last``; one over all indices where they are ``joined``.

    What takes the number of an iteration apart may have a name, that of a ``nest``.

    The innermost one is ``cut`` to where elements are not zero, unless something in it may stop the kernel.
    """
    whole = divided < len(sizes) - 1 or (first, last) == ("0", sizes[divided].text)
    span = span_of(eqn) if cut and whole and p.target.in_lanes and p.packing is None else None
    begun = len(at.writer.lines)
    body = eqn.blocks[0] if span is None else span.body
    writers = [at.writer]
    scope = at.scope
    heads: list[str] = []
    facts = p.in_range.facts
    own_rows = p.packing is not None and p.packing.whole_rows
    for param, size in zip(body.params[:-1], eqn.args[:-1], strict=True):
        p.in_range.loop(param, size)
    alone = p.target.in_lanes and lanes is None and span is None and not p.across_lanes
    sums = sums_in_lanes(p, eqn) if alone else ()
    adds = p.target.in_lanes and adds_apart(p, eqn)
    p.in_range.loop(body.params[-1], eqn.args[-1])
    apart = not joined and not own_rows and span is None
    stretches = stretches_of(p, eqn, body.params[-1], eqn.args[-1]) if apart else None
    if span is None and not own_rows and is_flat_nest(eqn) and (first, last) == ("0", sizes[0].text):
        limits = [(scope.declare("k"), "0", str(count(eqn)))]
        p.flat[body.params] = limits[0][0]
    elif joined:
        limits = [(scope.declare("k"), first, last)]
    else:
        ranges = [("0", size.text) if k != divided else (first, last) for k, size in enumerate(sizes)]
        limits = [(scope.declare(param.name), *ends) for param, ends in zip(body.params, ranges, strict=True)]
        for param, (name, *_) in zip(body.params, limits, strict=True):
            p.bind(param, name_expr(name))
    last_limits = limits[-1]
    if span is not None:
        limits[-1] = (last_limits[0], scope.declare_around("begin"), scope.declare_around("end"))
    if stretches is not None:
        body = stretches.body
        limits[-1] = stretches.limits(*last_limits, scope)
    for name, start, end in limits:
        if stretches is not None and name == last_limits[0]:
            heads.append(f"{stretches.head(*last_limits[1:], start, end)} {{")
            writers.append(writers[-1].fork())
        heads.append(f"for (int64_t {name} = {start}; {name} < {end}; ++{name}) {{")
        writers.append(writers[-1].fork())
    if stretches is not None:
        stretches.print(p, last_limits[2], limits[-1], Context(writers[-2], scope))
        sums = sums_in_lanes(p, eqn, stretches.fixed) if alone else ()
    if span is not None:
        zeros = Finish(lambda _, inside: finish.write([const(0.0) for _ in body.results], inside))
        filled = count(eqn) is not None and not reads_its_place(p, eqn)
        fill_around(p, span, last_limits, limits[-1], zeros, Context(writers[-2], scope), whole=filled)
    inside = Context(writers[-1], scope)
    split = split_index(p, body.params, limits[0][0], sizes, inside, nest) if joined else {}
    around, branch_free = p.across_lanes, p.branch_free
    small = p.target.in_lanes and not around and not own_rows and has_small_loops(eqn, adds=adds)
    p.across_lanes = around or small
    p.branch_free = branch_free or small or (p.target.in_lanes and not own_rows and count(eqn) is not None)
    row = p.target.in_lanes and not around and not own_rows and is_row(eqn, adds=adds)
    choice, p.settled = p.settled, one_choice(p, eqn) if row else None
    settled = p.settled
    turning = angles(p, eqn, scope, small) if stretches is None else None
    held = _hold(p, sums, Context(writers[-2], scope))
    with scratch(p, eqn, inside):
        p.block(body, adding(p, span) if span is not None and span.adds else finish, inside)
    totals = [p.held.pop(place, "") or p.value(place[0]).text for place in sums]
    declare_indices(split, eqn, inside.writer)
    p.across_lanes, p.branch_free, p.settled = around, branch_free, choice
    p.in_range.facts = facts
    innermost = writers[-1]
    if span is not None and mentions_runtime(innermost.lines):
        del at.writer.lines[begun:]
        _loops(p, eqn, sizes, finish, at, first, last, lanes, divided=divided, joined=joined, nest=nest, cut=False)
        return
    if mentions_runtime(innermost.lines) or own_rows:
        lanes = None
    elif small or row:
        lanes = "KS_LANES"
    elif sums:
        lanes = f"KS_SUM({', '.join(totals)})"
    elif around or any(line.text.endswith("{") for line in innermost.lines):
        lanes = None
    elif lanes is None and p.target.in_lanes and are_apart(p, eqn):
        lanes = "KS_APART"
    for inner, outer, head in zip(reversed(writers), reversed(writers[:-1]), reversed(heads), strict=False):
        begun = len(outer.lines)
        if lanes is not None and inner is innermost:
            outer.line(lanes, eqn.span)
        elif around and count(eqn) is not None:
            outer.line("KS_UNROLLED", eqn.span)
        outer.line(head, eqn.span)
        outer.lines.extend(inner.lines)
        outer.line("}", eqn.span)
        if inner is innermost:
            outer.lines.extend(held)
        if turning is not None and inner is innermost:
            turning.wrap(outer, begun, limits[-1], eqn.span)
        if settled is not None and inner is innermost:
            wrap_choice(outer, begun, p.value(settled).text, eqn.span)


def _hold(p: Printer, sums: Sequence[Places], at: Context) -> Sequence[Line]:
    """Declare a number for each element that a loop adds to, before the loop; the lines that add it, for after."""
    after = at.writer.fork()
    for place in sums:
        acc, *indices = place
        if indices and isinstance(acc, Var):
            name = at.scope.declare_around(acc.name)
            at.writer.line(f"{p.float_type} {name} = {p.value(const(0.0)).text};", None)
            after.line(f"{p.value(acc).text}({', '.join(p.value(i).text for i in indices)}) += {name};", None)
            p.held[place] = name
    return after.lines


def split_index(
    p: Printer, params: Sequence[Var], joint: str, sizes: Sequence[Expr], at: Context, nest: str = ""
) -> dict[str, str]:
    """Names for the indices of a nest, with what they are in terms of the number of the iteration."""
    split = {}
    places = at.scope.declare("at") if nest else ""
    if nest:
        split[places] = f"{nest}.at({joint})"
    for dim, param in enumerate(params):
        inner = [size.cpp.within(PRIMARY) for size in sizes[dim + 1 :]]
        divisor = " * ".join(inner)
        text = f"ks::quotient({joint}, {divisor})" if divisor else joint
        if dim > 0:
            text = f"ks::remainder({text}, {sizes[dim].text})"
        name = at.scope.declare(param.name)
        p.bind(param, name_expr(name))
        split[name] = f"{places}[{dim}]" if nest else text
    return split


def declare_indices(split: Mapping[str, str], eqn: Eqn, writer: Writer) -> None:
    """Declare those names that a body mentions, before it."""
    body = writer.lines[:]
    writer.lines.clear()
    for name in _mentioned(split, [line.text for line in body]):
        type_ = "auto" if ".at(" in split[name] else "int64_t"
        writer.line(f"const {type_} {name} = {split[name]};", eqn.span)
    writer.lines.extend(body)


def _mentioned(split: Mapping[str, str], body: list[str]) -> Sequence[str]:
    """The names that are to be declared, in order: those that a body mentions, or what such a one is made of."""
    found: list[str] = []
    for name, text in reversed([*split.items()]):
        if any(re.search(rf"\b{name}\b", line) for line in body):
            found.insert(0, name)
            body = [text, *body]
    return found
