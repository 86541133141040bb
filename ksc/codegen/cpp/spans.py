"""Rows that are zero outside of a range: the range is computed, and the rest filled.

    for (int64_t d = 0; d < 26; ++d) {                      const int64_t begin = ks::min(ks::max(lo, 0), 26);
        const bool inside = lo <= d && d < hi;              const int64_t end = ks::max(begin, ks::min(hi, 26));
        row(d) = inside ? a * x(d) : 0.0f;          ⟶       for (int64_t d = 0; d < 26; ++d) {
    }                                                           row(d) = 0.0f;
                                                            }
                                                            KS_LANES
                                                            for (int64_t d = begin; d < end; ++d) {
                                                                row(d) = a * x(d);
                                                            }

A short row of known length is filled as a whole, which takes a few stores, unless it lies where it is put and reads
what was there; one marked ``inside`` is read there only and not filled. Where the body may stop the kernel all of it is
run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ksc.codegen.cpp.printer import Context, Finish, Printer
from ksc.ir.nodes import Atom, Block, Eqn, Var, const, walk
from ksc.ir.rewrite import read_vars
from ksc.ir.types import is_scalar


@dataclass(frozen=True, slots=True)
class Span:
    """From where to where the last index of a nest goes, and what it computes there: elements, or what these ``adds``
    add."""

    lo: Atom
    hi: Atom
    body: Block
    filled: bool
    adds: tuple[Eqn, ...] = ()


def span_of(eqn: Eqn) -> Span | None:
    """The range of the last index outside of which all elements of a ``build`` are zero; None without such a range.

    It does not depend on any index, and may be larger than that of the index. Where nothing is stored, all that is
    added to accumulators is zero outside.
    """
    (body,) = eqn.blocks
    if eqn.op != "build" or not eqn.args or not all(is_scalar(result.type) for result in body.results):
        return None
    adds = [one for one in walk(body) if one.op == "acc_add"]
    if adds and (body.results or any(one not in body.eqns for one in adds)):
        return None
    given = tuple(add.args[-1] for add in adds) or body.results
    makers = {out: one for one in body.eqns for out in one.outs}
    chosen = [makers.get(result) if isinstance(result, Var) else None for result in given]
    first = chosen[0] if chosen else None
    if first is None or first.op != "select":
        return None
    inside = first.args[0]
    both = makers.get(inside) if isinstance(inside, Var) else None
    if both is None or both.op != "and":
        return None
    after, before = (makers.get(arg) if isinstance(arg, Var) else None for arg in both.args)
    last = body.params[-1]
    if after is None or before is None or (after.op, before.op) != ("lte", "lt"):
        return None
    (lo, index), (same, hi) = after.args, before.args
    own = {*body.params, *(out for one in walk(body) for out in one.outs)}
    if index is not last or same is not last or lo in own or hi in own:
        return None
    kept: list[Atom] = []
    for one in chosen:
        if one is None or one.op != "select" or one.args[0] is not inside or one.args[2] != const(0.0):
            return None
        kept.append(one.args[1])
    dropped = {after, before, both, *adds, *(one for one in chosen if one is not None)}
    rest = tuple(one for one in body.eqns if one not in dropped)
    results = {result for result in given if isinstance(result, Var)}
    if results & read_vars(rest, kept).keys() or inside in read_vars(rest, kept):
        return None
    filled = not adds and not eqn.params.get("inside")
    return Span(lo, hi, Block(body.params, rest, tuple(kept), body.span), filled, tuple(adds))


def adding(p: Printer, span: Span) -> Finish:
    """What is done with the values that a range adds."""

    def write(results: Sequence[Atom], at: Context) -> None:
        for add, value in zip(span.adds, results, strict=True):
            chosen = add.args[-1]
            assert isinstance(chosen, Var)
            p.bind(chosen, p.value(value))
            p.eqn(add, at)

    return Finish(write, single=True)


def fill_around(
    p: Printer,
    span: Span,
    row: tuple[str, str, str],
    inner: tuple[str, str, str],
    zeros: Finish,
    at: Context,
    *,
    whole: bool,
) -> None:
    """Fill a row outside of a range of its index, or as a ``whole``, before the range is computed.

    ``row`` and ``inner`` are the index and its limits, for the row and for the range, whose limits are declared here.
    """
    index, first, last = row
    _, begin, end = inner
    at.writer.line(f"const int64_t {begin} = ks::min(ks::max({p.value(span.lo).text}, {first}), {last});")
    at.writer.line(f"const int64_t {end} = ks::max({begin}, ks::min({p.value(span.hi).text}, {last}));")
    if not span.filled:
        return
    for start, stop in [(first, last)] if whole else [(first, begin), (end, last)]:
        with at.writer.braces(f"for (int64_t {index} = {start}; {index} < {stop}; ++{index})") as inside:
            zeros.write((), Context(inside, at.scope))
