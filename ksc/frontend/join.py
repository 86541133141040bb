"""Where two paths meet: the least value that stands for the values of both.

A *template* is a value whose run-time leaves are Abstract. ``unify`` finds it, ``atoms_for`` brings each side to it,
``rebuild`` makes the value that is seen afterwards.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ksc.frontend.frame import Frame
from ksc.frontend.values import (
    DEAD,
    NONE,
    Abstract,
    Array,
    BoundMethod,
    Closure,
    Dead,
    Dynamic,
    Poison,
    Range,
    Static,
    Struct,
    Value,
    describe,
    is_weak,
    leaves,
    map_leaves,
    runtime_value,
    same_object,
    scalar_type,
)
from ksc.ir.nodes import Atom, Const, Span, default_value
from ksc.ir.types import Float, Integer, Type


def generalise(value: Value) -> Value:
    """The template of a value that may become any other of its type: numbers lose their value."""
    if isinstance(value, Struct):
        return value.with_items(tuple(generalise(item) for item in value.items))
    type_ = scalar_type(value)
    return value if type_ is None else Abstract(type_, is_weak(value))


def template_of(value: Value) -> Value:
    """The template of a value: what is known at run time only loses its atom."""

    def leaf(part: Value, name: str) -> Value:
        match part:
            case Dynamic():
                return Abstract(part.type, part.weak)
            case Array():
                return Abstract(part.atom.type, tensor=not part.sizes, sizes=part.sizes)
            case _:
                return part

    return map_leaves(leaf, value, "")


def unify(a: Value, b: Value, conflict: Poison) -> Value:
    """The template that both values fit; ``conflict`` stands where they have nothing in common."""
    if isinstance(a, Dead):
        return template_of(b)
    if isinstance(b, Dead):
        return template_of(a)
    if isinstance(a, Poison):
        return a
    if isinstance(b, Poison):
        return b
    if isinstance(a, Struct) and isinstance(b, Struct):
        if a.cls is not b.cls or len(a.items) != len(b.items) or a.keys != b.keys:
            return conflict
        return a.with_items(tuple(unify(x, y, conflict) for x, y in zip(a.items, b.items, strict=True)))
    if _same(a, b):
        return a
    type_ = common_type(a, b)
    if type_ is None:
        return conflict
    return Abstract(type_, type_ == Integer and is_weak(a) and is_weak(b))


def common_type(a: Value, b: Value) -> Type | None:
    """The type that two scalars share: their own, or Float where the other is an int constant."""
    ta, tb = scalar_type(a), scalar_type(b)
    if ta is None or tb is None:
        return None
    if ta == tb:
        return ta
    if (ta == Float and is_weak(b)) or (tb == Float and is_weak(a)):
        return Float
    return None


def _same(a: Value, b: Value) -> bool:
    if a is b:
        return True
    match a, b:
        case Static(x), Static(y):
            return same_object(x, y)
        case Dynamic(), Dynamic():
            return a.atom == b.atom
        case Abstract(), Abstract():
            return a == b
        case Closure(), Closure():
            return a.node is b.node and a.frame is b.frame
        case BoundMethod(), BoundMethod():
            return a.function is b.function and _same_parts(a.owner, b.owner)
        case Range(), Range():
            return all(_same(x, y) for x, y in ((a.start, b.start), (a.stop, b.stop), (a.step, b.step)))
        case _:
            return False


def _same_parts(a: Value, b: Value) -> bool:
    if isinstance(a, Struct) and isinstance(b, Struct):
        same = a.cls is b.cls and a.keys == b.keys and len(a.items) == len(b.items)
        return same and all(_same_parts(x, y) for x, y in zip(a.items, b.items, strict=True))
    return _same(a, b)


def same_template(a: Value, b: Value) -> bool:
    """Whether two templates are equal; one error is as good as another."""
    if isinstance(a, Poison) and isinstance(b, Poison):
        return True
    if isinstance(a, Struct) and isinstance(b, Struct):
        same = a.cls is b.cls and a.keys == b.keys and len(a.items) == len(b.items)
        return same and all(same_template(x, y) for x, y in zip(a.items, b.items, strict=True))
    return _same(a, b)


def abstract_leaves(template: Value) -> list[Abstract]:
    """The run-time leaves of a template."""
    return [leaf for leaf in leaves(template) if isinstance(leaf, Abstract)]


def atoms_for(frame: Frame, template: Value, value: Value, node: ast.AST) -> Iterator[Atom]:
    """The atoms that ``value`` has for the run-time leaves of ``template``, converted in the current block."""
    if isinstance(template, Struct):
        items = value.items if isinstance(value, Struct) else (DEAD,) * len(template.items)
        for part, item in zip(template.items, items, strict=True):
            yield from atoms_for(frame, part, item, node)
    elif isinstance(template, Abstract):
        if isinstance(value, Dead | Poison):
            yield dummy(template.type)
        elif template.is_tensor:
            yield frame.array(value, node).atom
        else:
            yield frame.cast(frame.atom(value, node), template.type, node)


def dummy(type_: Type) -> Const:
    """A constant for a place that is never read."""
    value = default_value(type_)
    assert value is not None, f"no default for {type_}"
    return value


def rebuild(template: Value, atoms: Iterator[Atom]) -> Value:
    """The template with the next of ``atoms`` in place of each run-time leaf."""
    if isinstance(template, Struct):
        return template.with_items(tuple(rebuild(item, atoms) for item in template.items))
    if isinstance(template, Abstract):
        return runtime_value(template, next(atoms))
    return template


def branch_conflict(name: str, a: Value, b: Value, spans: tuple[Span | None, Span | None]) -> Poison:
    """The error of a variable that has nothing in common on the two sides of an ``if``."""
    places = [f" (line {span.line})" if span else "" for span in spans]
    what = f"{name!r}" if name.isidentifier() else name
    reason = f"{what} is {describe(a)}{places[0]} on one path and {describe(b)}{places[1]} on the other"
    instead = "give it the same type on both paths"
    if scalar_type(a) is not None and scalar_type(b) is not None:
        instead += ", for example with float()"
    elif NONE in (a, b):
        instead = "give it a value on both paths"
    elif not isinstance(a, Struct) and not isinstance(b, Struct):
        instead = "choose between values, not between functions or texts"
    return Poison("KS201", reason, instead)


def unbound(name: str, span: Span | None) -> Poison:
    """The error of a variable that only one path binds."""
    place = f"; only the path through line {span.line} binds it" if span else ""
    return Poison("KS112", f"{name!r} may be unbound here{place}", f"bind {name!r} on every path")
