"""One function of the IR as a C++ function: its signature, the struct it returns, its body."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ksc.codegen.cpp import callbacks, calls, control, loops, tensors
from ksc.codegen.cpp.analysis import Analysis
from ksc.codegen.cpp.expr import origins
from ksc.codegen.cpp.memory import place_results
from ksc.codegen.cpp.names import Scope, identifier, is_temporary, spoken
from ksc.codegen.cpp.packs import packing_of
from ksc.codegen.cpp.parts import in_parts
from ksc.codegen.cpp.printer import Callee, Context, Finish, Handler, LastHandler, Printer, overload
from ksc.codegen.cpp.storage_plan import Storage
from ksc.codegen.cpp.tables import tables
from ksc.codegen.cpp.types import cpp_type, declaration, sized_type
from ksc.codegen.cpp.writer import Line, Writer, line_of
from ksc.codegen.target import Target
from ksc.errors import UnsupportedError
from ksc.ir.nodes import EFFECTS, Atom, Eqn, Function, Program, Span, Var, walk
from ksc.ir.types import Bool, Integer, Type, is_differentiable
from ksc.ops import PRIMITIVES, primitive
from ksc.ops.cpp import CppForm
from ksc.passes.fuse.facts import Facts

HANDLERS: Mapping[str, Handler] = {
    "if": control.print_if,
    "for": control.print_for,
    "while": control.print_while,
    "withacc": control.print_withacc,
    "index": tensors.print_index,
    "size": tensors.print_size,
    "update": tensors.print_update,
    "acc_add": tensors.print_acc_add,
    "build": loops.print_build,
    "reduce": loops.print_reduce,
    "call": calls.print_call,
    "callback": callbacks.print_callback,
    "box": calls.print_box,
    "unbox": calls.print_unbox,
    "assert": calls.print_assert,
    "print": calls.refuse_print,
    "tuple": calls.refuse_tuple,
    "get": calls.refuse_tuple,
}
LAST_HANDLERS: Mapping[str, LastHandler] = {"if": control.last_if}

SIGNATURE_WIDTH = 116


@dataclass(frozen=True, slots=True)
class CppFunction:
    """The parts of a function's text, for the template.

    Attributes:
        name: its name in the IR.
        callee: what callers need.
        struct: the members of the struct it returns, each with its type; empty where there are fewer than two.
        signature: all before the opening brace.
        lines: the body.
        doc: what the comment above says.
        copies: how often it copies a tensor so that it can be changed.
        packed: the same for numbers side by side, of a function that is lifted over lanes and has loops.
        width: the C++ type of its Floats.
        records: structs that it needs beside those of the program's boxes, with their members.
    """

    name: str
    callee: Callee
    struct: Sequence[str]
    signature: str
    lines: Sequence[Line]
    doc: str = ""
    copies: int = 0
    packed: CppFunction | None = None
    width: str = ""
    records: Mapping[str, Sequence[str]] = field(default_factory=dict)


def forms(eqn: Eqn) -> tuple[CppForm, CppForm | None] | None:
    """The C++ forms of a scalar primitive and of its failure."""
    if eqn.op not in PRIMITIVES:
        return None
    failure = primitive(eqn.op).failure
    return overload(eqn).cpp, failure.cpp if failure is not None else None


def result_names(function: Function) -> tuple[str, ...]:
    """A distinct name for each result: the user's, or that of the parameter it is the adjoint or tangent of."""
    results = function.body.results
    parameters = [param.name for param in function.params if is_differentiable(param.type)]
    match = re.match(r"\[(rev|sufrevpass) ", function.name)
    scope = Scope()
    names = []
    for k, atom in enumerate(results):
        name = atom.name if isinstance(atom, Var) and not is_temporary(atom.name) else ""
        if match is not None and match.group(1) == "rev" and k < len(parameters):
            name = f"{parameters[k]}_bar"
        names.append(scope.declare(name or ("result" if len(results) == 1 else f"r{k}")))
    return tuple(names)


def user_names(function: Function) -> set[str]:
    """The names of variables that are no temporaries."""
    blocks = [function.body, *(block for eqn in walk(function.body) for block in eqn.blocks)]
    named = {var.name for block in blocks for eqn in block.eqns for var in eqn.outs}
    named |= {param.name for block in blocks for param in block.params}
    return {name for name in named if not is_temporary(name)}


def describe(function: Function, name: str, storage: Storage) -> Callee:
    """What callers need before the body is printed; ``needs_runtime`` is what is known without it."""
    return Callee(name, False, result_names(function), storage.summary.written)


def analyse(function: Function, program: Program) -> Analysis:
    """What of the function has to be printed, and where it is read."""
    return Analysis(function, forms, lambda eqn: _calls_effect(program, eqn))


def print_function(
    function: Function,
    analysis: Analysis,
    storage: Storage,
    callee: Callee,
    callees: Mapping[str, Callee],
    float_type: str,
    *,
    recursive: bool,
    placed: bool,
    divided: bool,
    taken: frozenset[str],
    target: Target,
    outermost: frozenset[int] = frozenset(),
    packed: bool = False,
    records: Mapping[str, Sequence[str]] | None = None,
) -> CppFunction:
    """The text of one function.

    ``callees`` holds every function that it calls, ``taken`` the names its variables must not have; a ``placed`` one
    makes its results where the caller of the kernel wants them; its ``outermost`` loops may be divided among threads.
    Where it is ``packed``, it is one of numbers side by side.
    Raises UnsupportedError where the target cannot run it, NotPackedError where there is no such, or no need of it.
    """
    if recursive and target.is_grid:
        raise UnsupportedError(
            f"{spoken(function.name)} calls itself, and the threads of a GPU have no stack to speak of",
            remedy="write a loop, or run it on the CPU",
            span=function.span,
            code="KS119",
        )
    sizes, _ = Facts.of(function, early=True)
    printer = Printer(
        analysis, storage, float_type, callees, HANDLERS, LAST_HANDLERS, sizes, outermost, target, together=divided
    )
    if not target.is_grid:
        printer.tables = tables(function)
    printer.records = dict(records or {})
    width = float_type
    if packed:
        printer.packing = packing_of(printer, function)
        width = printer.packing.pack
    scope = Scope(reserved=taken, kept=frozenset(map(identifier, user_names(function))))
    parameters = []
    for param in function.params:
        name = printer.parameter(param, scope)
        if analysis.is_read(param) and placed and target.is_grid:
            parameters.append(f"{sized_type(param.type, printer.width(param))} {name}")
        elif analysis.is_read(param):
            parameters.append(declaration(param.type, name, printer.width(param), const=False))
        else:
            parameters.append(f"{cpp_type(param.type, printer.width(param))} /* {name} */")
    if placed:
        place_results(printer, function.body, function.body.results)
    writer = Writer(1)
    if recursive:
        printer.needs_runtime = True
        line = line_of(function.span)
        writer.line(f'rt.check_stack({line}, "{_plain(spoken(function.name))}");', function.span)
    printer.block(function.body, _returning(printer, function.span), Context(writer, Scope(scope)))
    needs_runtime = printer.needs_runtime
    if needs_runtime:
        parameters.insert(0, "ks::runtime &rt")
    done = replace(callee, needs_runtime=needs_runtime, walk=printer.walk)
    types = function.result_types
    kind = target.checks if _only_checks(function) else target.function
    return CppFunction(
        name=function.name,
        callee=done,
        struct=[f"{declaration(t, f, width, const=False)};" for t, f in zip(types, callee.fields, strict=False)],
        signature=signature(kind, done, types, parameters, width),
        lines=writer.lines if target.is_grid else in_parts(writer.lines, parameters),
        copies=printer.copies,
        width=width,
        records=printer.records,
    )


def _only_checks(function: Function) -> bool:
    """Whether integers go in, and nothing but a stop comes out, as of what ``ksc.passes.explain`` makes."""
    integers = all(param.type in (Integer, Bool) for param in function.params)
    return integers and not function.result_types and any(eqn.op == "assert" for eqn in walk(function.body))


def signature(kind: str, callee: Callee, results: Sequence[Type], parameters: Sequence[str], float_type: str) -> str:
    """``static inline float f(float x)``, which ``kind`` begins; each parameter on its line where they do not fit."""
    match len(results):
        case 0:
            gives = "void"
        case 1:
            gives = cpp_type(results[0], float_type).rstrip()
        case _:
            gives = result_struct(callee.name)
    head = f"{kind} {gives} {callee.name}("
    line = f"{head}{', '.join(parameters)})"
    if len(line) <= SIGNATURE_WIDTH:
        return line
    return head + (",\n" + " " * len(head)).join(parameters) + ")"


def result_struct(name: str) -> str:
    """The struct that a function with several results returns."""
    return f"{name}_results"


def _returning(printer: Printer, default: Span | None) -> Finish:
    def write(results: Sequence[Atom], at: Context) -> None:
        values = [printer.value(atom) for atom in results]
        if not values:
            return
        text = ", ".join(value.text for value in values)
        span = next((value.span for value in values if value.span is not None), printer.given_at)
        statement = f"return {text};" if len(values) == 1 else f"return {{{text}}};"
        at.writer.comment(span)
        at.writer.plain(statement, span or default, origins(*values))

    return Finish(write, returns=True)


def _calls_effect(program: Program, eqn: Eqn) -> bool:
    """Whether the function called, or one that it calls, has effects."""
    seen: set[str] = set()
    pending = [eqn.params["callee"]]
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        for inner in walk(program.functions[name].body):
            if inner.op in EFFECTS - {"acc_add"}:
                return True
            if inner.op == "call":
                pending.append(inner.params["callee"])
    return False


def _plain(name: str) -> str:
    return re.sub(r'["\\\n]', "", name)
