"""The sizes of a program's results as a program of their own: a list of integer operations over the arguments' sizes.

    result 0 of (def f (x : (Tensor 2 Float)) (n : Integer) …)         ops                          results
    has the sizes (size 0 x + n) and 3                           ⟶     0: size x 0   2: add 0 1      (2, 3)
                                                                       1: value n    3: const 3

An op reads ops before it, by position, so that what is used twice is computed once. The torch core evaluates the same
table over ints in a real call and over symbolic ints in a traced one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Opcode = Literal[
    "const", "size", "value", "add", "sub", "mul", "idiv", "imod", "min", "max",
    "eq", "ne", "lt", "lte", "gt", "gte", "and", "or", "not", "select",
]  # fmt: skip

OPCODES: tuple[Opcode, ...] = Opcode.__args__  # type: ignore[attr-defined]
"""In the order of the core's enumeration."""


def size_name(owner: str, rank: int, dim: int) -> str:
    """What a variable for a size of the tensor ``owner`` is called: ``x_size``, ``x_rows``, ``x_cols``, ``x_size2``."""
    kind = ("size",) if rank == 1 else ("rows", "cols") if rank == 2 else tuple(f"size{k}" for k in range(rank))
    return f"{owner}_{kind[dim]}"


@dataclass(frozen=True, slots=True)
class SizeOp:
    """One operation. ``const`` has a number, ``size`` an argument and a dimension, ``value`` an argument; all others
    have the positions of their operands."""

    code: Opcode
    a: int = 0
    b: int = 0
    c: int = 0


@dataclass(frozen=True, slots=True)
class ShapeProgram:
    """What gives the sizes of results from the sizes of arguments and the values of Integer and Bool arguments.

    Attributes:
        ops: each reads earlier ones.
        results: for each result the position of each size.
        lines: for each result the line of the user's file at which each size arises, 0 where none is known.
    """

    ops: tuple[SizeOp, ...] = ()
    results: tuple[tuple[int, ...], ...] = ()
    lines: tuple[tuple[int, ...], ...] = field(default=(), compare=False)

    def evaluate(self, sizes: Sequence[Sequence[Any]], values: Mapping[int, Any]) -> list[tuple[Any, ...]]:
        """The sizes of each result.

        Args:
            sizes: those of each argument, () for a scalar; ints or symbolic ints.
            values: by position, the Integer and Bool arguments that ``values_used`` names.

        Raises ZeroDivisionError where a size is divided by zero.
        """
        done: list[Any] = []
        for op in self.ops:
            if op.code == "const":
                done.append(op.a)
            elif op.code == "size":
                done.append(sizes[op.a][op.b])
            elif op.code == "value":
                done.append(values[op.a])
            elif op.code == "not":
                done.append(not done[op.a])
            elif op.code == "select":
                done.append(done[op.b] if done[op.a] else done[op.c])
            else:
                done.append(_EVALUATE[op.code](done[op.a], done[op.b]))
        return [tuple(done[size] for size in result) for result in self.results]

    @property
    def values_used(self) -> tuple[int, ...]:
        """The positions of the arguments whose value a size depends on."""
        return tuple(sorted({op.a for op in self.ops if op.code == "value"}))

    def mapped(self, mapped: Sequence[bool]) -> ShapeProgram:
        """The sizes of the results of ``vmap``, which has one more leading dimension in these arguments and in results.

        Raises ValueError where a size depends on the value of a mapped argument: it would differ between lanes.
        """
        if any(mapped[k] for k in self.values_used):
            raise ValueError("a size depends on the value of a mapped argument")
        ops = tuple(replace(op, b=op.b + 1) if op.code == "size" and mapped[op.a] else op for op in self.ops)
        count = SizeOp("size", mapped.index(True), 0)
        return ShapeProgram(
            (*ops, count),
            tuple((len(ops), *result) for result in self.results),
            tuple((0, *lines) for lines in self.lines),
        )


def argument_sizes(arguments: Sequence[tuple[int, int]]) -> ShapeProgram:
    """Results that have the sizes of arguments, each given as its position and rank."""
    ops: list[SizeOp] = []
    results = []
    for position, rank in arguments:
        results.append(tuple(range(len(ops), len(ops) + rank)))
        ops += [SizeOp("size", position, dim) for dim in range(rank)]
    return ShapeProgram(tuple(ops), tuple(results), tuple((0,) * len(result) for result in results))


_EVALUATE: Mapping[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "idiv": lambda a, b: a // b,
    "imod": lambda a, b: a % b,
    "min": lambda a, b: a if a <= b else b,
    "max": lambda a, b: a if a >= b else b,
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "lt": lambda a, b: a < b,
    "lte": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "gte": lambda a, b: a >= b,
    "and": lambda a, b: a and b,
    "or": lambda a, b: a or b,
}


def fold(code: Opcode, *operands: int) -> int:
    """The value of an operation on numbers."""
    if code == "not":
        return int(not operands[0])
    if code == "select":
        return operands[1] if operands[0] else operands[2]
    return int(_EVALUATE[code](*operands))
