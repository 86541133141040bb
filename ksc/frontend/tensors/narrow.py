"""Tensors of integers of fewer than 64 bits, such as images of torch.uint8.

Their elements are read as Integers: as indices, as numbers, in comparisons, and in arithmetic that gives Floats, where
the outcome is the one of PyTorch. Where PyTorch would compute in their own width, and wrap round in it, a kernel would
not: that is refused, as is a narrow tensor as a result.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import NoReturn

import torch

from ksc.frontend.frame import Frame
from ksc.frontend.tensors.table import objects
from ksc.frontend.values import Array, Ref, Static, Value, leaves, narrow_dtype
from ksc.ir.types import Bool, Integer

_WIDENING = "sum prod cumsum cumprod argmax argmin argsort count_nonzero Tensor.long Tensor.to Tensor.type F.one_hot"
"""Functions that give int64 for integers of any width."""
_PROMOTING = "add sub mul where cat stack maximum minimum remainder floor_divide bitwise_and bitwise_or bitwise_xor"
"""Functions whose result has the widest dtype among their tensors, as that of an operator has."""
_PICKING = "gather take take_along_dim index_select index_add index_copy index_fill scatter scatter_add masked_fill"
"""Functions whose result has the dtype of the first tensor, whatever those of indices and masks are."""
_COMPARING = "eq ne lt le gt ge not_equal less less_equal greater greater_equal"
"""Functions that convert a number to the dtype of the tensor beside it."""


@cache
def _functions(names: str) -> frozenset[object]:
    return frozenset(obj for name in names.split() for obj in objects(name))


def refuse_narrow(frame: Frame, dtype: torch.dtype, node: ast.AST) -> NoReturn:
    """Turn down what PyTorch would compute in a narrow dtype (KS210)."""
    reason = f"this is of {dtype} in PyTorch, and a kernel has no integers but those of torch.int64"
    instead = "convert the tensor first, as in `x.long()`, or `x * 1.0` for floats"
    frame.refuse(node, reason, instead, code="KS210")


def require_wide(frame: Frame, function: object, args: Sequence[Value], result: Value, node: ast.AST) -> Value:
    """``result`` of a function of torch, or of an operator (None).

    Raises TypeMismatchError (KS210) where PyTorch gives a narrow dtype that this result has not.
    """
    given = list(_tensors(args))
    narrow = [tensor for tensor in given if narrow_dtype(tensor) is not None]
    if narrow and (function is None or function in _functions(_COMPARING)):
        _require_in_range(frame, args, result, node)
    if not narrow or not any(tensor.elem == Integer and narrow_dtype(tensor) is None for tensor in _tensors([result])):
        return result
    if function is not None and function in _functions(_WIDENING):
        return result
    if function is None or function in _functions(_PROMOTING):
        dimensioned = any(tensor.rank for tensor in narrow)
        wide = [tensor for tensor in given if tensor.elem == Integer and narrow_dtype(tensor) is None]
        if any(tensor.rank or not dimensioned for tensor in wide):
            return result
    if function is not None and function in _functions(_PICKING) and narrow_dtype(given[0]) is None:
        return result
    dtype = narrow_dtype(narrow[0])
    assert dtype is not None
    refuse_narrow(frame, dtype, node)


def _require_in_range(frame: Frame, args: Sequence[Value], result: Value, node: ast.AST) -> None:
    """Refuse a comparison with a number that PyTorch takes modulo 2 to the width."""
    if not isinstance(result, Ref | Array) or result.elem != Bool:
        return
    dtype = next(filter(None, map(narrow_dtype, args)))
    limits = torch.iinfo(dtype)
    for arg in args:
        single = isinstance(arg, Ref | Array) and arg.elem == Integer and not arg.rank and narrow_dtype(arg) is None
        dimensioned = any(isinstance(other, Ref | Array) and other.rank for other in args)
        beyond = isinstance(arg, Static) and type(arg.value) is int and not limits.min <= arg.value <= limits.max
        if beyond or (single and dimensioned):
            what = f"{arg.value} is beyond {dtype}" if isinstance(arg, Static) else f"a number beside {dtype}"
            reason = f"{what}, and PyTorch compares with what is left of it in that width"
            frame.refuse(node, reason, "convert the tensor first: `x.long()`", code="KS210")


def _tensors(values: Iterable[Value]) -> Iterator[Ref | Array]:
    for value in values:
        for leaf in leaves(value):
            if isinstance(leaf, Ref | Array):
                yield leaf
