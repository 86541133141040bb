"""Python's operators: on scalars, with Python's rules for Integers and PyTorch's for what Floats cannot do.

Where PyTorch is followed: a Float divided by zero is infinite or NaN, a negative Float to a fraction is NaN, and
Integers wrap at 64 bits.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

from ksc.frontend.frame import Frame
from ksc.frontend.tensors.dtypes import require_comparable
from ksc.frontend.values import (
    FALSE,
    TRUE,
    Array,
    Dynamic,
    Ref,
    Static,
    Struct,
    Value,
    describe,
    is_none,
    is_number,
    is_weak,
    scalar_type,
)
from ksc.ir.nodes import Atom, Const, const
from ksc.ir.types import Bool, Float, Integer, Type

_PYTHON: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Invert: operator.invert,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
SYMBOLS: dict[type[ast.AST], str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%", ast.Pow: "**",
    ast.BitAnd: "&", ast.BitOr: "|", ast.BitXor: "^", ast.LShift: "<<", ast.RShift: ">>", ast.MatMult: "@",
    ast.USub: "-", ast.UAdd: "+", ast.Invert: "~", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
    ast.Eq: "==", ast.NotEq: "!=",
}  # fmt: skip
_ARITHMETIC: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("add", "add"), ast.Sub: ("sub", "sub"), ast.Mult: ("mul", "mul"), ast.FloorDiv: ("idiv", "floordiv"),
    ast.Mod: ("imod", "floormod"),
}  # fmt: skip
"""The primitives on Integers and on Floats."""
_BITWISE: dict[type[ast.operator], str] = {
    ast.BitAnd: "bitand", ast.BitOr: "bitor", ast.BitXor: "bitxor", ast.LShift: "shl", ast.RShift: "shr",
}  # fmt: skip
_COMPARE: dict[type[ast.cmpop], str] = {
    ast.Lt: "lt", ast.LtE: "lte", ast.Gt: "gt", ast.GtE: "gte", ast.Eq: "eq", ast.NotEq: "ne",
}  # fmt: skip

PYTHON_ERRORS = (ArithmeticError, ValueError, TypeError, LookupError)
"""What evaluating a constant expression may raise."""


def is_tensor(value: Value) -> bool:
    """Whether the value is a tensor, one of rank 0 included."""
    return isinstance(value, Array | Ref)


def evaluate_static(frame: Frame, fn: Callable[..., Any], args: tuple[Any, ...], node: ast.AST) -> Value:
    """What Python makes of constants.

    Raises UnsupportedError (KS117) where Python raises.
    """
    try:
        return Static(fn(*args))
    except PYTHON_ERRORS as error:
        reason = f"Python raises {type(error).__name__} here: {error}"
        frame.refuse(node, reason, "correct the constant expression", code="KS117")


def binary(frame: Frame, op: ast.operator, left: Value, right: Value, node: ast.AST) -> Value:
    """``left op right``.

    Raises TypeMismatchError (KS200) where the types have no such operator.
    """
    if isinstance(left, Static) and isinstance(right, Static):
        folded = _fold(frame, op, left.value, right.value, node)
        if folded is not None:
            return folded
    if isinstance(left, Struct) or isinstance(right, Struct):
        return _container_operator(frame, op, left, right, node)
    if is_tensor(left) or is_tensor(right):
        from ksc.frontend.tensors import contractions, elementwise
        from ksc.frontend.tensors.narrow import require_wide

        if isinstance(op, ast.MatMult):
            made = contractions.matmul_operator(frame, left, right, node)
        else:
            made = elementwise.binary(frame, op, left, right, node)
        return require_wide(frame, None, (left, right), made, node)
    if isinstance(op, ast.Pow):
        return power(frame, left, right, node)
    a, b = _numbers(frame, op, left, right, node)
    if isinstance(op, ast.Div):
        return Dynamic(frame.apply(node, "div", frame.cast(a, Float, node), frame.cast(b, Float, node)))
    if type(op) in _BITWISE:
        return _bitwise(frame, op, a, b, node)
    if type(op) not in _ARITHMETIC:
        frame.refuse(node, f"`{SYMBOLS[type(op)]}` is not defined on numbers", "use `*`", code="KS200")
    type_ = wider(a.type, b.type, least=Integer)
    name = _ARITHMETIC[type(op)][type_ == Float]
    weak = type_ == Integer and is_weak(left) and is_weak(right)
    return Dynamic(frame.apply(node, name, frame.cast(a, type_, node), frame.cast(b, type_, node)), weak)


def _fold(frame: Frame, op: ast.operator, a: Any, b: Any, node: ast.AST) -> Value | None:
    """The constant result; None where it is not finite or not real: then the kernel computes it."""
    if isinstance(op, ast.Div | ast.FloorDiv | ast.Mod | ast.Pow) and is_number(a) and is_number(b):
        try:
            result = _PYTHON[type(op)](a, b)
        except (ZeroDivisionError, OverflowError):
            return None
        return None if isinstance(result, complex) else Static(result)
    if type(op) not in _PYTHON:
        frame.refuse(node, f"`{SYMBOLS[type(op)]}` is not defined on constants", "use `*`", code="KS200")
    return evaluate_static(frame, _PYTHON[type(op)], (a, b), node)


def _numbers(frame: Frame, op: ast.AST, left: Value, right: Value, node: ast.AST) -> tuple[Atom, Atom]:
    if scalar_type(left) is None or scalar_type(right) is None:
        reason = f"`{SYMBOLS[type(op)]}` is not defined on {describe(left)} and {describe(right)}"
        frame.refuse(node, reason, "use numbers on both sides", code="KS200")
    return frame.atom(left, node), frame.atom(right, node)


def wider(*types: Type, least: Type = Bool) -> Type:
    """The widest of Bool, Integer and Float among ``types`` and ``least``."""
    order = (Bool, Integer, Float)
    return max((least, *types), key=order.index)


def _bitwise(frame: Frame, op: ast.operator, a: Atom, b: Atom, node: ast.AST) -> Value:
    type_ = wider(a.type, b.type)
    symbol = SYMBOLS[type(op)]
    if type_ == Float:
        frame.refuse(node, f"`{symbol}` is not defined on {a.type} and {b.type}", "use integers", code="KS200")
    if type_ == Bool and isinstance(op, ast.BitAnd | ast.BitOr | ast.BitXor):
        name = {ast.BitAnd: "and", ast.BitOr: "or", ast.BitXor: "ne"}[type(op)]
        return Dynamic(frame.apply(node, name, a, b))
    return Dynamic(frame.apply(node, _BITWISE[type(op)], frame.cast(a, Integer, node), frame.cast(b, Integer, node)))


def power(frame: Frame, base: Value, exponent: Value, node: ast.AST) -> Value:
    """``base ** exponent``: an Integer only where both are and the exponent is a constant that is not negative."""
    a, b = _numbers(frame, ast.Pow(), base, exponent, node)
    b = frame.cast(b, wider(b.type, least=Integer), node)
    if a.type != Float and b.type == Integer:
        if not isinstance(exponent, Static):
            reason = "an Integer to the power of an Integer is an Integer or a Float, depending on the exponent's sign"
            frame.refuse(node, reason, "write float(base) ** exponent", code="KS200")
        if exponent.value >= 0:
            return Dynamic(frame.apply(node, "ipow", frame.cast(a, Integer, node), b), is_weak(base))
    return Dynamic(frame.apply(node, "pow" if b.type == Float else "powi", frame.cast(a, Float, node), b))


def unary(frame: Frame, op: ast.unaryop, value: Value, node: ast.AST) -> Value:
    """``op value`` for minus, plus and bitwise inversion."""
    if isinstance(value, Static):
        return evaluate_static(frame, _PYTHON[type(op)], (value.value,), node)
    if isinstance(value, Struct):
        return _call_operator(frame, op, [value], node)
    if is_tensor(value):
        from ksc.frontend.tensors import elementwise
        from ksc.frontend.tensors.narrow import require_wide

        return require_wide(frame, None, (value,), elementwise.unary(frame, op, value, node), node)
    if not isinstance(value, Dynamic):
        frame.refuse(node, f"`{SYMBOLS[type(op)]}` is not defined on {describe(value)}", "use a number", code="KS200")
    atom = frame.cast(value.atom, wider(value.type, least=Integer), node)
    if isinstance(op, ast.UAdd):
        return Dynamic(atom, value.weak)
    if isinstance(op, ast.USub):
        return Dynamic(frame.apply(node, "neg", atom), value.weak)
    if atom.type == Float:
        frame.refuse(node, "`~` is not defined on Float", "use `not`, or an integer", code="KS200")
    return Dynamic(frame.apply(node, "bitnot", atom))


def compare(frame: Frame, op: ast.cmpop, left: Value, right: Value, node: ast.AST) -> Value:
    """``left op right``: a truth value."""
    match op:
        case ast.Is() | ast.IsNot():
            return _identity(frame, op, left, right, node)
        case ast.In() | ast.NotIn():
            return _membership(frame, op, left, right, node)
    if isinstance(left, Static) and isinstance(right, Static):
        require_comparable(frame, left.value, right.value, node)
        return evaluate_static(frame, _PYTHON[type(op)], (left.value, right.value), node)
    if isinstance(left, Struct) or isinstance(right, Struct):
        return _compare_containers(frame, op, left, right, node)
    if is_tensor(left) or is_tensor(right):
        from ksc.frontend.tensors import elementwise
        from ksc.frontend.tensors.narrow import require_wide

        return require_wide(frame, None, (left, right), elementwise.compare(frame, op, left, right, node), node)
    if scalar_type(left) is None or scalar_type(right) is None:
        if isinstance(op, ast.Eq | ast.NotEq):
            return FALSE if isinstance(op, ast.Eq) else TRUE
        _numbers(frame, op, left, right, node)
    a, b = frame.atom(left, node), frame.atom(right, node)
    type_ = wider(a.type, b.type)
    if type_ == Bool and not isinstance(op, ast.Eq | ast.NotEq):
        type_ = Integer
    return Dynamic(frame.apply(node, _COMPARE[type(op)], frame.cast(a, type_, node), frame.cast(b, type_, node)))


def _identity(frame: Frame, op: ast.cmpop, left: Value, right: Value, node: ast.AST) -> Value:
    if isinstance(left, Static) and isinstance(right, Static):
        require_comparable(frame, left.value, right.value, node)
        same = left.value is right.value
    elif any(is_none(side) for side in (left, right)):
        same = False
    else:
        reason = f"`is` asks whether two objects are one; {describe(left)} and {describe(right)} are values"
        frame.refuse(node, reason, "compare with `==`, or test `is None`", code="KS100")
    return TRUE if same == isinstance(op, ast.Is) else FALSE


def _membership(frame: Frame, op: ast.cmpop, item: Value, container: Value, node: ast.AST) -> Value:
    if isinstance(item, Static) and isinstance(container, Static):
        if isinstance(container.value, frozenset):
            for other in container.value:
                require_comparable(frame, item.value, other, node)
        found: Value = evaluate_static(frame, lambda a, b: a in b, (item.value, container.value), node)
    elif isinstance(container, Struct):
        items = [Static(key) for key in container.keys] if container.cls is dict else container.items
        found = FALSE
        for other in items:
            found = either(frame, found, compare(frame, ast.Eq(), item, other, node), node)
    else:
        instead = "use a tuple, or compare with bounds"
        frame.refuse(node, f"`in` is not defined on {describe(container)}", instead, code="KS200")
    return found if isinstance(op, ast.In) else negate(frame, found, node)


def _compare_containers(frame: Frame, op: ast.cmpop, left: Value, right: Value, node: ast.AST) -> Value:
    if not isinstance(op, ast.Eq | ast.NotEq):
        if (
            isinstance(left, Struct)
            and isinstance(right, Struct)
            and left.cls is right.cls
            and left.cls in (tuple, list)
        ):
            return _order(frame, op, left, right, node)
        symbol = SYMBOLS[type(op)]
        reason = f"`{symbol}` is not defined on {describe(left)} and {describe(right)}"
        frame.refuse(node, reason, "compare their elements", code="KS200")
    equal: Value = FALSE
    if isinstance(left, Struct) and isinstance(right, Struct) and left.cls is right.cls:
        own = left.cls not in (tuple, list, dict) and not hasattr(left.cls, "__dataclass_fields__")
        if own and "__eq__" in vars(left.cls):
            frame.refuse(node, f"{left.cls.__name__} defines its own `==`", "compare the fields", code="KS200")
        if len(left.items) == len(right.items):
            equal = TRUE
            for a, b in zip(left.items, right.items, strict=True):
                equal = both(frame, equal, compare(frame, ast.Eq(), a, b, node), node)
    return equal if isinstance(op, ast.Eq) else negate(frame, equal, node)


def _order(frame: Frame, op: ast.cmpop, left: Struct, right: Struct, node: ast.AST) -> Value:
    """The order of two tuples or lists: that of their first items that differ, or of their lengths."""
    lengths = len(left.items), len(right.items)
    found = evaluate_static(frame, _PYTHON[type(op)], lengths, node)
    for a, b in reversed(list(zip(left.items, right.items, strict=False))):
        if a is b:
            continue
        same = truth_of(frame, compare(frame, ast.Eq(), a, b, node), node)
        here = truth_of(frame, compare(frame, op, a, b, node), node)
        found = either(frame, both(frame, same, found, node), both(frame, negate(frame, same, node), here, node), node)
    return found


def both(frame: Frame, a: Value, b: Value, node: ast.AST) -> Value:
    """``a and b`` of two truth values that are at hand."""
    if isinstance(a, Static):
        return b if a.value else FALSE
    if isinstance(b, Static):
        return a if b.value else FALSE
    return Dynamic(frame.apply(node, "and", frame.atom(a, node), frame.atom(b, node)))


def either(frame: Frame, a: Value, b: Value, node: ast.AST) -> Value:
    """``a or b`` of two truth values that are at hand."""
    if isinstance(a, Static):
        return TRUE if a.value else b
    if isinstance(b, Static):
        return TRUE if b.value else a
    return Dynamic(frame.apply(node, "or", frame.atom(a, node), frame.atom(b, node)))


def negate(frame: Frame, value: Value, node: ast.AST) -> Value:
    """``not value`` of a truth value."""
    if isinstance(value, Static):
        return FALSE if value.value else TRUE
    return Dynamic(frame.apply(node, "not", frame.atom(value, node)))


def truth_of(frame: Frame, value: Value, node: ast.AST) -> Value:
    """What ``bool(value)`` gives."""
    match value:
        case Static(obj):
            return TRUE if obj else FALSE
        case Array() | Ref():
            from ksc.frontend.tensors import elementwise

            return elementwise.truth(frame, value, node)
        case Dynamic(atom=atom):
            if atom.type == Bool:
                return value
            zero = const(0) if atom.type == Integer else Const(0.0, Float)
            return Dynamic(frame.apply(node, "ne", atom, zero))
        case Struct(cls=cls, items=items):
            if cls in (tuple, list, dict) or issubclass(cls, tuple):
                return TRUE if items else FALSE
            if hasattr(cls, "__bool__") or hasattr(cls, "__len__"):
                frame.refuse(node, f"{cls.__name__} defines its own truth value", "test a field", code="KS200")
            return TRUE
        case _:
            frame.refuse(node, f"{describe(value)} has no truth value here", "test a number", code="KS200")


def _container_operator(frame: Frame, op: ast.operator, left: Value, right: Value, node: ast.AST) -> Value:
    match op, left, right:
        case ast.Add(), Struct(cls=a), Struct(cls=b) if a is b and a in (tuple, list):
            return left.with_items(left.items + right.items)
        case ast.Mult(), Struct(cls=cls), Static(int(count)) if cls in (tuple, list):
            return left.with_items(left.items * count)
        case ast.Mult(), Static(int(count)), Struct(cls=cls) if cls in (tuple, list):
            return right.with_items(right.items * count)
    return _call_operator(frame, op, [left, right], node)


_METHODS: dict[type[ast.AST], str] = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "truediv", ast.FloorDiv: "floordiv", ast.Mod: "mod",
    ast.Pow: "pow", ast.MatMult: "matmul", ast.USub: "neg", ast.UAdd: "pos", ast.Invert: "invert",
    ast.BitAnd: "and", ast.BitOr: "or", ast.BitXor: "xor", ast.LShift: "lshift", ast.RShift: "rshift",
}  # fmt: skip


def _call_operator(frame: Frame, op: ast.AST, operands: list[Value], node: ast.AST) -> Value:
    """The operator method of a dataclass or namedtuple."""
    from ksc.frontend.calls import call_method

    name = _METHODS[type(op)]
    attempts = [(f"__{name}__", operands)]
    if len(operands) == 2:
        attempts.append((f"__r{name}__", operands[::-1]))
    for method, (owner, *others) in attempts:
        function = getattr(owner.cls, method, None) if isinstance(owner, Struct) else None
        if function is not None and owner.cls not in (tuple, list, dict) and hasattr(function, "__code__"):  # type: ignore[attr-defined]
            return call_method(frame, function, owner, others, node)
    shown = " and ".join(describe(operand) for operand in operands)
    frame.refuse(node, f"`{SYMBOLS[type(op)]}` is not defined on {shown}", "use numbers", code="KS200")
