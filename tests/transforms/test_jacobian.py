"""Jacobians of every construct, in both modes, against finite differences; and what they compute once."""

import numpy as np
import pytest
import torch

from ksc.frontend import Abstract, trace
from ksc.ir.interpret import interpret
from ksc.ir.nodes import walk
from ksc.ir.text import parse
from ksc.ir.types import Float, TensorType, is_differentiable
from ksc.ir.verify import verify
from ksc.passes import optimise
from ksc.transforms import jacobian, seed_ones, vjp
from tests.transforms import oracle
from tests.transforms.programs import PROGRAMS
from tests.transforms.tensor_loops import LOOPS

ALL = {**PROGRAMS, **LOOPS}
MODES = ["forward", "reverse"]


def matrix(program, args, blocks):
    """The blocks that a Jacobian gives, put together to one matrix."""
    values = interpret(program, args)
    results = [v for v, type_ in zip(values, program.main.result_types, strict=True) if is_differentiable(type_)]
    params = [args[k] for k in oracle.active(program)]
    found = iter(blocks)
    rows = []
    for result in results:
        row = []
        for param in params:
            block = np.asarray(next(found), float)
            assert block.shape == np.shape(result) + np.shape(param)
            row.append(block.reshape(np.size(result), np.size(param)))
        rows.append(np.concatenate(row, axis=1))
    assert next(found, None) is None
    return np.concatenate(rows)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", [name for name in ALL if name != "empty"])
def test_jacobian_is_finite_differences(name, mode):
    program, args = ALL[name]
    truth = oracle.jacobian(program, args)
    derived = jacobian(program, mode=mode)
    verify(derived)
    np.testing.assert_allclose(matrix(program, args, interpret(derived, args)), truth, rtol=2e-5, atol=2e-5)
    fast = optimise(derived)
    verify(fast)
    np.testing.assert_allclose(matrix(program, args, interpret(fast, args)), truth, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("mode", MODES)
def test_jacobian_of_an_empty_argument(mode):
    program = parse("(def f (Vec Float) ((x : (Vec Float))) (build (size x) (lam (i : Integer) (sin (index i x)))))")
    (result,) = interpret(jacobian(program, mode=mode), [np.zeros(0)])
    assert result.shape == (0, 0)


def counted(program, args, op):
    """How often a primitive is evaluated."""
    from ksc.ir import interpret as module

    count = 0
    scalar = module.Machine.scalar

    def watched(machine, eqn, values):
        nonlocal count
        count += eqn.op == op
        return scalar(machine, eqn, values)

    module.Machine.scalar = watched
    try:
        interpret(program, args)
    finally:
        module.Machine.scalar = scalar
    return count


ONCE = {
    "elementwise": (
        "(def f (Vec Float) ((x : (Vec Float))) (build (size x) (lam (i : Integer) (tanh (index i x)))))",
        1,
    ),
    "loop": (
        """(def f (Vec Float) ((x : (Vec Float)))
          (let (s (for (i (size x)) ((s 0.5)) (tanh (add s (index i x)))))
            (build (size x) (lam (i : Integer) (mul s (index i x))))))""",
        1,
    ),
    "state": (
        """(def f (Vec Float) ((x : (Vec Float)))
          (for (t 4) ((h x)) (build (size x) (lam (i : Integer) (tanh (mul (index i h) (index 0 h)))))))""",
        4,
    ),
    "branch in a loop": (
        """(def f Float ((x : (Vec Float)))
          (for (i (size x)) ((s 0.5)) (if (lt (index i x) 0.7) (tanh (add s (index i x))) (mul s (tanh (index i x))))))""",
        1,
    ),
    "while": (
        """(def f Float ((x : (Vec Float)))
          (get$1$2 (while (lam (s : (Tuple Float Integer)) (lt (get$2$2 s) (size x)))
             (tuple 0.5 0) (lam (s : (Tuple Float Integer))
               (tuple (tanh (add (get$1$2 s) (index (get$2$2 s) x))) (add (get$2$2 s) 1))))))""",
        1,
    ),
    "reduce": (
        """(def f (Vec Float) ((x : (Vec Float)))
          (let (s (sumbuild (size x) (lam (i : Integer) (tanh (index i x)))))
            (build (size x) (lam (i : Integer) (mul s (index i x))))))""",
        1,
    ),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", [name for name in ONCE if name != "while"])
def test_the_primal_is_computed_once_for_all_directions(name, mode):
    text, per_element = ONCE[name]
    program = parse(text)
    x = np.linspace(0.1, 1.2, 6)
    derived = optimise(jacobian(program, mode=mode))
    # In reverse mode what a loop's body computes may be computed once more in the reverse sweep.
    most = len(x) * per_element * (1 if mode == "forward" else 2)
    assert 0 < counted(derived, [x], "tanh") <= most


def test_a_hessian_is_the_jacobian_of_a_gradient():
    program = parse(
        "(def f Float ((x : (Vec Float))) (sumbuild (size x) (lam (i : Integer) (exp (mul (index i x) (index 0 x))))))"
    )
    gradient = seed_ones(vjp(program))
    x = np.array([0.3, -0.2, 0.8])
    truth = oracle.jacobian(gradient, [x])
    for mode in MODES:
        derived = jacobian(gradient, mode=mode)
        np.testing.assert_allclose(interpret(derived, [x])[0], truth, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(interpret(optimise(derived), [x])[0], truth, rtol=1e-6, atol=1e-6)


def test_the_mode_is_that_of_fewer_directions():
    scalar = parse("(def f Float ((x : (Vec Float))) (sumbuild (size x) (lam (i : Integer) (sin (index i x)))))")
    assert not any(eqn.op == "select" for eqn in walk(jacobian(scalar).main.body))
    curve = parse("(def f (Vec Float) ((t : Float)) (build 5 (lam (i : Integer) (sin (mul t (to_float i))))))")
    assert not any(eqn.op == "select" for eqn in walk(jacobian(curve).main.body))


def test_parameters_are_chosen():
    program = parse("(def f Float ((x : Float) (n : Integer) (y : Float)) (mul x (mul y (to_float n))))")
    assert interpret(jacobian(program, wrt=[2]), [2.0, 3, 5.0]) == (6.0,)
    with pytest.raises(ValueError, match="no tangent"):
        jacobian(program, wrt=[1])


SQUARE_ROOTS = {
    "elementwise": lambda x: torch.sqrt(x),
    "chain": lambda x: 2 * torch.sqrt(x + 0.0).exp(),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", SQUARE_ROOTS)
def test_no_seed_of_zero_meets_an_infinite_derivative_of_another_element(name, mode):
    function = SQUARE_ROOTS[name]
    x = torch.tensor([[0.0, 4.0], [1.0, 0.0]], dtype=torch.float64, requires_grad=True)
    (slopes,) = torch.autograd.grad(function(x).sum(), x)
    rows = function(x).shape[0]
    truth = torch.zeros(rows, 2, 2, 2, dtype=torch.float64)
    for i, j in np.ndindex(rows, 2):
        truth[i, j, i, j] = slopes[i, j]
    derived = jacobian(trace(function, [Abstract(TensorType(2, Float))]).program, mode=mode)
    verify(derived)
    for program in (derived, optimise(derived)):
        np.testing.assert_array_equal(interpret(program, [x.detach().numpy()])[0], truth.numpy())


@pytest.mark.parametrize("mode", MODES)
def test_fewer_results_than_arguments_share_directions(mode):
    program = parse("(def f (Vec Float) ((x : (Vec Float))) (build 2 (lam (i : Integer) (sqrt (index i x)))))")
    derived = jacobian(program, mode=mode)
    for each in (derived, optimise(derived)):
        (found,) = interpret(each, [np.array([0.0, 4.0, 0.0])])
        np.testing.assert_array_equal(found, [[np.inf, 0, 0], [0, 0.25, 0]])


def test_rows_share_directions_within_them_only():
    """PyTorch's NaN stays where 0 does meet an infinite derivative: in the same row."""

    def roots(x):
        return torch.sqrt(x.sum(1)), torch.stack([torch.sqrt(x[:, 1]), x[:, 0] * x[:, 1]], 1)

    x = torch.tensor([[0.5, 1.5], [0.0, 0.0], [1.0, 4.0]], dtype=torch.float64)
    truth = torch.func.jacrev(roots)(x)
    for mode in MODES:
        derived = optimise(jacobian(trace(roots, [Abstract(TensorType(2, Float))]).program, mode=mode))
        for found, wanted in zip(interpret(derived, [x.numpy()]), truth, strict=True):
            across = np.ones(wanted.shape, bool)
            for i in range(3):
                across[i, ..., i, :] = False
                finite = torch.isfinite(wanted[i, ..., i, :]).numpy()
                within = found[i, ..., i, :]
                np.testing.assert_allclose(within[finite], wanted[i, ..., i, :].numpy()[finite], rtol=1e-12)
            assert (found[across] == 0).all()


def test_results_that_share_directions_stand_beside_others():
    def several(x, y):
        return x * torch.exp(x), (x * y[0]).sum(), y + x[:2].flip(0), torch.outer(x, y)

    x, y = torch.tensor([0.3, -0.2, 0.8], dtype=torch.float64), torch.tensor([1.5, -0.4], dtype=torch.float64)
    truth = [block for row in torch.func.jacrev(several, argnums=(0, 1))(x, y) for block in row]
    program = trace(several, [Abstract(TensorType(1, Float))] * 2).program
    for mode in MODES:
        derived = jacobian(program, mode=mode)
        verify(derived)
        for each in (derived, optimise(derived)):
            for found, wanted in zip(interpret(each, [x.numpy(), y.numpy()]), truth, strict=True):
                np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-12, atol=1e-12)
