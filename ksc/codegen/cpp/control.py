"""Branches, loops and accumulators."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ksc.codegen.cpp.counters import counters
from ksc.codegen.cpp.expr import Expr, name_expr, origins
from ksc.codegen.cpp.led import led
from ksc.codegen.cpp.masks import branch_name, chosen, going_on, mask_type, narrowed, print_apart
from ksc.codegen.cpp.memory import element_sizes, is_carried, open_scratch, place_in, scratch, winds_back
from ksc.codegen.cpp.names import Scope
from ksc.codegen.cpp.packs import print_packs
from ksc.codegen.cpp.parallel import Region, Shared, divide, print_region
from ksc.codegen.cpp.printer import Context, Finish, NotPackedError, Printer, negation, once, plain, with_width
from ksc.codegen.cpp.stacks import Stack, place_stacked, stack, tape
from ksc.codegen.cpp.storage import holds_memory
from ksc.codegen.cpp.stretches import stretches_of
from ksc.codegen.cpp.types import cpp_type, declaration
from ksc.codegen.cpp.writer import Writer
from ksc.ir.nodes import Atom, Block, Eqn, Span, Var, const
from ksc.ir.types import FloatType, TensorType
from ksc.ops import PRIMITIVES
from ksc.ops.cpp import BIT_OR, LOGICAL_AND, LOGICAL_OR, RELATIONAL, TERNARY, CppExpr

TERNARY_WIDTH = 64


def print_if(p: Printer, eqn: Eqn, at: Context) -> None:
    """An ``if`` whose results are read further on: a conditional expression if short, else assignments."""
    live = [out for out in eqn.outs if p.analysis.is_read(out)]
    choice = conditional(p, eqn, at)
    if choice is not None:
        p.define(live[0], choice, at)
        return
    settled = [out for out in live if p.storage.root(out) is not out]
    live = [out for out in live if out not in settled]
    if p.varies(eqn.args[0]):
        print_apart(p, eqn, live, at)
    else:
        _print_if(p, eqn, live, at)
    for out in settled:
        p.bind(out, p.value(p.storage.root(out)))
        p.in_range.same(out, p.storage.root(out))


def _print_if(p: Printer, eqn: Eqn, live: Sequence[Var], at: Context) -> None:
    names = []
    at.writer.comment(eqn.span)
    for k, out in enumerate(eqn.outs):
        if out not in live:
            continue
        names.append(p.declare(out, at, name=branch_name(eqn, k)))
        at.writer.line(f"{declaration(out.type, names[-1], p.width(out), const=False)};", eqn.span)
    print_branches(p, eqn, at, assign_live(p, eqn, names, live), (names, live))


def assign_live(p: Printer, eqn: Eqn, names: Sequence[str], live: Sequence[Var]) -> Finish:
    """Assign those results of a block that are read as outs of the equation."""

    def write(results: Sequence[Atom], at: Context) -> None:
        values = [p.value(atom) for out, atom in zip(eqn.outs, results, strict=True) if out in live]
        p.assign(names, values, [p.type_of(out) for out in live], eqn.span, at)

    return Finish(write)


def last_if(p: Printer, eqn: Eqn, at: Context, results: Sequence[Atom], finish: Finish) -> bool:
    """An ``if`` at the end of a block: each side goes on to what follows, a return or the next iteration."""
    if p.analysis.is_settled(eqn) or p.varies(eqn.args[0]):
        return False
    if not (finish.returns and _is_statement(eqn.span)) and conditional(p, eqn, at) is not None:
        return False
    print_branches(p, eqn, at, finish.inside(results, eqn.outs), ([], []))
    return True


def print_branches(
    p: Printer, eqn: Eqn, at: Context, finish: Finish, targets: tuple[Sequence[str], Sequence[Var]]
) -> None:
    """Both sides of an ``if``; where the first returns, the second follows without an ``else``."""
    condition = p.value(eqn.args[0])
    head = at.writer
    head.comment(eqn.span)
    then = head.fork()
    facts = p.in_range.facts
    p.in_range.assume(eqn.args[0], True)
    p.block(eqn.blocks[0], finish, Context(then, Scope(at.scope)))
    p.in_range.facts = facts
    p.in_range.assume(eqn.args[0], False)
    if finish.returns:
        head.line(f"if ({condition.text}) {{", eqn.span, condition.origins)
        head.lines.extend(then.lines)
        head.line("}", eqn.span)
        p.block(eqn.blocks[1], finish, at)
        p.in_range.facts = facts
        return
    other = at.writer.fork()
    p.block(eqn.blocks[1], finish, Context(other, Scope(at.scope)))
    p.in_range.facts = facts
    for out, name in zip(targets[1], targets[0], strict=True):
        p.bind_variable(out, name)
    if not then.lines and not other.lines:
        return
    if not then.lines:
        head.line(f"if ({negation(condition)}) {{", eqn.span, condition.origins)
        head.lines.extend(other.lines)
    else:
        head.line(f"if ({condition.text}) {{", eqn.span, condition.origins)
        head.lines.extend(then.lines)
        if other.lines:
            head.line("} else {", eqn.span)
            head.lines.extend(other.lines)
    head.line("}", eqn.span)


def conditional(p: Printer, eqn: Eqn, at: Context) -> Expr | None:
    """``c ? a : b`` where one result is read and both sides are short expressions, else None."""
    live = [k for k, out in enumerate(eqn.outs) if p.analysis.is_read(out)]
    if len(live) != 1 or not all(_is_expression(p, block) for block in eqn.blocks):
        return None
    sides = []
    for block in eqn.blocks:
        inside = Context(at.writer.fork(), Scope(at.scope))
        for inner in block.eqns:
            if p.analysis.is_live(inner):
                p.eqn(inner, inside)
        if inside.writer.lines:
            return None
        sides.append(p.value(block.results[live[0]]))
    sides[0] = with_width(sides[0], [block.results[live[0]] for block in eqn.blocks])
    condition = p.value(eqn.args[0])
    choice = _logical(p, eqn.args[0], block.results[live[0]], condition, *sides)
    if len(choice.text) > TERNARY_WIDTH:
        return None
    reads = condition.reads | sides[0].reads | sides[1].reads
    return Expr(choice, reads, None, eqn.span, folded=origins(condition, *sides))


def _logical(p: Printer, test: Atom, result: Atom, condition: Expr, then: Expr, other: Expr) -> CppExpr:
    """``c ? a : b``, or ``&&`` and ``||`` where that is what it says; both sides where branches cost more."""
    if other.text == "false":
        return CppExpr(f"{condition.cpp.within(BIT_OR)} && {then.cpp.within(BIT_OR)}", LOGICAL_AND)
    if then.text == "true":
        return CppExpr(f"{condition.cpp.within(BIT_OR)} || {other.cpp.within(BIT_OR)}", LOGICAL_OR)
    choose = p.branch_free and test is not p.settled and isinstance(result.type, FloatType)
    if p.varies(test) or (choose and not any("ks::" in side.text for side in (then, other))):
        return CppExpr(f"ks::select({condition.text}, {then.text}, {other.text})")
    parts = [part.cpp.within(LOGICAL_OR) for part in (condition, then, other)]
    return CppExpr(f"{parts[0]} ? {parts[1]} : {parts[2]}", TERNARY)


def _is_expression(p: Printer, block: Block) -> bool:
    """Whether every equation may be folded, so that trying costs little."""
    return all(
        eqn.op in PRIMITIVES and not p.may_fail(eqn) and p.analysis.single_use(eqn.outs[0]) is not None
        for eqn in block.eqns
        if p.analysis.is_live(eqn)
    )


def _is_statement(span: Span | None) -> bool:
    """Whether the user wrote an ``if`` statement rather than a conditional expression."""
    return span is None or span.text.lstrip().startswith(("if", "elif", "while", "for"))


def print_for(p: Printer, eqn: Eqn, at: Context) -> None:
    """A counted loop; stacked results go to tensors that are allocated before it."""
    (body,) = eqn.blocks
    carries = eqn.params["carries"]
    count, index = eqn.args[0], body.params[0]
    limit = _limit(p, eqn, at)
    names = _carried(p, eqn, body.params[1:], at)
    tapes = _stacks(p, eqn, at, limit, [count])
    _place_carried(p, eqn, names)
    scope = Scope(at.scope)
    in_place = all(kept is None or kept.form in ("elements", "parts") for kept in tapes)
    sums = [
        Shared(name, cpp_type(out.type, p.float_type), True, f"ks::summed({name})")
        for name, out in zip(names, eqn.outs, strict=False)
        if name is not None
    ]
    region = divide(p, eqn, scope, sums, in_place=in_place)
    i = scope.declare(index.name)
    p.bind(index, name_expr(i))
    facts = p.in_range.facts
    p.in_range.loop(index, count)

    def packs(writer: Writer, region: Region) -> None:
        totals = [name for name in names if name is not None]
        kept = p.value(index), [p.value(param) for param in body.params[1:]] if totals else []

        def iteration(lanes: Sequence[str], inside: Context) -> None:
            other = dict(zip(totals, lanes, strict=True))
            for param, name in zip(body.params[1:], names, strict=True):
                if name is not None:
                    p.bind(param, name_expr(other[name], mutable=True))
            renamed = [None if name is None else other[name] for name in names]
            p.block(body, _next_iteration(p, eqn, renamed, tapes, i), inside)

        print_packs(p, eqn, region, totals, Context(writer, scope), iteration)
        p.bind(index, kept[0])
        for param, value in zip(body.params[1:], kept[1], strict=False):
            p.bind(param, value)

    placed = place_stacked(p, eqn, tapes, i) if region is None else set()
    apart = [None if k in placed else kept for k, kept in enumerate(tapes)]

    def loop(writer: Writer) -> None:
        first, last = ("0", limit.cpp.within(LOGICAL_OR)) if region is None else (region.first, region.last)
        if eqn.params["reverse"]:
            head = f"for (int64_t {i} = {limit.text if region is None else last}; {i}-- > {first};)"
        else:
            head = f"for (int64_t {i} = {first}; {i} < {last}; ++{i})"
        if region is not None:
            packs(writer, region)
        stretches = None if eqn.params["reverse"] or p.varies(count) else stretches_of(p, eqn, index, count)
        if stretches is None:
            iterations(head, body, writer)
            return
        limits = stretches.limits(i, first, last, scope)
        with writer.braces(stretches.head(first, last, *limits[1:]), eqn.span) as inner:
            stretches.print(p, last, limits, Context(inner, scope))
            iterations(f"for (int64_t {i} = {limits[1]}; {i} < {limits[2]}; ++{i})", stretches.body, inner)

    def iterations(head: str, body: Block, writer: Writer) -> None:
        if eqn.params.get("lanes") and p.target.in_lanes and not any(map(p.varies, eqn.outs)):
            writer.line(f"KS_SUM({', '.join(name for name in names if name is not None)})", eqn.span)
        with writer.braces(head, eqn.span) as inner:
            inside = Context(inner, scope)
            mask = None
            if p.varies(count):
                mask = scope.declare("going_on")
                running = narrowed(p, Expr(CppExpr(f"{i} < {p.value(count).text}", RELATIONAL)))
                inner.line(f"const {mask_type(p)} {mask} = {running.text};", eqn.span)
            with scratch(p, eqn, inside), going_on(p, mask):
                p.block(body, _next_iteration(p, eqn, names, apart, i, mask), inside)

    if region is None:
        with led(p, eqn, names, tapes, at), p.repeated():
            loop(at.writer)
    else:
        print_region(p, region, limit.text, eqn, at, loop)
    p.in_range.facts = facts
    _finish_loop(p, eqn, names, carries)


def _limit(p: Printer, eqn: Eqn, at: Context) -> Expr:
    """The count of a loop; of iterations that run it a different number of times, the largest."""
    count = eqn.args[0]
    if not p.varies(count):
        return once(p, count, at, "count", eqn.span)
    name = at.scope.declare("count")
    running = p.going_on or f"{mask_type(p)}(true)"
    at.writer.statement(f"const int64_t {name} = ks::most({running}, {p.value(count).text});", eqn.span)
    return name_expr(name)


def print_while(p: Printer, eqn: Eqn, at: Context) -> None:
    """A loop with a condition; what it stacks goes to tapes that grow."""
    cond, body = eqn.blocks
    names = _carried(p, eqn, body.params, at)
    tapes = _stacks(p, eqn, at, None, _trip_counts(p, eqn))
    _place_carried(p, eqn, names)
    for own, shared in zip(cond.params, body.params, strict=True):
        if p.analysis.is_read(shared):
            p.bind(own, p.value(shared))
    with led(p, eqn, names, tapes, at):
        scope = Scope(at.scope)
        test = at.writer.fork()
        around = Context(test, scope)
        if winds_back(p, eqn):
            open_scratch(p, around)
        unconditional = len(test.lines)
        conditions: list[Expr] = []
        keep = Finish(lambda results, _: conditions.append(p.value(results[0])), single=True)
        with p.repeated():
            p.block(cond, keep, around)
        (condition,) = conditions
        tested = len(test.lines) > unconditional
        facts = p.in_range.facts
        for k in counters(eqn):
            p.in_range.counter(body.params[k], cond, cond.params[k])
        apart = p.varies(cond.results[0])
        mask = at.scope.declare("going_on") if apart else None
        if mask is not None:
            tested = True
            at.writer.line(f"{mask_type(p)} {mask} = {p.going_on or 'true'};", eqn.span)
            turns = at.scope.declare("turns")
            at.writer.line(f"ks::turns {turns};", eqn.span)
        lanes = _lanes_of_counters(p, eqn, at) if apart else {}
        with at.writer.braces(
            "while (true)" if tested else f"while ({condition.text})", eqn.span, condition.origins
        ) as inner:
            inner.lines.extend(test.lines)
            if mask is not None:
                inner.line(f"{mask} = {mask} && {condition.cpp.within(BIT_OR)};", eqn.span, condition.origins)
                inner.line(f"if (!{turns}.go_on({mask})) {{ break; }}", eqn.span)
            elif tested:
                inner.line(f"if ({negation(condition)}) {{ break; }}", eqn.span, condition.origins)
            with p.repeated(), going_on(p, mask):
                p.block(
                    body, _next_iteration(p, eqn, names, tapes, "", mask, tuple(lanes.values())), Context(inner, scope)
                )
    p.in_range.facts = facts
    _finish_loop(p, eqn, names, eqn.params["carries"])
    for k, name in lanes.items():
        p.bind(eqn.outs[k], name_expr(name))


def _lanes_of_counters(p: Printer, eqn: Eqn, at: Context) -> dict[int, str]:
    """A variable for how often each iteration of those side by side runs the loop, where that is read."""
    names = {}
    for k in counters(eqn):
        if p.analysis.is_read(eqn.outs[k]):
            names[k] = at.scope.declare(f"{p.storage.name(eqn.outs[k])}_lanes")
            head = declaration(eqn.outs[k].type, names[k], p.width(eqn.outs[k]), const=False)
            at.writer.line(f"{head} = {p.value(eqn.args[k]).text};", eqn.span)
    return names


def _trip_counts(p: Printer, eqn: Eqn) -> list[Atom]:
    """The result of a ``while`` that counts its iterations from 0, if there is one."""
    counted = [eqn.outs[k] for k in counters(eqn) if eqn.args[k] == const(0)]
    for out in counted[1:]:
        p.in_range.equal(out, counted[0])
    return list(counted[:1])


def _carried(p: Printer, eqn: Eqn, params: Sequence[Var], at: Context) -> list[str | None]:
    """One variable for each carry that is needed; a tensor that is changed in place needs none that is assigned."""
    names: list[str | None] = []
    starts: list[tuple[str, Expr]] = []
    first = len(eqn.args) - len(params)
    needed = p.analysis.live_carries(eqn)
    for k, (param, init, live) in enumerate(zip(params, eqn.args[first:], needed, strict=True)):
        if not live:
            names.append(None)
            continue
        steady = (id(eqn), k) in p.storage.steady
        if steady:
            p.in_range.same(param, init)
        copy = p.copied(eqn, first + k, at)
        if copy is not None:
            start = p.declare(param, at, mutable=not steady)
            if is_carried(p, eqn, k):
                assert isinstance(param.type, TensorType)
                elem = cpp_type(param.type.elem, p.width(param))
                at.writer.statement(f"ks::carried<{elem}, {param.type.rank}> {start}(rt, {copy});", eqn.span)
            else:
                head = declaration(param.type, start, p.width(param), const=steady)
                at.writer.statement(f"{head} = {copy};", eqn.span)
            names.append(None if steady else start)
            continue
        if steady:
            if isinstance(init, Var) and holds_memory(init.type):
                p.named(init, at)
            if p.varies(param) and not p.varies(init) and holds_memory(param.type):
                raise NotPackedError
            p.bind(param, p.value(init))
            names.append(None)
            continue
        if is_carried(p, eqn, k):
            value = p.fitting(init, param)
            name = p.declare(param, at, mutable=True)
            assert isinstance(param.type, TensorType)
            elem = cpp_type(param.type.elem, p.width(param))
            starts.append((f"ks::carried<{elem}, {param.type.rank}> {name}(rt, {value.text});", value))
            p.needs_runtime = True
            names.append(name)
            continue
        taken = p.take_over(param, init)
        names.append(taken)
        if taken is None:
            value = p.fitting(init, param)
            name = p.declare(param, at, mutable=True)
            names[-1] = name
            text = f"{declaration(param.type, name, p.width(param), const=False)} = {value.text};"
            starts.append((text, value))
    # What the user computed before the loop stands before it.
    starts.sort(key=lambda start: start[1].span is None)
    for text, value in starts:
        at.writer.statement(text, value.span or eqn.span, value.folded)
    at.writer.comment(eqn.span)
    return names


def _place_carried(p: Printer, eqn: Eqn, names: Sequence[str | None]) -> None:
    """Have a tensor that each iteration makes anew made where it is kept; say where its sizes stay the same."""
    body = eqn.blocks[-1]
    first = len(eqn.args) - eqn.params["carries"]
    params = body.params[len(body.params) - len(names) :]
    for k, (name, param, result) in enumerate(zip(names, params, body.results, strict=False)):
        if name is None or not isinstance(param.type, TensorType):
            continue
        sizes = element_sizes(p, eqn, result) if isinstance(result, Var) and result is not param else None
        init = eqn.args[first + k]
        if sizes is not None and p.in_range.has_sizes(init, [size.atom for size in sizes]):
            p.in_range.same(param, init)
            p.in_range.same(eqn.outs[k], init)
        if is_carried(p, eqn, k):
            place_in(p, body, result, partial(_next, name), sides=True)


def _next(name: str, sizes: Sequence[str]) -> str:
    return f"{name}.next({', '.join(sizes)})"


def _stacks(p: Printer, eqn: Eqn, at: Context, limit: Expr | None, sizes: Sequence[Atom]) -> list[Stack | None]:
    """Memory for each result that is kept of every iteration and read later."""
    carries = eqn.params["carries"]
    results = eqn.blocks[-1].results
    made: list[Stack | None] = []
    for k in range(carries, len(eqn.outs)):
        if not p.analysis.is_read(eqn.outs[k]):
            made.append(None)
        elif limit is None:
            made.append(tape(p, eqn, k, results[k], sizes, at))
        else:
            made.append(stack(p, eqn, k, [limit], results[k], at))
    return made


def _next_iteration(
    p: Printer,
    eqn: Eqn,
    names: Sequence[str | None],
    stacks: Sequence[Stack | None],
    index: str,
    mask: str | None = None,
    lanes: Sequence[str] = (),
) -> Finish:
    """Give on what is carried, where the loop ends sooner for some by a ``mask``, and keep what is stacked.

    ``lanes`` count how often it runs for each of the iterations side by side.
    """
    carries = eqn.params["carries"]
    params = eqn.blocks[-1].params[len(eqn.blocks[-1].params) - carries :]

    def write(results: Sequence[Atom], at: Context) -> None:
        for kept, atom in zip(stacks, results[carries:], strict=True):
            if kept is not None:
                kept.put(p, eqn, atom, f"({index})", at)
        changing = [(k, name) for k, name in enumerate(names) if name is not None]
        # What stays as it is on the way that was taken is neither saved nor exchanged.
        saved = [(name, results[k]) for k, name in changing if is_carried(p, eqn, k) and results[k] is not params[k]]
        for name, atom in saved:
            at.writer.statement(
                f"{name}.keep({p.value(atom).text});",
                p.value(atom).span or p.given_at or eqn.span,
                p.value(atom).folded,
            )
        assigned = [(k, name) for k, name in changing if not is_carried(p, eqn, k)]
        values = [chosen(mask if p.varies(params[k]) else None, p.value(results[k]), name) for k, name in assigned]
        for name in lanes:
            at.writer.line(f"{name} = {chosen(mask, plain(f'{name} + 1'), name).text};", eqn.span)
        p.assign([name for _, name in assigned], values, [p.type_of(results[k]) for k, _ in assigned], eqn.span, at)
        for name, _ in saved:
            at.writer.line(f"{name}.advance();", eqn.span)

    return Finish(write)


def _finish_loop(p: Printer, eqn: Eqn, names: Sequence[str | None], carries: int) -> None:
    body = eqn.blocks[-1]
    params = body.params[len(body.params) - carries :]
    for k, (out, param, name) in enumerate(zip(eqn.outs, params, names, strict=False)):
        if name is not None and is_carried(p, eqn, k):
            p.bind(out, name_expr(name))
        elif name is not None:
            p.bind_variable(out, name)
        elif (id(eqn), k) in p.storage.steady:
            p.bind(out, p.value(param))
            p.in_range.same(out, param)


def print_withacc(p: Printer, eqn: Eqn, at: Context) -> None:
    """Accumulators are plain variables, added to in place."""
    (body,) = eqn.blocks
    at.writer.comment(eqn.span)
    for k, (out, param, init) in enumerate(zip(eqn.outs, body.params, eqn.args, strict=False)):
        value = p.value(init)
        copy = p.copied(eqn, k, at)
        if copy is None and isinstance(init.type, TensorType) and p.varies(param) and not p.varies(init):
            raise NotPackedError
        if copy is None and isinstance(init, Var) and isinstance(init.type, TensorType):
            p.named(init, at)
            held = p.value(init)
        else:
            name = p.declare(out if p.analysis.is_read(out) else param, at)
            head = declaration(init.type, name, p.width(param), const=copy is not None)
            at.writer.line(f"{head} = {copy or value.text};", eqn.span)
            held = name_expr(name)
        p.bind(param, held)
        p.bind(out, held)
        p.in_range.same(param, init)
        p.in_range.same(out, init)

    def write(results: Sequence[Atom], inside: Context) -> None:
        for out, atom in zip(eqn.outs[len(body.params) :], results, strict=True):
            if p.analysis.is_read(out):
                p.define(out, p.value(atom), inside)
            p.in_range.same(out, atom)

    p.block(body, Finish(write, single=True), at)
