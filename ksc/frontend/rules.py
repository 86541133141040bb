"""Calls of functions with a user's own derivative: the function, and its rule as a function of the IR beside it.

    y = f(x)    with    f.defvjp(forward, backward)        ⟶      y = (f x), its params rev "f_rev" and transpose, where

    (def f_rev (x y_bar) (let ((y r) (forward x)) (backward r y_bar)))

The parameters and results are those of ``[rev f]`` and ``[fwd f]`` in docs/design/0001.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FunctionType
from typing import TYPE_CHECKING, NoReturn

import torch

from ksc.errors import KnossosError
from ksc.frontend import operators
from ksc.frontend.calls import bind_arguments, call_function, defaults_of
from ksc.frontend.frame import Frame, Region
from ksc.frontend.functions import Entry, FunctionTable, Synthetic, declared_result, locate
from ksc.frontend.join import abstract_leaves, adopt, atoms_for, generalise, rebuild, same_template, template_of
from ksc.frontend.library import known_function
from ksc.frontend.scope import EMPTY
from ksc.frontend.tensors.bounds import settled
from ksc.frontend.values import (
    NONE,
    Abstract,
    Dynamic,
    Static,
    Struct,
    Value,
    describe,
    instantiate,
    is_none,
    map_leaves,
)
from ksc.ir.nodes import PLACEHOLDER, Atom, Block, Function, Var, const
from ksc.ir.types import Float, Integer, TensorType, compatible, is_differentiable
from ksc.ops.intrinsics import stop_gradient

if TYPE_CHECKING:
    from ksc.custom import CustomRule
    from ksc.frontend.special import Special

Body = Callable[[Frame, list[Var]], tuple[Value, Sequence[Atom]]]


def trace_root(table: FunctionTable, special: Special, arguments: Sequence[Value], name: str | None) -> Entry:
    """The entry of a kernel that is made of a special callable: a call of it."""
    function = special.__knossos_function__
    assert isinstance(function, FunctionType)
    entry = Entry(table.fresh_name(name or function.__name__), Synthetic(special, "root"), tuple(arguments), None)

    def body(frame: Frame, params: list[Var]) -> tuple[Value, Sequence[Atom]]:
        values = _instantiated(entry, function, params)
        value = special.trace_call(frame, values, {}, frame.node)
        result = generalise(template_of(value))
        return result, list(atoms_for(frame, result, value, frame.node))

    table.entries.append(entry)
    define(table, entry, function, body)
    return entry


def define(table: FunctionTable, entry: Entry, place: FunctionType | Frame, body: Body) -> None:
    """Trace ``body`` as the IR function of ``entry``, in the scope of a Python function or at the place of a call."""
    if isinstance(place, Frame):
        source, node, function = place.source, place.node, place.function
    else:
        source, node, function = locate(place)
    frame = Frame(
        functions=table,
        guards=table.guards,
        region=Region(),
        source=source,
        node=node,
        function=function,
        locals_=EMPTY if isinstance(place, Frame) else None,
    )
    params: list[Var] = []
    entry.result, results = body(frame, params)
    block = settled(frame.region, frame.builder.block(params, results), table.effectful())
    entry.effects = table.has_effects(block)
    entry.function = Function(entry.name, block, source.span(node, head=True))


def call_with_rule(
    frame: Frame, rule: CustomRule, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST
) -> Value:
    """A call of a function with a user's derivative."""
    function = rule.__wrapped__
    frame.guards.record(rule, "rule", rule.rule)
    if rule.rule is None:
        reason = f"{rule.__name__!r} is a {type(rule).__name__} whose derivative is not given"
        frame.refuse(node, reason, f"call {rule.__name__}.{rule.defining} first", code="KS130")
    _, definition, _ = locate(function)
    defaults = defaults_of(frame, function, node)
    values = bind_arguments(frame, function.__name__, definition, args, kwargs, defaults, node)
    templates = tuple(
        template_of(value) if k in rule.nondiff_argnums else generalise(template_of(value))
        for k, value in enumerate(values)
    )
    where = frame.span(node)
    try:
        primal, derivative = _entries(frame.functions, rule, templates)
    except KnossosError as error:
        error.add_note(f"  in a call of {function.__qualname__!r} at {where.file}:{where.line}")
        raise
    if primal.result is None:
        reason = f"{primal.name!r} calls itself, and its return type is not annotated"
        frame.refuse(node, reason, f"write `-> float`, or what {primal.name!r} returns", code="KS113")
    pairs = zip(primal.arguments, values, strict=True)
    atoms = [atom for template, value in pairs for atom in atoms_for(frame, template, value, node)]
    types = [leaf.type for leaf in abstract_leaves(primal.result)]
    params = {"callee": primal.name, rule.kind: derivative.name, "transpose": True}
    outs = frame.emit(node, "call", atoms, types, params=params, names=[PLACEHOLDER] * len(types))
    return adopt(frame, primal.result, rebuild(primal.result, iter(outs)))


def _entries(table: FunctionTable, rule: CustomRule, templates: tuple[Value, ...]) -> tuple[Entry, Entry]:
    """The function and its rule for arguments like these templates."""
    roles = []
    for role in ("primal", rule.kind):
        wanted = Synthetic(rule, role)
        for entry in table.entries:
            if entry.callee == wanted and all(map(same_template, entry.arguments, templates)):
                roles.append(entry)
                break
    if roles:
        primal, derivative = roles
        return primal, derivative
    declared = declared_result(rule.__wrapped__)
    mark = len(table.entries)
    primal = Entry(table.fresh_name(rule.__name__), Synthetic(rule, "primal"), templates, declared)
    table.entries.append(primal)
    derivative = Entry(table.fresh_name(f"{primal.name}_{rule.kind}"), Synthetic(rule, rule.kind), templates, NONE)
    table.entries.append(derivative)
    done = False
    try:
        define(table, primal, rule.__wrapped__, _primal_body(rule, primal))
        assert primal.result is not None
        body = _vjp_body if rule.kind == "rev" else _jvp_body
        define(table, derivative, rule.__wrapped__, body(rule, primal, primal.result))
        done = True
    finally:
        if not done:
            del table.entries[mark:]
    return primal, derivative


def _instantiated(entry: Entry, function: FunctionType, params: list[Var]) -> list[Value]:
    """New variables, appended to ``params``, for the arguments of an entry."""
    names = function.__code__.co_varnames
    return [instantiate(template, names[k], params) for k, template in enumerate(entry.arguments)]


def _primal_body(rule: CustomRule, entry: Entry) -> Body:
    def body(frame: Frame, params: list[Var]) -> tuple[Value, Sequence[Atom]]:
        values = _instantiated(entry, rule.__wrapped__, params)
        value = call_function(frame, rule.__wrapped__, values, {}, frame.node)
        result = generalise(template_of(value))
        return result, list(atoms_for(frame, result, value, frame.node))

    return body


def _differentiable(template: Value) -> Value:
    """The template of tangents: None in the place of what has none."""

    def leaf(part: Value, name: str) -> Value:
        return part if isinstance(part, Abstract) and is_differentiable(part.type) else NONE

    return map_leaves(leaf, template, "")


def _vjp_body(rule: CustomRule, primal: Entry, result: Value) -> Body:
    assert rule.rule is not None
    forward, backward = rule.rule

    def body(frame: Frame, params: list[Var]) -> tuple[Value, Sequence[Atom]]:
        values = _instantiated(primal, rule.__wrapped__, params)
        bar = instantiate(_differentiable(result), "y_bar", params)
        left = call_function(frame, forward, values, {}, frame.node)
        if not (isinstance(left, Struct) and left.cls is tuple and len(left.items) == 2):
            reason = (
                f"{forward.__name__!r} gives {describe(left)}, not the results and what {backward.__name__!r} needs"
            )
            _refuse_rule(frame, forward, reason, "return a pair: `return result, residuals`")
        fixed = [value for k, value in enumerate(values) if k in rule.nondiff_argnums]
        given = call_function(frame, backward, [*fixed, left.items[1], bar], {}, frame.node)
        moving = [k for k in range(len(values)) if k not in rule.nondiff_argnums]
        if isinstance(given, Struct) and given.cls in (tuple, list) and len(given.items) == len(moving):
            bars = dict(zip(moving, given.items, strict=True))
        elif len(moving) == 1 and not (isinstance(given, Struct) and given.cls in (tuple, list)):
            bars = {moving[0]: given}
        else:
            reason = (
                f"{backward.__name__!r} gives {describe(given)}, and {rule.__name__!r} has {len(moving)} argument(s)"
            )
            _refuse_rule(frame, backward, reason, "return a tuple with a cotangent for each, None for zero")
        atoms: list[Atom] = []
        for k, (template, value) in enumerate(zip(primal.arguments, values, strict=True)):
            atoms += _tangent_atoms(frame, backward, template, value, bars.get(k, NONE))
        return NONE, atoms

    return body


def _jvp_body(rule: CustomRule, primal: Entry, result: Value) -> Body:
    assert rule.rule is not None
    (function,) = rule.rule

    def body(frame: Frame, params: list[Var]) -> tuple[Value, Sequence[Atom]]:
        values = _instantiated(primal, rule.__wrapped__, params)
        names = rule.__wrapped__.__code__.co_varnames
        dots = [
            instantiate(_differentiable(template), f"{names[k]}_dot", params)
            for k, template in enumerate(primal.arguments)
        ]
        fixed = [value for k, value in enumerate(values) if k in rule.nondiff_argnums]
        moving = [k for k in range(len(values)) if k not in rule.nondiff_argnums]
        pair = [Struct(tuple, tuple(source[k] for k in moving)) for source in (values, dots)]
        given = call_function(frame, function, [*fixed, *pair], {}, frame.node)
        if not (isinstance(given, Struct) and given.cls is tuple and len(given.items) == 2):
            reason = f"{function.__name__!r} gives {describe(given)}, not the results and their tangents"
            _refuse_rule(frame, function, reason, "return a pair: `return result, tangent`")
        value, dot = given.items
        if not _same_shape(result, generalise(template_of(value))):
            reason = f"{function.__name__!r} gives {describe(value)} as result, {rule.__name__!r} {describe(result)}"
            _refuse_rule(frame, function, reason, "return the results first, then their tangents")
        return NONE, list(_tangent_atoms(frame, function, result, value, dot))

    return body


def _same_shape(a: Value, b: Value) -> bool:
    if isinstance(a, Struct) and isinstance(b, Struct):
        return len(a.items) == len(b.items) and all(map(_same_shape, a.items, b.items))
    return not isinstance(a, Struct) and not isinstance(b, Struct)


def _tangent_atoms(frame: Frame, rule: FunctionType, template: Value, like: Value, given: Value) -> Iterator[Atom]:
    """The atoms of a tangent or cotangent that a rule gives for ``like``, a value of this template."""
    nothing = is_none(given)
    match template:
        case Struct(items=items) if nothing or (isinstance(given, Struct) and len(given.items) == len(items)):
            parts = given.items if isinstance(given, Struct) else (NONE,) * len(items)
            assert isinstance(like, Struct)
            for part, item, own in zip(items, like.items, parts, strict=True):
                yield from _tangent_atoms(frame, rule, part, item, own)
        case Abstract(type=type_) if is_differentiable(type_):
            if nothing:
                yield _zero(frame, next(atoms_for(frame, template, like, frame.node)))
            elif isinstance(given, Struct):
                _refuse_tangent(frame, rule, template, given)
            else:
                primal = next(atoms_for(frame, template, like, frame.node))
                (atom,) = atoms_for(frame, template, given, frame.node)
                if not compatible(atom.type, type_):
                    _refuse_tangent(frame, rule, template, given)
                _require_sizes(frame, rule, primal, atom)
                yield atom
        case _ if not nothing:
            _refuse_tangent(frame, rule, template, given)


def _require_sizes(frame: Frame, rule: FunctionType, own: Atom, given: Atom) -> None:
    """Stop the kernel where a rule gives a tensor of other sizes than that which it belongs to."""
    message = f"the derivative rule {rule.__name__} gives a tensor of other sizes than what it belongs to"
    builder = frame.builder
    for dim in range(own.type.rank if isinstance(own.type, TensorType) else 0):
        sizes = [builder.emit("size", [t], [Integer], names=["n"], params={"dim": dim})[0] for t in (own, given)]
        builder.emit("assert", [builder.apply("eq", *sizes, name="same")], [], params={"message": message})


def _refuse_tangent(frame: Frame, rule: FunctionType, template: Value, given: Value) -> NoReturn:
    reason = f"{rule.__name__!r} gives {describe(given)} as derivative for {describe(template)}"
    _refuse_rule(frame, rule, reason, "give it the structure of what it belongs to, None for what is no float")


def _refuse_rule(frame: Frame, rule: FunctionType, reason: str, instead: str) -> NoReturn:
    source, node, _ = locate(rule)
    inner = Frame(
        functions=frame.functions, guards=frame.guards, region=frame.region, source=source, node=node, function=rule
    )
    inner.refuse(node, reason, instead, code="KS130")


def _zero(frame: Frame, like: Atom) -> Atom:
    """Zeros in the shape of ``like``."""
    if like.type == Float:
        return const(0.0)
    assert isinstance(like.type, TensorType)
    builder = frame.builder
    rank = like.type.rank
    sizes = [builder.emit("size", [like], [Integer], names=["n"], params={"dim": k})[0] for k in range(rank)]
    at = tuple(Var("i", Integer) for _ in range(rank))
    return builder.emit("build", sizes, [like.type], names=["zeros"], blocks=[Block(at, (), (const(0.0),))])[0]


def trace_stop_gradient(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
    """``stop_gradient(x)``: each float of a structure by itself."""
    if len(args) + len(kwargs) != 1 or any(key != "x" for key in kwargs):
        frame.refuse(node, "stop_gradient() takes one argument", "pass one value, maybe a tuple", code="KS204")
    of_numbers, of_tensors = known_function(stop_gradient), known_function(torch.Tensor.detach)
    assert of_numbers is not None
    assert of_tensors is not None

    def leaf(part: Value, name: str) -> Value:
        if operators.is_tensor(part):
            return of_tensors(frame, [part], {}, node)
        if isinstance(part, Dynamic):
            return of_numbers(frame, [part], {}, node) if part.type == Float else part
        if isinstance(part, Static):
            return part
        frame.refuse(node, f"stop_gradient() of {describe(part)}", "pass numbers, tensors or tuples of them")

    return map_leaves(leaf, (*args, *kwargs.values())[0], "")
