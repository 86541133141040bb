"""Lambda lifting: a call inside a kernel as a function of the IR of its own.

What the called function reads of local variables around it becomes parameters, after those of the call:

    def k(x, w):                                            [call loss](r, w)
        def loss(r): return torch.sum(r * w)        ⟶
        return knossos.grad(loss)(x)                        ([rev loss] x w)
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass

from ksc.frontend.frame import Capture, Frame, Region
from ksc.frontend.functions import Entry, Synthetic
from ksc.frontend.join import atoms_for, generalise, readable, template_of
from ksc.frontend.scope import EMPTY
from ksc.frontend.storage import kept_as_argument, storages
from ksc.frontend.values import (
    Array,
    BoundMethod,
    Dynamic,
    Iteration,
    Partial,
    Poison,
    Range,
    Ref,
    Rows,
    Value,
    instantiate,
    leaves,
)
from ksc.ir.nodes import Atom, Function, Var


@dataclass(frozen=True, slots=True, eq=False)
class Lifted:
    """A function of the IR that makes a call, and what it takes besides the arguments, with templates.

    ``parts`` are values that the called function has with it, ``captures`` are variables.
    """

    entry: Entry
    parts: tuple[tuple[Value, Value], ...]
    captures: tuple[tuple[Frame, str, Value], ...]

    def atoms(self, frame: Frame, node: ast.AST) -> list[Atom]:
        """What these are where the function is called."""
        found: list[Atom] = []
        for value, template in self.parts:
            found.extend(atoms_for(frame, template, value, node))
        for scope, name, template in self.captures:
            found.extend(atoms_for(frame, template, frame.local(scope, name, node), node))
        return found

    @property
    def templates(self) -> tuple[Value, ...]:
        """Those of the parts and variables."""
        return (*(template for _, template in self.parts), *(template for _, _, template in self.captures))


def lift_call(frame: Frame, callee: Value, templates: Sequence[Value], title: str, node: ast.AST) -> Lifted:
    """The call of ``callee`` with arguments like these templates, traced as a function of its own."""
    from ksc.frontend.calls import call

    table = frame.functions
    entry = Entry(table.fresh_name(title), Synthetic(callee, "call"), tuple(templates), None)
    captures: dict[tuple[Frame, str], Capture] = {}
    inner = Frame(
        functions=table,
        guards=frame.guards,
        region=Region(entry, captures=captures),
        source=frame.source,
        node=frame.node,
        parent=frame,
        locals_=EMPTY,
    )
    mark = len(table.entries)
    table.entries.append(entry)
    table.active.append(entry)
    try:
        params: list[Var] = []
        values = [
            kept_as_argument(inner, instantiate(template, f"x{k}", params), f"x{k}")
            for k, template in enumerate(templates)
        ]
        parts: list[tuple[Value, Value]] = []
        own = _with_own_parts(inner, callee, params, parts)
        result = readable(call(inner, own, values, {}, node), inner.region.store)
        for leaf in leaves(result):
            if isinstance(leaf, Poison):
                frame.refuse(node, leaf.reason, leaf.instead, code=leaf.code)
        entry.result = generalise(template_of(result))
        results = list(atoms_for(inner, entry.result, result, node))
        params.extend(param for capture in captures.values() for param in capture.params)
        body = inner.builder.block(params, results)
        entry.effects = table.has_effects(body)
        entry.function = Function(entry.name, body, frame.span(node))
    finally:
        table.active.pop()
        if entry.function is None:
            del table.entries[mark:]
    return Lifted(
        entry, tuple(parts), tuple((scope, name, capture.template) for (scope, name), capture in captures.items())
    )


def _with_own_parts(frame: Frame, callee: Value, params: list[Var], parts: list[tuple[Value, Value]]) -> Value:
    """The called function with parameters, appended to ``params``, in place of the values that it has with it."""

    def taken(value: Value) -> Value:
        if isinstance(value, Partial | BoundMethod):
            return _with_own_parts(frame, value, params, parts)
        if not any(map(_is_bound, leaves(value))):
            return value
        template = template_of(value)
        parts.append((value, template))
        return kept_as_argument(frame, instantiate(template, "x", params), "x")

    match callee:
        case Partial(function=function, args=args, kwargs=kwargs):
            named = {key: taken(value) for key, value in kwargs.items()}
            return Partial(taken(function), tuple(map(taken, args)), named)
        case BoundMethod(function=method, owner=owner):
            return BoundMethod(method, taken(owner))
        case _:
            return callee


def captured(frame: Frame, scope: Frame, name: str, value: Value, node: ast.AST) -> Value:
    """What stands in a function of the IR for a variable of another one, that of ``scope``.

    Raises UnsupportedError (KS113) where the function takes no variables of others, or none of this kind.
    """
    if not any(map(_is_bound, leaves(value))):
        return value
    captures = frame.region.captures
    if captures is None or any(
        _is_bound(leaf) and not isinstance(leaf, Ref | Array | Dynamic) for leaf in leaves(value)
    ):
        what = "recursive local function" if captures is None else "function that is differentiated"
        reason = f"a {what} reads {name!r} of the function around it"
        frame.refuse(node, reason, f"pass {name!r} as an argument", code="KS113")
    store = frame.region.store
    found = captures.get((scope, name))
    if found is None:
        template, params = template_of(value), list[Var]()
        made = kept_as_argument(frame, instantiate(template, name, params), name)
        found = Capture(template, made, params, {cell: store[cell] for cell in storages(made)})
        captures[scope, name] = found
    for cell, held in found.contents.items():
        # A block that was traced on the side is left without what it has stored.
        store.setdefault(cell, held)
    return found.value


def _is_bound(value: Value) -> bool:
    """Whether a value without parts is made of variables of the function of the IR that it stems from."""
    match value:
        case Ref() | Rows() | Iteration():
            return True
        case Dynamic(atom=atom) | Array(atom=atom):
            return isinstance(atom, Var)
        case BoundMethod(owner=owner):
            return any(map(_is_bound, leaves(owner)))
        case Partial(function=function, args=args, kwargs=kwargs):
            return any(_is_bound(leaf) for part in (function, *args, *kwargs.values()) for leaf in leaves(part))
        case Range(start=start, stop=stop, step=step):
            return any(map(_is_bound, (start, stop, step)))
        case _:
            return False
