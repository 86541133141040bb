"""An index out of range is an error where the view is taken, also where no element of it is read; it costs no more."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import ksc as knossos
from ksc.errors import KernelRuntimeError
from ksc.frontend import Abstract, trace
from ksc.ir.nodes import walk
from ksc.ir.types import Float, Integer, TensorType

UNREAD: list[Any] = []
IN_RANGE: list[Any] = []


def unread(message: str) -> Any:
    def enter(fn: Any) -> Any:
        UNREAD.append((fn, message))
        return fn

    return enter


def in_range(fn: Any) -> Any:
    IN_RANGE.append(fn)
    return fn


@unread("index 5 is out of range for dimension 0 of x")
def constant(x: torch.Tensor, i: int):
    _y = x[5]
    return x * 2.0


@unread("index -4 is out of range for dimension 1 of x")
def from_the_end(x: torch.Tensor, i: int):
    _y = x[:, -4]
    return x * 2.0


@unread("an index is out of range for dimension 0 of x")
def given(x: torch.Tensor, i: int):
    _y = x[i]
    return x.sum()


@unread("an index is out of range for dimension 1 of x")
def column_fused_away(x: torch.Tensor, i: int):
    _y = x[:, i] * 2.0
    return x.sum()


@unread("an index is out of range for dimension 0 of x")
def element_fused_away(x: torch.Tensor, i: int):
    _y = torch.sin(x[i, 0]) * x
    return x + 1.0


@unread("an index is out of range for dimension 1 of a view of x")
def of_a_part(x: torch.Tensor, i: int):
    _y = x[:, 1:][:, i]
    return x + 1.0


@unread("an index is out of range for dimension 0 of x")
def in_a_loop(x: torch.Tensor, i: int):
    s = 0.0
    for k in range(2):
        _row = x[i - k]
        s = s + x[0, 0]
    return s


@unread("an index is out of range for dimension 0 of x")
def read_on_a_path_not_taken(x: torch.Tensor, i: int):
    row = x[i]
    if x[0, 0] > 1e9:
        return row.sum()
    return x.sum()


@unread("an index is out of range for dimension 0 of x")
def selected(x: torch.Tensor, i: int):
    _row = x.select(0, i)
    return x.sum()


@unread("an index is out of range for dimension 0 of x")
def picked(x: torch.Tensor, i: int):
    _y = x[torch.tensor([0, 1]) + i]
    return x * 2.0


@unread("an index is out of range for dimension 1 of x")
def picked_beside_another(x: torch.Tensor, i: int):
    _y = x[torch.tensor([[0], [1]]), torch.tensor([0, 1]) - i]
    return x * 2.0


@unread("an index is out of range for dimension 0 of a view of x")
def picked_of_a_part(x: torch.Tensor, i: int):
    _y = x[:, 1][torch.tensor([0, 1]) - i] * 2.0
    return x + 1.0


X = torch.arange(6.0).reshape(2, 3)


@pytest.mark.parametrize(("fn", "message"), UNREAD, ids=lambda value: getattr(value, "__name__", ""))
def test_an_index_that_is_not_read(fn: Any, message: str) -> None:
    with pytest.raises((KernelRuntimeError, IndexError)), torch.no_grad():
        fn(X, 7)
    with pytest.raises(KernelRuntimeError, match=message) as stopped:
        knossos.register(fn)(X, 7)
    span = stopped.value.span
    assert span is not None
    assert span.line > fn.__code__.co_firstlineno


def test_no_indices_are_in_range_of_nothing() -> None:
    def unread_picks(x, at):
        _y = x[at]
        return x * 2.0

    kernel, none = knossos.register(unread_picks), torch.zeros(0)
    assert kernel(none, torch.zeros(0, dtype=torch.long)).shape == (0,)
    assert torch.equal(kernel(torch.ones(3), torch.tensor([2, -3])), torch.full((3,), 2.0))
    for size, at in ((0, 0), (3, 3), (3, -4), (3, 2**62), (3, -(2**63))):
        with pytest.raises(KernelRuntimeError, match="dimension 0 of x"):
            kernel(torch.ones(size), torch.tensor([at]))


def test_of_an_empty_tensor() -> None:
    with pytest.raises(KernelRuntimeError, match="dimension 1 of x"):
        knossos.register(column_fused_away)(torch.zeros(0, 3), 3)


def test_derivative_of_an_index_that_is_not_read() -> None:
    with pytest.raises(KernelRuntimeError, match="dimension 0 of x"):
        knossos.grad(given)(X, 2)
    torch.testing.assert_close(knossos.grad(given)(X, -2), torch.ones(2, 3))


@in_range
def each(x, i):
    s = 0.0
    for k in range(x.shape[0]):
        s = s + x[k]
    return s


@in_range
def differences(x, i):
    out = torch.zeros(x.shape[0] - 1)
    for k in range(x.shape[0] - 1):
        out[k] = x[k + 1] - x[k]
    return out


@in_range
def before(x, i):
    s = 0.0
    for k in range(1, x.shape[0]):
        s += x[k - 1] * x[k]
    return s


@in_range
def backwards(x, i):
    s = 0.0
    for k in range(i):
        s += x[k] * x[i + k]
    return s


@in_range
def overwritten(x, i):
    y = x.clone()
    for k in range(i):
        y[k] = y[k + 1] * 2.0
        y[k] += x[i]
    return y


@in_range
def listed(x, i):
    return torch.stack([x[k] * x[k + i] for k in range(i)])


@in_range
def rows(x, i):
    m = x.reshape(-1, 2)
    s = 0.0
    for k in range(m.shape[0]):
        row = m[k]
        for j in range(2):
            s += row[j]
    return s


@in_range
def picks(x, i):
    y = x[torch.tensor([0, 1]) + i]
    y[0] = 1.0
    return x[torch.tensor([i, -1])] * 2.0 + y


@pytest.mark.parametrize("fn", IN_RANGE, ids=lambda fn: fn.__name__)
def test_indices_that_are_read_are_not_checked_twice(fn: Any) -> None:
    program = trace(fn, [Abstract(TensorType(1, Float)), Abstract(Integer)]).program
    messages = [eqn.params["message"] for f in program.functions.values() for eqn in walk(f.body) if eqn.op == "assert"]
    assert not [message for message in messages if "out of range" in message]
