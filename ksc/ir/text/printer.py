"""The text of a program: one ``let`` binding for each equation."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ksc.errors import InvalidIRError
from ksc.ir.nodes import Atom, Block, Const, Eqn, Function, Program, Span, Var
from ksc.ir.rules import RULES, result_types
from ksc.ir.text.layout import Marked, Remark, Tree, layout
from ksc.ir.text.names import SPECIAL_FORMS, getter, is_identifier, quote, variable_base
from ksc.ir.text.syntax import Group, quote_text, read, show
from ksc.ir.types import AccType, BoxType, TensorType, TupleType, Type
from ksc.ops import PRIMITIVES

_FIRST_MARK = 0xF0000
"""The first of many characters that Unicode keeps for private use."""


@dataclass(frozen=True, slots=True)
class PlacedLine:
    """A line of a program's text, and what in the user's source it came from."""

    text: str
    spans: tuple[Span, ...]


_SPELT_BY_FORM: Mapping[str, frozenset[str]] = {
    "for": frozenset({"carries", "reverse"}),
    "while": frozenset({"carries"}),
    "reduce": frozenset({"monoid"}),
    "size": frozenset({"dim"}),
    "call": frozenset({"callee"}),
    "get": frozenset({"n"}),
    "box": frozenset({"name"}),
    "assert": frozenset({"message", "index"}),
}
"""The params that the form of an op spells itself; any other is printed as ``:key value``."""


def to_text(program: Program, *, spans: bool = False) -> str:
    """The program in the notation of docs/SYNTAX.md.

    Args:
        program: any program, also one that the verifier refuses.
        spans: write the line of the user's source that each equation came from as a comment.
    """
    remark = _Remarks() if spans else None
    return _text(program, lambda span, tree: tree if remark is None else remark(span, tree))


def to_lines(program: Program) -> list[PlacedLine]:
    """The program as ``to_text`` writes it, line by line, each with the places in the user's source that it came from.

    Lines may be broken elsewhere by a character or two.
    """
    places: dict[Span, str] = {}

    def mark(span: Span | None, tree: Tree) -> Tree:
        if span is None:
            return tree
        found = places.setdefault(span, chr(min(_FIRST_MARK + len(places), sys.maxunicode)))
        return Marked(found, tree)

    text = _text(program, mark)
    spans = {character: span for span, character in places.items()}
    marks = re.compile(f"[{chr(_FIRST_MARK)}-{max(spans, default=chr(_FIRST_MARK))}]")
    lines: list[PlacedLine] = []
    for line in text.rstrip("\n").split("\n"):
        found = tuple(dict.fromkeys(spans[character] for character in marks.findall(line) if character in spans))
        if found:
            line = marks.sub("", line)
        elif line and lines:
            # What goes on from the line before is of the same equation.
            found = lines[-1].spans[:1]
        lines.append(PlacedLine(line, found))
    return lines


def _text(program: Program, place: Callable[[Span | None, Tree], Tree]) -> str:
    forms: list[Tree] = []
    if program.entry != "main":
        forms.append(["entry", global_name(program.entry)])
    forms.extend(
        ["box", global_name(name), *(type_text(field) for field in fields)] for name, fields in program.boxes.items()
    )
    forms.extend(_FunctionPrinter(program, function, place).tree() for function in program.functions.values())
    return "\n\n".join(map(layout, forms)) + "\n"


class _Remarks:
    """Puts the source line before a tree, as a comment, where it is another than the last one."""

    def __init__(self) -> None:
        self.line: tuple[str, int] | None = None

    def __call__(self, span: Span | None, tree: Tree) -> Tree:
        if span is None or self.line == (span.file, span.line):
            return tree
        self.line = (span.file, span.line)
        source = span.text.strip().splitlines()
        return Remark(f"{span.file}:{span.line}{f': {source[0]}' if source else ''}", tree)


def global_name(name: str) -> str:
    """The name of a function or a box as it is written: bare where it reads back as itself, else between bars."""
    if name in SPECIAL_FORMS or name in RULES or name in PRIMITIVES or getter(name) or name.startswith("$"):
        return quote(name)
    if is_identifier(name):
        return name
    try:
        nodes = read(name, "")
    except InvalidIRError:
        return quote(name)
    bare = len(nodes) == 1 and isinstance(nodes[0], Group) and nodes[0].square and show(nodes[0], len(name)) == name
    return name if bare and "|" not in name else quote(name)


def type_text(type_: Type) -> str:
    """A type in the notation of the text."""
    match type_:
        case TensorType(rank=rank, elem=elem, sizes=sizes):
            known = "" if set(sizes) == {None} else "".join(f" {'_' if n is None else n}" for n in sizes)
            return f"(Tensor {rank} {type_text(elem)}{known})"
        case TupleType(elems=elems):
            return f"(Tuple{''.join(f' {type_text(elem)}' for elem in elems)})"
        case AccType(value=value):
            return f"(Acc {type_text(value)})"
        case BoxType(name=name):
            return f"(Box {global_name(name)})"
        case _:
            return str(type_)


def float_text(value: float) -> str:
    """The shortest text that reads back as the same float."""
    if math.isnan(value):
        return "-nan" if math.copysign(1.0, value) < 0 else "nan"
    return repr(value)


class _FunctionPrinter:
    def __init__(self, program: Program, function: Function, place: Callable[[Span | None, Tree], Tree]) -> None:
        self.program = program
        self.function = function
        self.place = place
        self.names: dict[Var, str] = {}
        self.taken: set[str] = set()
        self.numbers: dict[str, int] = {}

    def tree(self) -> Tree:
        params: list[Tree] = [self.typed(param) for param in self.function.params]
        types = [type_text(type_) for type_ in self.function.result_types]
        result = types[0] if len(types) == 1 else f"(Values{''.join(f' {type_}' for type_ in types)})"
        return ["def", global_name(self.function.name), result, params, self.block(self.function.body)]

    def bind(self, var: Var) -> str:
        """Name a variable: its own name where that is free in the function, else with the first free number."""
        base = variable_base(var.name)
        k = self.numbers.get(base, 0)
        name = f"{base}_{k}" if k else base
        while name in self.taken:
            k += 1
            name = f"{base}_{k}"
        self.numbers[base] = k
        self.taken.add(name)
        self.names[var] = name
        return name

    def typed(self, var: Var) -> Tree:
        return [self.bind(var), ":", type_text(var.type)]

    def target(self, var: Var, type_: Type | None) -> Tree:
        """A bound variable, with its type where that is not the one known anyway."""
        return self.bind(var) if var.type == type_ else self.typed(var)

    def atom(self, atom: Atom) -> str:
        match atom:
            case Var():
                return self.names.get(atom) or variable_base(atom.name)
            case Const(type=BoxType(name=name)):
                return f"(null {global_name(name)})"
            case Const(value=bool(value)):
                return "true" if value else "false"
            case Const(value=str(value)):
                return quote_text(value)
            case Const(value=float(value)):
                return float_text(value)
            case _:
                return str(atom.value)

    def values(self, atoms: Sequence[Atom]) -> Tree:
        return self.atom(atoms[0]) if len(atoms) == 1 else ["values", *map(self.atom, atoms)]

    def block(self, block: Block) -> Tree:
        """The expression of a block: the bindings of its equations, then its results."""
        eqns = block.eqns
        tail = eqns[-1] if eqns and self.is_tail(eqns[-1], block.results) else None
        bindings: list[Tree] = [self.binding(eqn) for eqn in (eqns if tail is None else eqns[:-1])]
        result = self.place(block.span, self.values(block.results)) if tail is None else self.expr_at(tail)
        return ["let", bindings, result] if bindings else result

    def is_tail(self, eqn: Eqn, results: Sequence[Atom]) -> bool:
        """Whether the results are just what the equation gives, so that it needs no names."""
        return eqn.op != "print" and eqn.outs == tuple(results) and self.derived(eqn) == [out.type for out in eqn.outs]

    def derived(self, eqn: Eqn) -> list[Type | None]:
        """The types that a reader will derive for the outs."""
        try:
            types = result_types(eqn, self.program)
        except InvalidIRError:
            types = ()
        return list(types) if len(types) == len(eqn.outs) else [None] * len(eqn.outs)

    def binding(self, eqn: Eqn) -> Tree:
        expr = self.expr(eqn)
        targets = [self.target(out, type_) for out, type_ in zip(eqn.outs, self.derived(eqn), strict=True)]
        return self.place(eqn.span, [targets[0] if len(targets) == 1 else targets, expr])

    def expr_at(self, eqn: Eqn) -> Tree:
        """The expression, with its place in the source."""
        expr = self.expr(eqn)
        return self.place(eqn.span, expr)

    def expr(self, eqn: Eqn) -> Tree:
        args = [self.atom(arg) for arg in eqn.args]
        if eqn.op == "call":
            head = global_name(eqn.params["callee"])
        else:
            head = f"get${eqn.params['n'] + 1}${_width(eqn)}" if eqn.op == "get" else eqn.op
        operands: list[Tree] = FORMS[eqn.op](self, eqn, args) if eqn.op in FORMS else [*args]
        return [HEADS.get(eqn.op, head), *_attributes(eqn), *operands]

    def lam(self, block: Block) -> Tree:
        params: list[Tree] = [self.typed(param) for param in block.params]
        return ["lam", params[0] if len(params) == 1 else params, self.block(block)]

    def carries(self, eqn: Eqn, inits: Sequence[Atom], params: Sequence[Var]) -> Tree:
        shown = [self.atom(init) for init in inits]
        return [[self.target(param, init.type), text] for param, init, text in zip(params, inits, shown, strict=True)]


def _width(eqn: Eqn) -> int:
    type_ = eqn.args[0].type
    return len(type_.elems) if isinstance(type_, TupleType) else 0


def _attributes(eqn: Eqn) -> list[Tree]:
    """The params that no form spells, as ``:key value``; a reader takes tensors in a ``build`` to be nested."""
    trees: list[Tree] = []
    is_flat = eqn.op == "build" and not eqn.params.get("nested")
    if is_flat and any(isinstance(result.type, TensorType) for result in eqn.blocks[0].results):
        trees += [":nested", "false"]
    for key in sorted(set(eqn.params) - _SPELT_BY_FORM.get(eqn.op, frozenset())):
        if key == "nested" and eqn.params[key] is False:
            continue
        trees += [f":{key}", _attribute(eqn.params[key])]
    return trees


def _attribute(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return quote_text(value)
        case float():
            return float_text(value)
        case int():
            return str(value)
        case _:
            raise InvalidIRError(f"a param with the value {value!r} has no text form")


def _group(args: Sequence[str]) -> Tree:
    """Several sizes or indices in the place of one."""
    return args[0] if len(args) == 1 else ["tuple", *args]


def _if(printer: _FunctionPrinter, eqn: Eqn, args: list[str]) -> list[Tree]:
    return [*args, *(printer.block(block) for block in eqn.blocks)]


def _for(printer: _FunctionPrinter, eqn: Eqn, args: list[str]) -> list[Tree]:
    (body,) = eqn.blocks
    counter: list[Tree] = [printer.bind(body.params[0]), args[0]]
    if eqn.params["reverse"]:
        counter.append("down")
    return [counter, printer.carries(eqn, eqn.args[1:], body.params[1:]), printer.block(body)]


def _while(printer: _FunctionPrinter, eqn: Eqn, args: list[str]) -> list[Tree]:
    cond, body = eqn.blocks
    carries = printer.carries(eqn, eqn.args, body.params)
    for seen, same in zip(cond.params, body.params, strict=True):
        printer.names[seen] = printer.names[same]
    return [carries, printer.block(cond), printer.block(body)]


def _build(printer: _FunctionPrinter, eqn: Eqn, args: list[str]) -> list[Tree]:
    return [_group(args), printer.lam(eqn.blocks[0])]


def _reduce(printer: _FunctionPrinter, eqn: Eqn, args: list[str]) -> list[Tree]:
    return [str(eqn.params["monoid"]), _group(args), printer.lam(eqn.blocks[0])]


def _withacc(printer: _FunctionPrinter, eqn: Eqn, args: list[str]) -> list[Tree]:
    (body,) = eqn.blocks
    cells: list[Tree] = [[printer.bind(param), arg] for param, arg in zip(body.params, args, strict=True)]
    return [cells, printer.block(body)]


def _index(printer: _FunctionPrinter, eqn: Eqn, args: list[str]) -> list[Tree]:
    return [_group(args[1:]), args[0]]


def _update(printer: _FunctionPrinter, eqn: Eqn, args: list[str]) -> list[Tree]:
    return [_group(args[1:-1]), args[0], args[-1]]


def _size(printer: _FunctionPrinter, eqn: Eqn, args: list[str]) -> list[Tree]:
    type_ = eqn.args[0].type
    if isinstance(type_, TensorType) and type_.rank == 1 and eqn.params["dim"] == 0:
        return [*args]
    return [*args, str(eqn.params["dim"])]


def _acc_add(printer: _FunctionPrinter, eqn: Eqn, args: list[str]) -> list[Tree]:
    at = args[1:-1]
    return [*([_group(at)] if at else []), args[0], args[-1]]


def _box(printer: _FunctionPrinter, eqn: Eqn, args: list[str]) -> list[Tree]:
    return [global_name(eqn.params["name"]), *args]


def _assert(printer: _FunctionPrinter, eqn: Eqn, args: list[str]) -> list[Tree]:
    cond, *places = args
    name, dims = eqn.params.get("index", ("", ()))
    of = [quote_text(name)] if "index" in eqn.params else []
    each = zip(dims, places[::2], places[1::2], strict=True)
    return [cond, quote_text(eqn.params["message"]), *of, *(text for dim, i, n in each for text in (str(dim), i, n))]


FORMS: Mapping[str, Callable[[_FunctionPrinter, Eqn, list[str]], list[Tree]]] = {
    "if": _if,
    "for": _for,
    "while": _while,
    "build": _build,
    "reduce": _reduce,
    "withacc": _withacc,
    "index": _index,
    "update": _update,
    "size": _size,
    "acc_add": _acc_add,
    "box": _box,
    "assert": _assert,
}
"""The operands of each op that is not printed as its arguments one after another."""

HEADS: Mapping[str, str] = {"assert": "require"}
"""The word for an op where another form has its name."""
