"""Run a program given as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ksc.errors import InvalidIRError
from ksc.ir.interpret import interpret
from ksc.ir.nodes import Program
from ksc.ir.text.reader import parse
from ksc.ops.record import Width


def run(
    program: str | Program, entry: str = "main", *, args: Sequence[Any] = (), width: Width = "f64"
) -> tuple[Any, str]:
    """Interpret a function of a program, or of a text in the notation of docs/SYNTAX.md.

    Returns:
        The result, a tuple where the function has not just one, and what was printed.

    Raises:
        InvalidIRError: the text is wrong, or has no function ``entry``.
        ArgumentError: the arguments do not fit.
        KernelRuntimeError: the program stopped.
    """
    read = parse(program) if isinstance(program, str) else program
    if entry not in read.functions:
        raise InvalidIRError(f"there is no function {entry}")
    printed: list[str] = []
    chosen = Program(read.functions, entry, read.boxes)
    results = interpret(chosen, args, width=width, output=printed.append)
    return (results[0] if len(results) == 1 else results), "".join(printed)
