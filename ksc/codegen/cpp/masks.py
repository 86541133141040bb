"""Where iterations that run side by side part ways: both sides of a branch, and a mask of those that go on.

    ks::pack<float, 2> y = x;
    const ks::pack_mask<float, 2> taken = x < 0.0f;
    if (ks::any(taken)) {
        y = ks::select(taken, ks::exp(x) - 1.0f, y);
    }

What an iteration computes that does not go on is thrown away: loops choose what they carry, additions and stores what
was there before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from ksc.codegen.cpp.expr import Expr
from ksc.codegen.cpp.names import Scope, is_temporary
from ksc.codegen.cpp.printer import Context, Finish, Printer
from ksc.codegen.cpp.types import cpp_type, declaration
from ksc.codegen.cpp.writer import Writer
from ksc.ir.nodes import Atom, Block, Eqn, Var, walk
from ksc.ir.types import Bool, TensorType
from ksc.ops import PRIMITIVES
from ksc.ops.cpp import LOGICAL_AND, UNARY, CppExpr


def mask_type(p: Printer) -> str:
    """The C++ type of a mask."""
    assert p.packing is not None
    return cpp_type(Bool, p.packing.pack)


@contextmanager
def going_on(p: Printer, name: str | None) -> Iterator[None]:
    """Print what only those run that a mask names."""
    around, p.going_on = p.going_on, name or p.going_on
    try:
        yield
    finally:
        p.going_on = around


def narrowed(p: Printer, condition: Expr) -> CppExpr:
    """A condition, for those iterations alone that run what is printed."""
    if p.going_on is None:
        return condition.cpp
    return CppExpr(f"{p.going_on} && {condition.cpp.within(LOGICAL_AND + 1)}", LOGICAL_AND)


def chosen(mask: str | None, new: Expr, old: str) -> Expr:
    """What is new for the iterations that go on, what was there before for others."""
    if mask is None:
        return new
    return replace(new, cpp=CppExpr(f"ks::select({mask}, {new.text}, {old})"), infix=None)


def print_apart(p: Printer, eqn: Eqn, live: Sequence[Var], at: Context) -> None:
    """An ``if`` whose condition differs between iterations, and those of its results that are no memory of others."""
    condition = p.value(eqn.args[0])
    taken = at.scope.declare("taken")
    masks = [taken, at.scope.declare("others")]
    texts = [narrowed(p, condition).text, narrowed(p, Expr(CppExpr(f"!{taken}", UNARY))).text]
    names = [p.declare(out, at, name=branch_name(eqn, eqn.outs.index(out))) for out in live]
    sides = [_side(p, eqn, k, live, masks[k], at) for k in (0, 1)]
    tensors = any(isinstance(out.type, TensorType) for out in live)
    plain = next((k for k in (1, 0) if not sides[k][0].lines and not tensors), None)
    at.writer.comment(eqn.span)
    for k, (name, out) in enumerate(zip(names, live, strict=True)):
        start = "0" if plain is None else sides[plain][1][k].text
        head = declaration(out.type, name, p.width(out), const=False)
        at.writer.statement(f"{head};" if isinstance(out.type, TensorType) else f"{head} = {start};", eqn.span)
    for k, (inner, values) in enumerate(sides):
        if k == 0 or k != plain:
            at.writer.statement(f"const {mask_type(p)} {masks[k]} = {texts[k]};", eqn.span, condition.folded)
        if k == plain:
            continue
        for out, name, value in zip(live, names, values, strict=True):
            given = f"rt, {masks[k]}" if isinstance(out.type, TensorType) else masks[k]
            p.needs_runtime |= isinstance(out.type, TensorType)
            inner.statement(
                f"{name} = ks::select({given}, {value.text}, {name});", value.span or eqn.span, value.folded
            )
        at.writer.line(f"if (ks::any({masks[k]})) {{" if _is_dear(p, eqn.blocks[k]) else "{", eqn.span)
        at.writer.lines.extend(inner.lines)
        at.writer.line("}", eqn.span)
    for out, name in zip(live, names, strict=True):
        p.bind_variable(out, name)


def _side(p: Printer, eqn: Eqn, k: int, live: Sequence[Var], mask: str, at: Context) -> tuple[Writer, Sequence[Expr]]:
    """What one side does, and the results of it that are read."""
    inner = at.writer.fork()
    values: list[Expr] = []

    def write(results: Sequence[Atom], _: Context) -> None:
        values.extend(p.fitting(atom, out) for out, atom in zip(eqn.outs, results, strict=True) if out in live)

    facts = p.in_range.facts
    p.in_range.assume(eqn.args[0], k == 0)
    with going_on(p, mask):
        p.block(eqn.blocks[k], Finish(write, single=True), Context(inner, Scope(at.scope)))
    p.in_range.facts = facts
    return inner, values


def _is_dear(p: Printer, block: Block) -> bool:
    """Whether a block is better not run where no iteration needs it, or must not be."""
    return any(
        eqn.op not in PRIMITIVES or PRIMITIVES[eqn.op].cost == "expensive" or p.may_fail(eqn) for eqn in walk(block)
    )


def branch_name(eqn: Eqn, k: int) -> str:
    """The user's name for an out of an ``if``, its own or that of a side's result."""
    sides = (block.results[k] for block in eqn.blocks)
    names = [eqn.outs[k].name, *(atom.name for atom in sides if isinstance(atom, Var))]
    return next((name for name in names if not is_temporary(name)), names[0])
