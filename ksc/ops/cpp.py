"""How a primitive is written in C++: a template with the precedences that decide where parentheses go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# Binding strength of C++ expressions, the tightest highest.
PRIMARY, UNARY, MULTIPLICATIVE, ADDITIVE, SHIFT, RELATIONAL, EQUALITY = 16, 15, 13, 12, 11, 9, 8
BIT_AND, BIT_XOR, BIT_OR, LOGICAL_AND, LOGICAL_OR, TERNARY, NONE = 7, 6, 5, 4, 3, 2, 0


@dataclass(frozen=True, slots=True)
class CppExpr:
    """C++ text together with how tightly it binds."""

    text: str
    precedence: int = PRIMARY

    def within(self, precedence: int) -> str:
        """The text, in parentheses where something that binds at least as tightly as ``precedence`` is needed."""
        return self.text if self.precedence >= precedence else f"({self.text})"


@dataclass(frozen=True, slots=True)
class CppForm:
    """A C++ expression with holes: ``{0}``, ``{1}`` … for the operands, ``{T}`` for the instance's float type.

    ``operands`` gives the precedence that each operand needs to stand without parentheses, a little stricter than the
    language where ``-Wparentheses`` would warn; where it ``chains``, a first operand of its own precedence stands too.
    """

    template: str
    precedence: int
    operands: tuple[int, ...]
    chains: bool = False

    def render(self, args: Sequence[CppExpr], float_type: str) -> CppExpr:
        """Fill the holes; ``float_type`` is ``float`` or ``double``."""
        texts = [arg.within(need) for arg, need in zip(args, self.operands, strict=True)]
        if self.chains and args[0].precedence == self.precedence:
            texts[0] = args[0].text
        return CppExpr(self.template.format(*texts, T=float_type), self.precedence)


def call(name: str, arity: int) -> CppForm:
    """``name({0}, {1}, …)``."""
    holes = ", ".join(f"{{{k}}}" for k in range(arity))
    return CppForm(f"{name}({holes})", PRIMARY, (NONE,) * arity)


def infix(symbol: str, precedence: int, operands: int | None = None, *, chains: bool = True) -> CppForm:
    """``{0} symbol {1}``; ``operands`` is what an operand needs, and by default that is to bind more tightly."""
    need = precedence + 1 if operands is None else operands
    return CppForm(f"{{0}} {symbol} {{1}}", precedence, (need, need), chains)


def prefix(symbol: str) -> CppForm:
    """``symbol{0}``."""
    return CppForm(f"{symbol}{{0}}", UNARY, (PRIMARY,))
