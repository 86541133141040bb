"""The functions of torch that copy a tensor, or give its elements another type: clone, detach, to and the like."""

from __future__ import annotations

from ksc.frontend.tensors.array import build, element, sizes_of
from ksc.frontend.tensors.dtypes import CallersDevice
from ksc.frontend.tensors.narrow import refuse_narrow
from ksc.frontend.tensors.op import Op
from ksc.frontend.tensors.refusals import REFUSED
from ksc.frontend.tensors.reshaping import contiguous
from ksc.frontend.tensors.shapes import ref_of
from ksc.frontend.tensors.table import torch_function
from ksc.frontend.tensors.views import converted
from ksc.frontend.values import FALSE, NONE, Array, Ref, Static, Value, narrow_dtype
from ksc.ir.types import Bool, Float, Integer, Type


@torch_function("clone")
def clone(op: Op, input: Value, *, memory_format: Value = NONE) -> Value:
    """``clone``, as torch defines it."""
    return op.frame.fresh(op.frame.array(input, op.node), op.node)


@torch_function("Tensor.contiguous")
def contiguous_(op: Op, input: Value, memory_format: Value = NONE) -> Value:
    """``Tensor.contiguous``, as torch defines it."""
    ref = ref_of(op, input)
    if contiguous(ref):
        return ref
    made = op.frame.fresh(op.frame.array(ref, op.node), op.node)
    assert isinstance(made, Ref)
    made.cell.may_share(ref.cell)
    return made


@torch_function("Tensor.detach")
def detach(op: Op, input: Value) -> Value:
    """A copy whose derivative is zero. PyTorch's shares its storage: a write to either makes the other unreadable."""
    ref = ref_of(op, input)
    if ref.elem != Float:
        return ref
    frame, node = op.frame, op.node
    held = frame.array(ref, node)
    stopped = build(
        frame,
        node,
        sizes_of(frame, node, held),
        lambda index: frame.apply(node, "stop_gradient", element(frame, node, held, index)),
    )
    made = frame.fresh(stopped, node)
    assert isinstance(made, Ref)
    made.cell.may_share(ref.cell)
    return made


def as_type(op: Op, input: Value, to: Type) -> Value:
    """The tensor with elements of another type: itself where they have it."""
    ref = ref_of(op, input)
    if ref.elem == to and ref.cell.narrow is None:
        return ref
    frame, node = op.frame, op.node
    held = frame.array(ref, node)
    made = build(
        frame,
        node,
        sizes_of(frame, node, held),
        lambda index: converted(frame, node, element(frame, node, held, index), to),
    )
    return frame.fresh(made, node)


@torch_function("Tensor.float")
def float_(op: Op, input: Value, memory_format: Value = NONE) -> Value:
    """Integers and truth values as Floats; what is a Float has the width that the caller chose."""
    if ref_of(op, input).elem == Float:
        op.refuse(*REFUSED["double"])
    return as_type(op, input, Float)


@torch_function("Tensor.long")
def long(op: Op, input: Value, memory_format: Value = NONE) -> Value:
    """``Tensor.long``, as torch defines it."""
    return as_type(op, input, Integer)


@torch_function("Tensor.bool")
def bool_(op: Op, input: Value, memory_format: Value = NONE) -> Value:
    """``Tensor.bool``, as torch defines it."""
    return as_type(op, input, Bool)


@torch_function("Tensor.to", "Tensor.type")
def to(
    op: Op,
    input: Value,
    dtype: Value = NONE,
    *,
    device: Value = NONE,
    copy: Value = FALSE,
    non_blocking: Value = FALSE,
) -> Value:
    """``Tensor.to``, as torch defines it."""
    ref = ref_of(op, input)
    if op.name == "type" and dtype is NONE:
        op.refuse("without a dtype gives a text", "ask `x.dtype`")
    other = narrow_dtype(dtype)
    if other is not None:
        refuse_narrow(op.frame, other, op.node)
    if isinstance(dtype, Ref | Array):
        return as_type(op, input, dtype.elem)
    left = isinstance(dtype, Static) and (dtype.value is None or isinstance(dtype.value, CallersDevice))
    made: Value = ref if left else as_type(op, input, op.dtype(dtype, ref.elem))
    return clone(op, made) if op.flag(copy, "copy") and made is ref else made


@torch_function("Tensor.type_as")
def type_as(op: Op, input: Value, other: Value) -> Value:
    """``Tensor.type_as``, as torch defines it."""
    return as_type(op, input, ref_of(op, other).elem)
