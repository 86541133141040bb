"""Tensors of several constants that are read element by element: tables in the program, which nobody fills.

const ks::tensor<double, 1> knots(rt, 3);            static constexpr double knots_elements[] = {0.0, 1.0, 2.5};
knots(0) = 0.0;                               ⟶      const ks::tensor<double, 1> knots = ks::table(knots_elements, 3);
knots(1) = 1.0;
knots(2) = 2.5;
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ksc.codegen.cpp.types import cpp_type, declaration
from ksc.ir.nodes import Atom, Const, Eqn, Function, Var, walk
from ksc.ir.types import TensorType
from ksc.passes.small.literal import elements_of

if TYPE_CHECKING:
    from ksc.codegen.cpp.printer import Context, Printer

Table = tuple[Const, ...]


def tables(function: Function) -> dict[Var, Table]:
    """Such tensors of a function, with their elements in row-major order."""
    found: dict[Var, Table] = {}
    for eqn in walk(function.body):
        elements = elements_of(eqn)
        for out, row in zip(eqn.outs, elements or (), strict=False):
            constants = tuple(atom for atom in row if isinstance(atom, Const))
            if len(constants) == len(row) and len(set(constants)) > 1:
                found[out] = constants
    if found:
        for var in _read_otherwise(function):
            found.pop(var, None)
    return found


def _read_otherwise(function: Function) -> set[Var]:
    """What is read, and not only for an element or its sizes."""
    read: set[Atom] = set(function.body.results)
    for eqn in walk(function.body):
        whole = (
            eqn.args if eqn.op not in ("index", "size") or isinstance(eqn.outs[0].type, TensorType) else eqn.args[1:]
        )
        read.update(whole, *(block.results for block in eqn.blocks))
    return {atom for atom in read if isinstance(atom, Var)}


def print_tables(p: Printer, eqn: Eqn, at: Context) -> bool:
    """Print the results of a loop as tables if all of them are; whether they are."""
    live = [out for out in eqn.outs if p.analysis.is_read(out)]
    if not all(out in p.tables for out in live):
        return False
    for out in live:
        assert isinstance(out.type, TensorType)
        name = p.declare(out, at)
        elements = at.scope.declare(f"{name}_elements")
        listed = ", ".join(p.value(element).text for element in p.tables[out])
        elem = cpp_type(out.type.elem, p.float_type)
        at.writer.line(f"static constexpr {elem} {elements}[] = {{{listed}}};", eqn.span)
        sizes = ", ".join(p.value(size).text for size in eqn.args)
        made = declaration(out.type, name, p.float_type)
        at.writer.line(f"{made} = ks::table({elements}, {sizes});", eqn.span)
        p.in_range.tensor(out, eqn.args)
    return True
