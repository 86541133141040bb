"""The decorators: ``register``, ``vmap`` and ``elementwise``, each usable bare, with arguments, or as a function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, get_args, overload

from ksc.errors import ArgumentError
from ksc.frontend.special import made_of_constants
from ksc.kernel import Kernel
from ksc.mapping import Backend, InDims, Level, Mapping, OutDims

if TYPE_CHECKING:
    from torch import Tensor

    class NumberKernel(Kernel[..., Any]):
        """A mapped kernel of one number: tensors give a tensor, and numbers alone a number."""

        @overload
        def __call__(self, *args: float, **kwargs: float) -> float: ...  # type: ignore[overload-overlap]
        @overload
        def __call__(self, *args: Tensor | float, **kwargs: Tensor | float) -> Tensor: ...
        def __call__(self, *args: Any, **kwargs: Any) -> Any: ...


P = ParamSpec("P")
R = TypeVar("R")


class Registers(Protocol):
    """What ``register()`` gives."""

    def __call__(self, f: Callable[P, R], /) -> Kernel[P, R]:
        """The kernel of a function."""
        ...


class Maps(Protocol):
    """What ``vmap(…)`` and ``elementwise()`` give; a mapped number is a tensor outside of the function."""

    @overload
    def __call__(self, f: Callable[..., float], /) -> NumberKernel: ...
    @overload
    def __call__(self, f: Callable[..., tuple[float, ...]], /) -> Kernel[..., tuple[Tensor, ...]]: ...
    @overload
    def __call__(self, f: Callable[..., R], /) -> Kernel[..., R]: ...


def _kernel(f: Callable[..., Any], mapping: Mapping, backend: Backend | None) -> Kernel:
    mapping = _on(backend, mapping, f)
    if not isinstance(f, Kernel):
        return Kernel(f, mapping)
    # Of a function of numbers vmap and elementwise are nearly the same; else the mapping would be lost.
    if f.mapping.levels and (mapping.lift == "scalar" or not f.mapping.is_plain):
        raise ArgumentError(
            f"{f!r} is mapped already, and {mapping.name} would undo that",
            remedy="give the function that it is made of",
        )
    return Kernel(f.__wrapped__, mapping, f.steps)


def _mapped(f: Callable[..., Any], level: Level, backend: Backend | None) -> Kernel:
    if isinstance(f, Kernel) and f.mapping.lift != "broadcast":
        return Kernel(f.__wrapped__, _on(backend, f.mapping.over(level), f), f.steps)
    return _kernel(f, Mapping("same", (level,)), backend)


def _on(backend: Backend | None, mapping: Mapping, f: Callable[..., Any]) -> Mapping:
    """The mapping with a backend: the one given, else that of the kernel ``f``."""
    chosen = backend or (f.mapping.backend if isinstance(f, Kernel) else "compile")
    if chosen not in get_args(Backend):
        raise ArgumentError(f"there is no backend {chosen!r}", remedy=f"one of {', '.join(get_args(Backend))}")
    return replace(mapping, backend=chosen)


@overload
def register(f: Callable[P, R], *, backend: Backend | None = None) -> Kernel[P, R]: ...
@overload
def register(*, backend: Backend | None = None) -> Registers: ...
@made_of_constants
def register(f: Callable[..., Any] | None = None, *, backend: Backend | None = None) -> Kernel | Registers:
    """A kernel without mapping: numbers and tensors in, numbers and tensors out, as the function says.

    >>> @knossos.register
    ... def norm(x: torch.Tensor):
    ...     return torch.sqrt(torch.sum(x * x))
    >>> norm(torch.tensor([3.0, 4.0]))
    tensor(5.)
    >>> norm.grad(torch.tensor([3.0, 4.0]))
    tensor([0.6000, 0.8000])

    Args:
        f: the function; left out, a decorator is given.
        backend: ``"interpret"`` runs the program in Python, slowly, so that ``pdb`` stops in the function and in its
            derivatives; None for compiled code, or what the kernel ``f`` has.
    """
    mapping = Mapping("scalar")
    return _kernel(f, mapping, backend) if f is not None else lambda g: _kernel(g, mapping, backend)


@overload
def elementwise(f: Callable[..., float], *, backend: Backend | None = None) -> NumberKernel: ...
@overload
def elementwise(
    f: Callable[..., tuple[float, ...]], *, backend: Backend | None = None
) -> Kernel[..., tuple[Tensor, ...]]: ...
@overload
def elementwise(f: Callable[..., Any], *, backend: Backend | None = None) -> Kernel: ...
@overload
def elementwise(*, backend: Backend | None = None) -> Maps: ...
@made_of_constants
def elementwise(f: Callable[..., Any] | None = None, *, backend: Backend | None = None) -> Kernel | Maps:
    """A kernel that maps a scalar function over tensors of any shapes that broadcast together, as PyTorch's own do.

    >>> @knossos.elementwise
    ... def hinge(x: float, y: float) -> float:
    ...     return x - y if x > y else 0.0
    >>> hinge(torch.tensor([[0.0], [2.0]]), torch.tensor([0.5, 1.5]))
    tensor([[0.0000, 0.0000],
            [1.5000, 0.5000]])

    Args:
        f: a function of numbers with one or several results; left out, a decorator is given.
        backend: ``"interpret"`` runs the program in Python, slowly, so that ``pdb`` stops in the function and in its
            derivatives; None for compiled code, or what the kernel ``f`` has.
    """
    mapping = Mapping("broadcast")
    return _kernel(f, mapping, backend) if f is not None else lambda g: _kernel(g, mapping, backend)


@overload
def vmap(
    f: Callable[..., float], in_dims: InDims = 0, out_dims: OutDims = 0, *, backend: Backend | None = None
) -> NumberKernel: ...
@overload
def vmap(
    f: Callable[..., tuple[float, ...]], in_dims: InDims = 0, out_dims: OutDims = 0, *, backend: Backend | None = None
) -> Kernel[..., tuple[Tensor, ...]]: ...
@overload
def vmap(
    f: Callable[..., R], in_dims: InDims = 0, out_dims: OutDims = 0, *, backend: Backend | None = None
) -> Kernel[..., R]: ...
@overload
def vmap(f: None = None, in_dims: InDims = 0, out_dims: OutDims = 0, *, backend: Backend | None = None) -> Maps: ...
@made_of_constants
def vmap(
    f: Callable[..., Any] | None = None, in_dims: InDims = 0, out_dims: OutDims = 0, *, backend: Backend | None = None
) -> Kernel | Maps:
    """A kernel that maps a function over tensors, like ``torch.func.vmap``, but with data-dependent control flow.

    A lane sees tensors of one dimension less. A parameter annotated ``float``, ``int`` or ``bool`` receives a number,
    so a function of such numbers alone is mapped over every dimension that the tensors have; they agree in shape. The
    vmap of a vmap maps over one dimension more.

    >>> @knossos.vmap
    ... def total_until(x: torch.Tensor, bound: float) -> float:
    ...     total = 0.0
    ...     for value in x:
    ...         total += value
    ...         if total > bound:
    ...             break
    ...     return total
    >>> total_until(torch.tensor([[1.0, 5.0, 7.0], [1.0, 2.0, 0.5]]), 4.0)
    tensor([6.0000, 3.5000])

    Args:
        f: the function; left out, a decorator is given.
        in_dims: the mapped dimension, for all parameters or one for each, or in a tuple for each part of one; None for
            what all lanes share. A number is always shared.
        out_dims: where the mapped dimension stands in the results, for all or one for each of the flat results.
        backend: ``"interpret"`` runs the program in Python, slowly, so that ``pdb`` stops in the function and in its
            derivatives; None for compiled code, or what the kernel ``f`` has.

    Raises:
        ArgumentError: the dimensions do not fit the function.
    """
    level = Level(_as_tuples(in_dims), _as_tuples(out_dims))
    if in_dims is None:
        raise ArgumentError("at least one parameter is mapped", remedy="use register to map none")
    return _mapped(f, level, backend) if f is not None else lambda g: _mapped(g, level, backend)


def _as_tuples(dims: Any) -> Any:
    return tuple(map(_as_tuples, dims)) if isinstance(dims, list | tuple) else dims
