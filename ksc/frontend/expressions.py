"""Expressions: one handler per kind in EXPRESSIONS; any other kind is refused."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence

from ksc.frontend import operators
from ksc.frontend.attributes import attribute
from ksc.frontend.calls import call_expression
from ksc.frontend.comprehensions import dict_comprehension, generator, list_comprehension
from ksc.frontend.frame import Frame
from ksc.frontend.functions import define
from ksc.frontend.iteration import static_items
from ksc.frontend.logic import choose, short_circuit
from ksc.frontend.refuse import describe_node
from ksc.frontend.rows import is_growing, refuse_growing
from ksc.frontend.subscripts import subscript
from ksc.frontend.values import NONE, Static, Struct, Value, describe, make_slice, scalar_type
from ksc.ir.types import Bool


def evaluate(frame: Frame, node: ast.expr) -> Value:
    """Trace an expression."""
    handler = EXPRESSIONS.get(type(node))
    if handler is None:
        reason, instead, code = REFUSED.get(type(node), ("it has no meaning here", "rewrite it", "KS100"))
        frame.refuse(node, f"{describe_node(node)} cannot be compiled: {reason}", instead, code=code)
    return handler(frame, node)


def truth(frame: Frame, node: ast.expr) -> Value:
    """Trace an expression of which only the truth value matters: a static bool or a Bool."""
    match node:
        case ast.BoolOp(op=op, values=values):
            thunks = [lambda value=value: truth(frame, value) for value in values]
            return _chain_truth(frame, isinstance(op, ast.And), thunks, node)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return operators.negate(frame, truth(frame, operand), node)
        case ast.Compare(left=left):
            return operators.truth_of(
                frame, _compare_rest(frame, node, evaluate(frame, left), 0, truth_only=True), node
            )
        case _:
            return operators.truth_of(frame, evaluate(frame, node), node)


def _chain_truth(frame: Frame, is_and: bool, thunks: Sequence[Callable[[], Value]], node: ast.AST) -> Value:
    """``a and b and …`` (or ``or``) of truth values, each evaluated only where the ones before leave it open."""
    result = thunks[0]()
    for k, thunk in enumerate(thunks[1:], 1):
        if isinstance(result, Static):
            if bool(result.value) != is_and:
                return result
            result = thunk()
            continue
        rest = thunks[k:]
        return short_circuit(frame, is_and, result, lambda rest=rest: _chain_truth(frame, is_and, rest, node), node)  # type: ignore[misc]
    return result


def _constant(frame: Frame, node: ast.Constant) -> Value:
    if isinstance(node.value, complex):
        frame.refuse(node, "complex numbers cannot be compiled", "use two floats", code="KS200")
    return Static(node.value)


def _slice(frame: Frame, node: ast.Slice) -> Value:
    return make_slice(
        *(NONE if part is None else evaluate(frame, part) for part in (node.lower, node.upper, node.step))
    )


def _name(frame: Frame, node: ast.Name) -> Value:
    value = frame.lookup(node.id, node)
    if is_growing(value):
        refuse_growing(frame, node)
    return value


def _attribute(frame: Frame, node: ast.Attribute) -> Value:
    # A list that grows is read to append to it.
    owner = frame.lookup(node.value.id, node.value) if isinstance(node.value, ast.Name) else evaluate(frame, node.value)
    return attribute(frame, owner, node.attr, node)


def _bin_op(frame: Frame, node: ast.BinOp) -> Value:
    left = evaluate(frame, node.left)
    return operators.binary(frame, node.op, left, evaluate(frame, node.right), node)


def _unary_op(frame: Frame, node: ast.UnaryOp) -> Value:
    if isinstance(node.op, ast.Not):
        return truth(frame, node)
    return operators.unary(frame, node.op, evaluate(frame, node.operand), node)


def _bool_op(frame: Frame, node: ast.BoolOp) -> Value:
    return _bool_chain(frame, isinstance(node.op, ast.And), node.values, node)


def _bool_chain(frame: Frame, is_and: bool, operands: Sequence[ast.expr], node: ast.AST) -> Value:
    """``a and b and …`` (or ``or``); as in Python an operand itself is the value, as in ``x or 1.0``."""
    value = evaluate(frame, operands[0])
    if len(operands) == 1:
        return value
    cond = operators.truth_of(frame, value, operands[0])

    def rest() -> Value:
        return _bool_chain(frame, is_and, operands[1:], node)

    if isinstance(cond, Static):
        return rest() if bool(cond.value) == is_and else value
    if scalar_type(value) == Bool:
        return short_circuit(frame, is_and, value, rest, node)
    sides = (rest, lambda: value) if is_and else (lambda: value, rest)
    return choose(frame, cond, *sides, node, "the value of this expression")


def _compare(frame: Frame, node: ast.Compare) -> Value:
    left = evaluate(frame, node.left)
    return _compare_rest(frame, node, left, 0)


def _compare_rest(frame: Frame, node: ast.Compare, left: Value, k: int, *, truth_only: bool = False) -> Value:
    """The comparisons from the ``k``-th on: each operand is evaluated once, and only if those before hold.

    ``truth_only`` says that nobody asks whether the value is a tensor.
    """
    right = evaluate(frame, node.comparators[k])
    first = operators.compare(frame, node.ops[k], left, right, node)
    if k + 1 == len(node.ops):
        return operators.truth_of(frame, first, node) if truth_only else first
    cond = operators.truth_of(frame, first, node)

    def rest() -> Value:
        return _compare_rest(frame, node, right, k + 1, truth_only=truth_only)

    if isinstance(cond, Static):
        return rest() if cond.value else first
    if truth_only or scalar_type(first) == Bool:
        return short_circuit(frame, True, cond, rest, node)
    return choose(frame, cond, rest, lambda: first, node, "the condition")


def _if_exp(frame: Frame, node: ast.IfExp) -> Value:
    cond = truth(frame, node.test)
    if isinstance(cond, Static):
        return evaluate(frame, node.body if cond.value else node.orelse)
    sides = (lambda: evaluate(frame, node.body), lambda: evaluate(frame, node.orelse))
    return choose(frame, cond, *sides, node, "the value of this expression")


def _elements(frame: Frame, elts: Sequence[ast.expr]) -> tuple[Value, ...]:
    found: list[Value] = []
    for element in elts:
        if isinstance(element, ast.Starred):
            found.extend(static_items(frame, evaluate(frame, element.value), element))
        else:
            found.append(evaluate(frame, element))
    return tuple(found)


def _dict(frame: Frame, node: ast.Dict) -> Value:
    entries: dict[object, Value] = {}
    for key, value in zip(node.keys, node.values, strict=True):
        if key is None:
            other = evaluate(frame, value)
            if not (isinstance(other, Struct) and other.cls is dict):
                frame.refuse(value, f"`**` of {describe(other)}", "name each entry", code="KS104")
            entries.update(zip(other.keys, other.items, strict=True))
        else:
            instead = "use constant keys, or a tuple and numbers"
            name = frame.require_static(evaluate(frame, key), key, "the key of a dict", instead)
            entries[name] = evaluate(frame, value)
    return Struct(dict, tuple(entries.values()), tuple(entries))


def _named(frame: Frame, node: ast.NamedExpr) -> Value:
    if frame.node is not node and isinstance(frame.node, ast.ListComp | ast.GeneratorExp | ast.DictComp):
        frame.refuse(node, "`:=` inside a comprehension", "write a loop", code="KS100")
    value = evaluate(frame, node.value)
    frame.bind(node.target.id, value, node)
    return value


def _joined_str(frame: Frame, node: ast.JoinedStr) -> Value:
    text = ""
    for part in node.values:
        if isinstance(part, ast.Constant):
            text += str(part.value)
            continue
        assert isinstance(part, ast.FormattedValue)
        instead = "use a plain string: text cannot depend on the arguments"
        value = evaluate(frame, part.value)
        if not isinstance(value, Static):
            frame.refuse(node, "an f-string with a value that depends on the arguments", instead, code="KS105")
        spec = _joined_str(frame, part.format_spec) if isinstance(part.format_spec, ast.JoinedStr) else Static("")
        convert = {-1: lambda obj: obj, 115: str, 114: repr, 97: ascii}[part.conversion]
        formatted = operators.evaluate_static(
            frame,
            lambda obj, form, convert=convert: format(convert(obj), form),
            (value.value, spec.value),  # type: ignore[attr-defined]
            node,
        )
        text += formatted.value  # type: ignore[attr-defined]
    return Static(text)


EXPRESSIONS: dict[type[ast.expr], Callable[..., Value]] = {
    ast.Constant: _constant,
    ast.Name: _name,
    ast.BinOp: _bin_op,
    ast.UnaryOp: _unary_op,
    ast.BoolOp: _bool_op,
    ast.Compare: _compare,
    ast.IfExp: _if_exp,
    ast.Call: lambda frame, node: call_expression(frame, node),
    ast.Attribute: _attribute,
    ast.Subscript: lambda frame, node: subscript(frame, evaluate(frame, node.value), node),
    ast.Slice: _slice,
    ast.Tuple: lambda frame, node: Struct(tuple, _elements(frame, node.elts)),
    ast.List: lambda frame, node: Struct(list, _elements(frame, node.elts)),
    ast.Dict: _dict,
    ast.Lambda: lambda frame, node: define(frame, node),
    ast.NamedExpr: _named,
    ast.JoinedStr: _joined_str,
    ast.ListComp: list_comprehension,
    ast.GeneratorExp: generator,
    ast.DictComp: dict_comprehension,
}

_COROUTINE = ("a kernel runs from call to return", "return the values, as a tuple if there are several", "KS102")
REFUSED: dict[type[ast.expr], tuple[str, str, str]] = {
    ast.Yield: _COROUTINE,
    ast.YieldFrom: _COROUTINE,
    ast.Await: ("a kernel runs from call to return", "await before the kernel is called", "KS102"),
    ast.Set: ("sets are not known", "use a tuple", "KS105"),
    ast.SetComp: ("sets are not known", "use a tuple", "KS105"),
    ast.Starred: ("the number of elements must be in sight", "name each one", "KS104"),
}
