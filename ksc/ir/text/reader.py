"""From text to a program: declarations first, then bodies, so that functions may be used before they are defined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ksc.errors import InvalidIRError
from ksc.ir.nodes import Block, Function, Program, Var, const, walk
from ksc.ir.text import syntax
from ksc.ir.text.builtins import BUILTIN_FORMS, BUILTINS
from ksc.ir.text.derivatives import Derivatives
from ksc.ir.text.elaborate import Elaborator, Scope, Values
from ksc.ir.text.forms import FORMS
from ksc.ir.text.notation import (
    CONSTRUCTORS,
    LamType,
    Name,
    Param,
    read_name,
    read_params,
    read_result_types,
    read_string,
    read_type,
)
from ksc.ir.text.signatures import Signature, Signatures
from ksc.ir.text.syntax import Group, Node, Position, misread
from ksc.ir.text.tangents import zero_of
from ksc.ir.types import TensorType, TupleType, Type, compatible
from ksc.ir.verify import verify


@dataclass(frozen=True, slots=True)
class RewriteRule:
    """``(rule "name" (param*) template replacement)``: type-checked and kept, never applied by the compiler."""

    name: str
    template: Block
    replacement: Block


@dataclass(frozen=True, slots=True)
class Module:
    """All that a text says: the program, the rules, the external functions and the derivatives asked for."""

    program: Program
    rules: tuple[RewriteRule, ...] = ()
    externals: tuple[Signature, ...] = ()
    requests: tuple[Name, ...] = ()


@dataclass(frozen=True, slots=True)
class _Definition:
    signature: Signature
    params: tuple[Param, ...]
    body: Node
    at: Position


@dataclass(slots=True)
class _Declarations:
    definitions: list[_Definition] = field(default_factory=list)
    externals: dict[str, tuple[Signature, Position]] = field(default_factory=dict)
    boxes: dict[str, tuple[Type, ...]] = field(default_factory=dict)
    rules: list[Group] = field(default_factory=list)
    requests: list[tuple[Name, Position]] = field(default_factory=list)
    entry: tuple[str, Position] | None = None


def parse(text: str, *, file: str = "<text>") -> Program:
    """The program of a text in the notation of docs/SYNTAX.md.

    Raises InvalidIRError with the line and column, and with what was expected there.
    """
    return parse_module(text, file=file).program


def parse_module(text: str, *, file: str = "<text>") -> Module:
    """All that a text says, see ``Module``. Raises InvalidIRError like ``parse``."""
    try:
        return _ModuleReader(file).read(syntax.read(text, file))
    except RecursionError:
        raise InvalidIRError(f"{file}: expressions are nested too deeply") from None


class _ModuleReader:
    def __init__(self, file: str) -> None:
        self.file = file
        self.signatures = Signatures()
        self.declared = _Declarations()
        self.functions: dict[str, Function] = {}
        self.derivatives = Derivatives(self.signatures, self.elaborator)

    def read(self, nodes: Sequence[Node]) -> Module:
        for node in nodes:
            self.declare(node)
        for definition in self.declared.definitions:
            self.define(definition)
        rules = tuple(self.rule(group) for group in self.declared.rules)
        for name, at in self.declared.requests:
            if self.derivatives.resolve(name, None) is None and not self.signatures.named(name):
                raise misread(f"there is no function for {name} to be derived from", at)
        self.define_externals()
        entry = self.entry()
        functions, boxes = self.derivatives.complete(self.functions, self.declared.boxes)
        program = Program(_callees_first(functions), entry, boxes)
        verify(program)
        externals = tuple(signature for signature, _ in self.declared.externals.values())
        return Module(program, rules, externals, tuple(name for name, _ in self.declared.requests))

    # Declarations.

    def declare(self, node: Node) -> None:
        if not isinstance(node, Group) or node.square:
            raise misread(f"expected (def …) or another declaration, not {syntax.show(node)}", node.at)
        match node.head, node.items[1:]:
            case "def", (name, result, params, body):
                self.declare_function(node, name, read_params(params), read_result_types(result), body)
            case "edef", (name, result, params):
                self.declare_external(node, name, params, result)
            case "gdef", (derivation, base):
                asked = Name(str(read_name(derivation)), of=read_name(base))
                self.declared.requests.append((asked, node.at))
            case "rule", (_, _, _, _):
                self.declared.rules.append(node)
            case "box", (name, *fields):
                self.declared.boxes[str(read_name(name))] = tuple(map(read_type, fields))
            case "entry", (name,):
                self.declared.entry = (str(read_name(name)), node.at)
            case ("def" | "edef" | "gdef" | "rule" | "box" | "entry") as head, _:
                raise misread(f"expected {_SHAPES[head]}", node.at)
            case _:
                raise misread(f"expected def, edef, gdef, rule, box or entry, not {syntax.show(node)}", node.at)

    def declare_function(
        self, node: Group, name: Node, params: tuple[Param, ...], results: tuple[Type, ...], body: Node
    ) -> None:
        for param in params:
            if _holds_lam(param.type):
                raise misread(
                    f"parameter {param.name} is a function value; a lambda is inlined where it is used", param.at
                )
        signature = self.signatures.declare(read_name(name), [param.type for param in params], results)
        if signature is None:
            raise misread(f"{syntax.show(name)} is defined twice for the same parameters", node.at)
        self.declared.definitions.append(_Definition(signature, params, body, node.at))

    def declare_external(self, node: Group, name: Node, params: Node, result: Node) -> None:
        """An external function; of a built-in it says nothing new."""
        is_list = isinstance(params, Group) and not params.square and params.head not in CONSTRUCTORS
        types = tuple(map(read_type, params.items if isinstance(params, Group) and is_list else (params,)))
        results, read = read_result_types(result), read_name(name)
        if read.base in BUILTINS or read.base in FORMS or read.base in BUILTIN_FORMS:
            return
        signature = self.signatures.declare(read, types, results)
        if signature is not None:
            self.declared.externals[signature.symbol] = (signature, node.at)

    # Bodies.

    def elaborator(self) -> Elaborator:
        return Elaborator(
            self.signatures, self.declared.boxes, {**BUILTIN_FORMS, **FORMS}, BUILTINS, self.derivatives.resolve
        )

    def define(self, definition: _Definition) -> None:
        signature, e = definition.signature, self.elaborator()
        variables = tuple(Var(param.name, param.type) for param in definition.params)
        scope: Scope = {var.name: var for var in variables}
        body = e.block(variables, lambda: self.results(e, definition, scope))
        self.functions[signature.symbol] = Function(signature.symbol, body, definition.at.span())

    def results(self, e: Elaborator, definition: _Definition, scope: Scope) -> Values:
        """The results of a function; where it has several, an expression that gives their tuple will do."""
        wanted = definition.signature.results
        values = e.values(definition.body, scope)
        if len(wanted) != 1 and len(values) == 1 and values[0].type == TupleType(wanted):
            values = e.elements(values[0], definition.at)
        have = tuple(value.type for value in values)
        if len(have) != len(wanted) or not all(map(compatible, have, wanted)):
            shown, expected = " ".join(map(str, have)), " ".join(map(str, wanted))
            raise misread(f"{definition.signature.name} is to give {expected}, but gives {shown}", definition.at)
        return values

    def rule(self, group: Group) -> RewriteRule:
        """Type-check a rule: template and replacement are of one type."""
        name, params, template, replacement = group.items[1:]
        sides = []
        for side in (template, replacement):
            e = self.elaborator()
            variables = tuple(Var(param.name, param.type) for param in read_params(params))
            scope: Scope = {var.name: var for var in variables}
            sides.append(e.block(variables, lambda e=e, side=side, scope=scope: e.values(side, scope)))  # type: ignore[misc]
        left, right = ([result.type for result in side.results] for side in sides)
        if len(left) != len(right) or not all(map(compatible, left, right)):
            raise misread("both sides of a rule are of one type", group.at)
        return RewriteRule(read_string(name), *sides)

    def define_externals(self) -> None:
        """Give each external function that is called a body that stops the program."""
        called = {eqn.params["callee"] for f in self.functions.values() for eqn in walk(f.body) if eqn.op == "call"}
        for symbol, (signature, at) in self.declared.externals.items():
            if symbol in called:
                e = self.elaborator()
                variables = tuple(Var("x", type_) for type_ in signature.params)
                body = e.block(variables, lambda e=e, s=signature, at=at: _stop(e, s, at))  # type: ignore[misc]
                self.functions[symbol] = Function(symbol, body, at.span())

    def entry(self) -> str:
        """The function that is asked for, ``main``, or the last one."""
        if self.declared.entry is not None:
            name, at = self.declared.entry
            if name not in self.functions:
                raise misread(f"there is no function {name}", at)
            return name
        if "main" in self.functions:
            return "main"
        if not self.declared.definitions:
            raise InvalidIRError(f"{self.file}: the text defines no function")
        return self.declared.definitions[-1].signature.symbol


_SHAPES = {
    "def": "(def name type (param*) expr)",
    "edef": "(edef name type (type*))",
    "gdef": "(gdef derivation name)",
    "rule": '(rule "name" (param*) expr expr)',
    "box": "(box name type*)",
    "entry": "(entry name)",
}


def _stop(e: Elaborator, signature: Signature, at: Position) -> Values:
    e.emit("assert", [const(False)], at, message=f"the external function {signature.name} has no definition here")
    return tuple(zero_of(e, type_, at) for type_ in signature.results)


def _holds_lam(type_: Type) -> bool:
    match type_:
        case LamType():
            return True
        case TensorType(elem=elem):
            return _holds_lam(elem)
        case TupleType(elems=elems):
            return any(map(_holds_lam, elems))
        case _:
            return False


def _callees_first(functions: dict[str, Function]) -> dict[str, Function]:
    """The functions with callees before callers where there is no recursion, else in the order of the text."""
    ordered: dict[str, Function] = {}
    entered: set[str] = set()
    for root in functions:
        stack = [(root, False)]
        while stack:
            name, done = stack.pop()
            if done:
                ordered[name] = functions[name]
            elif name not in entered:
                entered.add(name)
                stack.append((name, True))
                callees = [e.params["callee"] for e in walk(functions[name].body) if e.op == "call"]
                stack.extend((callee, False) for callee in reversed(callees) if callee in functions)
    return ordered
