"""torch.func over kernels: values against the same transform of a reference in torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import func
from torch.testing import assert_close
from torch_kernels import Plugged, pair, pair_reference, square, total

Function = Callable[..., Any]


def summed(f: Function) -> Function:
    return lambda *args: total(f(*args))


def directions(args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return tuple(arg.cos() for arg in args)


def every(args: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(range(len(args)))


TRANSFORMS: dict[str, Callable[..., Any]] = {
    "vmap": lambda f, *args: func.vmap(f)(*args),
    "vmap over the last dimension": lambda f, *args: func.vmap(f, in_dims=-1, out_dims=-1)(*args),
    "vmap of vmap": lambda f, *args: func.vmap(func.vmap(f))(*args),
    "vmap of one argument": lambda f, *args: func.vmap(f, in_dims=(0, *[None] * (len(args) - 1)))(
        args[0], *(arg[0] for arg in args[1:])
    ),
    "grad": lambda f, *args: func.grad(summed(f), argnums=every(args))(*args),
    "vjp": lambda f, *args: (lambda out, pull: pull(_like(out)))(*func.vjp(f, *args)),
    "jvp": lambda f, *args: func.jvp(f, args, directions(args)),
    "jacrev": lambda f, *args: func.jacrev(f, argnums=every(args))(*args),
    "jacfwd": lambda f, *args: func.jacfwd(f, argnums=every(args))(*args),
    "hessian": lambda f, *args: func.hessian(summed(f), argnums=every(args))(*args),
    "jacrev of jacfwd": lambda f, *args: func.jacrev(func.jacfwd(summed(f)))(*args),
    "jacfwd of jacfwd": lambda f, *args: func.jacfwd(func.jacfwd(summed(f)))(*args),
    "jacrev of jacrev": lambda f, *args: func.jacrev(func.jacrev(summed(f)))(*args),
    "vmap of grad": lambda f, *args: func.vmap(func.grad(summed(f), argnums=every(args)))(*args),
    "vmap of hessian": lambda f, *args: func.vmap(func.hessian(summed(f)))(*args),
    "grad of vmap": lambda f, *args: func.grad(summed(func.vmap(f)))(*args),
    "vmap of jvp": lambda f, *args: func.vmap(lambda *a: func.jvp(f, a, directions(a)))(*args),
    "jvp of vmap": lambda f, *args: func.jvp(func.vmap(f), args, directions(args)),
    "jvp of grad": lambda f, *args: func.jvp(func.grad(summed(f)), args, directions(args)),
    "grad of grad": lambda f, *args: func.grad(lambda *a: func.grad(summed(f))(*a).sin().sum())(*args),
    "linearize": lambda f, *args: func.linearize(f, *args)[1](*directions(args)),
    "functionalize": lambda f, *args: func.functionalize(f)(*args),
}


def _like(out: Any) -> Any:
    return tuple(o.sin() for o in out) if isinstance(out, tuple) else out.sin()


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_transform_agrees_with_reference(plugged: Plugged, transform: str) -> None:
    args = plugged.inputs(*plugged.shape)
    assert_close(TRANSFORMS[transform](plugged.call, *args), TRANSFORMS[transform](plugged.reference, *args))


@pytest.mark.parametrize(
    ("transform", "dynamic"),
    [
        *((name, True) for name in ("vmap", "grad", "jvp", "vjp", "jacrev", "jacfwd", "hessian", "vmap of grad")),
        ("grad", None),
        ("hessian", None),
    ],
)
def test_transform_inside_compile(compiled: Plugged, transform: str, dynamic: bool | None) -> None:
    args = compiled.inputs(*compiled.shape)
    apply, f = TRANSFORMS[transform], compiled.call
    traced = torch.compile(lambda *xs: apply(f, *xs), fullgraph=True, dynamic=dynamic, backend="aot_eager")
    assert_close(traced(*args), apply(compiled.reference, *args))


def test_vmap_of_equal_shapes_sees_the_shapes_without_the_batch() -> None:
    x = torch.randn(4, 3, 2, dtype=torch.float64)
    assert_close(func.vmap(square.call, in_dims=1, out_dims=2)(x), (x * x).permute(0, 2, 1))


def test_vmap_broadcasts_after_the_batch_dimension() -> None:
    a = torch.rand(5, 3, dtype=torch.float64)
    b = torch.rand(5, 4, 1, dtype=torch.float64) + 1
    assert_close(func.vmap(pair.call)(a, b), func.vmap(pair_reference)(a, b))


def test_vmap_promotes_as_without_a_batch() -> None:
    a = torch.rand(5, dtype=torch.float64)
    b = torch.rand(5, 3) + 1
    got = func.vmap(pair.call)(a, b)
    assert got[0].dtype == func.vmap(torch.mul)(a, b).dtype == torch.float32
    assert_close(got, func.vmap(pair_reference)(a, b))


def test_vmap_of_nothing_mapped_inside_and_nested_levels() -> None:
    a, b = torch.rand(2, dtype=torch.float64) + 1, torch.rand(3, dtype=torch.float64) + 1
    nested = lambda f: func.vmap(lambda x: func.vmap(lambda y: f(x, y)[1] + f(x, x)[0])(b))(a)  # noqa: E731
    assert_close(nested(pair.call), nested(pair_reference))


def test_vmap_over_grad_of_captured_batch() -> None:
    a, b = torch.rand(2, dtype=torch.float64) + 1, torch.rand(3, dtype=torch.float64) + 1

    def nested(f: Function) -> torch.Tensor:
        def innermost(x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
            return func.vmap(lambda w: total(f(x * z, w)))(b).sum()

        def inner(x: torch.Tensor) -> torch.Tensor:
            return func.vmap(lambda y: func.grad(lambda z: innermost(x, z))(y))(b)

        return func.vmap(inner)(a)

    assert_close(nested(pair.call), nested(pair_reference))


def test_empty_batch() -> None:
    assert func.vmap(square.call)(torch.empty(0, 3)).shape == (0, 3)


def test_third_derivative_declares_deeper_operators() -> None:
    x = torch.tensor(0.7, dtype=torch.float64)
    f = lambda g: func.grad(func.grad(func.grad(lambda y: g(y, y)[1])))(x)  # noqa: E731
    third = func.grad(func.grad(func.grad(lambda y: y / (y + 0) + y.sin())))(x)
    assert_close(f(pair_reference), third)
    y = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    derivative = pair.call(y, y)[1]
    for _ in range(3):
        (derivative,) = torch.autograd.grad(derivative, y, create_graph=True)
    assert_close(derivative.detach(), third)
