"""A scalar of the trace with Python's operators, for code of the compiler that computes indices and elements."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TYPE_CHECKING

from ksc.frontend import operators
from ksc.frontend.tensors import integers
from ksc.frontend.values import Dynamic, Static, Value, scalar_type
from ksc.ir.nodes import Atom, Const, Var
from ksc.ir.types import Bool, Float, Integer, Type

if TYPE_CHECKING:
    from ksc.frontend.tensors.op import Op

_INTEGERS = {
    ast.Add: integers.add,
    ast.Sub: integers.sub,
    ast.Mult: integers.mul,
    ast.FloorDiv: integers.div,
    ast.Mod: integers.mod,
}


class Scalar:
    """A number that the trace knows, or a variable of the IR; operators emit into the innermost open block.

    Constants are folded, and an Integer that was computed before is the same variable again.
    """

    __slots__ = ("op", "value")

    def __init__(self, op: Op, value: Value) -> None:
        self.op = op
        self.value = value

    @staticmethod
    def of(op: Op, x: Scalar | Value | Atom | float) -> Scalar:
        """Whatever stands for a scalar, as one."""
        match x:
            case Scalar():
                return x
            case Const(value=value):
                return Scalar(op, Static(value))
            case Var():
                return Scalar(op, Dynamic(x))
            case Dynamic(atom=Const(value=value)):
                return Scalar(op, Static(value))
            case Value():
                return Scalar(op, x)
            case _:
                return Scalar(op, Static(x))

    @property
    def atom(self) -> Atom:
        return self.op.frame.atom(self.value, self.op.node)

    @property
    def type(self) -> Type:
        type_ = scalar_type(self.value)
        assert type_ is not None
        return type_

    @property
    def known(self) -> float | int | bool | None:
        """The number where it is known at compile time."""
        return self.value.value if isinstance(self.value, Static) else None

    def is_(self, number: int) -> bool:
        """Whether it is known to be this Integer."""
        return self.type == Integer and self.known == number

    def as_(self, type_: Type) -> Scalar:
        """Converted to a wider type."""
        frame, node = self.op.frame, self.op.node
        return Scalar.of(self.op, frame.cast(self.atom, type_, node))

    @property
    def float(self) -> Scalar:
        return self.as_(Float)

    def _binary(self, symbol: ast.operator, left: object, right: object) -> Scalar:
        op = self.op
        a, b = Scalar.of(op, left), Scalar.of(op, right)  # type: ignore[arg-type]
        exact = _INTEGERS.get(type(symbol)) if a.type == b.type == Integer else None
        if exact is not None:
            return Scalar.of(op, exact(op.frame, op.node, a.atom, b.atom))
        return Scalar.of(op, operators.binary(op.frame, symbol, a.value, b.value, op.node))

    def _compare(self, symbol: ast.cmpop, other: object) -> Scalar:
        op = self.op
        right = Scalar.of(op, other)  # type: ignore[arg-type]
        return Scalar.of(op, operators.compare(op.frame, symbol, self.value, right.value, op.node))

    def __add__(self, other: object) -> Scalar:
        return self._binary(ast.Add(), self, other)

    def __radd__(self, other: object) -> Scalar:
        return self._binary(ast.Add(), other, self)

    def __sub__(self, other: object) -> Scalar:
        return self._binary(ast.Sub(), self, other)

    def __rsub__(self, other: object) -> Scalar:
        return self._binary(ast.Sub(), other, self)

    def __mul__(self, other: object) -> Scalar:
        return self._binary(ast.Mult(), self, other)

    def __rmul__(self, other: object) -> Scalar:
        return self._binary(ast.Mult(), other, self)

    def __truediv__(self, other: object) -> Scalar:
        return self._binary(ast.Div(), self, other)

    def __floordiv__(self, other: object) -> Scalar:
        return self._binary(ast.FloorDiv(), self, other)

    def __mod__(self, other: object) -> Scalar:
        return self._binary(ast.Mod(), self, other)

    def __neg__(self) -> Scalar:
        return Scalar.of(self.op, operators.unary(self.op.frame, ast.USub(), self.value, self.op.node))

    def __lt__(self, other: object) -> Scalar:
        return self._compare(ast.Lt(), other)

    def __le__(self, other: object) -> Scalar:
        return self._compare(ast.LtE(), other)

    def __gt__(self, other: object) -> Scalar:
        return self._compare(ast.Gt(), other)

    def __ge__(self, other: object) -> Scalar:
        return self._compare(ast.GtE(), other)

    def eq(self, other: object) -> Scalar:
        """``self == other``."""
        return self._compare(ast.Eq(), other)

    def ne(self, other: object) -> Scalar:
        """``self != other``."""
        return self._compare(ast.NotEq(), other)

    def __and__(self, other: Scalar) -> Scalar:
        return self._joined(operators.both, other)

    def __or__(self, other: Scalar) -> Scalar:
        return self._joined(operators.either, other)

    def _joined(self, join: Callable[..., Value], other: Scalar) -> Scalar:
        return Scalar.of(self.op, join(self.op.frame, self.value, other.value, self.op.node))

    def __invert__(self) -> Scalar:
        assert self.type == Bool
        return Scalar.of(self.op, operators.negate(self.op.frame, self.value, self.op.node))

    def select(self, then: object, else_: object) -> Scalar:
        """``then`` where this Bool holds, else ``else_``; both are evaluated, at the wider of their types."""
        op = self.op
        if self.known is not None:
            return Scalar.of(op, then if self.known else else_)  # type: ignore[arg-type]
        a, b = Scalar.of(op, then), Scalar.of(op, else_)  # type: ignore[arg-type]
        type_ = operators.wider(a.type, b.type)
        return op.apply("select", self, a.as_(type_), b.as_(type_))
