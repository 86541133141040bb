"""Jacobians of few directions, where each has values of its own beside one primal."""

import numpy as np
import pytest
import torch

from ksc.frontend import Abstract, trace
from ksc.ir.interpret import interpret
from ksc.ir.nodes import Program, walk
from ksc.ir.rewrite import clone_function
from ksc.ir.text import parse
from ksc.ir.types import Float, TensorType, is_differentiable
from ksc.ir.verify import verify
from ksc.passes import optimise
from ksc.transforms import jacobian
from tests.transforms import oracle
from tests.transforms.test_jacobian import ALL, MODES, ONCE, counted, matrix


def sized(program, args):
    """The program with the sizes of these arguments, and of its results, in its types."""
    main = clone_function(program.main)
    values = interpret(program, args)
    for var, value in [*zip(main.params, args, strict=True), *zip(main.body.results, values, strict=True)]:
        if isinstance(var.type, TensorType) and is_differentiable(var.type) and np.ndim(value) == var.type.rank:
            var.type = TensorType(var.type.rank, var.type.elem, np.shape(value))
    return Program({**program.functions, program.entry: main}, program.entry, program.boxes)


@pytest.fixture(autouse=True)
def many(monkeypatch):
    """So many directions are written out that all programs are."""
    monkeypatch.setattr("ksc.passes.unrolled.MOST_DIRECTIONS", 12)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", [name for name in ALL if name != "empty"])
def test_jacobian_is_finite_differences(name, mode):
    program, args = ALL[name]
    program = sized(program, args)
    truth = oracle.jacobian(program, args)
    derived = jacobian(program, mode=mode)
    verify(derived)
    np.testing.assert_allclose(matrix(program, args, interpret(derived, args)), truth, rtol=2e-5, atol=2e-5)
    fast = optimise(derived)
    verify(fast)
    np.testing.assert_allclose(matrix(program, args, interpret(fast, args)), truth, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", [name for name in ONCE if name != "while"])
def test_the_primal_is_computed_once_for_all_directions(name, mode):
    text, per_element = ONCE[name]
    x = np.linspace(0.1, 1.2, 6)
    derived = optimise(jacobian(sized(parse(text), [x]), mode=mode))
    most = len(x) * per_element * (1 if mode == "forward" else 2)
    assert 0 < counted(derived, [x], "tanh") <= most


def test_directions_of_two_dimensions_are_written_out():
    def products(x):
        return x @ torch.exp(x)

    x = torch.tensor([[0.3, -0.2], [0.8, 0.1]], dtype=torch.float64)
    program = trace(products, [Abstract(TensorType(2, Float, (2, 2)))]).program
    for mode in MODES:
        derived = jacobian(program, mode=mode)
        verify(derived)
        for each in (derived, optimise(derived)):
            np.testing.assert_allclose(
                interpret(each, [x.numpy()])[0], torch.func.jacrev(products)(x).numpy(), rtol=1e-12, atol=1e-12
            )


def test_no_tensor_holds_the_values_of_several_directions_in_a_loop():
    """A carried tensor has a tangent for each direction, which is changed in place: no slice is taken of any."""

    def steps(x):
        state = torch.zeros(9, 2)
        for t in range(1, 9):
            state[t] = torch.tanh(state[t - 1] * x + x)
        return state[8]

    program = trace(steps, [Abstract(TensorType(1, Float, (2,)))]).program
    derived = optimise(jacobian(program, mode="forward"))
    (loop,) = [eqn for eqn in walk(derived.main.body) if eqn.op == "for"]
    updates = [eqn for eqn in walk(loop.blocks[0]) if eqn.op == "update"]
    assert all(eqn.outs[0].type.rank == 2 for eqn in updates)
    x = torch.tensor([0.4, -0.7], dtype=torch.float64)
    truth = torch.func.jacrev(lambda x: _steps(x))(x)
    np.testing.assert_allclose(interpret(derived, [x.numpy()])[0], truth.numpy(), rtol=1e-12)


def _steps(x):
    row = torch.zeros(2, dtype=torch.float64)
    for _ in range(8):
        row = torch.tanh(row * x + x)
    return row
