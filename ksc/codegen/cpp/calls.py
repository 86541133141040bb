"""Calls, records of residuals, and asserts."""

from __future__ import annotations

from ksc.codegen.cpp.expr import NO_READS, Expr, name_expr, origins
from ksc.codegen.cpp.printer import Context, Printer, negation
from ksc.codegen.cpp.tensors import fail_index_if
from ksc.codegen.cpp.types import box_struct, declaration
from ksc.errors import UnsupportedError
from ksc.ir.nodes import Eqn, Var
from ksc.ir.types import TensorType
from ksc.ops.cpp import PRIMARY, CppExpr


def print_call(p: Printer, eqn: Eqn, at: Context) -> None:
    """One result is an expression; several are unpacked by name."""
    callee = p.callees[eqn.params["callee"]]
    values = [p.value(atom) for atom in eqn.args]
    texts = [p.copied(eqn, k, at) or value.text for k, value in enumerate(values)]
    if callee.needs_runtime:
        p.needs_runtime = True
        texts.insert(0, "rt")
    if p.walk is not None and callee.walk is not None:
        p.walk.call(callee.walk, reads=any(isinstance(atom.type, TensorType) for atom in eqn.args))
    text = f"{callee.name}({', '.join(texts)})"
    live = [k for k, out in enumerate(eqn.outs) if p.analysis.is_read(out)]
    if not live:
        at.writer.statement(f"{text};", eqn.span, origins(*values))
    elif len(live) == 1:
        (k,) = live
        out = eqn.outs[k]
        tensors = frozenset(atom for atom in eqn.args if isinstance(atom, Var) and isinstance(atom.type, TensorType))
        reads = NO_READS.union(tensors, *(value.reads for value in values))
        expr = Expr(
            CppExpr(f"{text}.{callee.fields[k]}" if callee.fields else text),
            reads,
            None,
            eqn.span,
            folded=origins(*values),
        )
        # What may stop the kernel, or changes a tensor, stays in its place among the other effects.
        if callee.written or (callee.needs_runtime and not p.may_wait(eqn)):
            name = p.declare(out, at)
            at.writer.statement(f"{declaration(out.type, name, p.float_type)} = {expr.text};", eqn.span, expr.folded)
        else:
            p.define(out, expr, at)
    else:
        names = [at.scope.declare(out.name) for out in eqn.outs]
        for out, name in zip(eqn.outs, names, strict=True):
            p.bind(out, name_expr(name))
        at.writer.statement(f"const auto [{', '.join(names)}] = {text};", eqn.span, origins(*values))


def print_box(p: Printer, eqn: Eqn, at: Context) -> None:
    """A record in the arena."""
    (out,) = eqn.outs
    values = ", ".join(p.value(atom).text for atom in eqn.args)
    name = p.declare(out, at)
    p.needs_runtime = True
    if p.walk is not None:
        p.walk.write("makes a record", eqn.span)
    struct = box_struct(eqn.params["name"], p.width(out))
    at.writer.statement(f"{declaration(out.type, name, p.width(out))} = rt.box({struct}{{{values}}});", eqn.span)


def print_unbox(p: Printer, eqn: Eqn, at: Context) -> None:
    """The fields of a record by name."""
    if p.walk is not None:
        p.walk.glance()
    value = p.value(eqn.args[0])
    if len(eqn.outs) == 1:
        p.define(eqn.outs[0], Expr(CppExpr(f"{value.cpp.within(PRIMARY)}->r0"), value.reads, None, eqn.span), at)
        return
    names = [at.scope.declare(out.name) for out in eqn.outs]
    for out, name in zip(eqn.outs, names, strict=True):
        p.bind(out, name_expr(name))
    at.writer.statement(f"const auto [{', '.join(names)}] = *{value.cpp.within(PRIMARY)};", eqn.span)


def print_assert(p: Printer, eqn: Eqn, at: Context) -> None:
    """Stop the kernel where the condition does not hold."""
    condition = p.value(eqn.args[0])
    message = str(eqn.params.get("message") or "assertion failed")
    failing = Expr(CppExpr(negation(condition)), folded=condition.origins)
    name, dims = eqn.params.get("index", ("", ()))
    if dims:
        values = [p.value(atom).text for atom in eqn.args[1:]]
        fail_index_if(p, failing, name, list(zip(dims, values[::2], values[1::2], strict=True)), eqn.span, at)
    else:
        code = "KS_ERROR_INDEX" if "index" in eqn.params else "KS_ERROR_ASSERT"
        p.fail_if(failing, code, message, eqn.span, at)
    p.in_range.asserted(eqn.args[0])


def refuse_print(p: Printer, eqn: Eqn, at: Context) -> None:
    """Kernels have no output."""
    raise UnsupportedError(
        "print inside a compiled kernel",
        remedy="return the value, or call the undecorated function to look into it",
        span=eqn.span,
    )


def refuse_tuple(p: Printer, eqn: Eqn, at: Context) -> None:
    """Tuples are flattened before code is generated."""
    raise UnsupportedError(
        f"the op {eqn.op} in code generation", remedy="run the pass that flattens tuples first", span=eqn.span
    )
