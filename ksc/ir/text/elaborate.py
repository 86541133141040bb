"""From expressions of the text to equations.

An expression gives values (atoms of the IR, one unless it is a form with several results) or a function value. A
function value is a lambda with the variables around it; it is applied where the text applies it, so none remains.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias

from ksc.errors import InvalidIRError
from ksc.ir.builder import Builder
from ksc.ir.nodes import PLACEHOLDER, Atom, Block, Const, Eqn, Program, Var, const
from ksc.ir.rules import result_types
from ksc.ir.text import syntax
from ksc.ir.text.names import LITERALS, is_identifier, is_integer, is_number, is_placeholder
from ksc.ir.text.notation import Name, Param, is_param, read_name, read_param, read_variable
from ksc.ir.text.signatures import Signature, Signatures, fits
from ksc.ir.text.syntax import Group, Node, Position, Text, Word, misread
from ksc.ir.types import Integer, TensorType, TupleType, Type, compatible

Values: TypeAlias = tuple[Atom, ...]


@dataclass(frozen=True, slots=True)
class Closure:
    """A lambda and the variables that it sees."""

    params: tuple[Param, ...]
    body: Node
    scope: Scope
    at: Position


@dataclass(frozen=True, slots=True)
class FunctionName:
    """A function of the program, or a built-in, where a function value is wanted."""

    node: Node


FunctionValue: TypeAlias = Closure | FunctionName
Scope: TypeAlias = "dict[str, Atom | Closure]"
Result: TypeAlias = Values | Closure
Form: TypeAlias = "Callable[[Elaborator, Group, Scope], Result]"
Builtin: TypeAlias = "Callable[[Elaborator, Values, Position], Values | None]"

FORMS_READING_ATTRIBUTES = frozenset({"build", "for", "while"})
"""The forms whose types depend on an attribute."""

_SPECIAL_FLOATS = {"inf": float("inf"), "-inf": float("-inf"), "nan": float("nan"), "-nan": -float("nan")}


class Elaborator:
    """Turns the expressions of one function into equations of the current block.

    Args:
        signatures: the functions of the program.
        boxes: the boxes that the text declares.
        forms: the forms by their heads.
        builtins: the built-in functions whose arguments are all values; one gives None where it does not take these.
        derived: gives the signature of a derivative of a function of the program, where the name asks for one.
    """

    def __init__(
        self,
        signatures: Signatures,
        boxes: Mapping[str, tuple[Type, ...]],
        forms: Mapping[str, Form],
        builtins: Mapping[str, Builtin],
        derived: Callable[[Name, Sequence[Type]], Signature | None],
    ) -> None:
        self.signatures = signatures
        self.boxes = boxes
        self.forms = forms
        self.builtins = builtins
        self.derived = derived
        self.builder = Builder()
        self._declared = Program({}, "", boxes)

    # Expressions.

    def result(self, node: Node, scope: Scope) -> Result:
        """What an expression gives."""
        while isinstance(node, Group) and node.head == "let":
            scope, node = self.let(node, scope)
        match node:
            case Text(value=value):
                return (const(value),)
            case Word():
                return self.word(node, scope)
            case Group(items=(_, *_), square=False):
                return self.compound(node, scope)
        raise misread(f"expected an expression, not {syntax.show(node)}", node.at)

    def values(self, node: Node, scope: Scope) -> Values:
        """The values that an expression gives; a function value is refused."""
        result = self.result(node, scope)
        if isinstance(result, Closure):
            raise misread("a lambda stands only where a built-in takes one or where let binds it", node.at)
        return result

    def value(self, node: Node, scope: Scope) -> Atom:
        """The one value that an expression gives."""
        values = self.values(node, scope)
        if len(values) != 1:
            raise misread(f"expected one value, but {syntax.show(node)} gives {len(values)}", node.at)
        return values[0]

    def integer(self, node: Node, scope: Scope) -> Atom:
        """The Integer that an expression gives."""
        atom = self.value(node, scope)
        if atom.type != Integer:
            raise misread(f"expected an Integer, but {syntax.show(node)} is of type {atom.type}", node.at)
        return atom

    def components(self, node: Node, scope: Scope) -> Values:
        """Several values written as a tuple, or the elements of the tuple that an expression gives."""
        if isinstance(node, Group) and node.head == "tuple":
            return tuple(self.value(item, scope) for item in node.items[1:])
        atom = self.value(node, scope)
        return self.elements(atom, node.at) if isinstance(atom.type, TupleType) else (atom,)

    def word(self, node: Word, scope: Scope) -> Result:
        if node.text in scope:
            bound = scope[node.text]
            return bound if isinstance(bound, Closure) else (bound,)
        if not node.quoted:
            literal = self.literal(node)
            if literal is not None:
                return (literal,)
        raise misread(f"{node.text} is not bound", node.at)

    def literal(self, node: Word) -> Const | None:
        text = node.text
        if text in ("true", "false"):
            return const(text == "true")
        if text in LITERALS:
            return const(_SPECIAL_FLOATS[text])
        if is_integer(text):
            if not -(2**63) <= int(text) < 2**63:
                raise misread(f"{text} does not fit the 64 bits of an Integer", node.at)
            return const(int(text))
        return const(float(text)) if is_number(text) else None

    def compound(self, node: Group, scope: Scope) -> Result:
        """A form or a call; attributes go to the equation that it ends in."""
        if node.head in FORMS_READING_ATTRIBUTES:
            return self.plain_compound(node, scope)
        node, given = attributes(node)
        result = self.plain_compound(node, scope)
        self.amend(given)
        return result

    def amend(self, given: Mapping[str, Any]) -> None:
        """Add params to the equation that was made last."""
        if given:
            eqn = self.builder.eqns[-1]
            params = {**eqn.params, **given}
            self.builder.eqns[-1] = Eqn(eqn.outs, eqn.op, eqn.args, params, eqn.blocks, eqn.span)

    def plain_compound(self, node: Group, scope: Scope) -> Result:
        head = node.items[0]
        if isinstance(head, Word) and not head.quoted:
            bound = scope.get(head.text)
            if isinstance(bound, Closure):
                return self.apply_closure(bound, self.arguments(node, scope), node.at)
            form = self.forms.get(head.text) or (self.forms["get$"] if head.text.startswith("get$") else None)
            if form is not None and not self.signatures.named(Name(head.text)):
                return form(self, node, scope)
        elif isinstance(head, Group) and head.head == "lam":
            function = self.result(head, scope)
            assert isinstance(function, Closure)
            return self.apply_closure(function, self.arguments(node, scope), node.at)
        return self.call(head, self.arguments(node, scope), node.at)

    def arguments(self, node: Group, scope: Scope) -> Values:
        return tuple(self.value(item, scope) for item in node.items[1:])

    # Binding.

    def let(self, node: Group, scope: Scope) -> tuple[Scope, Node]:
        """Bind what a ``let`` binds; the scope and the node of its body."""
        if len(node.items) != 3 or not isinstance(node.items[1], Group):
            raise misread("expected (let (x expr) expr) or (let ((x expr) …) expr)", node.at)
        scope = dict(scope)
        for target, value in self.bindings(node.items[1], scope):
            before = len(self.builder.eqns)
            result = self.result(value, scope)
            fresh = {out for eqn in self.builder.eqns[before:] for out in eqn.outs}
            self.bind(target, result, fresh, scope)
        return scope, node.items[2]

    def bindings(self, group: Group, scope: Scope) -> list[tuple[Node, Node]]:
        """The targets and values of a ``let``, whichever way it is written."""
        items = group.items
        if len(items) == 2 and (isinstance(items[0], Word) or self.is_pattern_binding(items[0], items[1], scope)):
            return [(items[0], items[1])]
        pairs = []
        for item in items:
            if not isinstance(item, Group) or item.square or len(item.items) != 2:
                raise misread(f"expected a binding (x expr), not {syntax.show(item)}", item.at)
            pairs.append((item.items[0], item.items[1]))
        return pairs

    def is_pattern_binding(self, first: Node, second: Node, scope: Scope) -> bool:
        """Whether ``(first second)`` binds the pattern ``first``, rather than being two bindings."""
        if not isinstance(first, Group) or not _is_pattern(first):
            return False
        if len(first.items) != 2 or not isinstance(second, Group) or second.square or len(second.items) != 2:
            return True
        source, head = first.items[1], second.items[0]
        if not isinstance(source, Word) or not isinstance(head, Word):
            return isinstance(head, Group) and head.square
        in_scope = source.text in scope or self.literal(source) is not None
        return not in_scope or self.is_function(head, scope)

    def is_function(self, head: Word, scope: Scope) -> bool:
        name = Name(head.text, quoted=head.quoted)
        known = head.text in self.builtins or head.text in self.forms or head.text.startswith("get$")
        return known or isinstance(scope.get(head.text), Closure) or bool(self.signatures.named(name))

    def bind(self, target: Node, result: Result, fresh: set[Var], scope: Scope) -> None:
        """Bind the variables of a pattern; variables in ``fresh`` were made by this binding and take its names."""
        if is_param(target):
            param = read_param(target)
            if isinstance(result, Closure) or len(result) != 1 or not compatible(result[0].type, param.type):
                raise misread(f"{param.name} is to be of type {param.type}, but its value is not", target.at)
            if isinstance(result[0], Var) and result[0] in fresh:
                result[0].type = param.type
            self.name(param.name, result[0], fresh, scope)
        elif isinstance(target, Word):
            name = read_variable(target)
            if isinstance(result, Closure):
                scope[name] = result
            elif len(result) == 1:
                self.name(name, result[0], fresh, scope)
            else:
                raise misread(f"expected a pattern for {len(result)} values, not {name}", target.at)
        elif isinstance(target, Group) and not target.square:
            self.unpack(target, result, fresh, scope)
        else:
            raise misread(f"expected a variable or a pattern, not {syntax.show(target)}", target.at)

    def unpack(self, pattern: Group, result: Result, fresh: set[Var], scope: Scope) -> None:
        if isinstance(result, Closure):
            raise misread("a lambda cannot be unpacked", pattern.at)
        targets = pattern.items
        if not targets:
            return
        if len(result) == 1 and isinstance(result[0].type, TupleType):
            before = len(self.builder.eqns)
            result = self.elements(result[0], pattern.at)
            fresh = {out for eqn in self.builder.eqns[before:] for out in eqn.outs}
        if len(result) != len(targets):
            raise misread(f"{len(targets)} variables cannot take {len(result)} values", pattern.at)
        for target, atom in zip(targets, result, strict=True):
            self.bind(target, (atom,), fresh, scope)

    def name(self, name: str, atom: Atom, fresh: set[Var], scope: Scope) -> None:
        if isinstance(atom, Var) and atom in fresh:
            atom.name = PLACEHOLDER if is_placeholder(name) else name
            fresh.discard(atom)
        scope[name] = atom

    # Equations.

    def emit(
        self, op: str, args: Sequence[Atom], at: Position, *, blocks: Sequence[Block] = (), **params: Any
    ) -> tuple[Var, ...]:
        """Append an equation, its types from the rules; a broken rule is an error at this place of the text."""
        try:
            types = result_types(Eqn((), op, tuple(args), params, tuple(blocks)), self._declared)
        except InvalidIRError as broken:
            raise misread(broken.message, at) from None
        return self.builder.emit(op, args, types, params=params, blocks=blocks, span=at.span())

    def one(self, op: str, args: Sequence[Atom], at: Position, **params: Any) -> Var:
        """Append an equation with one result."""
        return self.emit(op, args, at, **params)[0]

    def block(self, params: Sequence[Var], results: Callable[[], Values]) -> Block:
        """The block whose equations and results ``results`` makes."""
        outer, self.builder = self.builder, Builder()
        try:
            given = results()
            return self.builder.block(params, given)
        finally:
            self.builder = outer

    def elements(self, atom: Atom, at: Position) -> Values:
        """The elements of a tuple; where the tuple was made in this block, what it was made of."""
        assert isinstance(atom.type, TupleType)
        return tuple(self.one("get", [atom], at, n=n) for n in range(len(atom.type.elems)))

    def tupled(self, atoms: Sequence[Atom], at: Position) -> Atom:
        return self.one("tuple", atoms, at)

    def if_(self, cond: Atom, then: Callable[[], Values], else_: Callable[[], Values], at: Position) -> Values:
        return self.emit("if", [cond], at, blocks=[self.block((), then), self.block((), else_)])

    def build(
        self,
        sizes: Sequence[Atom],
        element: Callable[[tuple[Var, ...]], Values],
        at: Position,
        *,
        nested: bool = True,
        names: Sequence[str] = (),
    ) -> Values:
        """Tensors of the given sizes; elements that are tensors stay apart where ``nested``."""
        block = self.index_block(len(sizes), element, names)
        if nested and any(isinstance(result.type, TensorType) for result in block.results):
            return self.emit("build", sizes, at, blocks=[block], nested=True)
        return self.emit("build", sizes, at, blocks=[block])

    def reduce(
        self,
        monoid: str,
        sizes: Sequence[Atom],
        element: Callable[[tuple[Var, ...]], Values],
        at: Position,
        *,
        names: Sequence[str] = (),
    ) -> Values:
        """What ``element`` gives at all indices, combined by a monoid."""
        block = self.index_block(len(sizes), element, names)
        return self.emit("reduce", sizes, at, blocks=[block], monoid=monoid)

    def index_block(self, rank: int, element: Callable[[tuple[Var, ...]], Values], names: Sequence[str]) -> Block:
        indices = tuple(Var(names[k] if names else f"i{k or ''}", Integer) for k in range(rank))
        return self.block(indices, lambda: element(indices))

    def sizes(self, tensor: Atom, at: Position) -> Values:
        """The sizes of a tensor."""
        assert isinstance(tensor.type, TensorType)
        return tuple(self.one("size", [tensor], at, dim=dim) for dim in range(tensor.type.rank))

    # Calls.

    def function(self, node: Node, scope: Scope) -> FunctionValue:
        """The function value that a built-in takes: a lambda, a variable bound to one, or the name of a function."""
        if isinstance(node, Group) and not node.square:
            result = self.result(node, scope)
            if isinstance(result, Closure):
                return result
            raise misread(f"expected a lambda, not {syntax.show(node)}", node.at)
        if isinstance(node, Word) and isinstance(bound := scope.get(node.text), Closure):
            return bound
        return FunctionName(node)

    def apply(self, function: FunctionValue, args: Values, at: Position) -> Values:
        """The values of a function at some arguments."""
        if isinstance(function, FunctionName):
            return self.call(function.node, args, at)
        result = self.apply_closure(function, args, at)
        if isinstance(result, Closure):
            raise misread("a lambda cannot give a lambda here", at)
        return result

    def apply_closure(self, closure: Closure, args: Values, at: Position) -> Result:
        types = [param.type for param in closure.params]
        args = self.fitted(types, args, "the lambda", at)
        scope = dict(closure.scope)
        scope.update({param.name: arg for param, arg in zip(closure.params, args, strict=True)})
        return self.result(closure.body, scope)

    def fitted(self, params: Sequence[Type], args: Values, what: str, at: Position) -> Values:
        """The arguments for these parameters, one tuple taken apart or several arguments made one."""
        types = [arg.type for arg in args]
        if not fits(params, types):
            raise misread(f"{what} takes {_list(params)}, not {_list(types)}", at)
        if len(args) == len(params) and all(map(compatible, types, params)):
            return args
        if len(params) == 1:
            return (self.tupled(args, at),)
        return self.elements(args[0], at)

    def call(self, head: Node, args: Values, at: Position) -> Values:
        """A call of a function of the program, of a built-in, or of a derivative."""
        name = read_name(head)
        types = [arg.type for arg in args]
        signature = self.signatures.resolve(name, types)
        if signature is None and not name.quoted:
            given = self.builtin(name.base, args, at) if name.of is None else None
            if given is not None:
                return given
            signature = self.derived(name, types)
        if signature is None:
            self.unknown(name, types, at)
        args = self.fitted(signature.params, args, str(name), at)
        return self.builder.emit("call", args, signature.results, params={"callee": signature.symbol}, span=at.span())

    def builtin(self, name: str, args: Values, at: Position) -> Values | None:
        """A built-in function at its arguments or at the elements of its one argument; None where there is none."""
        builtin = self.builtins.get(name)
        if builtin is None:
            return None
        given = builtin(self, args, at)
        if given is None and len(args) == 1 and isinstance(args[0].type, TupleType):
            return builtin(self, self.elements(args[0], at), at)
        return given

    def unknown(self, name: Name, types: Sequence[Type], at: Position) -> NoReturn:
        """Refuse a call that means no function, saying which are near."""
        known = self.signatures.named(name) or self.signatures.named(name.untyped)
        if known:
            signatures = " or ".join(_list(signature.params) for signature in known)
            raise misread(f"{name} takes {signatures}, not {_list(types)}", at)
        if name.base in self.builtins and name.of is None:
            raise misread(f"the built-in {name.base} does not take {_list(types)}", at)
        raise misread(f"there is no function {name}", at)


def attributes(node: Group) -> tuple[Group, dict[str, Any]]:
    """A form without its ``:key value`` attributes, and those."""
    items, found = list(node.items), {}
    while len(items) > 2 and isinstance(items[1], Word) and items[1].text.startswith(":") and len(items[1].text) > 1:
        found[items[1].text[1:]] = _attribute(items[2])
        del items[1:3]
    return Group(tuple(items), node.at), found


def _attribute(node: Node) -> bool | int | float | str:
    match node:
        case Text(value=value):
            return value
        case Word(text="true" | "false" as text):
            return text == "true"
        case Word(text=text) if is_integer(text):
            return int(text)
        case Word(text=text) if is_number(text):
            return float(text)
    raise misread(f"expected the value of an attribute, not {syntax.show(node)}", node.at)


def _is_pattern(group: Group) -> bool:
    if group.square or is_param(group):
        return not group.square
    return all(
        is_identifier(item.text) or item.quoted if isinstance(item, Word) else is_param(item) for item in group.items
    )


def _list(types: Sequence[Type]) -> str:
    return f"({' '.join(map(str, types))})"
