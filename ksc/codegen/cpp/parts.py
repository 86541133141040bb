"""Long functions in parts: runs of their statements become functions of their own, where they stand.

    const ks::tensor<double, 2> S = ks::part([=, &rt]() KS_INLINED {
        …
        return S;
    });

GCC's time for a function grows faster than the function, since it keeps a set of registers for each basic block. What
a part reads it has copies of, so within one all is as it was; only what has a state of its own, such as a stack, is
handed to it by reference. A statement that changes a variable from before its part stays outside, so a variable that is
changed unseen would be an error of the compiler, as a part's copies are constants.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ksc.codegen.cpp.writer import INDENT, LINE_WIDTH, Line, wrapped

PART = 40
"""So many branches and loops, at least, make a part."""

LONG = 300
"""Functions with more branches and loops than this are divided."""


def in_parts(lines: Sequence[Line], parameters: Iterable[str]) -> list[Line]:
    """The body of a function, in parts if it is long; ``parameters`` are declarations."""
    if _weight(lines) <= LONG:
        return list(lines)
    division = _Division({name for line in lines for name in _NAME.findall(_code(line))})
    visible = dict(filter(None, map(_declaration, parameters)))
    return division.block(lines, visible)


_NAME = re.compile(r"(?<![:.\w])[A-Za-z_]\w*")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_CONTROL = re.compile(r"(?:for|while|if) \(|\} else \{| \? ")
_MACRO = re.compile(r"KS_[A-Z_]+(\(.*\))?")
_TYPE = r"(?:const )?(?:double|float|bool|int64_t|\w+_box \*(?:const)?|\w+_results|ks::\w+<[^=(;{]*>)"
_DECLARATION = re.compile(rf"({_TYPE} ?)\b([A-Za-z_]\w*)(?: = |\(|;|$)")
_CHANGE = re.compile(r"(?:\+\+|--)?([A-Za-z_]\w*)(?: [-+*/%&|^]?= |\+\+;|--;|;)")
_KNOWN = re.compile(r"(?:\+\+|--)?[A-Za-z_][\w:]*(?:[.(]|<.*>\(| [-+*/%&|^]?= | \(|\+\+|--|;)")
_LEAVE = re.compile(r"\b(?:return|break|continue)\b")
_REFERENCE = re.compile(r"&(\w+)[,)]")
_COMBINED = re.compile(r"ks::(?:summed|combined)\((\w+)|KS_LANES_OR\((\w+)\)")
_BINDINGS = re.compile(r"const auto \[(.*)\] = ")
_BINDING = "a structured binding, which no lambda captures in C++17"
_STATEFUL = re.compile(r"(?:const )?ks::(?!tensor<|pack)\w+<")


def _code(line: Line) -> str:
    return _STRING.sub('""', line.text).partition("//")[0].strip()


def _weight(lines: Iterable[Line]) -> int:
    return sum(len(_CONTROL.findall(_code(line))) for line in lines)


def _declaration(text: str) -> tuple[str, str] | None:
    """The name and the type of the variable that a line declares."""
    match = _DECLARATION.match(text)
    return (match.group(2), match.group(1).strip()) if match is not None else None


@dataclass(frozen=True, slots=True)
class _Statement:
    """Lines of a block that belong together, and what is said in them.

    Attributes:
        lines: its lines, with the comments and pragmas before it.
        names: all names in it.
        declared: the variable that it declares for those after it, and its type.
        changed: the variables from before it that it changes.
        is_empty: whether it declares a variable without a value.
        leaves: whether it leaves the function or a loop around it.
        is_known: whether it may stand in a part, as a statement of which all that matters is seen.
        bindings: the names of a structured binding that it declares.
        weight: its branches and loops.
    """

    lines: Sequence[Line]
    names: frozenset[str]
    declared: tuple[str, str] | None
    changed: frozenset[str]
    is_empty: bool
    leaves: bool
    is_known: bool
    bindings: Sequence[str]
    weight: int


class _Division:
    """``taken`` are all names of the function."""

    def __init__(self, taken: set[str]) -> None:
        self._taken = taken

    def block(self, lines: Sequence[Line], visible: Mapping[str, str]) -> list[Line]:
        """The lines of a block, where ``visible`` variables of these types are declared before it."""
        if _weight(lines) < 2 * PART:
            return list(lines)
        visible = dict(visible)
        statements = list(_statements(lines))
        later = _named_later(statements)
        found: list[Line] = []
        run: list[int] = []
        for k, statement in enumerate(statements):
            own = {declared[0] for j in run if (declared := statements[j].declared) is not None}
            outer = {name for name in statement.changed - own if not _is_stateful(visible.get(name, ""))}
            outer |= {name for name in statement.names if visible.get(name) == _BINDING}
            if statement.weight >= 2 * PART or statement.leaves or not statement.is_known or outer:
                found += self._run([statements[j] for j in run], later[run[-1]] if run else frozenset(), visible)
                run = []
                found += self._inside(statement, visible)
            else:
                run.append(k)
                if sum(statements[j].weight for j in run) >= PART:
                    found += self._run([statements[j] for j in run], later[k], visible)
                    run = []
            if statement.declared is not None:
                visible[statement.declared[0]] = statement.declared[1]
            visible.update(dict.fromkeys(statement.bindings, _BINDING))
        return found + [line for j in run for line in statements[j].lines]

    def _inside(self, statement: _Statement, visible: Mapping[str, str]) -> list[Line]:
        """A statement that stays where it is; the blocks in it may have parts."""
        depth = _depth(statement.lines)
        found: list[Line] = []
        inner: list[Line] = []
        has_block = False
        for line in [*statement.lines, Line("")]:
            if has_block and line.text and _indent(line) > depth:
                inner.append(line)
                continue
            if inner:
                found += self.block(inner, visible)
                inner = []
            found.append(line)
            has_block = line.text.endswith("{")
        return found[:-1]

    def _run(self, run: Sequence[_Statement], later: frozenset[str], visible: Mapping[str, str]) -> list[Line]:
        """Statements as a part, if they are long enough; of what they declare, what is named ``later`` is given."""
        # A variable without a value is declared before the part, unless that gives it one.
        changed = frozenset().union(*(statement.changed for statement in run))
        before = [s for s in run if s.is_empty and s.declared is not None and s.declared[0] not in changed]
        if before:
            after = self._run([s for s in run if s not in before], later, visible)
            return [line for statement in before for line in statement.lines] + after
        lines = [line for statement in run for line in statement.lines]
        if 2 * sum(statement.weight for statement in run) < PART:
            return lines
        given = [s.declared for s in run if s.declared is not None and s.declared[0] in later]
        names = frozenset().union(*(statement.names for statement in run))
        by_reference = sorted(name for name in names & visible.keys() if _is_stateful(visible[name]))
        captured = ", ".join(["=", *(["&rt"] if "rt" in names else []), *(f"&{name}" for name in by_reference)])
        head = f"ks::part([{captured}]() KS_INLINED {{"
        depth = INDENT * (_depth(lines) // len(INDENT))
        inside = [replace(line, text=INDENT + line.text) for line in lines]
        span = lines[-1].span

        def line(text: str) -> list[Line]:
            parts = wrapped(text, LINE_WIDTH - len(depth))
            return [Line(depth + INDENT * (k > 0) + part, span) for k, part in enumerate(parts)]

        if not given:
            return [*line(head), *inside, *line("});")]
        if len(given) == 1:
            ((name, type_),) = given
            returned = [replace(r, text=INDENT + r.text) for r in line(f"return {name};")]
            return [*line(f"{type_} {name} = {head}"), *inside, *returned, *line("});")]
        part = self._fresh("part")
        members = " ".join(f"{_member(type_, name)};" for name, type_ in given)
        returned = [
            *line(f"struct given {{ {members} }};"),
            *line(f"return given{{{', '.join(n for n, _ in given)}}};"),
        ]
        found = [*line(f"const auto {part} = {head}"), *inside]
        found += [replace(r, text=INDENT + r.text) for r in returned]
        found += line("});")
        for name, type_ in given:
            found += line(f"{_declared(type_, name)} = {part}.{name};")
        return found

    def _fresh(self, name: str) -> str:
        chosen = next(c for k in range(1, 1 << 30) if (c := f"{name}_{k}") not in self._taken)
        self._taken.add(chosen)
        return chosen


def _statements(lines: Sequence[Line]) -> Iterator[_Statement]:
    """The statements of a block, each with the comments and pragmas before it."""
    depth = _depth(lines)
    current: list[Line] = []
    has_head = False
    for line in lines:
        begins = _indent(line) == depth and not line.text.lstrip().startswith("}")
        if begins and has_head:
            yield _statement(current, depth)
            current, has_head = [], False
        current.append(line)
        code = _code(line)
        has_head |= begins and bool(code) and _MACRO.fullmatch(code) is None
    if current:
        yield _statement(current, depth)


def _statement(lines: Sequence[Line], depth: int) -> _Statement:
    codes = [(_indent(line), code) for line in lines if (code := _code(line))]
    head = next((code for indent, code in codes if indent == depth and _MACRO.fullmatch(code) is None), "")
    declared = _declaration(head)
    changed: set[str] = set()
    combined: set[str] = set()
    inside: set[str] = set()
    loops: list[int] = []
    lambdas: list[int] = []
    leaves = False
    goes_on = False
    for indent, code in codes:
        loops = [loop for loop in loops if loop < indent or (loop == indent and code.startswith("}"))]
        lambdas = [start for start in lambdas if start < indent or (start == indent and code.startswith("}"))]
        if "](" in code and code.endswith("{"):
            lambdas.append(indent - len(INDENT) * goes_on)
        elif code.startswith(("for (", "while (")):
            loops.append(indent)
        leaves |= any(not (lambdas if word == "return" else loops) for word in _LEAVE.findall(code))
        if (own := _declaration(code)) is not None:
            inside.add(own[0])
        elif (match := _CHANGE.match(code)) is not None:
            changed.add(match.group(1))
        inside.update(_REFERENCE.findall(code))
        combined.update(name for match in _COMBINED.finditer(code) for name in match.groups() if name)
        goes_on = not code.endswith(("{", "}", ";")) and _MACRO.fullmatch(code) is None
    is_known = declared is not None or _KNOWN.match(head) is not None
    if declared is not None and _is_stateful(declared[1]):
        is_known = False
    names = frozenset(name for _, code in codes for name in _NAME.findall(code))
    match = _BINDINGS.match(" ".join(code for indent, code in codes if indent == depth or head.endswith(",")))
    bindings = _NAME.findall(match.group(1)) if match is not None else []
    is_empty = declared is not None and head.endswith(f" {declared[0]};")
    outer = frozenset(changed - inside | combined)
    return _Statement(lines, names, declared, outer, is_empty, leaves, is_known, bindings, _weight(lines))


def _named_later(statements: Sequence[_Statement]) -> list[frozenset[str]]:
    """For each statement the names in those after it."""
    found = [frozenset[str]()]
    for statement in reversed(statements[1:]):
        found.append(found[-1] | statement.names)
    return found[::-1]


def _is_stateful(type_: str) -> bool:
    return _STATEFUL.match(type_) is not None


def _member(type_: str, name: str) -> str:
    return _declared(type_.removesuffix("const") if "*" in type_ else type_.removeprefix("const "), name)


def _declared(type_: str, name: str) -> str:
    return f"{type_}{name}" if type_.endswith("*") else f"{type_} {name}"


def _indent(line: Line) -> int:
    return len(line.text) - len(line.text.lstrip(" "))


def _depth(lines: Sequence[Line]) -> int:
    return min(_indent(line) for line in lines if line.text)
