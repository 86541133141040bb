"""Identities of the scalar primitives.

On Float they keep the value, its sign of zero and whether it is a NaN or an infinity, with six exceptions that a
person would also make: a power with a small whole constant exponent is written as multiplications, as PyTorch
computes it; constant factors of moderate size are multiplied with each other, ``c (d x)`` becoming ``(c d) x``;
adjoints or tangents of one divisor are added before they are divided, ``x_bar / s + y_bar / s`` becoming
``(x_bar + y_bar) / s``; what is multiplied with one of them is added before, ``y_bar a + y_bar b`` becoming
``y_bar (a + b)``; what exp or erf is taken of is multiplied rather than divided by a constant; and the share
``exp(-abs(x)) / (1 + exp(-abs(x)))`` is a sigmoid. Each may differ in the last places.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Protocol

from ksc.errors import KernelRuntimeError
from ksc.ir.nodes import Atom, Const, Eqn, Var, const
from ksc.ir.types import Bool, Float, Integer
from ksc.ops import primitive
from ksc.ops.own import math

LARGEST_POWER = 8
"""The largest whole exponent that is written as multiplications."""

DEEPEST_PRODUCT = 6
"""How deep a constant factor is looked for in a product of products."""

_MODERATE = 2.0**32


class Context(Protocol):
    """What a rule may ask for and do."""

    def definition(self, atom: Atom) -> Eqn | None:
        """The equation that binds a variable, where it is a scalar one in scope."""

    def apply(self, op: str, *args: Atom) -> Atom:
        """An operation, simplified."""

    def used_once(self, atom: Atom) -> bool:
        """Whether the variable is read in one place only."""

    def used_twice(self, atom: Atom) -> bool:
        """Whether the variable is read in two places only."""


Rule = Callable[[Context, Eqn], Atom | None]


def simplify_scalar(context: Context, eqn: Eqn) -> Atom | None:
    """An atom with the value of a scalar equation, further equations being emitted; None where it stays."""
    folded = fold(eqn)
    if folded is not None:
        return folded
    rule = RULES.get(eqn.op)
    return None if rule is None else rule(context, eqn)


def fold(eqn: Eqn) -> Const | None:
    """The value of an equation whose arguments are all constants, unless it fails or depends on the width of Float."""
    values = [arg.value for arg in eqn.args if isinstance(arg, Const) and not isinstance(arg.value, str)]
    if len(values) != len(eqn.args):
        return None
    record = primitive(eqn.op)
    if record.overload([arg.type for arg in eqn.args]).by_width:
        return None
    try:
        return Const(record.evaluate(*values), eqn.outs[0].type)
    except KernelRuntimeError:
        return None


def _is(atom: Atom, value: float | int | bool) -> bool:
    """Whether the atom is this constant, zeros being told apart by their sign."""
    if not isinstance(atom, Const) or isinstance(atom.value, str) or atom.value != value:
        return False
    return math.copysign(1.0, atom.value) == math.copysign(1.0, value)


def _defined(context: Context, atom: Atom, op: str) -> Eqn | None:
    eqn = context.definition(atom)
    return eqn if eqn is not None and eqn.op == op else None


def _add(context: Context, eqn: Eqn) -> Atom | None:
    a, b = eqn.args
    if a.type == Integer:
        if _is(a, 0):
            return b
        if _is(b, 0):
            return a
        return _shift(context, a, b, 1)
    if _is(a, -0.0):
        return b
    if _is(b, -0.0):
        return a
    if a is b:
        return context.apply("mul", const(2.0), a)
    if (negated := _defined(context, b, "neg")) is not None:
        return context.apply("sub", a, negated.args[0])
    if (negated := _defined(context, a, "neg")) is not None:
        return context.apply("sub", b, negated.args[0])
    return _common_divisor(context, eqn) or _common_factor(context, eqn) or _left_leaning(context, "add", a, b)


def _common_divisor(context: Context, eqn: Eqn) -> Atom | None:
    """x_bar / s ± y_bar / s, each quotient read here only."""
    quotients = [_defined(context, arg, "div") for arg in eqn.args]
    if not all(map(context.used_once, eqn.args)):
        return None
    match quotients:
        case [Eqn(args=(x, s)), Eqn(args=(y, t))] if s is t and all(map(is_linear, (*eqn.args, *eqn.outs))):
            return context.apply("div", context.apply(eqn.op, x, y), s)
        case _:
            return None


def _common_factor(context: Context, eqn: Eqn) -> Atom | None:
    """y_bar a ± y_bar b as y_bar (a ± b), each product read here only.

    One of a and b is bounded, and so is all of the other one but for a factor, lest something overflow that did not
    before. Not where y_bar is a multiple c z_bar itself, as it may be once for a whole loop: the constant would join
    others that the product is multiplied with, and leave z_bar to the loop.
    """
    if not all(map(context.used_once, eqn.args)):
        return None
    left, right = (_factors(context, arg) for arg in eqn.args)
    if any(isinstance(factor, Const) and factor in right for factor in left):
        return None
    shared = []
    for factor in list(left):
        if is_linear(factor) and factor in right and not _is_multiple(context, factor):
            left.remove(factor)
            right.remove(factor)
            shared.append(factor)
    unbounded = sorted(sum(not _is_bounded(context, x) for x in rest) for rest in (left, right))
    if not (shared and left and right and unbounded[0] == 0 and unbounded[1] <= 1):
        return None
    total = context.apply(eqn.op, *(_times(context, rest) for rest in (left, right)))
    return context.apply("mul", _times(context, shared), total)


def _is_multiple(context: Context, atom: Atom) -> bool:
    product = _defined(context, atom, "mul")
    return product is not None and any(isinstance(arg, Const) for arg in product.args)


def _times(context: Context, factors: list[Atom]) -> Atom:
    return functools.reduce(functools.partial(context.apply, "mul"), factors)


def _factors(context: Context, atom: Atom, depth: int = 0) -> list[Atom]:
    """The factors of a product of products, each of which is read in it only."""
    product = _defined(context, atom, "mul")
    if product is None or depth == DEEPEST_PRODUCT or not context.used_once(atom):
        return [atom]
    return [factor for arg in product.args for factor in _factors(context, arg, depth + 1)]


def _is_bounded(context: Context, atom: Atom, depth: int = 0) -> bool:
    """Whether a number is of moderate size or NaN for certain."""
    if isinstance(atom, Const):
        return not isinstance(atom.value, str) and abs(atom.value) <= _MODERATE
    eqn = context.definition(atom)
    if eqn is None or depth == DEEPEST_PRODUCT:
        return False
    if eqn.op in ("add", "sub", "mul", "neg"):
        return all(_is_bounded(context, arg, depth + 1) for arg in eqn.args)
    return eqn.op in ("sin", "cos", "tanh", "sigmoid", "erf") or (
        eqn.op == "exp" and _is_nonpositive(context, eqn.args[0])
    )


def is_linear(atom: Atom) -> bool:
    """Whether the atom is an adjoint or a tangent."""
    return isinstance(atom, Var) and atom.name.endswith(("_bar", "_dot"))


def _sub(context: Context, eqn: Eqn) -> Atom | None:
    a, b = eqn.args
    if a.type == Integer:
        if _is(b, 0):
            return a
        if a is b:
            return const(0)
        return _shift(context, a, b, -1)
    if _is(b, 0.0):
        return a
    if _is(a, -0.0):
        return context.apply("neg", b)
    if (negated := _defined(context, b, "neg")) is not None:
        return context.apply("add", a, negated.args[0])
    return _common_divisor(context, eqn) or _common_factor(context, eqn)


def _shift(context: Context, a: Atom, b: Atom, sign: int) -> Atom | None:
    """(x + c) ± d, on integers."""
    inner = _defined(context, a, "add")
    if inner is None or not isinstance(b, Const) or not isinstance(inner.args[1], Const):
        return None
    offset = context.apply("add" if sign == 1 else "sub", inner.args[1], b)
    return context.apply("add", inner.args[0], offset)


def _mul(context: Context, eqn: Eqn) -> Atom | None:
    a, b = eqn.args
    if a.type == Integer:
        if _is(a, 0) or _is(b, 0):
            return const(0)
        return b if _is(a, 1) else a if _is(b, 1) else None
    for x, y in ((a, b), (b, a)):
        if _is(x, 1.0):
            return y
        if _is(x, -1.0):
            return context.apply("neg", y)
    return _share(context, a, b) or _constant_factors(context, a, b) or _left_leaning(context, "mul", a, b)


def _share(context: Context, a: Atom, b: Atom) -> Atom | None:
    """(y / (1 + e^u)) e^u as y (e^u / (1 + e^u)), a product with what needs not wait for y."""
    for x, power in ((a, b), (b, a)):
        quotient = _defined(context, x, "div")
        if quotient is None or not context.used_once(x) or _defined(context, power, "exp") is None:
            continue
        if quotient.args[0] is not power and _exceeds_by_one(context, quotient.args[1], power):
            share = context.apply("div", power, quotient.args[1])
            return context.apply("mul", quotient.args[0], share)
    return None


def _exceeds_by_one(context: Context, atom: Atom, other: Atom) -> bool:
    total = _defined(context, atom, "add")
    return total is not None and any(x is other and _is(y, 1.0) for x, y in (total.args, total.args[::-1]))


def _share_of_exp(context: Context, a: Atom, b: Atom) -> Atom | None:
    """e^u / (1 + e^u) for u = -abs(x) as a sigmoid, if neither e^u nor the sum is read elsewhere."""
    power = _defined(context, a, "exp")
    negated = None if power is None else _defined(context, power.args[0], "neg")
    if negated is None or _defined(context, negated.args[0], "abs") is None:
        return None
    if not (context.used_twice(a) and context.used_once(b) and _exceeds_by_one(context, b, a)):
        return None
    return context.apply("sigmoid", *negated.outs)


def _factor(context: Context, atom: Atom, depth: int = 0) -> tuple[float, list[Atom]] | None:
    """The constant factor of a product of products, and the other factors; a product read elsewhere is one factor."""
    if isinstance(atom, Const):
        value = float(atom.value)
        return (value, []) if _is_moderate(value) else None
    product = _defined(context, atom, "mul")
    if product is None or depth == DEEPEST_PRODUCT:
        return None
    for x, y in (product.args, product.args[::-1]):
        if isinstance(x, Const) or context.used_once(atom):
            inner = _factor(context, x, depth + 1)
            if inner is not None:
                return inner[0], [*inner[1], y]
    return None


def _is_moderate(value: float) -> bool:
    return 1 / _MODERATE <= abs(value) <= _MODERATE


def _constant_factors(context: Context, a: Atom, b: Atom) -> Atom | None:
    left, right = _factor(context, a), _factor(context, b)
    if left is None or right is None:
        return None
    product = left[0] * right[0]
    if left[1] and right[1] and product != 1.0 and not (context.used_once(a) and context.used_once(b)):
        return None
    first, *others = left[1] + right[1]
    rest = first
    for factor in others:
        rest = context.apply("mul", rest, factor)
    return context.apply("mul", const(product), rest)


def _left_leaning(context: Context, op: str, a: Atom, b: Atom) -> Atom | None:
    """Put the compound operand first, as in ``x * x * y``."""
    compound = _defined(context, b, op) is not None and context.used_once(b)
    if compound and _defined(context, a, op) is None and isinstance(a, Var):
        return context.apply(op, b, a)
    return None


def _div(context: Context, eqn: Eqn) -> Atom | None:
    a, b = eqn.args
    if _is(b, 1.0):
        return a
    if isinstance(b, Const) and not isinstance(b.value, str) and b.value != 0 and math.isfinite(b.value):
        mantissa, exponent = math.frexp(b.value)
        if abs(mantissa) == 0.5 and -100 < exponent < 100:
            return context.apply("mul", a, const(1.0 / b.value))
        return _constant_quotient(context, a, b)
    return _share_of_exp(context, a, b)


def _constant_quotient(context: Context, a: Atom, b: Const) -> Atom | None:
    """(c x) / d as (c / d) x."""
    product = _defined(context, a, "mul")
    if product is None or not context.used_once(a) or not _is_moderate(float(b.value)):
        return None
    factor = _factor(context, a)
    if factor is None or factor[0] == 1.0 or not factor[1]:
        return None
    rest, *others = factor[1]
    for other in others:
        rest = context.apply("mul", rest, other)
    return context.apply("mul", const(factor[0] / float(b.value)), rest)


def _of_products(context: Context, eqn: Eqn) -> Atom | None:
    """f(x / c) as f(x (1 / c)) for a function of which the last place of its argument decides nothing."""
    (arg,) = eqn.args
    product = _with_reciprocals(context, arg)
    return None if product is None else context.apply(eqn.op, product)


def _with_reciprocals(context: Context, atom: Atom, depth: int = 0) -> Atom | None:
    """A product, its factors multiplied with reciprocals where they are divided by constants; None if none is."""
    eqn = context.definition(atom)
    if eqn is None or depth == DEEPEST_PRODUCT or eqn.op not in ("neg", "mul", "div"):
        return None
    if eqn.op == "div":
        a, b = eqn.args
        if isinstance(b, Const) and _is_moderate(float(b.value)):
            return context.apply("mul", const(1.0 / float(b.value)), a)
        return None
    factors = [_with_reciprocals(context, arg, depth + 1) for arg in eqn.args]
    if all(factor is None for factor in factors):
        return None
    return context.apply(eqn.op, *(new or old for new, old in zip(factors, eqn.args, strict=True)))


def _log1p(context: Context, eqn: Eqn) -> Atom | None:
    """log(1 + e^x) where x is not above zero, so that e^x lies between 0 and 1, which it is simpler for."""
    power = _defined(context, eqn.args[0], "exp")
    if power is None or not _is_nonpositive(context, power.args[0]):
        return None
    return context.apply("softplus", power.args[0])


def _is_nonpositive(context: Context, atom: Atom) -> bool:
    """Whether a number is zero, negative or NaN for certain."""
    if isinstance(atom, Const):
        return not isinstance(atom.value, str) and atom.value <= 0
    eqn = context.definition(atom)
    if eqn is None or eqn.op not in ("neg", "mul"):
        return False
    if eqn.op == "neg":
        return _is_nonnegative(context, eqn.args[0])
    a, b = eqn.args
    return any(_is_nonpositive(context, x) and _is_nonnegative(context, y) for x, y in ((a, b), (b, a)))


def _is_nonnegative(context: Context, atom: Atom) -> bool:
    """Whether a number is zero, positive or NaN for certain."""
    if isinstance(atom, Const):
        return not isinstance(atom.value, str) and atom.value >= 0
    eqn = context.definition(atom)
    if eqn is None:
        return False
    if eqn.op == "mul":
        return eqn.args[0] is eqn.args[1] or all(_is_nonnegative(context, arg) for arg in eqn.args)
    return eqn.op in ("abs", "exp", "sqrt")


def _neg(context: Context, eqn: Eqn) -> Atom | None:
    inner = _defined(context, eqn.args[0], "neg")
    return None if inner is None else inner.args[0]


def _pow(context: Context, eqn: Eqn) -> Atom | None:
    base, exponent = eqn.args
    if not isinstance(exponent, Const) or isinstance(exponent.value, str):
        return None
    value = exponent.value
    if value == -1:
        return context.apply("div", const(1.0), base)
    if value != int(value if math.isfinite(value) else 0) or not 0 <= value <= LARGEST_POWER:
        return None
    return _product(context, base, int(value))


def _product(context: Context, base: Atom, exponent: int) -> Atom:
    if exponent == 0:
        return const(1.0)
    if exponent == 1:
        return base
    if exponent > 3 and exponent % 2 == 0:
        half = _product(context, base, exponent // 2)
        return context.apply("mul", half, half)
    return context.apply("mul", _product(context, base, exponent - 1), base)


def _select(context: Context, eqn: Eqn) -> Atom | None:
    cond, a, b = eqn.args
    if isinstance(cond, Const):
        return a if cond.value else b
    if a == b:
        return a
    if a.type == Bool:
        if _is(a, True) and _is(b, False):
            return cond
        if _is(a, False) and _is(b, True):
            return context.apply("not", cond)
    inverted = _defined(context, cond, "not")
    return None if inverted is None else context.apply("select", inverted.args[0], b, a)


def _logic(neutral: bool) -> Rule:
    def rule(context: Context, eqn: Eqn) -> Atom | None:
        a, b = eqn.args
        for x, y in ((a, b), (b, a)):
            if isinstance(x, Const):
                return y if x.value == neutral else x
        return a if a is b else None

    return rule


_INVERSES = {"lt": "gte", "gte": "lt", "gt": "lte", "lte": "gt", "eq": "ne", "ne": "eq"}


def _not(context: Context, eqn: Eqn) -> Atom | None:
    (arg,) = eqn.args
    inner = context.definition(arg)
    if inner is None:
        return None
    if inner.op == "not":
        return inner.args[0]
    ordered = inner.op in ("eq", "ne") or (inner.op in _INVERSES and inner.args[0].type == Integer)
    return (
        context.apply(_INVERSES[inner.op], *inner.args) if ordered and inner.args[0].type in (Integer, Float) else None
    )


def _same(result: bool) -> Rule:
    """A comparison of an integer or truth value with itself."""

    def rule(context: Context, eqn: Eqn) -> Atom | None:
        a, b = eqn.args
        return const(result) if a is b and a.type != Float else None

    return rule


def _extremum(context: Context, eqn: Eqn) -> Atom | None:
    a, b = eqn.args
    return a if a is b else None


RULES: Mapping[str, Rule] = {
    "add": _add,
    "sub": _sub,
    "mul": _mul,
    "div": _div,
    "erf": _of_products,
    "exp": _of_products,
    "log1p": _log1p,
    "neg": _neg,
    "pow": _pow,
    "powi": _pow,
    "select": _select,
    "and": _logic(True),
    "or": _logic(False),
    "not": _not,
    "eq": _same(True),
    "lte": _same(True),
    "gte": _same(True),
    "ne": _same(False),
    "lt": _same(False),
    "gt": _same(False),
    "max": _extremum,
    "min": _extremum,
}
