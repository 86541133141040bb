"""Calls of derivatives inside a kernel: the function is traced, differentiated, and joins the program that calls it.

g = knossos.grad(f)          g(x)      ⟶      ([rev f] x), with the functions of the derivative beside it
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FunctionType
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ksc.errors import ArgumentError, DifferentiationError, KnossosError
from ksc.frontend.calls import bind_arguments, defaults_of, python_constant
from ksc.frontend.functions import Entry, FunctionTable, Synthetic, UnfinishedError, identity, locate
from ksc.frontend.join import abstract_leaves, atoms_for, generalise, rebuild, same_template, template_of
from ksc.frontend.lifting import Lifted, lift_call
from ksc.frontend.rules import trace_root
from ksc.frontend.source import plain_function
from ksc.frontend.special import Derived, TracedCallable, special_callable
from ksc.frontend.values import Closure, Static, Value
from ksc.ir.nodes import PLACEHOLDER, Atom
from ksc.ir.rewrite import effectful_functions, rename_functions, unique_name

if TYPE_CHECKING:
    from ksc.frontend.frame import Frame
    from ksc.frontend.special import Step


@runtime_checkable
class Counted(Protocol):
    """A step that names arguments by number, maybe from the end."""

    def counted(self, count: int) -> Step:
        """The same for a function of ``count`` parameters, which may become more."""


def call_derived(
    frame: Frame, derived: Derived, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST
) -> Value:
    """The value of a call of a derivative."""
    if isinstance(derived.function, TracedCallable):
        return _call_derived_local(frame, derived.function, derived.steps, args, kwargs, node)
    function = plain_function(derived.function)
    if function is None:
        frame.refuse(node, "what is differentiated has no Python source", "write it with `def`", code="KS109")
    _, definition, _ = locate(function)
    defaults = defaults_of(frame, function, node)
    values = bind_arguments(frame, function.__name__, definition, args, kwargs, defaults, node)
    templates = tuple(generalise(template_of(value)) for value in values)
    with _explained(frame, function.__qualname__, node):
        if any(identity(entry.callee) == identity(function) for entry in frame.functions.active):
            raise UnfinishedError(function.__name__)
        entry = _entry(frame.functions, derived, function, templates)
    pairs = zip(templates, values, strict=True)
    atoms = [atom for template, value in pairs for atom in atoms_for(frame, template, value, node)]
    return _emit(frame, entry, atoms, node)


def _call_derived_local(
    frame: Frame,
    function: TracedCallable,
    steps: Sequence[Step],
    args: Sequence[Value],
    kwargs: Mapping[str, Value],
    node: ast.AST,
) -> Value:
    """The value of a call of a derivative of a function that is defined inside the kernel."""
    values = list(args)
    if isinstance(function.value, Closure):
        closure = function.value
        values = bind_arguments(frame, closure.name, closure.node, args, kwargs, closure.defaults, node)
    elif kwargs:
        frame.refuse(node, f"{function.__name__!r} is given arguments by name", "pass them by position", code="KS204")
    templates = tuple(generalise(template_of(value)) for value in values)
    with _explained(frame, function.__name__, node):
        lifted, entry = derive_call(frame, function.value, templates, steps, function.__name__, node)
    pairs = zip(templates, values, strict=True)
    atoms = [atom for template, value in pairs for atom in atoms_for(frame, template, value, node)]
    return _emit(frame, entry, [*atoms, *lifted.atoms(frame, node)], node)


def derive_call(
    frame: Frame, callee: Value, templates: Sequence[Value], steps: Sequence[Step], title: str, node: ast.AST
) -> tuple[Lifted, Entry]:
    """The call of ``callee`` as a function of its own, and what ``steps`` make of that."""
    mark = len(frame.functions.entries)
    lifted = lift_call(frame, callee, templates, title, node)
    counted = [step.counted(len(templates)) if isinstance(step, Counted) else step for step in steps]
    derived = Derived(TracedCallable(callee, title, ()), tuple(counted))
    params = (*templates, *lifted.templates)
    return lifted, _with_steps(frame.functions, derived, lifted.entry, params, mark)


@contextmanager
def _explained(frame: Frame, title: str, node: ast.AST) -> Iterator[None]:
    where = frame.span(node)
    try:
        yield
    except UnfinishedError:
        reason = f"{title!r} is part of its own derivative"
        frame.refuse(node, reason, "take the derivative of a function that does not call this one", code="KS131")
    except KnossosError as error:
        if isinstance(error, DifferentiationError) and error.span is None:
            error.span = where
        error.add_note(f"  in a derivative of {title!r} at {where.file}:{where.line}")
        raise


def _emit(frame: Frame, entry: Entry, atoms: Sequence[Atom], node: ast.AST) -> Value:
    assert entry.result is not None
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
    return _with_steps(table, derived, primal, templates, mark)


def _with_steps(
    table: FunctionTable, derived: Derived, primal: Entry, templates: tuple[Value, ...], mark: int
) -> Entry:
    """The function that the steps make of ``primal``, which was traced after ``mark`` with all that it calls."""
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


def call_with_constants(
    function: Callable[..., object], frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST
) -> Value:
    """The value of a call, made while it is traced, of a function that makes kernels."""
    values = [python_constant(frame, value, node) for value in args]
    named = {key: python_constant(frame, value, node) for key, value in kwargs.items()}
    try:
        return Static(function(*values, **named))
    except ArgumentError as error:
        frame.refuse(node, error.message, error.remedy, code="KS204")
