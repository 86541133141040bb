"""Small tensors in scalars: which are held, which loops are written out, and that values stay as they were."""

import numpy as np
import pytest
import torch

from ksc.errors import KernelRuntimeError
from ksc.frontend import Abstract, trace
from ksc.ir.interpret import interpret
from ksc.ir.nodes import walk
from ksc.ir.text import parse
from ksc.ir.types import Float, Integer, TensorType
from ksc.ir.verify import verify
from ksc.passes import optimise, prepare
from ksc.passes.small import hold_small_tensors
from ksc.transforms import jacobian, jvp, vjp
from tests.passes.temporaries import temporaries

LOOPS = {"build", "reduce", "for", "while"}


def ops(program):
    return [eqn.op for eqn in walk(program.main.body)]


def traced(fn, *types):
    return trace(fn, [Abstract(type_) for type_ in types]).program


def vector(n):
    return TensorType(1, Float, (n,))


def rotated(r, x):
    angle = torch.sqrt(torch.dot(r, r))
    axis = r / angle
    return (
        x * torch.cos(angle)
        + torch.linalg.cross(axis, x) * torch.sin(angle)
        + axis * (torch.dot(axis, x) * (1.0 - torch.cos(angle)))
    )


def projected(r, x):
    y = rotated(r, x)
    a = y[:2] / y[2]
    return a * (1.0 + torch.dot(a, a))


POINT = [np.array([0.3, -0.2, 0.9]), np.array([1.0, 2.0, 3.0])]


def test_a_rotation_has_no_loop_and_no_temporary():
    program = optimise(traced(projected, vector(3), vector(3)))
    verify(program)
    # What is left is the result, put together of its elements.
    assert [op for op in ops(program) if op in LOOPS] == ["build"]
    assert temporaries(program) == []
    wanted = projected(*map(torch.from_numpy, POINT)).numpy()
    np.testing.assert_allclose(interpret(program, POINT)[0], wanted, rtol=1e-14)


@pytest.mark.parametrize("derive", [lambda p: vjp(p), lambda p: jvp(p), lambda p: jacobian(p)])
def test_derivatives_of_a_rotation_have_neither(derive):
    program = optimise(derive(prepare(traced(projected, vector(3), vector(3)))))
    verify(program)
    assert set(ops(program)) & (LOOPS | {"withacc", "update"}) <= {"build"}
    assert temporaries(program) == []


def test_the_jacobian_is_that_of_torch():
    program = optimise(jacobian(prepare(traced(projected, vector(3), vector(3)))))
    wanted = torch.func.jacrev(projected, argnums=(0, 1))(*map(torch.from_numpy, POINT))
    for found, expected in zip(interpret(program, POINT), wanted, strict=True):
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-12)


def test_a_product_of_rotations_is_arithmetic():
    def product(x: float, y: float):
        a = torch.tensor([[torch.cos(x), -torch.sin(x), 0.0], [torch.sin(x), torch.cos(x), 0.0], [0.0, 0.0, 1.0]])
        b = torch.tensor([[1.0, 0.0, 0.0], [0.0, torch.cos(y), -torch.sin(y)], [0.0, torch.sin(y), torch.cos(y)]])
        return torch.sum((a @ b) * (b @ a))

    program = optimise(traced(product, Float, Float))
    verify(program)
    assert not set(ops(program)) & (LOOPS | {"if"})
    x, y = torch.tensor(0.3, dtype=torch.float64), torch.tensor(-0.8, dtype=torch.float64)

    def eager(x, y):
        cx, sx, cy, sy, one, nought = x.cos(), x.sin(), y.cos(), y.sin(), torch.ones_like(x), torch.zeros_like(x)
        a = torch.stack([cx, -sx, nought, sx, cx, nought, nought, nought, one]).reshape(3, 3)
        b = torch.stack([one, nought, nought, nought, cy, -sy, nought, sy, cy]).reshape(3, 3)
        return ((a @ b) * (b @ a)).sum()

    np.testing.assert_allclose(interpret(program, [0.3, -0.8])[0], eager(x, y).item(), rtol=1e-13)


def test_a_loop_carries_elements():
    def blended(weights, points):
        total = torch.zeros(3)
        for k in range(points.shape[0]):
            total += weights[k] * points[k]
        return torch.dot(total, total)

    program = optimise(traced(blended, TensorType(1, Float), TensorType(2, Float, (None, 3))))
    verify(program)
    (loop,) = [eqn for eqn in walk(program.main.body) if eqn.op == "for"]
    assert [out.type for out in loop.outs] == [Float] * 3
    assert temporaries(program) == []
    weights, points = np.array([0.5, -2.0]), np.array([[1.0, 2.0, 3.0], [0.5, 0.25, -1.0]])
    np.testing.assert_allclose(interpret(program, [weights, points])[0], ((weights @ points) ** 2).sum(), rtol=1e-14)


def test_a_branch_gives_elements_and_the_untaken_side_is_not_evaluated():
    def bent(x):
        s = torch.dot(x, x)
        if s > 1.0:
            y = x / s
        else:
            y = x * s
        return y[0] * y[1] - y[2]

    program = optimise(traced(bent, vector(3)))
    verify(program)
    assert "build" not in ops(program)
    for x in ([0.1, 0.2, 0.3], [1.0, 2.0, 3.0]):
        wanted = bent(torch.tensor(x, dtype=torch.float64)).item()
        np.testing.assert_allclose(interpret(program, [np.array(x)])[0], wanted, rtol=1e-14)


def test_an_index_that_is_known_at_run_time_only_needs_the_tensor():
    text = """(def f Float ((x : Float) (k : Integer))
      (let (t (build 3 (lam (i : Integer) (mul x (to_float i))))) (add (index k t) (index 0 t))))"""
    program = hold_small_tensors(parse(text))
    verify(program)
    assert "build" in ops(program)
    assert interpret(program, [2.0, 2]) == (4.0,)
    with pytest.raises(KernelRuntimeError):
        interpret(program, [2.0, 3])


def test_an_index_out_of_range_still_stops():
    for body in ("(index 3 t)", "(index 0 (update 3 t x))"):
        text = f"""(def f Float ((x : Float)) (let (t (build 3 (lam (i : Integer) (mul x x))))
          (add (index 1 t) {body})))"""
        program = hold_small_tensors(parse(text))
        verify(program)
        with pytest.raises(KernelRuntimeError):
            interpret(program, [2.0])


def test_a_reversed_loop_is_written_out_in_its_order():
    text = """(def f Float ((x : Float)) (let (t (build 3 (lam (i : Integer) (mul x (to_float i)))))
      (for (i 3 down) ((s x)) (add (mul s x) (index i t)))))"""
    program = parse(text)
    wanted = interpret(program, [0.5])
    held = hold_small_tensors(program)
    verify(held)
    assert interpret(held, [0.5]) == wanted


def test_long_vectors_and_long_loops_are_left_alone():
    def layer(w, x):
        return torch.sum(torch.tanh(w @ x))

    program = optimise(traced(layer, TensorType(2, Float, (8, 8)), vector(8)))
    assert "reduce" in ops(program)
    assert len(ops(program)) < 30


def test_what_is_written_out_is_bounded():
    def many(x):
        total = torch.zeros(4, 4)
        for _ in range(40):
            total = total @ total + x
        return total

    program = optimise(traced(many, TensorType(2, Float, (4, 4))))
    verify(program)
    assert len(ops(program)) < 3500


def test_integers_and_truth_values_are_held_too():
    text = """(def f Integer ((k : Integer))
      (let (t (build 3 (lam (i : Integer) (mul k i)))) (add (index 2 t) (index 1 t))))"""
    program = optimise(parse(text))
    assert not set(ops(program)) & LOOPS
    assert interpret(program, [5]) == (15,)
    assert program.main.result_types == (Integer,)


def test_what_a_while_carries_is_held_everywhere_or_nowhere():
    """A carry that is worth it for what the body alone makes of it: its condition takes the same."""
    program = parse("""
    (def f (Values Float (Tensor 1 Float 1)) ((x : Float) (i : Integer) (start : (Tensor 1 Float 1)))
      (let (((k s last) (while ((k 0) (s 0.0) (v start))
              (lt k 2)
              (let ((w (if (gt x 1.0) v start))
                    (u (update i start s)))
                (values (add k 1) (index 0 w) u)))))
        (values s last)))
    """)
    held = hold_small_tensors(program)
    verify(held)
    for x in (0.5, 1.5):
        args = [x, 0, np.array([2.0])]
        assert interpret(held, args) == interpret(program, args)


def swept(m, k):
    """Rows cleared of a row that is known at run time only."""
    a = m * 1.0
    b = m * 2.0
    for i in range(4):
        for j in range(4):
            a[i, j] = a[i, j] - b[k, j] * a[k, j]
            b[i, j] = b[i, j] + a[i, k]
    return a, b


def faded(x):
    row, left = torch.zeros(3), 1.0
    for i in range(x.shape[0]):
        if x[i] < 0.0:
            continue
        for c in range(3):
            row[c] += left * x[i] * (c + 1)
        left = left * 0.5
        if left < 0.2:
            break
    return row


def test_what_a_side_of_an_if_gives_to_a_loop_is_held_as_the_loop_is():
    program = optimise(prepare(traced(faded, TensorType(1, Float))))
    verify(program)
    # What is left is the result, put together of its elements.
    assert [op for op in ops(program) if op in ("build", "update")] == ["build"]
    x = torch.tensor([0.5, -1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    np.testing.assert_allclose(interpret(program, [x.numpy()])[0], faded(x).numpy(), rtol=1e-6)


def test_a_tensor_in_memory_is_not_put_together_for_each_element_that_changes():
    matrix = TensorType(2, Float, (4, 4))
    program = hold_small_tensors(optimise(traced(swept, matrix, Integer)))
    verify(program)
    assert len([op for op in ops(program) if op == "update"]) <= 2 * 16
    assert len([op for op in ops(program) if op == "build"]) <= 2
    args = [np.arange(16.0).reshape(4, 4) / 7.0, 2]
    for found, wanted in zip(interpret(program, args), interpret(traced(swept, matrix, Integer), args), strict=True):
        np.testing.assert_array_equal(found, wanted)
