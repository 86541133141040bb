"""A tensor that PyTorch would not allocate is refused, also where it is fused away and would only be looped over."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import ksc as knossos
from ksc.errors import KernelRuntimeError, KnossosError
from ksc.frontend import Abstract, trace
from ksc.ir.nodes import walk
from ksc.ir.types import Float, Integer, TensorType

HUGE: list[Any] = []


def huge(fn: Any) -> Any:
    HUGE.append(fn)
    return fn


@huge
def zeros(x: torch.Tensor, n: int):
    return torch.zeros(n, n, n).sum() + x.sum()


@huge
def one_dimension(x: torch.Tensor, n: int):
    return torch.ones(n * n * n).sum() + x.sum()


@huge
def filled(x: torch.Tensor, n: int):
    return torch.full((n, 4, n, n), 2.0).sum() + x.sum()


@huge
def beside_a_tensor(x: torch.Tensor, n: int):
    return (x.new_zeros(x.shape[0], n, n) + x[0]).sum()


@huge
def identity(x: torch.Tensor, n: int):
    return torch.eye(n, n * n).sum() + x.sum()


@huge
def counted(x: torch.Tensor, n: int):
    return torch.arange(n * n * 2).sum() + x.sum()


@huge
def spaced(x: torch.Tensor, n: int):
    return torch.linspace(0, 1, n * n * 2).sum() + x.sum()


@huge
def repeated(x: torch.Tensor, n: int):
    return x.repeat(n, n, n).sum()


@huge
def of_a_loop(x: torch.Tensor, n: int):
    s = 0.0
    for _ in range(2):
        s = s + torch.zeros(n, n).sum()
    return s + x.sum()


@pytest.mark.parametrize("fn", HUGE, ids=lambda fn: fn.__name__)
def test_is_refused(fn: Any) -> None:
    x, kernel = torch.ones(3), knossos.register(fn)
    torch.testing.assert_close(kernel(x, 2), fn(x, 2))
    with pytest.raises(KernelRuntimeError, match="does not fit into memory") as stopped:
        kernel(x, 2**21 + 2**20 if fn is one_dimension else 2**24)
    assert stopped.value.span is not None
    assert stopped.value.span.line > fn.__code__.co_firstlineno


def test_known_sizes_are_refused_at_once() -> None:
    def fn(x: torch.Tensor):
        return torch.zeros(2**20, 2**20, 2**20).sum() + x.sum()

    with pytest.raises(KnossosError, match="does not fit into memory"):
        knossos.register(fn)(torch.ones(2))


def test_sizes_of_one_tensor_need_no_check() -> None:
    def fn(x):
        out = torch.zeros(x.shape[0])
        for i in range(x.shape[0]):
            out[i] = (torch.zeros_like(x) + torch.ones(x.shape[1], x.shape[0]).T).sum()
        return out

    program = trace(fn, [Abstract(TensorType(2, Float))]).program
    assert not [eqn for f in program.functions.values() for eqn in walk(f.body) if eqn.op == "assert"]


def test_a_check_is_made_once() -> None:
    def fn(n):
        return torch.zeros(n, n).sum() + torch.ones(n, n).sum()

    program = trace(fn, [Abstract(Integer)]).program
    messages = [eqn.params["message"] for f in program.functions.values() for eqn in walk(f.body) if eqn.op == "assert"]
    assert sum("memory" in message for message in messages) == 1
