"""From a unit to the text of its source file."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jinja2

from ksc.codegen.cpp.analysis import Analysis
from ksc.codegen.cpp.entries import make_entry
from ksc.codegen.cpp.function import CppFunction, analyse, describe, print_function
from ksc.codegen.cpp.names import Scope, function_identifier, identifier
from ksc.codegen.cpp.parallel import independent, outermost
from ksc.codegen.cpp.printer import Callee, NotPackedError
from ksc.codegen.cpp.storage import plan_storage
from ksc.codegen.cpp.storage_plan import Storage
from ksc.codegen.cpp.straight import has_long_straight_code
from ksc.codegen.cpp.types import COMPUTE, STORAGE, box_struct, declaration
from ksc.codegen.cpp.writer import Line
from ksc.codegen.rendering import source_environment
from ksc.codegen.target import CPU, Target
from ksc.codegen.unit import SUFFIXES, GeneratedSource, Unit
from ksc.errors import InvalidIRError
from ksc.ir.nodes import Function, Program, walk
from ksc.passes import optimise_for_processor

TEMPLATES = Path(__file__).resolve().parent.parent / "templates"

_MARK = re.compile("\x00(\\d+)\x00")


def generate(unit: Unit) -> GeneratedSource:
    """Print a unit as one C++ source that includes only the prelude; the same unit gives the same bytes.

    Raises InvalidIRError where the IR has no form in C++, UnsupportedError where it does what a processor cannot.
    """
    tensors, double = unit.kind == "tensor", COMPUTE[unit.dtype] == "double"
    programs = [(d, optimise_for_processor(program, tensors=tensors, double=double)) for d, program in unit.programs]
    return print_unit(replace(unit, programs=programs), CPU)


def print_unit(unit: Unit, target: Target) -> GeneratedSource:
    """Print a unit, whose programs are as the target needs them; the same unit and target give the same bytes.

    Raises InvalidIRError where the IR has no form in C++, UnsupportedError where it does what the target cannot.
    """
    float_type = COMPUTE[unit.dtype]
    whole = unit.kind == "tensor"
    module = _Module(float_type, target, placed=whole and STORAGE[unit.dtype] == float_type, divided=whole)
    stem = identifier(unit.name).strip("_") or "kernel"
    entries = []
    symbols = {}
    for derivation, program in unit.programs:
        function = module.add(program)
        suffix = derivation_suffix(derivation)
        symbols[derivation] = f"ks_{stem}{suffix}"
        entries.append(make_entry(symbols[derivation], function, program, unit, target))
    marked: list[Line] = []
    text = (
        _environment()
        .get_template(target.template)
        .render(
            unit=unit,
            entries=entries,
            boxes=module.boxes,
            functions=[_marked(function, marked) for function in module.functions],
            prototypes=module.prototypes,
            namespace=f"{stem}_kernel",
            doc=_doc_lines(unit.doc),
            straight=any(has_long_straight_code(program) for _, program in unit.programs),
        )
    )
    text, lines = _unmark(text, marked)
    line_map = {number: line.span for number, line in lines.items() if line.span is not None}
    folded = {number: line.folded for number, line in lines.items() if line.folded}
    copies = sum(function.copies for function in module.functions)
    return GeneratedSource(unit.name, text, symbols, line_map, unit.dtype, copies, folded)


def derivation_suffix(derivation: str) -> str:
    """What a derivation adds to the name of an entry: ``vj`` is ``_vjp_jvp``, ``v10`` is ``_vjp10``."""
    try:
        return "".join(letter if letter.isdigit() else SUFFIXES[letter] for letter in derivation)
    except KeyError as unknown:
        raise ValueError(f"a derivation is made of {', '.join(SUFFIXES)}, not {unknown.args[0]!r}") from None


class _Module:
    """The functions of a file, each printed once although several programs may hold it.

    With ``placed`` results are made in the memory of the kernel's caller; ``divided`` lets loops use several threads.
    """

    def __init__(self, float_type: str, target: Target, *, placed: bool, divided: bool) -> None:
        self.functions: list[CppFunction] = []
        self.prototypes: list[str] = []
        self.boxes: list[dict[str, Any]] = []
        self._float_type = float_type
        self._target = target
        self._placed = placed
        self._divided = divided
        self._by_name: dict[str, list[CppFunction]] = {}
        self._records: dict[str, Sequence[str]] = {}

    def add(self, program: Program) -> CppFunction:
        """Print what the program's entry reaches, callees first; gives the entry."""
        self._add_boxes(program)
        order = list(_callees_first(program))
        cyclic = {name for name in order if _reaches(program, name, name)}
        analyses = {name: analyse(program.functions[name], program) for name in order}
        plans = plan_storage(program, analyses)
        callees = {n: describe(program.functions[n], function_identifier(n), plans[n]) for n in order}
        taken = {name: callee.name for name, callee in callees.items()}
        clash = len(set(taken.values())) < len(taken)
        if clash or any(taken[name] in self._used() and name not in self._by_name for name in order):
            callees = self._renamed(callees)
        printed = self._print(program, analyses, plans, cyclic, callees)
        if any(not self._known(function) and function.callee.name in self._used() for function in printed):
            callees = self._renamed(callees)
            printed = self._print(program, analyses, plans, cyclic, callees)
        early = {
            callee
            for k, name in enumerate(order)
            for callee in _called(program.functions[name])
            if callee in order[k + 1 :]
        }
        for struct, members in self._records.items():
            if all(box["struct"] != struct for box in self.boxes):
                self.boxes.append({"struct": struct, "members": members, "early": False})
        for function in printed:
            if not self._known(function):
                self.functions.append(function)
                self._by_name.setdefault(function.name, []).append(function)
                if function.name in early:
                    self.prototypes.append(f"{function.signature};")
        entry = printed[-1]
        if self._divided or not self._target.in_lanes or program.entry in cyclic:
            return entry
        return replace(entry, packed=self._packed(program.main, analyses[entry.name], plans[entry.name], entry.callee))

    def _packed(self, function: Function, analysis: Analysis, storage: Storage, callee: Callee) -> CppFunction | None:
        """Print a function once more, for numbers side by side, where that is worth it."""
        used = self._used()
        callee = replace(callee, name=Scope(reserved=used).declare(f"{callee.name}_lanes"), needs_runtime=False)
        try:
            packed = print_function(
                function,
                analysis,
                storage,
                callee,
                {},
                self._float_type,
                recursive=False,
                placed=False,
                divided=False,
                taken=used | {callee.name},
                target=self._target,
                packed=True,
            )
        except NotPackedError:
            return None
        self.functions.append(replace(packed, name=f"[lanes {packed.name}]"))
        return packed

    def _print(
        self,
        program: Program,
        analyses: Mapping[str, Analysis],
        plans: Mapping[str, Storage],
        cyclic: set[str],
        callees: dict[str, Callee],
    ) -> list[CppFunction]:
        known = {n: replace(c, needs_runtime=n in cyclic) for n, c in callees.items()}
        taken = frozenset(c.name for c in callees.values()) | self._used()
        find = independent if self._target.is_grid else outermost
        loops = find(program) if self._divided else {}
        printed = []
        for name, analysis in analyses.items():
            function = print_function(
                program.functions[name],
                analysis,
                plans[name],
                known[name],
                known,
                self._float_type,
                recursive=name in cyclic,
                placed=self._placed and name == program.entry and name not in cyclic,
                divided=self._divided,
                taken=taken,
                target=self._target,
                outermost=loops.get(name, frozenset()),
                records=self._records,
            )
            self._records |= function.records
            known[name] = function.callee
            printed.append(function)
        return printed

    def _used(self) -> frozenset[str]:
        return frozenset(function.callee.name for function in self.functions)

    def _known(self, function: CppFunction) -> bool:
        return any(_same(function, other) for other in self._by_name.get(function.name, []))

    def _renamed(self, callees: Mapping[str, Callee]) -> dict[str, Callee]:
        scope = Scope(reserved=self._used())
        return {name: replace(c, name=scope.declare(function_identifier(name))) for name, c in callees.items()}

    def _add_boxes(self, program: Program) -> None:
        for name, fields in program.boxes.items():
            struct = box_struct(name)
            members = [
                f"{declaration(type_, f'r{k}', self._float_type, const=False)};" for k, type_ in enumerate(fields)
            ]
            if all(box["struct"] != struct for box in self.boxes):
                self.boxes.append({"struct": struct, "members": members})
        for k, box in enumerate(self.boxes):
            box["early"] = any(
                f"{box['struct']} *" in member for other in self.boxes[:k] for member in other["members"]
            )


def _same(a: CppFunction, b: CppFunction) -> bool:
    return a.signature == b.signature and [x.text for x in a.lines] == [x.text for x in b.lines]


def _called(function: Function) -> list[str]:
    return [eqn.params["callee"] for eqn in walk(function.body) if eqn.op == "call"]


def _callees_first(program: Program) -> Iterator[str]:
    """The functions that the entry reaches, a callee before its callers where there is no cycle."""
    seen = {program.entry}
    stack = [(program.entry, iter(_called(program.main)))]
    while stack:
        name, pending = stack[-1]
        for callee in pending:
            if callee not in seen:
                if callee not in program.functions:
                    raise InvalidIRError(f"{name} calls {callee}, which the program does not define")
                seen.add(callee)
                stack.append((callee, iter(_called(program.functions[callee]))))
                break
        else:
            stack.pop()
            yield name


def _reaches(program: Program, start: str, goal: str) -> bool:
    seen: set[str] = set()
    pending = _called(program.functions[start])
    while pending:
        name = pending.pop()
        if name == goal:
            return True
        if name not in seen:
            seen.add(name)
            pending.extend(_called(program.functions[name]))
    return False


def _doc_lines(doc: str) -> list[str]:
    lines = [line.strip() for line in doc.strip().splitlines()]
    # A backslash at the end of a comment would continue it.
    return [line.rstrip("\\").rstrip() for line in lines]


def _marked(function: CppFunction, marked: list[Line]) -> CppFunction:
    """The function with the number of each line that has Python at its end, to be found again after the template."""

    def mark(line: Line) -> Line:
        if line.span is None and not line.folded:
            return line
        marked.append(line)
        return replace(line, text=f"{line.text}\x00{len(marked) - 1}\x00")

    return replace(function, lines=[mark(line) for line in function.lines])


def _unmark(text: str, marked: Sequence[Line]) -> tuple[str, Mapping[int, Line]]:
    found = {}
    lines = text.split("\n")
    for k, line in enumerate(lines):
        match = _MARK.search(line)
        if match is not None:
            found[k + 1] = marked[int(match.group(1))]
            lines[k] = line[: match.start()]
    return "\n".join(lines), found


@functools.cache
def _environment() -> jinja2.Environment:
    return source_environment(TEMPLATES)
