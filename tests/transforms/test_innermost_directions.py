"""Jacobians of many directions in forward mode, each tangent with its directions side by side."""

import numpy as np
import pytest
import torch

from ksc.frontend import Abstract, trace
from ksc.ir.interpret import interpret
from ksc.ir.nodes import walk
from ksc.ir.types import Float, TensorType
from ksc.ir.verify import verify
from ksc.passes import optimise
from ksc.transforms import jacobian
from tests.transforms import oracle
from tests.transforms.copies import count_copies
from tests.transforms.test_few_directions import sized
from tests.transforms.test_jacobian import ALL, matrix


@pytest.fixture(autouse=True)
def none(monkeypatch):
    """No directions are written out."""
    monkeypatch.setattr("ksc.passes.unrolled.MOST_DIRECTIONS", 0)


@pytest.mark.parametrize("name", [name for name in ALL if name != "empty"])
def test_jacobian_is_finite_differences(name):
    program, args = ALL[name]
    program = sized(program, args)
    truth = oracle.jacobian(program, args)
    derived = jacobian(program, mode="forward")
    verify(derived)
    np.testing.assert_allclose(matrix(program, args, interpret(derived, args)), truth, rtol=2e-5, atol=2e-5)
    fast = optimise(derived)
    verify(fast)
    np.testing.assert_allclose(matrix(program, args, interpret(fast, args)), truth, rtol=2e-5, atol=2e-5)


def chain(x, frames):
    places = torch.zeros_like(frames)
    for b in range(frames.shape[0]):
        turned = frames[b] * torch.tanh(x[b % 6])
        if b < 2:
            places[b] = turned
        else:
            places[b] = places[b // 2] @ turned
    return places


def traced_chain():
    frames = Abstract(TensorType(3, Float, (None, 2, 2)))
    return trace(chain, [Abstract(TensorType(1, Float, (6,))), frames]).program


def test_tangents_of_a_carried_tensor_are_those_of_pytorch():
    x, frames = torch.linspace(-0.8, 0.9, 6, dtype=torch.float64), torch.randn(7, 2, 2, dtype=torch.float64)
    derived = jacobian(traced_chain(), mode="forward", wrt=[0])
    verify(derived)
    truth = torch.func.jacfwd(chain)(x, frames).numpy()
    for each in (derived, optimise(derived)):
        np.testing.assert_allclose(interpret(each, [x.numpy(), frames.numpy()])[0], truth, rtol=1e-12, atol=1e-14)


def test_rows_are_put_in_place_for_all_directions(monkeypatch):
    """The numbers copied grow with the length of the loop as what it computes does, not with its square."""
    derived = optimise(jacobian(traced_chain(), mode="forward", wrt=[0]))
    x = np.linspace(-0.8, 0.9, 6)
    few, many = (sum(count_copies(derived, [x, np.ones((bones, 2, 2))], monkeypatch).values()) for bones in (10, 40))
    assert many <= 4 * few


def test_the_directions_are_the_innermost_dimension():
    derived = optimise(jacobian(traced_chain(), mode="forward", wrt=[0]))
    (loop,) = [eqn for eqn in walk(derived.main.body) if eqn.op == "for" and eqn.params["carries"] == 2]
    tangents = [out.type for out in loop.outs if out.type.rank == 4]
    assert [type_.sizes[-1] for type_ in tangents] == [6]
    (result,) = derived.main.result_types
    assert result.sizes[-1] == 6


def test_a_row_read_whole_is_taken_out_at_its_direction():
    """A direction's own condition keeps a loop inside of the directions, where it reads rows of what is stacked."""

    def function(x, n):
        table = torch.outer(x, torch.exp(x))
        row = table[1]
        while row[0] * row[0] < n:
            row = row + table[0] * row
        return row

    x = torch.tensor([0.6, 0.9, -0.4, 0.3, 0.7], dtype=torch.float64)
    types = [Abstract(TensorType(1, Float, (5,))), Abstract(Float)]
    derived = jacobian(trace(function, types).program, mode="forward", wrt=[0])
    verify(derived)
    truth = torch.func.jacfwd(lambda x: _grown(x, 9.0))(x).numpy()
    for each in (derived, optimise(derived)):
        np.testing.assert_allclose(interpret(each, [x.numpy(), 9.0])[0], truth, rtol=1e-10)


def _grown(x, n):
    table = torch.outer(x, torch.exp(x))
    row = table[1]
    for _ in range(_count(n)):
        row = row + table[0] * row
    return row


def _count(n):
    x = torch.tensor([0.6, 0.9, -0.4, 0.3, 0.7], dtype=torch.float64)
    table = torch.outer(x, torch.exp(x))
    row, count = table[1], 0
    while row[0] * row[0] < n:
        row, count = row + table[0] * row, count + 1
    return count
