"""``functools.reduce``, ``itertools`` and ``operator`` on items whose number is known at compile time."""

from __future__ import annotations

import ast
import functools
import itertools
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ksc.frontend import operators
from ksc.frontend.frame import Frame
from ksc.frontend.iteration import UNROLL_LIMIT, static_items
from ksc.frontend.values import NONE, Struct, Value, is_none

Handler = Callable[[Frame, Sequence[Value], Mapping[str, Value], ast.AST], Value]
Columns = list[list[Value]]


def _reduce(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
    from ksc.frontend.calls import call

    if kwargs or not 2 <= len(args) <= 3:
        frame.refuse(node, "reduce() takes a function, items and maybe a start", "pass them by position", code="KS204")
    items = [*args[2:], *static_items(frame, args[1], node)]
    if not items:
        frame.refuse(node, "reduce() of no items without a start", "give a start as third argument", code="KS117")
    return functools.reduce(lambda a, b: call(frame, args[0], [a, b], {}, node), items)


def _over_items(name: str, rows: Callable[..., Iterable[Any]], *options: str, constants: int = 0) -> Handler:
    """A function of iterables, whose last ``constants`` positional arguments and ``options`` are constants."""

    def handler(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
        instead = f"pass constants to itertools.{name}()"
        unknown = [key for key in kwargs if key not in options]
        if unknown:
            frame.refuse(node, f"itertools.{name}() with the keyword argument {unknown[0]!r}", instead, code="KS204")
        fixed = [frame.require_static(arg, node, "the argument", instead) for arg in args[1:]] if constants else []
        columns = [static_items(frame, arg, node) for arg in (args[:1] if constants else args)]
        named = {
            key: frame.require_static(value, node, f"the argument {key!r}", instead) for key, value in kwargs.items()
        }
        try:
            found = list(itertools.islice(rows(*columns, *fixed, **named), UNROLL_LIMIT + 1))
        except operators.PYTHON_ERRORS as error:
            frame.refuse(node, f"Python raises {type(error).__name__} here: {error}", instead, code="KS117")
        if len(found) > UNROLL_LIMIT:
            frame.refuse(node, f"itertools.{name}() gives more than {UNROLL_LIMIT} items", "write loops", code="KS114")
        return Struct(tuple, tuple(Struct(tuple, row) if isinstance(row, tuple) else row for row in found))

    return handler


def _accumulate(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
    from ksc.frontend.calls import call

    function = args[1] if len(args) > 1 else kwargs.get("func", NONE)
    if len(args) > 2 or set(kwargs) - {"func"} or not args:
        frame.refuse(node, "accumulate() takes items and maybe a function", "write a loop", code="KS204")
    given = is_none(function)

    def join(a: Value, b: Value) -> Value:
        return operators.binary(frame, ast.Add(), a, b, node) if given else call(frame, function, [a, b], {}, node)

    return Struct(tuple, tuple(itertools.accumulate(static_items(frame, args[0], node), join)))


def _operator(op: ast.operator) -> Handler:
    def handler(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
        if kwargs or len(args) != 2:
            frame.refuse(node, "an operator takes two arguments", "pass two by position", code="KS204")
        return operators.binary(frame, op, args[0], args[1], node)

    return handler


ITERATORS: dict[Any, Handler] = {
    functools.reduce: _reduce,
    itertools.product: _over_items("product", itertools.product, "repeat"),
    itertools.combinations: _over_items("combinations", itertools.combinations, "r", constants=1),
    itertools.permutations: _over_items("permutations", itertools.permutations, "r", constants=1),
    itertools.pairwise: _over_items("pairwise", itertools.pairwise),
    itertools.chain: _over_items("chain", itertools.chain),
    itertools.islice: _over_items("islice", itertools.islice, constants=3),
    itertools.accumulate: _accumulate,
    operator.add: _operator(ast.Add()),
    operator.sub: _operator(ast.Sub()),
    operator.mul: _operator(ast.Mult()),
    operator.truediv: _operator(ast.Div()),
}
"""How a call of each is traced."""
