"""Calls of Python functions that stay Python: the op ``callback``, with its vjp as a rule beside it."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from ksc.frontend.frame import Frame
from ksc.frontend.functions import Entry, Synthetic
from ksc.frontend.join import adopt, atoms_for, generalise, rebuild, same_template, template_of
from ksc.frontend.rules import define
from ksc.frontend.values import NONE, Abstract, Struct, Value, describe, instantiate
from ksc.ir.builder import Builder
from ksc.ir.host import encoded
from ksc.ir.nodes import PLACEHOLDER, Atom, Var, const
from ksc.ir.types import Integer, TensorType, Type, is_differentiable

if TYPE_CHECKING:
    from ksc.callback import Callback


def call_callback(
    frame: Frame, callback: Callback, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST
) -> Value:
    """The value of a call of a callback."""
    try:
        bound = callback.signature.bind(*args, **kwargs)
    except TypeError as error:
        instead = f"it is {callback.__name__}{callback.signature}"
        frame.refuse(node, f"{callback.__name__}: {error}", instead, code="KS204")
    values = list(bound.arguments.values())
    if bound.kwargs or any(isinstance(value, tuple) for value in values):
        frame.refuse(node, f"{callback.__name__!r} has starred parameters", "name each parameter", code="KS104")
    templates = tuple(generalise(template_of(value)) for value in values)
    for template in templates:
        if not isinstance(template, Abstract):
            reason = f"{describe(template)} cannot be handed to the callback {callback.__name__!r}"
            frame.refuse(node, reason, "pass numbers and tensors", code="KS200")
    atoms = [a for t, v in zip(templates, values, strict=True) for a in atoms_for(frame, t, v, node)]
    params = {}
    if callback.host_vjp is None:
        outs = _emit(frame.builder, callback.host_name, atoms, *_results(frame.builder, callback, atoms))
    else:
        primal, rule = _entries(frame, callback, templates)
        assert primal.function is not None
        params = {"callee": primal.name, "rev": rule.name, "transpose": True}
        types = list(primal.function.result_types)
        outs = frame.emit(node, "call", atoms, types, params=params, names=[PLACEHOLDER] * len(types))
    parts = tuple(Abstract(out.type, tensor=_is_rank_0(callback, k, templates)) for k, out in enumerate(outs))
    template = Struct(tuple, parts) if callback.is_tuple else parts[0]
    return adopt(frame, template, rebuild(template, iter(outs)))


def _is_rank_0(callback: Callback, k: int, templates: Sequence[Value]) -> bool:
    spec = callback.results[k]
    like = templates[spec] if isinstance(spec, int) else None
    return isinstance(like, Abstract) and like.tensor


def _emit(
    builder: Builder, name: str, operands: Sequence[Atom], types: Sequence[Type], sizes: Sequence[Atom]
) -> tuple[Var, ...]:
    params = {"name": name, "operands": len(operands), "results": encoded(types)}
    return builder.emit("callback", [*operands, *sizes], types, names=[PLACEHOLDER] * len(types), params=params)


def _results(builder: Builder, callback: Callback, atoms: Sequence[Atom]) -> tuple[list[Type], list[Atom]]:
    """The types of the results and the sizes of those that are tensors."""
    types: list[Type] = []
    sizes: list[Atom] = []
    for spec in callback.results:
        type_ = atoms[spec].type if isinstance(spec, int) else spec
        types.append(type_)
        if isinstance(type_, TensorType):
            sizes += _sizes(builder, atoms[spec]) if isinstance(spec, int) else [const(n or 0) for n in type_.sizes]
    return types, sizes


def _sizes(builder: Builder, tensor: Atom) -> list[Atom]:
    assert isinstance(tensor.type, TensorType)
    dims = range(tensor.type.rank)
    return [builder.emit("size", [tensor], [Integer], names=["n"], params={"dim": dim})[0] for dim in dims]


def _entries(frame: Frame, callback: Callback, templates: tuple[Value, ...]) -> tuple[Entry, Entry]:
    """The callback as a function, and its vjp."""
    table = frame.functions
    made: list[Entry] = []
    for role in ("primal", "rev"):
        callee = Synthetic(callback, role)
        found = (e for e in table.entries if e.callee == callee and all(map(same_template, e.arguments, templates)))
        entry = next(found, None)
        if entry is None:
            entry = Entry(
                table.fresh_name(f"{callback.__name__}{'' if made else '_callback'}"), callee, templates, NONE
            )
            table.entries.append(entry)
            define(table, entry, frame, partial(_body, callback, templates, role))
        made.append(entry)
    return made[0], made[1]


def _body(
    callback: Callback, templates: Sequence[Value], role: str, frame: Frame, params: list[Var]
) -> tuple[Value, Sequence[Atom]]:
    names = list(callback.signature.parameters)
    for name, template in zip(names, templates, strict=False):
        instantiate(template, name, params)
    point: list[Atom] = list(params)
    builder = frame.builder
    types, sizes = _results(builder, callback, point)
    if role == "primal":
        return NONE, _emit(builder, callback.host_name, point, types, sizes)
    assert callback.host_vjp is not None
    params += [Var("y_bar", type_) for type_ in types if is_differentiable(type_)]
    moving = [atom for atom in point if is_differentiable(atom.type)]
    own = [size for atom in moving if isinstance(atom.type, TensorType) for size in _sizes(builder, atom)]
    return NONE, _emit(builder, callback.host_vjp, list(params), [atom.type for atom in moving], own)
