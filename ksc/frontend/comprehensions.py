"""Comprehensions over iterables that are known at compile time."""

from __future__ import annotations

import ast
from collections.abc import Callable

from ksc.frontend.frame import Frame
from ksc.frontend.iteration import is_lazy, iteration_of, static_items
from ksc.frontend.rows import comprehension_rows
from ksc.frontend.scope import bound_names
from ksc.frontend.tensors.integers import below, bounded
from ksc.frontend.values import Dynamic, Iteration, Struct, Value
from ksc.ir.nodes import Const, Var
from ksc.ir.types import Integer


def list_comprehension(frame: Frame, node: ast.ListComp) -> Value:
    """``[element for …]`` as a list of static length."""
    items = _run(frame, node, node.elt)
    return items if isinstance(items, Value) else Struct(list, tuple(items))


def generator(frame: Frame, node: ast.GeneratorExp) -> Value:
    """``(element for …)``: evaluated at once, since its elements have no effects."""
    items = _run(frame, node, node.elt)
    return items if isinstance(items, Value) else Struct(tuple, tuple(items))


def dict_comprehension(frame: Frame, node: ast.DictComp) -> Value:
    """``{key: value for …}`` with keys known at compile time."""
    from ksc.frontend.expressions import evaluate

    entries: dict[object, Value] = {}

    def entry(inner: Frame) -> None:
        key = inner.require_static(evaluate(inner, node.key), node.key, "the key of a dict", "use constant keys")
        entries[key] = evaluate(inner, node.value)

    scope = _scope(frame, node)
    _loop(scope, node.generators, evaluate(scope, node.generators[0].iter), entry)
    return Struct(dict, tuple(entries.values()), tuple(entries))


def _scope(frame: Frame, node: ast.ListComp | ast.GeneratorExp | ast.DictComp) -> Frame:
    return frame.child(node, bound_names(generator.target for generator in node.generators))


def _run(frame: Frame, node: ast.ListComp | ast.GeneratorExp, element: ast.expr) -> list[Value] | Value:
    """The items, stacked where their number depends on the arguments."""
    from ksc.frontend.expressions import evaluate

    scope, first = _scope(frame, node), node.generators[0]
    iterable = evaluate(scope, first.iter)
    if len(node.generators) == 1 and not first.ifs and is_lazy(iterable):
        found = iteration_of(scope, iterable, first.iter)
        if found is not None and not isinstance(found.count, Const):
            return _stacked(scope, node, found, element)
    values: list[Value] = []
    _loop(scope, node.generators, iterable, lambda inner: values.append(evaluate(inner, element)))
    return values


def _stacked(scope: Frame, node: ast.ListComp | ast.GeneratorExp, found: Iteration, element: ast.expr) -> Value:
    from ksc.frontend.assign import assign
    from ksc.frontend.expressions import evaluate

    index = Var("k", Integer)
    bounded(scope, index, 0)
    below(scope, index, found.count)

    def code() -> Value:
        assign(scope, node.generators[0].target, found.item(scope, Dynamic(index)))
        return evaluate(scope, element)

    return comprehension_rows(scope, found.count, scope.aside(code), index, node)


def _loop(scope: Frame, generators: list[ast.comprehension], iterable: Value, body: Callable[[Frame], None]) -> None:
    from ksc.frontend.assign import assign
    from ksc.frontend.expressions import evaluate, truth

    first, rest = generators[0], generators[1:]
    if first.is_async:
        scope.refuse(first.target, "an asynchronous comprehension", "await before the kernel is called", code="KS102")
    for item in static_items(scope, iterable, first.iter):
        assign(scope, first.target, item)
        instead = "select with a conditional expression in the element"
        what = "the condition of a comprehension"
        if all(_holds(scope, truth(scope, test), test, what, instead) for test in first.ifs):
            if rest:
                _loop(scope, rest, evaluate(scope, rest[0].iter), body)
            else:
                body(scope)


def _holds(scope: Frame, value: Value, test: ast.expr, what: str, instead: str) -> bool:
    return bool(scope.require_static(value, test, what, instead))
