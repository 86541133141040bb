"""Callbacks: functions of the host, which write their results where the kernel wants them."""

from __future__ import annotations

from ksc.codegen.cpp.literals import string_literal
from ksc.codegen.cpp.memory import allocate
from ksc.codegen.cpp.printer import Context, Printer
from ksc.errors import UnsupportedError
from ksc.ir.nodes import Eqn
from ksc.ir.types import TensorType


def print_callback(p: Printer, eqn: Eqn, at: Context) -> None:
    """Declare the results, then call."""
    if p.target.is_grid:
        raise UnsupportedError(
            "a kernel for a GPU cannot call back into Python",
            remedy="run it on the CPU, or write the function in Python that is compiled",
            span=eqn.span,
            code="KS119",
        )
    p.needs_runtime = True
    count = eqn.params["operands"]
    given = ", ".join(f"ks::operand({p.value(atom).text})" for atom in eqn.args[:count])
    sizes = iter(eqn.args[count:])
    names = []
    for k, out in enumerate(eqn.outs):
        if isinstance(out.type, TensorType):
            names.append(allocate(p, eqn, k, [p.value(next(sizes)).text for _ in range(out.type.rank)], at))
        else:
            names.append(p.declare(out, at))
            at.writer.statement(f"{p.type_of(out)} {names[-1]} = {{}};", eqn.span)
    places = ", ".join(f"ks::operand({name})" for name in names)
    name = string_literal(eqn.params["name"])
    at.writer.statement(f"ks::callback(rt, {name}, {{{given}}}, {{{places}}});", eqn.span)
