"""From a function of the IR to a Python function whose lines are the user's.

    (def [rev f] … (let ((t (mul x x)) …        def f_vjp(x, y_bar):      the code object's file is the user's,
                                           ⟶        t = x * x             and each statement has the line that its
                                                    …                     equation came from

So ``pdb`` shows the user's source, stops at breakpoints in it, in a derivative as well, and prints variables by name.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ksc.codegen.cpp.names import function_identifier
from ksc.errors import KernelRuntimeError
from ksc.ir.interpret import PLAIN_OPS, SCALAR_MONOIDS, Cell, Machine
from ksc.ir.nodes import Atom, Block, Eqn, Function, Program, Span, Var
from ksc.ir.types import BoxType, FloatType
from ksc.ir.values import copied
from ksc.stepped.names import python_names

_INFIX = {"add": "+", "sub": "-", "mul": "*", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
"""Scalar ops on float64 that are just what Python's operator does."""

_UNSTEPPED = "<knossos>"
"""The file of helpers, which no debugger finds the source of."""


def python_function(program: Program, machine: Machine) -> Callable[..., tuple[Any, ...]]:
    """The entry of a program as a Python function of the values that ``machine`` holds."""
    names: dict[str, Any] = {"__name__": "__knossos__"}
    for function in program.functions.values():
        names[_global(function.name)] = _compiled(function, machine, names)
    entry: Callable[..., tuple[Any, ...]] = names[_global(program.entry)]
    return entry


def _global(function: str) -> str:
    return f"_ks_call_{function_identifier(function)}_{abs(hash(function))}"


def _compiled(function: Function, machine: Machine, names: dict[str, Any]) -> Any:
    writer = _Writer(function, machine, names)
    source, places = writer.text()
    tree = ast.parse(source)
    file = function.span.file if function.span is not None else _UNSTEPPED
    for node in ast.walk(tree):
        if isinstance(node, ast.expr | ast.stmt | ast.arg | ast.keyword | ast.excepthandler):
            _place(node, places[node.lineno - 1])
    scope: dict[str, Any] = {}
    exec(compile(tree, file, "exec"), names, scope)
    return scope[writer.name]


def _place(node: Any, span: Span | None) -> None:
    line = span.line if span is not None else 1
    end = span.end_line if span is not None else 1
    node.lineno, node.end_lineno = line, end
    node.col_offset = span.col if span is not None else 0
    node.end_col_offset = span.end_col if span is not None else 0


@dataclass
class _Writer:
    """The text of one function, with the place of each line."""

    function: Function
    machine: Machine
    globals: dict[str, Any]
    lines: list[tuple[str, Span | None]] = field(default_factory=list)
    depth: int = 0
    span: Span | None = None

    def __post_init__(self) -> None:
        self.name = function_identifier(self.function.name)
        self.names = python_names(self.function)
        self.span = self.function.span

    def text(self) -> tuple[str, list[Span | None]]:
        params = ", ".join(map(self.names.__getitem__, self.function.params))
        self.write(f"def {self.name}({params}):", self.function.span)
        self.depth += 1
        self.block(self.function.body, lambda results: self.write(f"return {_tuple(results)}"))
        return "\n".join(line for line, _ in self.lines) + "\n", [span for _, span in self.lines]

    def write(self, text: str, span: Span | None = None) -> None:
        """One statement; what lies in another file than the function is put where that was left."""
        own = self.function.span
        if span is not None and own is not None and span.file == own.file:
            self.span = span
        self.lines.append(("    " * self.depth + text, self.span))

    def helper(self, kind: str, value: Any) -> str:
        name = f"_ks_{kind}_{len(self.globals)}"
        self.globals[name] = value
        return name

    def atom(self, atom: Atom) -> str:
        if isinstance(atom, Var):
            return self.names[atom]
        if isinstance(atom.type, BoxType):
            return "None"
        value = self.machine.represent.scalar(atom.value, atom.type)
        if isinstance(value, float) and not math.isfinite(value):
            return self.helper("number", value)
        return f"({value!r})" if isinstance(value, int | float) and value < 0 else repr(value)

    def atoms(self, atoms: Iterable[Atom]) -> list[str]:
        return [self.atom(atom) for atom in atoms]

    def bind(self, variables: Sequence[Var], values: str, span: Span | None) -> None:
        """Bind variables to what a tuple holds."""
        if variables:
            self.write(f"{_targets(self.names[var] for var in variables)} = {values}", span)
        else:
            self.write(values, span)

    def block(self, block: Block, finish: Callable[[list[str]], None]) -> None:
        for eqn in block.eqns:
            self.eqn(eqn)
        if block.span is not None:
            own = self.function.span
            self.span = block.span if own is None or block.span.file == own.file else self.span
        before = len(self.lines)
        finish(self.atoms(block.results))
        if len(self.lines) == before:
            self.write("pass")

    def inside(self, block: Block, finish: Callable[[list[str]], None]) -> None:
        self.depth += 1
        self.block(block, finish)
        self.depth -= 1

    def eqn(self, eqn: Eqn) -> None:
        structured = _STRUCTURED.get(eqn.op)
        if structured is not None:
            structured(self, eqn)
        elif eqn.op == "call":
            callee = _global(eqn.params["callee"])
            self.bind(eqn.outs, f"{callee}({', '.join(self.atoms(eqn.args))})", eqn.span)
        elif eqn.op in PLAIN_OPS:
            op, machine = PLAIN_OPS[eqn.op], self.machine
            name = self.helper(eqn.op, lambda *values: op(machine, eqn, values))
            self.bind(eqn.outs, f"{name}({', '.join(self.atoms(eqn.args))})", eqn.span)
        else:
            self.write(f"{self.names[eqn.outs[0]]} = {self.scalar(eqn)}", eqn.span)

    def scalar(self, eqn: Eqn) -> str:
        args = self.atoms(eqn.args)
        floats = all(isinstance(arg.type, FloatType) for arg in eqn.args)
        if floats and eqn.op in _INFIX and self.machine.represent.width == "f64":
            return f"{args[0]} {_INFIX[eqn.op]} {args[1]}"
        return f"{self.helper(eqn.op, self.machine.evaluator(eqn))}({', '.join(args)})"

    # Loops.

    def carried(self, eqn: Eqn) -> tuple[list[str], int]:
        """Start the carries of a loop; their names, and how many there are."""
        carries: int = eqn.params.get("carries", 0)
        params = eqn.blocks[-1].params
        names = [self.names[param] for param in params[len(params) - carries :]]
        if carries:
            self.write(f"{_targets(names)} = {_tuple(self.atoms(eqn.args[len(eqn.args) - carries :]))}", eqn.span)
        return names, carries

    def stack(self, eqn: Eqn, rows: str, sizes: str, first: int) -> None:
        """Bind what a loop stacks."""
        if first == len(eqn.outs):
            return
        machine, names = self.machine, self.names
        results = eqn.blocks[-1].results[first:]

        def stacked(found: list[tuple[Any, ...]], counts: Sequence[int], local: dict[str, Any]) -> tuple[Any, ...]:
            env = {var: local[name] for var, name in names.items() if name in local}
            return machine.stack(eqn, found, counts, results, env)

        helper = self.helper("stack", stacked)
        self.bind(eqn.outs[first:], f"{helper}({rows}, {sizes}, locals())", eqn.span)


def _if(writer: _Writer, eqn: Eqn) -> None:
    def give(results: list[str]) -> None:
        if results:
            writer.write(f"{_targets(writer.names[out] for out in eqn.outs)} = {_tuple(results)}")

    writer.write(f"if {writer.atom(eqn.args[0])}:", eqn.span)
    writer.inside(eqn.blocks[0], give)
    writer.write("else:", eqn.span)
    writer.inside(eqn.blocks[1], give)


def _for(writer: _Writer, eqn: Eqn) -> None:
    (body,) = eqn.blocks
    names, carries = writer.carried(eqn)
    rows = _private(writer, "rows")
    count = f"max({writer.atom(eqn.args[0])}, 0)"
    writer.write(f"{rows} = [()] * {count}", eqn.span)
    index = writer.names[body.params[0]]
    steps = f"range({count})"
    writer.write(f"for {index} in {f'reversed({steps})' if eqn.params['reverse'] else steps}:", eqn.span)

    def give(results: list[str]) -> None:
        writer.write(f"{rows}[{index}] = {_tuple(results[carries:])}")
        if carries:
            writer.write(f"{_targets(names)} = {_tuple(results[:carries])}")

    writer.inside(body, give)
    if carries:
        writer.bind(eqn.outs[:carries], _tuple(names), eqn.span)
    writer.stack(eqn, rows, f"[len({rows})]", carries)


def _while(writer: _Writer, eqn: Eqn) -> None:
    cond, body = eqn.blocks
    names, carries = writer.carried(eqn)
    rows = _private(writer, "rows")
    writer.write(f"{rows} = []", eqn.span)
    writer.write("while True:", eqn.span)
    writer.depth += 1
    if carries:
        writer.write(f"{_targets(writer.names[param] for param in cond.params)} = {_tuple(names)}", eqn.span)
    writer.block(cond, lambda results: writer.write(f"if not {results[0]}: break", eqn.span))

    def give(results: list[str]) -> None:
        writer.write(f"{rows}.append({_tuple(results[carries:])})")
        if carries:
            writer.write(f"{_targets(names)} = {_tuple(results[:carries])}")

    writer.block(body, give)
    writer.depth -= 1
    if carries:
        writer.bind(eqn.outs[:carries], _tuple(names), eqn.span)
    writer.stack(eqn, rows, f"[len({rows})]", carries)


def _nest(writer: _Writer, eqn: Eqn) -> tuple[str, str]:
    """A loop over indices that collects what its body gives; the names of the list and of the sizes."""
    (body,) = eqn.blocks
    rows, sizes = _private(writer, "rows"), _private(writer, "sizes")

    def checked(*given: int) -> tuple[int, ...]:
        for size in given:
            if size < 0:
                raise KernelRuntimeError(f"a tensor cannot have size {size}", span=eqn.span)
        return given

    writer.write(f"{sizes} = {writer.helper('sizes', checked)}({', '.join(writer.atoms(eqn.args))})", eqn.span)
    writer.write(f"{rows} = []", eqn.span)
    indices = _targets(writer.names[param] for param in body.params)
    writer.write(f"for {indices} in {writer.helper('indices', np.ndindex)}({sizes}):", eqn.span)
    writer.inside(body, lambda results: writer.write(f"{rows}.append({_tuple(results)})"))
    return rows, sizes


def _build(writer: _Writer, eqn: Eqn) -> None:
    rows, sizes = _nest(writer, eqn)
    writer.stack(eqn, rows, sizes, 0)


def _reduce(writer: _Writer, eqn: Eqn) -> None:
    rows, _ = _nest(writer, eqn)
    machine = writer.machine
    monoid = eqn.params["monoid"]
    combine = SCALAR_MONOIDS[monoid]
    types = [result.type for result in eqn.blocks[0].results]

    def reduced(found: list[tuple[Any, ...]]) -> tuple[Any, ...]:
        if not found:
            return tuple(machine.represent.identity(monoid, type_) for type_ in types)
        total = found[0]
        try:
            for term in found[1:]:
                parts = zip(total, term, types, strict=True)
                total = tuple(machine.represent.combine(combine, a, b, type_) for a, b, type_ in parts)
        except ValueError as mismatch:
            raise KernelRuntimeError(f"reduce of tensors of different sizes: {mismatch}", span=eqn.span) from None
        return total

    writer.bind(eqn.outs, f"{writer.helper('reduce', reduced)}({rows})", eqn.span)


def _withacc(writer: _Writer, eqn: Eqn) -> None:
    (body,) = eqn.blocks
    cell = writer.helper("cell", lambda value: Cell(copied(value)))
    cells = [writer.names[param] for param in body.params]
    for name, init in zip(cells, eqn.args, strict=True):
        writer.write(f"{name} = {cell}({writer.atom(init)})", eqn.span)

    def give(results: list[str]) -> None:
        values = [*(f"{name}.value" for name in cells), *results]
        writer.write(f"{_targets(writer.names[out] for out in eqn.outs)} = {_tuple(values)}")

    writer.block(body, give)


_STRUCTURED: dict[str, Callable[[_Writer, Eqn], None]] = {
    "if": _if,
    "for": _for,
    "while": _while,
    "build": _build,
    "reduce": _reduce,
    "withacc": _withacc,
}


def _private(writer: _Writer, kind: str) -> str:
    """A name for what no variable of the program is."""
    return f"_{kind}_{len(writer.lines)}"


def _targets(names: Iterable[str]) -> str:
    return "".join(f"{name}, " for name in names).rstrip()


def _tuple(values: Sequence[str]) -> str:
    return f"({', '.join(values)}{',' if len(values) == 1 else ''})"
