"""Outermost loops whose iterations do not depend on each other: ranges of them run on several threads.

    ks::parallel(rt, x.size[0], 4 * x.size[1],
                 [=](ks::runtime &rt, int64_t first, int64_t last, ks::tensor<float, 1> w_bar) KS_INLINED {
        for (int64_t i = first; i < last; ++i) {
            …
        }
    }, ks::summed(w_bar));

What iterations write is either their own, at their index, or combined, each range on its own and then in order. The
body is a lambda that copies the handles it reads, so that the compiler sees that nothing changes them. How the work is
divided is decided at run time, from the number of iterations and what one costs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from ksc.codegen.cpp.memory import allocates_in, refers, winds_back
from ksc.codegen.cpp.names import Scope
from ksc.codegen.cpp.printer import Context, Printer
from ksc.codegen.cpp.rows import row_length
from ksc.codegen.cpp.types import cpp_type
from ksc.codegen.cpp.work import WORTH_DIVIDING, Work, divided_index, work_of
from ksc.codegen.cpp.writer import Writer
from ksc.ir.nodes import Atom, Block, Const, Eqn, Program, Var, walk
from ksc.ir.rewrite import bound_in
from ksc.ir.sums import are_sums
from ksc.ir.types import AccType, FloatType, TensorType, is_scalar


@dataclass(frozen=True, slots=True)
class Shared:
    """A variable that all iterations contribute to: a number or a tensor, and how two contributions are combined.

    ``how`` is the expression that says so to ``ks::parallel``.
    """

    name: str
    cpp_type: str
    is_number: bool
    how: str


@dataclass(slots=True)
class Region:
    """A loop that is divided: the variables of a range's ends, what an iteration costs, and what iterations share.

    ``lanes``, set while the body is printed, is the C++ constant of how many iterations run side by side, if they do.
    """

    first: str
    last: str
    work: str
    shared: Sequence[Shared]
    lanes: str = ""


# Which loops.


def outermost(program: Program) -> Mapping[str, frozenset[int]]:
    """For each function the ids of the loops that run once in a call of the kernel, if they can be divided at all."""
    silent = {name for name in program.functions if not _calls_back(program, name)}
    inside = {
        inner.params["callee"]
        for function in program.functions.values()
        for eqn in walk(function.body)
        if eqn.op in ("for", "while", "build", "reduce")
        for block in eqn.blocks
        for inner in walk(block)
        if inner.op == "call"
    }
    for name in list(inside):
        inside |= _reached(program, name)
    cyclic = {name for name in program.functions if name in _reached(program, name)}
    return {
        name: frozenset(id(eqn) for eqn in _top_level(function.body) if _is_independent(eqn, silent, grid=False))
        for name, function in program.functions.items()
        if name not in inside and name not in cyclic
    }


def independent(program: Program) -> Mapping[str, frozenset[int]]:
    """For each function the ids of all loops that can be divided, wherever they are."""
    silent = {name for name in program.functions if not _calls_back(program, name)}
    return {
        name: frozenset(
            id(eqn)
            for eqn in walk(function.body)
            if eqn.op in ("build", "reduce", "for") and _is_independent(eqn, silent, grid=True)
        )
        for name, function in program.functions.items()
    }


def _top_level(block: Block) -> Iterator[Eqn]:
    for eqn in block.eqns:
        if eqn.op in ("if", "withacc"):
            for inner in eqn.blocks:
                yield from _top_level(inner)
        elif eqn.op in ("build", "reduce", "for"):
            yield eqn


def _is_independent(eqn: Eqn, silent: set[str], *, grid: bool) -> bool:
    """Whether iterations neither hand on anything but sums nor call into Python, which has one thread at a time."""
    if eqn.op == "for" and not are_sums(eqn):
        return False
    if eqn.params.get("nested", False) or eqn.params.get("checkpoint", 1) != 1:
        return False
    for inner in walk(eqn.blocks[0]):
        if inner.op == "callback" or (grid and inner.op in ("box", "unbox")):
            return False
        if inner.op == "call" and (
            inner.params["callee"] not in silent or any(isinstance(arg.type, AccType) for arg in inner.args)
        ):
            return False
    return True


def _reached(program: Program, name: str) -> set[str]:
    seen: set[str] = set()
    pending = [name]
    while pending:
        for eqn in walk(program.functions[pending.pop()].body):
            if eqn.op == "call" and eqn.params["callee"] not in seen:
                seen.add(eqn.params["callee"])
                pending.append(eqn.params["callee"])
    return seen


def _calls_back(program: Program, name: str) -> bool:
    functions = {name} | _reached(program, name)
    return any(eqn.op == "callback" for f in functions for eqn in walk(program.functions[f].body))


# How one is printed.


def divide(p: Printer, eqn: Eqn, scope: Scope, results: Sequence[Shared], *, in_place: bool) -> Region | None:
    """The region for an outermost loop, or None where it stays whole.

    ``results`` are numbers and tensors that the loop combines; with ``in_place`` what else it gives has its place in
    tensors that are there before it.
    """
    if id(eqn) not in p.outermost or not in_place:
        return None
    if p.walk is not None and not p.walk.together:
        return None
    body = eqn.blocks[-1]
    if not winds_back(p, eqn) and allocates_in(p, eqn):
        return None
    if any(refers(atom.type) for atom in body.results):
        return None
    accumulators = _accumulators(p, eqn)
    if accumulators is None:
        return None
    work = work_of(p, eqn)
    count = eqn.args[divided_index(p, eqn)]
    if not p.target.is_grid and not (_gives_anything(p, eqn) and _is_worth_it(count, work)):
        return None
    p.needs_runtime = True
    return Region(scope.declare("first"), scope.declare("last"), work.text(), [*results, *accumulators])


def _gives_anything(p: Printer, eqn: Eqn) -> bool:
    """Whether the loop does more than check something."""
    return any(map(p.analysis.is_read, eqn.outs)) or any(
        inner.op == "acc_add" and p.analysis.is_live(inner) for inner in walk(eqn.blocks[-1])
    )


def _is_worth_it(count: Atom, work: Work) -> bool:
    """Whether the loop may be long enough: sizes that are known may say that it never is."""
    known = work.known()
    if not isinstance(count, Const) or known is None:
        return True
    return int(count.value) > 1 and int(count.value) * known >= WORTH_DIVIDING


def _accumulators(p: Printer, eqn: Eqn) -> list[Shared] | None:
    """The accumulators from outside that iterations add to, elsewhere than at their own index.

    None if there is one that cannot be had once for each range.
    """
    body = eqn.blocks[-1]
    own = bound_in(eqn)
    # The indices of which each iteration has its own.
    first = divided_index(p, eqn)
    divided = body.params if p.target.is_grid and eqn.op != "for" else body.params[first : first + 1]
    apart: dict[Var, tuple[int, ...] | None] = {}
    for inner in walk(body):
        if inner.op != "acc_add" or inner.args[0] in own or not p.analysis.is_live(inner):
            continue
        acc, *at, _ = inner.args
        assert isinstance(acc, Var)
        places = _places(at if p.target.is_grid else at[: first + 1], divided)
        apart[acc] = places if apart.get(acc, places) == places else None
    found = []
    for acc, places in apart.items():
        if places is not None:
            continue
        assert isinstance(acc.type, AccType)
        name = p.value(acc).text
        value = acc.type.value
        if not name.isidentifier() or not (is_scalar(value) or isinstance(value, TensorType)):
            return None
        if isinstance(value, TensorType) and not isinstance(value.elem, FloatType):
            return None
        found.append(Shared(name, cpp_type(value, p.float_type), is_scalar(value), f"ks::summed({name})"))
    return found


def _places(at: Sequence[Atom], indices: Sequence[Var]) -> tuple[int, ...] | None:
    """Where each of a loop's indices stands among those of an element; None where one does not."""
    return tuple(at.index(index) for index in indices) if all(index in at for index in indices) else None


def print_region(p: Printer, region: Region, count: str, eqn: Eqn, at: Context, body: Callable[[Writer], None]) -> None:
    """The call of ``ks::parallel``; ``body`` prints the loop from ``region.first`` to ``region.last``."""
    numbers = [shared for shared in region.shared if shared.is_number]

    def printed(who: AbstractContextManager[None]) -> Writer:
        inner = at.writer.fork()
        for number in numbers:
            inner.line(f"{number.cpp_type} {number.name} = {number.name}_part;", eqn.span)
        with who:
            body(inner)
        for number in numbers:
            inner.line(f"{number.name}_part = {number.name};", eqn.span)
        return inner

    rows, inner = _print_rows(p, eqn, len(numbers), printed)
    if inner is None:
        inner = printed(p.walk.divided(len(numbers)) if p.walk is not None else nullcontext())
    if p.walk is not None and p.walk.teams:
        p.walk.adds |= len(numbers) < len(region.shared)
    runtime = "ks::runtime &rt" if any(_mentions_runtime(line.text) for line in inner.lines) else "ks::runtime &"
    parameters = [runtime, f"int64_t {region.first}", f"int64_t {region.last}"]
    for shared in region.shared:
        type_ = shared.cpp_type
        if p.target.is_grid and not shared.is_number and shared.how.startswith("ks::summed"):
            type_ = type_.replace("ks::tensor", "ks::shared_tensor", 1)
        parameters.append(f"{type_} " + (f"&{shared.name}_part" if shared.is_number else shared.name))
    needs = region.work
    if p.target.is_grid:
        needs = "ks::own_memory" if any(_asks_for_memory(line.text) for line in inner.lines) else "ks::no_memory"
    division = f"ks::parallel<{region.lanes}>" if region.lanes else "ks::parallel"
    if p.walk is not None and p.walk.teams:
        division = "ks::along"
    # Inside of the function that runs a range, what the loops capture is known not to change.
    inlined = "" if p.target.is_grid else " KS_INLINED"
    given = ", ".join(filter(None, ["rt", count, rows, needs]))
    at.writer.statement(f"{division}({given}, [=]({', '.join(parameters)}){inlined} {{", eqn.span)
    at.writer.lines.extend(inner.lines)
    at.writer.line("}" + "".join(f", {shared.how}" for shared in region.shared) + ");", eqn.span)


def _print_rows(
    p: Printer, eqn: Eqn, numbers: int, printed: Callable[[AbstractContextManager[None]], Writer]
) -> tuple[str, Writer | None]:
    """The body for teams that go through rows together, and what is said of these; nothing where there are none."""
    if p.walk is None or p.walk.teams:
        return "", None
    length = row_length(p, eqn)
    if not length:
        return "", None
    single = p.walk.single
    kept = p.in_range.facts, dict(p.places), p.copies
    inner = printed(p.walk.shared(numbers))
    if p.walk.single == single:
        return f"ks::rows{{{length}, {'true' if p.walk.adds else 'false'}}}", inner
    # Elements are stored one by one in a loop that threads cannot share.
    p.walk.single = single
    p.in_range.facts, p.places, p.copies = kept
    return "", None


_MEMORYLESS = re.compile(
    r"ks::(?:parallel|along|store|add|add_to|put|combine|fill|for_each|multiply|multiply_all)\(rt\b"
    r"|ks::scratch \w+\(rt\)"
)


def _asks_for_memory(text: str) -> bool:
    return hands_on_runtime(_MEMORYLESS.sub("", text))


def hands_on_runtime(text: str) -> bool:
    """Whether memory may be asked for here."""
    return re.search(r"\(rt[,)]|\brt\.box", text.partition("//")[0]) is not None


def _mentions_runtime(text: str) -> bool:
    code = text.partition("//")[0]
    return "rt." in code or "(rt" in code
