"""The operations that sizes are computed with, as an abstract run of a program collects them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ksc.ir.sizes import Opcode, ShapeProgram, SizeOp, fold


@dataclass(frozen=True, slots=True)
class Known:
    """A number that op ``position`` gives."""

    position: int


class Table:
    """Collects operations, each once, folding what is constant.

    Attributes:
        ops: the operations, each reading earlier ones.
        positions: where an operation stands.
    """

    def __init__(self) -> None:
        self.ops: list[SizeOp] = []
        self.positions: dict[SizeOp, int] = {}

    def add(self, op: SizeOp) -> Known:
        """What an operation gives."""
        if op not in self.positions:
            self.positions[op] = len(self.ops)
            self.ops.append(op)
        return Known(self.positions[op])

    def constant(self, value: int) -> Known:
        """A number that is known at compile time."""
        return self.add(SizeOp("const", value))

    def value(self, number: Known) -> int | None:
        """The number where it is a constant."""
        op = self.ops[number.position]
        return op.a if op.code == "const" else None

    def apply(self, code: Opcode, *operands: Known) -> Known:
        """What an operation gives of operands, one of them or a constant where that is so for all sizes."""
        values = [self.value(operand) for operand in operands]
        if code == "select" and values[0] is not None:
            return operands[1] if values[0] else operands[2]
        if code == "select" and operands[1] == operands[2]:
            return operands[1]
        constants = [value for value in values if value is not None]
        if len(constants) == len(values) and not (code in ("idiv", "imod") and constants[1] == 0):
            return self.constant(fold(code, *constants))
        if code in ("min", "max") and operands[0] == operands[1]:
            return operands[0]
        if (code == "add" and values[0] == 0) or (code == "mul" and values[0] == 1):
            return operands[1]
        if (code in ("add", "sub") and values[1] == 0) or (code in ("mul", "idiv") and values[1] == 1):
            return operands[0]
        if code == "sub" and operands[0] == operands[1]:
            return self.constant(0)
        if code in ("max", "min") and self._not_negative(operands, values):
            return operands[values.index(None)] if code == "max" else self.constant(0)
        return self.add(SizeOp(code, *(operand.position for operand in operands)))

    def _not_negative(self, operands: Sequence[Known], values: Sequence[int | None]) -> bool:
        """Whether one operand is 0 and the other a size."""
        return any(values[k] == 0 and self.ops[operands[1 - k].position].code == "size" for k in (0, 1))

    def program(self, results: Sequence[tuple[int, ...]], lines: Sequence[tuple[int, ...]]) -> ShapeProgram:
        """The operations that the results need, renumbered."""
        needed: set[int] = set()
        pending = [position for result in results for position in result]
        while pending:
            position = pending.pop()
            if position not in needed:
                needed.add(position)
                pending += _operands(self.ops[position])
        renumbered = {old: new for new, old in enumerate(sorted(needed))}
        ops = []
        for old in sorted(needed):
            op = self.ops[old]
            ops.append(SizeOp(op.code, *(renumbered[k] for k in _operands(op))) if _operands(op) else op)
        return ShapeProgram(tuple(ops), tuple(tuple(renumbered[k] for k in result) for result in results), tuple(lines))


def _operands(op: SizeOp) -> tuple[int, ...]:
    if op.code in ("const", "size", "value"):
        return ()
    return (op.a, op.b, op.c)[: {"not": 1, "select": 3}.get(op.code, 2)]


LOWERED: Mapping[str, Callable[[Table, Sequence[Known]], Known]] = {
    "neg": lambda t, a: t.apply("sub", t.constant(0), a[0]),
    "abs": lambda t, a: t.apply("max", a[0], t.apply("sub", t.constant(0), a[0])),
    "clamp_min": lambda t, a: t.apply("max", a[0], a[1]),
    "clamp_max": lambda t, a: t.apply("min", a[0], a[1]),
    "clamp": lambda t, a: t.apply("min", t.apply("max", a[0], a[1]), a[2]),
    "bool_to_int": lambda t, a: a[0],
}
"""The primitives on Integers that are written with the operations of a table."""
