"""Long chains of conditions: ``if``, ``elif``, …, and ``if …: return`` again and again.

    if a: x = 1                     a or b is known before any side is taken, so the sides are found by halves:
    elif b: x = 2           ⟶           if a or b: x = (1 if a else 2)
    elif c: x = 3                       else: x = (3 if a or b or c else 4)
    else: x = 4

Each condition is asked only where none before it held. Written as they stand, n sides would nest n deep, and each
stage would carry what the last ones give through all of the first.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from ksc.frontend.expressions import truth
from ksc.frontend.flow import Flow, branch
from ksc.frontend.frame import Frame
from ksc.frontend.logic import short_circuit
from ksc.frontend.scope import After, always_leaves
from ksc.frontend.values import FALSE, Static, Value

LONG = 24
"""Chains of fewer conditions are translated as they are written."""


@dataclass(frozen=True, slots=True)
class Chain:
    """Conditions with their sides, and the statements where none holds; ``leaves`` if all sides before these do.

    The statements that follow the chain are then among ``otherwise``.
    """

    ifs: tuple[ast.If, ...]
    otherwise: Sequence[ast.stmt]
    leaves: bool


def chain_of(stmt: ast.If, rest: Sequence[ast.stmt]) -> Chain | None:
    """The long chain that begins with an ``if``, which ``rest`` follows; None where it is short.

    None also where a condition binds a name, which the sides after it may read.
    """
    ifs = [stmt]
    following, leaves = list(rest), always_leaves(stmt.body)
    while True:
        last = ifs[-1]
        otherwise = [*last.orelse, *following] if leaves else last.orelse
        if not otherwise or not isinstance(otherwise[0], ast.If) or (len(otherwise) > 1 and not leaves):
            break
        nearest = otherwise[0]
        if leaves and not always_leaves(nearest.body):
            if len(otherwise) > len(rest) + 1 or otherwise[1:] != list(rest):
                break
            leaves = False
        elif leaves:
            following = otherwise[1:]
        ifs.append(nearest)
    if len(ifs) < LONG or any(isinstance(node, ast.NamedExpr) for one in ifs for node in ast.walk(one.test)):
        return None
    return Chain(tuple(ifs), otherwise, leaves)


def run_chain(frame: Frame, chain: Chain, after: After, run: Callable[[Sequence[ast.stmt]], Flow]) -> Flow:
    """Trace a chain, whose sides ``run`` traces; ``after`` follows each of them."""
    seen: Value = FALSE
    sides: list[tuple[Value, ast.If]] = []
    otherwise = chain.otherwise
    for stmt in chain.ifs:
        ask = partial(truth, frame, stmt.test)
        now = short_circuit(frame, False, seen, ask, stmt.test) if sides else ask()
        if isinstance(now, Static) and now.value:
            otherwise = stmt.body
            break
        # A condition that never holds here leaves it as it was.
        if not isinstance(now, Static) and now is not seen:
            sides.append((now, stmt))
            seen = now

    def between(first: int, last: int) -> Flow:
        if first == last:
            return run(sides[first][1].body if first < len(sides) else otherwise)
        middle = (first + last) // 2
        held, stmt = sides[middle]
        cond = frame.atom(held, stmt.test)
        return branch(frame, cond, lambda: between(first, middle), lambda: between(middle + 1, last), after, stmt)

    return between(0, len(sides))
