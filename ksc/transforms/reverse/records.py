"""The sum of two records of cotangents, each of which may be null where it is not there."""

from __future__ import annotations

from collections.abc import Mapping

from ksc.ir.builder import Builder
from ksc.ir.nodes import Atom
from ksc.ir.types import BoxType, Type
from ksc.transforms.reverse.presence import Presence, as_bool
from ksc.transforms.tangents import add, emit_box, emit_unbox

Boxes = Mapping[str, tuple[Type, ...]]


def add_records(
    builder: Builder, boxes: Boxes, a: Atom, a_there: Presence, b: Atom, b_there: Presence, name: str
) -> Atom:
    """A record of the sums of the fields; where one of the two is not there, the other."""

    def both(inner: Builder) -> list[Atom]:
        assert isinstance(a.type, BoxType)
        fields = zip(*(emit_unbox(inner, record, boxes, [name]) for record in (a, b)), strict=True)
        return [emit_box(inner, a.type.name, [add(inner, x, y, name) for x, y in fields])]

    def a_or_both(inner: Builder) -> list[Atom]:
        if b_there is None:
            return both(inner)
        return list(inner.if_(as_bool(inner, b_there), both, lambda _: [a]))

    if a_there is None:
        (found,) = a_or_both(builder)
    else:
        (found,) = builder.if_(as_bool(builder, a_there), a_or_both, lambda _: [b])
    return found
