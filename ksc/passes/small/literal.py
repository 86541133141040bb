"""Tensors whose elements are written out: a ``build`` that does nothing but choose by its indices.

(build 3 (lam i (if (lt i 2) (if (lt i 1) a b) c)))        is [a, b, c]
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod

from ksc.ir.builder import Builder
from ksc.ir.nodes import Atom, Block, Const, Eqn, Var, const
from ksc.ir.rewrite import Env, replace
from ksc.ir.types import Integer, is_scalar
from ksc.ops import PRIMITIVES
from ksc.passes.simplify.scalar import fold

MOST_ELEMENTS = 64
"""A tensor of more elements is not written out."""


def literal(out: Var, sizes: Sequence[int], elements: Sequence[Atom], like: Eqn | None = None) -> Eqn:
    """The equation that binds ``out`` to the tensor of these elements, in row-major order."""
    body = Builder(like.span if like is not None else None)
    at = tuple(Var("i", Integer) for _ in sizes)
    number: Atom = at[0]
    for index, size in zip(at[1:], sizes[1:], strict=True):
        number = body.apply("add", body.apply("mul", number, const(size)), index)
    value = _chosen(body, number, elements, 0)
    block = body.block(at, [value])
    return Eqn((out,), "build", tuple(map(const, sizes)), {}, (block,), body.span)


def _chosen(body: Builder, number: Atom, elements: Sequence[Atom], first: int) -> Atom:
    """The element of this number, counted from ``first``, found by halving."""
    if all(element == elements[0] for element in elements):
        return elements[0]
    half = len(elements) // 2
    early = body.apply("lt", number, const(first + half))
    return body.if_(
        early,
        lambda inner: [_chosen(inner, number, elements[:half], first)],
        lambda inner: [_chosen(inner, number, elements[half:], first + half)],
    )[0]


def elements_of(eqn: Eqn) -> tuple[tuple[Atom, ...], ...] | None:
    """For each result of a ``build`` its elements in row-major order, where it only chooses among what is there."""
    if eqn.op != "build" or eqn.params.get("nested"):
        return None
    sizes = known_sizes(eqn)
    if sizes is None or not 1 <= prod(sizes) <= MOST_ELEMENTS:
        return None
    (body,) = eqn.blocks
    if not all(is_scalar(result.type) for result in body.results) or not _only_chooses(body):
        return None
    places = product(*map(range, sizes))
    rows = [_values(body, dict(zip(body.params, map(const, place), strict=True))) for place in places]
    if any(row is None for row in rows):
        return None
    return tuple(zip(*(row for row in rows if row is not None), strict=True))


def known_sizes(eqn: Eqn) -> list[int] | None:
    """The sizes of a loop nest where all are constants."""
    if not all(isinstance(size, Const) for size in eqn.args):
        return None
    return [int(size.value) for size in eqn.args if isinstance(size, Const)]


def _only_chooses(block: Block) -> bool:
    return all(
        _only_chooses(eqn.blocks[0]) and _only_chooses(eqn.blocks[1])
        if eqn.op == "if"
        else eqn.op == "select" or (eqn.op in PRIMITIVES and all(arg.type == Integer for arg in eqn.args))
        for eqn in block.eqns
    )


def _values(block: Block, env: Env) -> tuple[Atom, ...] | None:
    """The results of a block where the indices are what ``env`` says; None where they have to be computed."""
    for eqn in block.eqns:
        args = tuple(replace(arg, env) for arg in eqn.args)
        values: tuple[Atom, ...] | None
        if eqn.op == "if":
            (cond,) = args
            values = _values(eqn.blocks[0 if cond.value else 1], env) if isinstance(cond, Const) else None
        elif eqn.op == "select" and isinstance(args[0], Const):
            values = (args[1 if args[0].value else 2],)
        else:
            value = fold(Eqn(eqn.outs, eqn.op, args))
            values = None if value is None else (value,)
        if values is None:
            return None
        env.update(zip(eqn.outs, values, strict=True))
    return tuple(replace(result, env) for result in block.results)
