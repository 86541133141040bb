"""The function forms of derivatives, which nest to any order."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from ksc.decorators import register
from ksc.errors import ArgumentError
from ksc.frontend.directional import trace_hvp, trace_jvp, trace_vjp
from ksc.frontend.special import made_of_constants, traced_by
from ksc.kernel import Kernel
from ksc.sparse.jacobian import Declared, SparseJacobian
from ksc.whole import Argnums, Mode, Sparse

Function = Callable[..., Any]


def as_kernel(f: Function) -> Kernel:
    """``f`` if it is a kernel, else the kernel that ``register`` makes of it."""
    return f if isinstance(f, Kernel) else register(f)


@made_of_constants
def grad(f: Function, argnums: Argnums = 0) -> Kernel:
    """The kernel of the gradient of ``f``, which gives one float, with respect to ``argnums``, numbers or names.

    Where ``f`` maps over tensors this is the derivative at each lane.
    Raises DifferentiationError, on the first call, where there is no such gradient.

    >>> @knossos.register
    ... def product(x: float, y: float) -> float:
    ...     return x * y * y
    >>> knossos.grad(product)(2.0, 3.0)
    9.0
    >>> knossos.grad(product, argnums=("x", "y"))(2.0, 3.0)
    (9.0, 12.0)
    >>> knossos.grad(knossos.grad(product, "y"), "y")(2.0, 3.0)
    4.0
    """
    return as_kernel(f).gradient(argnums)


@made_of_constants
def value_and_grad(f: Function, argnums: Argnums = 0) -> Kernel:
    """The kernel of the pair of result and gradient, see ``grad``."""
    return as_kernel(f).gradient(argnums, with_value=True)


@made_of_constants
def jacobian(
    f: Function, argnums: Argnums = 0, *, mode: Mode = "auto", sparse: Sparse | Declared | None = None
) -> Kernel | SparseJacobian:
    """The kernel of all derivatives of the float results of ``f`` with respect to ``argnums``.

    In the place of each float of the result stands the structure of the argument, a tuple of these for several
    ``argnums``; in the place of each float of that a tensor with the sizes of the result and then those of the
    argument, as ``torch.func.jacrev`` gives it. What is no float has None in its place. Where ``f`` maps over tensors
    this is the Jacobian at each lane.

    >>> def squares(x: torch.Tensor):
    ...     return x * x
    >>> knossos.jacobian(squares)(torch.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    >>> knossos.jacobian(squares, sparse="csr")(torch.tensor([1.0, 2.0])).values()
    tensor([2., 4.])

    Args:
        f: a function or kernel.
        argnums: numbers or names of arguments.
        mode: ``"forward"`` takes a direction for each element of the arguments, ``"reverse"`` one for each element of
            the results; ``"auto"`` what needs fewer as far as types tell. The primal is computed once for all of them.
        sparse: ``"blocks"`` where row i of the results depends on row i of the arguments alone, as the function's form
            must show: only the blocks on the diagonal are computed, with the directions of one row, and given as a
            tensor without the first dimension of the argument. ``knossos.block_csr`` makes a sparse matrix of it.
            ``"csr"`` for ``torch.sparse_csr`` matrices, a row for each element of the flattened result and a column
            for each of the flattened argument: the pattern is found from the program, at the sizes and integers of
            the call and for all floats, and what can share a direction by it does (Curtis, Powell and Reid, 1974), so
            that a tridiagonal Jacobian takes 3 directions whatever its size. A tensor of bools, or a sparse one,
            declares the pattern, a tuple of them those of several matrices; one more direction checks it.

    Where the form of ``f`` shows that element i of a result depends on element i of an argument alone, as in
    ``torch.sqrt(x)``, or row i on row i, all i share their directions, and the rest is 0 even beside a derivative that
    is infinite. Elsewhere such a derivative times the 0 of a direction is NaN, as with ``torch.func.jacrev``.

    Raises DifferentiationError, on the first call, where there is no such derivative, or no pattern is found.
    """
    return as_kernel(f).jacobian.chosen(argnums, mode, sparse)


def block_csr(blocks: torch.Tensor, result_dims: int) -> torch.Tensor:
    """The matrix, as ``torch.sparse_csr``, with these blocks on its diagonal.

    Args:
        blocks: as ``jacobian(f, sparse="blocks")`` gives them.
        result_dims: the number of dimensions of the result of ``f``.

    Raises ArgumentError where the blocks have fewer dimensions.
    """
    if not 1 <= result_dims <= blocks.dim():
        raise ArgumentError(f"blocks of {blocks.dim()} dimension(s) are not those of a result of {result_dims}")
    count = blocks.shape[0]
    height, width = math.prod(blocks.shape[1:result_dims]), math.prod(blocks.shape[result_dims:])
    starts = torch.arange(count * height + 1, device=blocks.device) * width
    rows = torch.arange(count, device=blocks.device) * width
    columns = (rows[:, None, None] + torch.arange(width, device=blocks.device)).expand(count, height, width)
    size = (count * height, count * width)
    return torch.sparse_csr_tensor(starts, columns.reshape(-1), blocks.reshape(-1), size, check_invariants=False)


@made_of_constants
def hessian(
    f: Function, argnums: Argnums = 0, *, mode: Mode = "auto", sparse: Sparse | Declared | None = None
) -> Kernel | SparseJacobian:
    """The kernel of the second derivatives of ``f``, which gives one float: the Jacobian of its gradient.

    >>> def product_of_all(x: torch.Tensor):
    ...     return torch.prod(x)
    >>> knossos.hessian(product_of_all)(torch.tensor([1.0, 2.0, 3.0]))
    tensor([[0., 3., 2.],
            [3., 0., 1.],
            [2., 1., 0.]])

    ``mode`` and ``sparse`` are as for ``jacobian``.
    """
    return as_kernel(f).hessian.chosen(argnums, mode, sparse)


@traced_by(trace_hvp)
def hvp(f: Function, primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    """The Hessian of ``f``, which gives one float, times a tangent, without the Hessian: forward over reverse.

    >>> def product_of_all(x: torch.Tensor):
    ...     return torch.prod(x)
    >>> knossos.hvp(product_of_all, (torch.tensor([1.0, 2.0, 3.0]),), (torch.tensor([1.0, 0.0, 0.0]),))
    tensor([0., 3., 2.])

    Args:
        f: a function or kernel.
        primals: its arguments; the Hessian is taken with respect to all that hold floats.
        tangents: one for each of ``primals``; that of an argument that is no float is None.

    Returns:
        The product for one primal, a tuple with one for each of several, None for one that holds no float.
    """
    if len(primals) != len(tangents):
        raise ArgumentError(f"{len(primals)} primals and {len(tangents)} tangents do not correspond")
    kernel = as_kernel(f)
    positions = kernel.float_positions(primals)
    products = iter(kernel.gradient(positions).jvp(*primals, *tangents))
    found = [next(products) if k in positions else None for k in range(len(primals))]
    return found[0] if len(found) == 1 else tuple(found)


@traced_by(trace_vjp)
def vjp(f: Function, *primals: Any) -> tuple[Any, Callable[..., tuple[Any, ...]]]:
    """The results of ``f`` and its pullback, as ``torch.func.vjp`` gives them.

    >>> def squares(x: torch.Tensor):
    ...     return x * x
    >>> y, pullback = knossos.vjp(squares, torch.tensor([1.0, 2.0]))
    >>> pullback(torch.tensor([1.0, 10.0]))
    (tensor([ 2., 40.]),)

    Returns:
        The results, and a function that takes a cotangent for each float result and gives a tuple with a
        cotangent for each of ``primals``, None for one that is no float.
    """
    kernel = as_kernel(f)
    args = kernel.with_defaults(primals)

    def pullback(*cotangents: Any) -> tuple[Any, ...]:
        bars = kernel.vjp(*args, *cotangents)
        return (bars,) if len(args) == 1 else tuple(bars[: len(primals)])

    return kernel(*primals), pullback


@traced_by(trace_jvp)
def jvp(f: Function, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """The results of ``f`` and their tangents, as ``torch.func.jvp`` gives them.

    >>> def squares(x: torch.Tensor):
    ...     return x * x
    >>> knossos.jvp(squares, (torch.tensor([1.0, 2.0]),), (torch.tensor([1.0, 10.0]),))
    (tensor([1., 4.]), tensor([ 2., 40.]))

    ``tangents`` has one entry for each of ``primals``; that of an argument that is no float is None.
    Raises ArgumentError where the two do not correspond.
    """
    if len(primals) != len(tangents):
        raise ArgumentError(f"{len(primals)} primals and {len(tangents)} tangents do not correspond")
    kernel = as_kernel(f)
    args = kernel.with_defaults(primals)
    constant = [0.0 for k in kernel.float_positions(args) if k >= len(primals)]
    return kernel(*primals), kernel.jvp(*args, *tangents, *constant)


def gradcheck(f: Function, inputs: Sequence[Any], **options: Any) -> bool:
    """Check both derivatives of ``f`` against finite differences, by ``torch.autograd.gradcheck``, in float64.

    >>> def product(x: float, y: float) -> float:
    ...     return x * y * y
    >>> knossos.gradcheck(product, (2.0, 3.0))
    True

    Args:
        f: a function or kernel.
        inputs: tensors and numbers; floats are taken as float64.
        options: as for ``torch.autograd.gradcheck``; ``check_forward_ad`` is on unless given.

    Raises:
        torch.autograd.gradcheck.GradcheckError: a derivative is wrong, unless ``raise_exception=False``.
    """
    options.setdefault("check_forward_ad", True)
    return bool(torch.autograd.gradcheck(as_kernel(f), tuple(_checkable(value) for value in inputs), **options))


def _checkable(value: Any) -> Any:
    if isinstance(value, torch.Tensor) and value.is_floating_point():
        return value.detach().double().requires_grad_()
    if isinstance(value, float):
        return torch.tensor(value, dtype=torch.float64, requires_grad=True)
    return value
