"""What the reverse sweep reads of results that the derivative is handed, instead of computing it.

    y = (build n (lam i (tanh (index i z))))        ⟶      in the reversed loop (index i y) stands for the tanh

A condition that chose between a number and what it looked at is asked of the result:

    y = (if (lte z 0.0) 0.0 z)                      ⟶      (lte y 0.0) stands for (lte z 0.0)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace as with_fields
from typing import TYPE_CHECKING

from ksc.ir.builder import Builder
from ksc.ir.nodes import Atom, Block, Const, Eqn, Var
from ksc.ir.rewrite import Env
from ksc.ir.types import Float
from ksc.ops import primitive
from ksc.ops.record import Width, round_to
from ksc.transforms.reverse.closing import definitions

if TYPE_CHECKING:
    from ksc.transforms.reverse.scope import Scope
    from ksc.transforms.reverse.sweep import Sweep

_COMPARISONS = frozenset({"lt", "lte", "gt", "gte", "eq", "ne"})


def give_elements(sweep: Sweep, body: Block, outs: Sequence[Var], at: Sequence[Var], env: Env, scope: Scope) -> None:
    """Read what the body of a loop gives at indices where its results ``outs`` are at hand; enter it in ``env``."""
    made = definitions(body.eqns)
    for result, out in zip(body.results, outs, strict=False):
        if out in sweep.given and result in made and result not in env:
            assert isinstance(result, Var)
            (value,) = scope.builder.emit("index", [out, *at], [result.type], names=[result.name])
            env[result] = value
            sweep.given.add(value)
            condition = give_condition(body.eqns, result, value, scope.builder)
            if condition is not None and condition[0] not in env:
                env[condition[0]] = condition[1]
                sweep.given.add(condition[1])


def give_condition(eqns: Iterable[Eqn], result: Var, value: Var, builder: Builder) -> tuple[Var, Var] | None:
    """The condition on which ``result`` depends, and what is emitted for it where ``value`` is the result.

    None where a result does not tell what the condition was.
    """
    made = definitions(eqns)
    choice = made[result]
    if choice.op == "if":
        position = choice.outs.index(result)
        condition, sides = choice.args[0], [block.results[position] for block in choice.blocks]
    elif choice.op == "select":
        condition, *sides = choice.args
    else:
        return None
    asked = made.get(condition) if isinstance(condition, Var) else None
    if (
        asked is None
        or asked.op not in _COMPARISONS
        or asked.args[0].type != Float
        or len([arg for arg in asked.args if isinstance(arg, Const)]) != 1
    ):
        return None
    (looked_at,) = (arg for arg in asked.args if isinstance(arg, Var))
    for side, truth in zip(sides, (True, False), strict=True):
        if side is not looked_at and not (isinstance(side, Const) and _always(asked, side, truth)):
            return None
    args = [value if arg is looked_at else arg for arg in asked.args]
    (again,) = builder.emit(asked.op, args, [asked.outs[0].type], names=[asked.outs[0].name], span=asked.span)
    return asked.outs[0], again


def _always(asked: Eqn, number: Const, truth: bool) -> bool:
    """Whether a comparison of this number with a constant comes out like this in every width."""
    widths: tuple[Width, ...] = ("f32", "f64")
    for width in widths:
        values = [round_to(float((number if isinstance(arg, Var) else arg).value), width) for arg in asked.args]
        if primitive(asked.op).evaluate(*values) != truth:
            return False
    return True


def without_given(sweep: Sweep, eqns: Iterable[Eqn]) -> Iterator[Eqn]:
    """The equations that bind what is not at hand, under other names where they bind something that is."""
    for eqn in eqns:
        known = [out in sweep.given for out in eqn.outs]
        if any(known):
            outs = tuple(Var(out.name, out.type) if there else out for out, there in zip(eqn.outs, known, strict=True))
            eqn = with_fields(eqn, outs=outs)
        if not known or not all(known):
            yield eqn


def given_results(results: Sequence[Atom], eqns: Sequence[Eqn], builder: Builder, handed: Sequence[Var]) -> Env:
    """What stands for variables of the function where its results are ``handed`` to it; conditions are emitted."""
    made = definitions(eqns)
    env: Env = {}
    for result, value in zip(results, handed, strict=True):
        if isinstance(result, Var) and result in made:
            env[result] = value
            condition = give_condition(eqns, result, value, builder)
            if condition is not None:
                env[condition[0]] = condition[1]
    return env
