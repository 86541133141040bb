"""The strategy ``programs()``: random scalar Python functions, as source text, with points to evaluate them at.

A program is a module: a few helper functions, some of them recursive, and an entry. Every value is kept small by
construction (see ``scope``), every loop ends, every divisor is away from zero, so every program runs at every point.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.strategies.scope import BOOL, FLOAT, INT, MIXED, PAIR, POINT, Chooser, Scope, Signature
from tests.strategies.statements import Lines, Statements, indented

Number = float | int | bool
PARAMETERS = {FLOAT: "xyz", INT: "nm", BOOL: ("flag",)}
SCALARS = (FLOAT, FLOAT, INT, BOOL)
CALLS = 1500

PRELUDE = """
import math
from typing import NamedTuple

SCALE = 0.75
COUNT = 3


class Point(NamedTuple):
    first: float
    second: float


def twice(function, v: float) -> float:
    return function(function(v)) if v > 0.0 else function(v)

"""


@dataclass(frozen=True, slots=True)
class RandomProgram:
    """Source text of a module, the name of its entry, and arguments to call it with.

    ``kinds`` are the types of the entry's parameters: float, int or bool.
    """

    source: str
    kinds: tuple[str, ...]
    points: tuple[tuple[Number, ...], ...]
    entry: str = "entry"

    @property
    def floats(self) -> tuple[int, ...]:
        """The positions of the arguments that have derivatives."""
        return tuple(k for k, kind in enumerate(self.kinds) if kind == FLOAT)

    def __repr__(self) -> str:
        return f"RandomProgram(points={self.points!r}, source='''\n{self.source}''')"


_STEPS, _INTS, _BOOLS = st.integers(-14, 14), st.integers(-2, 5), st.booleans()


def _argument(draw: st.DrawFn, k: int, kind: str) -> Number:
    """The ``k``-th argument. A float is never near a constant of the program or another argument: there are no ties."""
    if kind == FLOAT:
        return round(0.0619 + 0.02711 * k + 0.1733 * draw(_STEPS), 6)
    return draw(_INTS if kind == INT else _BOOLS)


def _function(choose: Chooser, name: str, known: list[Signature], *, entry: bool) -> tuple[Lines, Signature]:
    params: list[tuple[str, str]] = []
    for k in range(1 + choose.up_to(3)):
        type_ = choose.pick(SCALARS) if k else FLOAT
        used = sum(t == type_ for _, t in params)
        if used < len(PARAMETERS[type_]):
            params.append((PARAMETERS[type_][used], type_))
    result = choose.pick((FLOAT, FLOAT, FLOAT, PAIR, MIXED, POINT) if entry else (FLOAT, FLOAT, INT, BOOL, PAIR, POINT))
    scope = Scope(dict(params), {}, list(known), result)
    statements = Statements(choose)
    before = choose.calls
    lines, goes_on = statements.block(scope, 3 if entry else 2, 5 if entry else 3)
    if goes_on:
        lines.append(f"return {statements.result(scope)}")
    cost = 2 + max(0, before - choose.calls)
    annotation = f" -> {result}" if choose.coin() else ""
    head = f"def {name}({', '.join(f'{p}: {t}' for p, t in params)}){annotation}:"
    return [head, *indented(lines), ""], Signature(name, tuple(params), result, cost)


def _recursive(choose: Chooser, name: str, known: list[Signature]) -> tuple[Lines, Signature]:
    """A function that calls itself, once or twice, with its last argument less by one or two."""
    params = (("x", FLOAT), *((("y", FLOAT),) if choose.coin() else ()), ("n", INT))
    result = choose.pick((FLOAT, FLOAT, PAIR, INT))
    scope = Scope(dict(params), {}, list(known), result)
    statements = Statements(choose)
    lines = ["if n <= 0:", f"    return {statements.result(scope.inner())}"]
    before = choose.calls
    body, goes_on = statements.block(scope.inner(counters=frozenset({"n"})), 1, 2)
    lines += body if goes_on else ["if x > 0.3:", *indented(body)]
    pool = {FLOAT: "ab", PAIR: "tu", INT: "ij"}[result]
    calls = 1 + (choose.up_to(2) == 2)
    for k in range(calls):
        args = [statements.value(type_, scope, 2) for _, type_ in params[:-1]]
        lines.append(f"{pool[k]} = {name}({', '.join(args)}, n - {choose.pick((1, 1, 2))})")
        scope.variables[pool[k]] = result
    lines.append(f"return {statements.result(scope)}")
    cost = (3 + max(0, before - choose.calls)) * (8 if calls == 2 else 4)
    head = f"def {name}({', '.join(f'{p}: {t}' for p, t in params)}) -> {result}:"
    return [head, *indented(lines), ""], Signature(name, params, result, cost, recursive=True)


@st.composite
def programs(draw: st.DrawFn, size: int = 90, points: int = 2) -> RandomProgram:
    """Random programs of at most about ``size`` expressions and statements, with ``points`` points each."""
    choose = Chooser(draw, size // 3, CALLS // 10)
    known = [Signature("twice", (("function", "function"), ("v", FLOAT)), FLOAT, 12, higher_order=True)]
    lines: Lines = []
    for k in range(choose.up_to(3)):
        write = _recursive if choose.one_in(3) else _function
        options = {} if write is _recursive else {"entry": False}
        text, signature = write(choose, f"helper{k}", known, **options)
        lines += text
        if signature.cost <= CALLS // 4:
            known.append(signature)
        choose.nodes, choose.calls = size // 3, CALLS // 10
    choose.nodes, choose.calls = size, CALLS
    text, signature = _function(choose, "entry", known[::-1], entry=True)
    source = PRELUDE + ast.unparse(ast.parse("\n".join(lines + text))) + "\n"
    kinds = tuple(type_ for _, type_ in signature.params)
    found = tuple(tuple(_argument(draw, k, kind) for k, kind in enumerate(kinds)) for _ in range(points))
    return RandomProgram(source, kinds, found)


def collect(strategy: st.SearchStrategy[RandomProgram], count: int, *, skip: int = 0) -> list[RandomProgram]:
    """The first ``count`` programs of a strategy, the same ones in each run, after ``skip`` others."""
    found: list[RandomProgram] = []

    @settings(
        max_examples=skip + count,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def take(program: RandomProgram) -> None:
        found.append(program)

    take()
    return found[skip : skip + count]
