"""Comprehensions over iterables that are known at compile time."""

from __future__ import annotations

import ast
from collections.abc import Callable

from ksc.frontend.frame import Frame
from ksc.frontend.iteration import static_items
from ksc.frontend.scope import bound_names
from ksc.frontend.values import Struct, Value


def list_comprehension(frame: Frame, node: ast.ListComp) -> Value:
    """``[element for …]`` as a list of static length."""
    return Struct(list, tuple(_run(frame, node, node.elt)))


def generator(frame: Frame, node: ast.GeneratorExp) -> Value:
    """``(element for …)``: evaluated at once, since its elements have no effects."""
    return Struct(tuple, tuple(_run(frame, node, node.elt)))


def dict_comprehension(frame: Frame, node: ast.DictComp) -> Value:
    """``{key: value for …}`` with keys known at compile time."""
    from ksc.frontend.expressions import evaluate

    entries: dict[object, Value] = {}

    def entry(inner: Frame) -> None:
        key = inner.require_static(evaluate(inner, node.key), node.key, "the key of a dict", "use constant keys")
        entries[key] = evaluate(inner, node.value)

    _loop(_scope(frame, node), node.generators, entry)
    return Struct(dict, tuple(entries.values()), tuple(entries))


def _scope(frame: Frame, node: ast.ListComp | ast.GeneratorExp | ast.DictComp) -> Frame:
    return frame.child(node, bound_names(generator.target for generator in node.generators))


def _run(frame: Frame, node: ast.ListComp | ast.GeneratorExp, element: ast.expr) -> list[Value]:
    from ksc.frontend.expressions import evaluate

    values: list[Value] = []
    _loop(_scope(frame, node), node.generators, lambda inner: values.append(evaluate(inner, element)))
    return values


def _loop(scope: Frame, generators: list[ast.comprehension], body: Callable[[Frame], None]) -> None:
    from ksc.frontend.assign import assign
    from ksc.frontend.expressions import evaluate, truth

    first, rest = generators[0], generators[1:]
    if first.is_async:
        scope.refuse(first.target, "an asynchronous comprehension", "await before the kernel is called", code="KS102")
    for item in static_items(scope, evaluate(scope, first.iter), first.iter):
        assign(scope, first.target, item)
        instead = "select with a conditional expression in the element"
        what = "the condition of a comprehension"
        if all(_holds(scope, truth(scope, test), test, what, instead) for test in first.ifs):
            if rest:
                _loop(scope, rest, body)
            else:
                body(scope)


def _holds(scope: Frame, value: Value, test: ast.expr, what: str, instead: str) -> bool:
    return bool(scope.require_static(value, test, what, instead))
