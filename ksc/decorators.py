"""The decorators: ``register``, ``vmap`` and ``elementwise``, each usable bare, with arguments, or as a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, overload

from ksc.errors import ArgumentError
from ksc.kernel import Kernel
from ksc.mapping import InDims, Mapping, OutDims

Decorator = Callable[[Callable[..., Any]], Kernel]


def _kernel(f: Callable[..., Any], mapping: Mapping) -> Kernel:
    if isinstance(f, Kernel):
        return Kernel(f.__wrapped__, mapping, f.steps)
    return Kernel(f, mapping)


@overload
def register(f: Callable[..., Any]) -> Kernel: ...
@overload
def register() -> Decorator: ...
def register(f: Callable[..., Any] | None = None) -> Kernel | Decorator:
    """A kernel without mapping: numbers and 0-d tensors in, numbers and 0-d tensors out.

    Args:
        f: the function; left out, a decorator is given.
    """
    mapping = Mapping("scalar")
    return _kernel(f, mapping) if f is not None else lambda g: _kernel(g, mapping)


@overload
def elementwise(f: Callable[..., Any]) -> Kernel: ...
@overload
def elementwise() -> Decorator: ...
def elementwise(f: Callable[..., Any] | None = None) -> Kernel | Decorator:
    """A kernel that maps a scalar function over tensors of any shapes that broadcast together, as PyTorch's own do.

    Args:
        f: a function of numbers with one or several results; left out, a decorator is given.
    """
    mapping = Mapping("broadcast")
    return _kernel(f, mapping) if f is not None else lambda g: _kernel(g, mapping)


@overload
def vmap(f: Callable[..., Any], in_dims: InDims = 0, out_dims: OutDims = 0) -> Kernel: ...
@overload
def vmap(f: None = None, in_dims: InDims = 0, out_dims: OutDims = 0) -> Decorator: ...
def vmap(f: Callable[..., Any] | None = None, in_dims: InDims = 0, out_dims: OutDims = 0) -> Kernel | Decorator:
    """A kernel that maps a function over tensors, like ``torch.func.vmap``, but with data-dependent control flow.

    A parameter annotated ``float``, ``int`` or ``bool`` receives a number, so its tensor is mapped over every dimension
    that it has; the mapped tensors of a call agree in shape.

    Args:
        f: the function; left out, a decorator is given.
        in_dims: the mapped dimension, for all parameters or one for each; None for one that all lanes share.
        out_dims: where the mapped dimension stands in the results.

    Raises:
        ArgumentError: the dimensions do not fit the function.
    """
    mapping = Mapping("same", tuple(in_dims) if isinstance(in_dims, list) else in_dims, out_dims)
    if in_dims is None:
        raise ArgumentError("at least one parameter is mapped", remedy="use register to map none")
    return _kernel(f, mapping) if f is not None else lambda g: _kernel(g, mapping)
