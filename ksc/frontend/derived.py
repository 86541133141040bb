"""Calls of derivatives inside a kernel: the function is traced, differentiated, and joins the program that calls it.

g = knossos.grad(f)          g(x)      ⟶      ([rev f] x), with the functions of the derivative beside it
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from types import FunctionType
from typing import TYPE_CHECKING

from ksc.errors import DifferentiationError, KnossosError
from ksc.frontend.calls import bind_arguments, defaults_of
from ksc.frontend.functions import Entry, FunctionTable, Synthetic, UnfinishedError, identity, locate
from ksc.frontend.join import abstract_leaves, atoms_for, generalise, rebuild, same_template, template_of
from ksc.frontend.rules import trace_root
from ksc.frontend.source import plain_function
from ksc.frontend.special import Derived, F, special_callable, traced_by
from ksc.frontend.values import Static, Struct, Value, describe
from ksc.ir.nodes import PLACEHOLDER
from ksc.ir.rewrite import effectful_functions, rename_functions, unique_name

if TYPE_CHECKING:
    from ksc.frontend.frame import Frame


def call_derived(
    frame: Frame, derived: Derived, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST
) -> Value:
    """The value of a call of a derivative."""
    function = plain_function(derived.function)
    if function is None:
        frame.refuse(node, "what is differentiated has no Python source", "write it with `def`", code="KS109")
    _, definition, _ = locate(function)
    defaults = defaults_of(frame, function, node)
    values = bind_arguments(frame, function.__name__, definition, args, kwargs, defaults, node)
    templates = tuple(generalise(template_of(value)) for value in values)
    where = frame.span(node)
    try:
        if any(identity(entry.callee) == identity(function) for entry in frame.functions.active):
            raise UnfinishedError(function.__name__)
        entry = _entry(frame.functions, derived, function, templates)
    except UnfinishedError:
        reason = f"{function.__name__!r} is part of its own derivative"
        frame.refuse(node, reason, "take the derivative of a function that does not call this one", code="KS131")
    except KnossosError as error:
        if isinstance(error, DifferentiationError) and error.span is None:
            error.span = where
        error.add_note(f"  in a derivative of {function.__qualname__!r} at {where.file}:{where.line}")
        raise
    assert entry.result is not None
    pairs = zip(templates, values, strict=True)
    atoms = [atom for template, value in pairs for atom in atoms_for(frame, template, value, node)]
    types = [leaf.type for leaf in abstract_leaves(entry.result)]
    outs = frame.emit(node, "call", atoms, types, params={"callee": entry.name}, names=[PLACEHOLDER] * len(types))
    return rebuild(entry.result, iter(outs))


def _entry(table: FunctionTable, derived: Derived, function: FunctionType, templates: tuple[Value, ...]) -> Entry:
    wanted = Synthetic(derived, "derived")
    for entry in table.entries:
        if entry.callee == wanted and all(map(same_template, entry.arguments, templates)):
            return entry
    mark = len(table.entries)
    special = special_callable(derived.function)
    if special is None:
        primal = table.trace(function, templates, root=True)
    else:
        primal = trace_root(table, special, templates, None)
    assert primal.result is not None
    program, result = table.program(primal), primal.result
    # The derivative brings along all that it calls, under names of its own.
    del table.entries[mark:]
    names: dict[str, str] = {}
    taken = {entry.name for entry in table.entries}
    for name in program.functions:
        names[name] = unique_name(name, taken)
        taken.add(names[name])
    program = rename_functions(program, names)
    for step in derived.steps:
        program, result = step(program, templates, result)
    effects = effectful_functions(program.functions)
    for name, made in program.functions.items():
        main = name == program.entry
        role = "derived" if main else name
        entry = Entry(name, Synthetic(derived, role), templates if main else (), result if main else None)
        entry.function, entry.effects = made, name in effects
        table.entries.append(entry)
    table.boxes.update(program.boxes)
    return next(entry for entry in table.entries if entry.name == program.entry)


def made_of_constants(function: F) -> F:
    """A decorator for functions that make kernels: inside a kernel they are called while it is traced."""

    def handler(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
        values = [_constant(frame, value, node) for value in args]
        return Static(function(*values, **{key: _constant(frame, value, node) for key, value in kwargs.items()}))

    return traced_by(handler)(function)


def _constant(frame: Frame, value: Value, node: ast.AST) -> object:
    if isinstance(value, Static):
        return value.value
    if isinstance(value, Struct) and value.cls is tuple:
        return tuple(_constant(frame, item, node) for item in value.items)
    reason = f"{describe(value)} stands where a function or a constant is needed"
    frame.refuse(node, reason, "define the function at the top of the file", code="KS111")
