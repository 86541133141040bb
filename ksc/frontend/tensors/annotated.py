"""The sizes that the parameters of a function are annotated with: checked at its start, and known from then on."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from ksc.frontend.annotations import TensorAnnotation, parts_of, tensor_annotation
from ksc.frontend.frame import Frame
from ksc.frontend.tensors.array import same_size, size_of
from ksc.frontend.values import Array, Binding, Ref, Struct, Value, describe
from ksc.ir.nodes import Atom, const


def hold_annotated_sizes(frame: Frame, annotations: Mapping[str, Any], node: ast.AST) -> None:
    """Check the arguments that a frame was given against the annotations of its function.

    Raises TypeMismatchError (KS208) where they do not fit; sizes that are not known are compared at run time.
    """
    named: dict[str, Atom] = {}
    for name, binding in list(frame.env.items()):
        if name in annotations:
            value = _held(frame, binding.value, annotations[name], name, named, node)
            frame.env[name] = Binding(value, binding.span)


def _held(frame: Frame, value: Value, annotation: Any, name: str, named: dict[str, Atom], node: ast.AST) -> Value:
    told = tensor_annotation(annotation)
    if told is not None:
        return _held_tensor(frame, value, told, name, named, node)
    parts = parts_of(annotation)
    if isinstance(value, Struct) and value.cell is None and len(parts) == len(value.items):
        pairs = zip(value.items, parts, strict=True)
        return value.changed(tuple(_held(frame, item, part, name, named, node) for item, part in pairs))
    return value


def _held_tensor(
    frame: Frame, value: Value, told: TensorAnnotation, name: str, named: dict[str, Atom], node: ast.AST
) -> Value:
    rank = value.rank if isinstance(value, Ref | Array) else 0
    if rank != len(told.sizes) or (isinstance(value, Ref) and value.elem != told.elem):
        reason = f"{name!r} is annotated as {describe(told.template)} and is {describe(value)}"
        frame.refuse(node, reason, "pass such a tensor, or correct the annotation", code="KS208")
    if not isinstance(value, Ref) or value.steps:
        return value
    sizes: list[Atom] = []
    for k, want in enumerate(told.sizes):
        have = size_of(frame, node, value, k)
        if isinstance(want, int):
            have = same_size(frame, node, have, const(want))
        elif want is not None:
            have = named[want] = same_size(frame, node, named.get(want, have), have)
        sizes.append(have)
    held = frame.region.store[value.cell]
    value.cell.sizes = tuple(sizes)
    if isinstance(held, Array):
        frame.region.store[value.cell] = Array(held.atom, tuple(sizes))
    return Ref(value.cell, tuple(sizes))
