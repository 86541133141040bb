"""Loops over directions are as long as the range in which a tangent may differ from zero, and give the same numbers."""

import math
import re
from typing import Annotated

import numpy as np
import pytest
import torch
from torch import Tensor

import ksc as knossos
from ksc.ir.interpret import interpret
from ksc.ir.nodes import walk
from ksc.ir.text import parse
from ksc.ir.verify import verify
from ksc.passes.supports import limit_to_supports

TREE = """(def f (Tensor 3 Float) ((x : (Tensor 1 Float)) (parent : (Tensor 1 Integer)))
  (let ((n (size x))
        ((start : (Tensor 3 Float _ 2 24)) (build (tuple n 2 24)
          (lam ((i : Integer) (j : Integer) (d : Integer)) 0.0))))
    (for (b n) ((t start))
      (let ((p (index b parent)) (v (index b x)))
        (if (lt p 0) {root} {child})))))"""

ROW = """(build :nested false 2 (lam (j : Integer) (build 24 (lam (d : Integer) {}))))"""
SEED = "(mul (kronecker b d) v)"
OLD = "(mul (index (tuple p j d) t) v)"
PROGRAMS = {
    "a row from its parent's": (
        f"(let (((r : (Tensor 2 Float 2 24)) {ROW.format(SEED)})) (update b t r))",
        f"(let (((r : (Tensor 2 Float 2 24)) {ROW.format(f'(sub (neg {SEED}) (div {OLD} 3.0))')})) (update b t r))",
    ),
    "parts in an inner loop": (
        "t",
        f"""(for (j 2) ((t t)) (let (((r : (Tensor 1 Float 24)) (build 24 (lam (d : Integer)
              (select (lt j 1) (add {SEED} {OLD}) 0.0))))) (update (tuple b j) t r)))""",
    ),
    "a copy of a row, then a sum": (
        f"(let (((r : (Tensor 2 Float 2 24)) {ROW.format(SEED)})) (update b t r))",
        f"""(let ((up (index p t)) ((r : (Tensor 2 Float 2 24)) {
            ROW.format(f"(reduce add 2 (lam (k : Integer) (add {SEED} (mul v (index (tuple k d) up)))))")
        })) (update b t r))""",
    ),
    "a table of the whole between": (
        f"""(let ((all (for (i 2) ((w (build (tuple 2 24) (lam ((i : Integer) (d : Integer)) 0.0))))
              (let (((r : (Tensor 1 Float 24)) (build 24 (lam (d : Integer) {SEED})))) (update i w r)))))
              (update b t all))""",
        "t",
    ),
    "what is not known": (
        f"(let (((r : (Tensor 2 Float 2 24)) {ROW.format(SEED)})) (update b t r))",
        f"(let (((r : (Tensor 2 Float 2 24)) {ROW.format(f'(add v {OLD})')})) (update b t r))",
    ),
}
RNG = np.random.default_rng(0)


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_numbers_are_the_same(name):
    root, child = PROGRAMS[name]
    program = parse(TREE.format(root=root, child=child))
    limited = limit_to_supports(program)
    verify(limited)
    assert any(eqn.outs[0].name == "inside" for eqn in walk(limited.main.body) if eqn.outs)
    for n in (0, 1, 9, 30):
        x = RNG.uniform(0.5, 1.5, size=n)
        parent = np.array([RNG.integers(-1, b) if b else -1 for b in range(n)], dtype=np.int64)
        (expected,), (found,) = interpret(program, (x, parent)), interpret(limited, (x, parent))
        np.testing.assert_array_equal(found, expected)


def test_zeros_that_are_no_tangents_are_numbers():
    text = """(def f (Tensor 2 Float) ((x : (Tensor 1 Float)))
      (let (((zeros : (Tensor 2 Float 3 24)) (build (tuple 3 24) (lam ((i : Integer) (d : Integer)) 0.0)))
            ((same : (Tensor 2 Float 3 24)) (for (b 3) ((z zeros))
              (let (((row : (Tensor 1 Float 24)) (build 24 (lam (d : Integer) (mul (index (tuple b d) z) (index b x))))))
                (update b z row)))))
        (for (b 3) ((t zeros))
          (let (((r : (Tensor 1 Float 24)) (build 24 (lam (d : Integer)
                  (add (mul (kronecker b d) (index b x)) (mul (index b x) (index (tuple b d) same)))))))
            (update b t r)))))"""
    program = parse(text)
    x = np.array([1.0, math.inf, 2.0])
    (found,) = interpret(limit_to_supports(program), (x,))
    np.testing.assert_array_equal(found, interpret(program, (x,))[0])
    assert np.isnan(found[1]).all()


@knossos.register
def chain(
    angles: Annotated[Tensor, (20,)], parents: Annotated[Tensor, ("n",), torch.int64], at: Annotated[Tensor, ("n", 2)]
):
    """Joints turned one in the other: where each ends."""
    turned = torch.zeros(parents.shape[0], 2, 2)
    ends = torch.zeros(parents.shape[0], 2)
    for b in range(parents.shape[0]):
        c, s = math.cos(angles[b]), math.sin(angles[b])
        own = torch.tensor([[c, -s], [s, c]])
        if parents[b] < 0:
            turned[b] = own
        else:
            turned[b] = turned[parents[b]] @ own
        ends[b] = turned[b] @ at[b]
    return ends


forward = knossos.jacobian(chain, argnums="angles", mode="forward")
backward = knossos.jacobian(chain, argnums="angles", mode="reverse")


def test_a_tree():
    parents = torch.tensor([-1, 0, 1, 1, 0, -1, 5, 6])
    angles = torch.linspace(-1, 1, 20, dtype=torch.float64)
    at = torch.randn(8, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = forward(angles, parents, at)
    torch.testing.assert_close(found, backward(angles, parents, at))
    step = 1e-6 * torch.eye(20, dtype=torch.float64)
    differences = [(chain(angles + h, parents, at) - chain(angles - h, parents, at)) / 2e-6 for h in step]
    torch.testing.assert_close(found, torch.stack(differences, -1), rtol=1e-7, atol=1e-8)
    assert "d = begin; d < end" in forward.cpp
    # Only its own angle and those of its ancestors move a joint, also where what they would be multiplied with is infinite.
    angles[5] = math.inf
    found = forward(angles, parents, at)
    assert torch.isfinite(found[:5]).all() and (found[5:, :, :5] == 0).all() and found[5:, :, 5].isnan().all()


@knossos.register
def summed(z: Annotated[Tensor, (20,)], at: Annotated[Tensor, ("n",), torch.int64]):
    total = torch.zeros(2, 3)
    for j in range(at.shape[0]):
        total[at[j], 0] += z[3]
    return total


def test_a_row_that_is_added_to_where_it_lies_is_not_filled_first():
    jacobian = knossos.jacobian(summed, mode="forward")
    found = jacobian(torch.ones(20, dtype=torch.float64), torch.tensor([1, 1, 0, 1]))
    assert found[:, 0, 3].tolist() == [1.0, 3.0]
    assert found.sum() == 4.0


@knossos.register
def blended(
    angles: Annotated[Tensor, (20,)],
    parents: Annotated[Tensor, ("n",), torch.int64],
    which: Annotated[Tensor, ("m",), torch.int64],
    weights: Annotated[Tensor, ("m",)],
):
    """Some of the joints' rotations, added up."""
    turned = torch.zeros(parents.shape[0], 2, 2)
    for b in range(parents.shape[0]):
        c, s = math.cos(angles[b]), math.sin(angles[b])
        own = torch.tensor([[c, -s], [s, c]])
        if parents[b] < 0:
            turned[b] = own
        else:
            turned[b] = turned[parents[b]] @ own
    total = torch.ones(2, 2)
    for e in range(which.shape[0]):
        total += weights[e] * turned[which[e]]
    return total


def test_what_is_added_is_added_in_its_range():
    parents = torch.tensor([-1, 0, 1, 1, 0, -1, 5, 6])
    angles = torch.linspace(-1, 1, 20, dtype=torch.float64)
    which, weights = torch.tensor([2, 7, 2, 4]), torch.tensor([0.5, 2.0, -1.0, 3.0], dtype=torch.float64)
    jacobian = knossos.jacobian(blended, argnums="angles", mode="forward")
    found = jacobian(angles, parents, which, weights)
    steps = 1e-6 * torch.eye(20, dtype=torch.float64)
    differences = [
        (blended(angles + h, parents, which, weights) - blended(angles - h, parents, which, weights)) / 2e-6
        for h in steps
    ]
    torch.testing.assert_close(found, torch.stack(differences, -1), rtol=1e-7, atol=1e-8)
    (loop,) = re.findall(r"for \(int64_t d = (\w+); d < \w+; \+\+d\) {\n *total\w*\(.*\) \+=", jacobian.cpp)
    assert loop.startswith("begin")
