"""Arithmetic of sizes and indices: constants are folded, and nothing is computed twice in a block.

What is known of the least value that an Integer can have saves the handling of negative indices.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Sequence

from ksc.frontend.frame import Frame
from ksc.ir.nodes import Atom, Const, Var, const
from ksc.ir.types import Integer

_PYTHON: dict[str, Callable[[int, int], int]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "idiv": lambda a, b: a // b,
    "imod": lambda a, b: a % b,
    "min": min,
    "max": max,
}
ZERO = const(0)
ONE = const(1)


def lower(frame: Frame, atom: Atom) -> int | None:
    """A number that an Integer is never below, None where nothing is known of it."""
    return int(atom.value) if isinstance(atom, Const) else frame.region.lower.get(atom)


def bounded(frame: Frame, atom: Atom, least: int | None) -> Atom:
    """``atom``, of which it is known from now on that it is never below ``least``."""
    if isinstance(atom, Var) and least is not None:
        frame.region.lower[atom] = max(least, frame.region.lower.get(atom, least))
    return atom


def is_below(frame: Frame, atom: Atom, size: Atom) -> bool:
    """Whether an Integer is known to be less than a size."""
    return isinstance(atom, Var) and size in frame.region.below.get(atom, ())


def below(frame: Frame, atom: Atom, limit: Atom) -> None:
    """Note that an Integer is less than another, and than those that this one is not greater than."""
    if not isinstance(atom, Var):
        return
    limits = {limit}
    for key, found in list(frame.region.known.items()) if isinstance(limit, Var) else ():
        if found is limit and isinstance(key, tuple) and key[0] == "min":
            limits.update(key[1:])
    less = frame.region.less
    limits |= {less[known][0] for known in tuple(limits) if isinstance(known, Var) and known in less}
    frame.region.below[atom] = frame.region.below.get(atom, frozenset()) | limits


def factors_of(frame: Frame, atom: Atom) -> list[Atom]:
    """What an Integer is known to be the product of; the product itself may have wrapped."""
    pair = frame.region.factors.get(atom) if isinstance(atom, Var) else None
    return [atom] if pair is None else [*factors_of(frame, pair[0]), *factors_of(frame, pair[1])]


def _note_below(frame: Frame, op: str, a: Atom, b: Atom, out: Var) -> None:
    region = frame.region
    if op == "mul":
        region.factors[out] = a, b
    elif op == "idiv":
        region.quotients[out] = a, b
    elif op == "sub" and (lower(frame, b) or 0) >= 0 and lower(frame, b) is not None:
        if isinstance(b, Const):
            region.less[out] = a, int(b.value)
        if isinstance(a, Var) and a in region.below:
            region.below[out] = region.below[a]
    elif op == "add":
        for term, constant in ((a, b), (b, a)):
            if isinstance(constant, Const) and isinstance(term, Var):
                above = [limit for limit in region.below.get(term, ()) if isinstance(limit, Var)]
                pairs = (region.less[limit] for limit in above if limit in region.less)
                limits = frozenset(whole for whole, taken in pairs if 0 <= int(constant.value) <= taken)
                if limits:
                    region.below[out] = limits


def _least(op: str, a: int | None, b: Atom, least_b: int | None) -> int | None:
    if op == "max":
        return max((x for x in (a, least_b) if x is not None), default=None)
    if op == "imod" and isinstance(b, Const) and int(b.value) > 0:
        return 0
    if a is None:
        return None
    if op == "sub":
        return a - int(b.value) if isinstance(b, Const) else None
    if least_b is None:
        return None
    match op:
        case "add":
            return a + least_b
        case "min":
            return min(a, least_b)
        case "mul" | "idiv" if a >= 0 and least_b >= (op == "idiv"):
            return a * least_b if op == "mul" else 0
    return None


def note_lower(frame: Frame, op: str, args: Sequence[Atom], out: Atom) -> None:
    """Note what is known of the least value of a new result."""
    if out.type == Integer and op in _PYTHON:
        a, b = args
        bounded(frame, out, _least(op, lower(frame, a), b, lower(frame, b)))
        if isinstance(out, Var):
            _note_below(frame, op, a, b, out)


def _arithmetic(frame: Frame, node: ast.AST, op: str, a: Atom, b: Atom) -> Atom:
    if isinstance(a, Const) and isinstance(b, Const):
        return const(_PYTHON[op](int(a.value), int(b.value)))
    known = frame.region.known
    if (op, a, b) not in known:
        known[op, a, b] = frame.apply(node, op, a, b)
    return known[op, a, b]


def add(frame: Frame, node: ast.AST, a: Atom, b: Atom) -> Atom:
    """``a + b``."""
    if a == ZERO or b == ZERO:
        return b if a == ZERO else a
    return _arithmetic(frame, node, "add", a, b)


def sub(frame: Frame, node: ast.AST, a: Atom, b: Atom) -> Atom:
    """``a - b``."""
    if a == b:
        return ZERO
    return a if b == ZERO else _arithmetic(frame, node, "sub", a, b)


def mul(frame: Frame, node: ast.AST, a: Atom, b: Atom) -> Atom:
    """``a * b``."""
    if a == ONE or b == ONE:
        return b if a == ONE else a
    if ZERO in (a, b):
        return ZERO
    return _arithmetic(frame, node, "mul", a, b)


def div(frame: Frame, node: ast.AST, a: Atom, b: Atom) -> Atom:
    """``a // b`` for a positive ``b``."""
    return a if b == ONE else _arithmetic(frame, node, "idiv", a, b)


def mod(frame: Frame, node: ast.AST, a: Atom, b: Atom) -> Atom:
    """``a % b`` for a positive ``b``."""
    return ZERO if b == ONE else _arithmetic(frame, node, "imod", a, b)


def least(frame: Frame, node: ast.AST, a: Atom, b: Atom) -> Atom:
    """The smaller one."""
    return a if a == b else _arithmetic(frame, node, "min", a, b)


def at_least(frame: Frame, node: ast.AST, a: Atom, bound: int) -> Atom:
    """``max(a, bound)``."""
    known = lower(frame, a)
    return a if known is not None and known >= bound else _arithmetic(frame, node, "max", a, const(bound))


def product(frame: Frame, node: ast.AST, factors: Iterable[Atom]) -> Atom:
    """The product of sizes."""
    result: Atom = ONE
    for factor in factors:
        result = mul(frame, node, result, factor)
    return result


def wrapped(frame: Frame, node: ast.AST, index: Atom, size: Atom) -> Atom:
    """An index that counts from the end where it is negative, as one that counts from the start."""
    known = lower(frame, index)
    if known is not None and known >= 0:
        return index
    from_end = add(frame, node, size, index)
    if isinstance(index, Const):
        return from_end
    key = ("wrapped", index, size)
    if key not in frame.region.known:
        negative = frame.apply(node, "lt", index, ZERO)
        frame.region.known[key] = frame.apply(node, "select", negative, from_end, index, name="at")
    return frame.region.known[key]
