"""The attributes and methods of tensors."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

import torch

from ksc.frontend.frame import Frame
from ksc.frontend.library import NumberMethod, known_function
from ksc.frontend.tensors import shapes
from ksc.frontend.tensors.array import size_of, sizes_of
from ksc.frontend.tensors.assignment import assign_view, write_result
from ksc.frontend.tensors.dtypes import DEVICE, DTYPES
from ksc.frontend.tensors.elementwise import single
from ksc.frontend.tensors.integers import product
from ksc.frontend.tensors.op import Op
from ksc.frontend.tensors.table import torch_function
from ksc.frontend.tensors.views import viewed
from ksc.frontend.values import FALSE, NONE, TRUE, Array, Dynamic, Ref, Static, Struct, Value, describe, narrow_dtype
from ksc.ir.nodes import Atom, Const
from ksc.ir.types import Float
from ksc.originals import has_original, original

_SHARING = frozenset(
    "as_strided_ detach_ rename_ requires_grad_ resize_ resize_as_ set_ share_memory_ squeeze_ swapaxes_ swapdims_ t_ "
    "transpose_ unsqueeze_".split()
)
"""Methods that change what a tensor is, not what it holds."""


class InPlaceMethod:
    """A method such as ``add_``, to be called."""

    __slots__ = ("name", "owner")

    def __init__(self, name: str, owner: Ref | Array) -> None:
        self.name = name
        self.owner = owner

    def call(self, frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
        """Compute the result as ``add`` does, and write it."""
        ref = viewed(frame, self.owner, node)
        match self.name:
            case "zero_" if not args and not kwargs:
                assign_view(frame, ref, Static(0), node)
            case "fill_" | "copy_":
                op = Op(frame, self.name, node)
                given = [*args, *(value for key, value in kwargs.items() if key != "non_blocking")]
                value = single(frame, given[0], node) if given and self.name == "fill_" else given[0] if given else NONE
                if len(given) > 1 and self.name == "fill_":
                    op.refuse("takes one argument", "pass a number", code="KS204")
                assign_view(frame, ref, value, node)
            case _:
                handler = known_function(getattr(torch.Tensor, self.name[:-1]))
                assert handler is not None
                write_result(frame, ref, handler(frame, [ref, *args], kwargs, node), node)
        return ref


def tensor_attribute(frame: Frame, value: Ref | Array, name: str, node: ast.expr) -> Value:
    """``tensor.name``.

    Raises UnsupportedError (KS115) where kernels know no such attribute.
    """
    op = Op(frame, name, node)
    match name:
        case "shape":
            return Struct(tuple, tuple(map(integer, sizes_of(frame, node, value))))
        case "ndim":
            return Static(value.rank)
        case "dtype":
            return Static(narrow_dtype(value) or DTYPES[value.elem])
        case "device":
            return DEVICE
        case "T" | "H" if value.rank <= 2:
            return shapes.permuted(op, shapes.ref_of(op, value), range(value.rank)[::-1])
        case "mT" | "mH":
            return shapes.adjoint(op, value)
        case "T" | "H":
            frame.refuse(node, f".{name} of {describe(value)}", "use .mT, or .permute()", code="KS200")
        case "data":
            frame.refuse(node, ".data hides a tensor from derivatives", "use .detach()", code="KS115")
        case "real":
            return value
    if name.endswith("_") and not name.startswith("_"):
        base = getattr(torch.Tensor, name[:-1], None)
        if name in ("zero_", "fill_", "copy_") or (
            name not in _SHARING and hasattr(torch.Tensor, name) and base is not None and known_function(base)
        ):
            return Static(InPlaceMethod(name, value))
        reason = f"the method {name!r} cannot be compiled"
        frame.refuse(node, reason, f"bind the result of {name[:-1]!r} to a variable", code="KS115")
    fixed = frame.is_ours and has_original(torch.Tensor, name)
    method = original(torch.Tensor, name) if fixed else getattr(torch.Tensor, name, None)
    if not fixed and method is not None:
        frame.guards.record(torch.Tensor, name, method)
    method = None if name.startswith("_") else method
    if not callable(method) or known_function(method) is None:
        reason = f"a tensor has no attribute {name!r} that kernels know"
        frame.refuse(node, reason, "check the spelling, or use a function of torch", code="KS115")
    return Static(NumberMethod(method, value))


def integer(size: Atom) -> Value:
    """A size as a value."""
    return Static(int(size.value)) if isinstance(size, Const) else Dynamic(size)


@torch_function("Tensor.size")
def size(op: Op, input: Value, dim: Value = NONE) -> Value:
    """``Tensor.size``, as torch defines it."""
    ref = shapes.ref_of(op, input)
    if dim is NONE:
        return Struct(tuple, tuple(map(integer, sizes_of(op.frame, op.node, ref))))
    return integer(size_of(op.frame, op.node, ref, op.dim(dim, ref.rank)))


@torch_function("Tensor.dim", "Tensor.ndimension")
def dim(op: Op, input: Value) -> Value:
    """``Tensor.dim``, as torch defines it."""
    return Static(shapes.ref_of(op, input).rank)


@torch_function("numel", "Tensor.nelement")
def numel(op: Op, input: Value) -> Value:
    """``numel``, as torch defines it."""
    ref = shapes.ref_of(op, input)
    return integer(product(op.frame, op.node, sizes_of(op.frame, op.node, ref)))


@torch_function("Tensor.item")
def item(op: Op, input: Value) -> Value:
    """``Tensor.item``, as torch defines it."""
    return single(op.frame, input, op.node)


@torch_function("is_floating_point")
def is_floating_point(op: Op, input: Value) -> Value:
    """``is_floating_point``, as torch defines it."""
    return TRUE if shapes.ref_of(op, input).elem == Float else FALSE


@torch_function("is_complex")
def is_complex(op: Op, input: Value) -> Value:
    """``is_complex``, as torch defines it."""
    return FALSE
