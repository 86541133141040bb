"""Loops over many tensors, whose iterations are known not to meet in memory, say so; others do not."""

import re

import pytest
import torch

import ksc as knossos
from ksc.ir.text import parse
from tests.codegen.harness import tensor_source

LAYERS, B = 3, 5


@knossos.register
def gated(weight: torch.Tensor, state: torch.Tensor, inputs: torch.Tensor):
    """Layers of gates whose weights are parts of a row, over steps."""
    total = 0.0
    state = state.clone()
    for t in range(inputs.shape[0]):
        x = inputs[t]
        for layer in range(weight.shape[0] // 2):
            w_in, w_out, w_change = weight[2 * layer].chunk(3)
            b_in, b_out, b_change = weight[2 * layer + 1].chunk(3)
            old = state[layer].clone()
            change = torch.tanh(old * w_change + b_change)
            kept = old * torch.sigmoid(x * w_in + b_in) + change
            x = torch.sigmoid(x * w_out + b_out) * torch.tanh(kept)
            state[layer] = kept
        total += x.sum()
    return total


def arguments(layers=LAYERS, b=B, steps=4):
    generator = torch.Generator().manual_seed(3)

    def uniform(*sizes):
        return torch.rand(*sizes, dtype=torch.float64, generator=generator) - 0.5

    return uniform(2 * layers, 3 * b), uniform(layers, b), uniform(steps, b)


def test_a_reversed_loop_of_gates_has_no_checks_inside_and_vectorises_whatever_the_tensors_are():
    kernel = knossos.value_and_grad(gated, argnums="weight")
    for b in (1, 4, 13):
        args = arguments(b=b)
        value, bar = kernel(*args)
        weight = args[0].clone().requires_grad_()
        expected = gated.__wrapped__(weight, *args[1:])
        torch.testing.assert_close(value, expected.detach(), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(bar, torch.autograd.grad(expected, weight)[0], rtol=1e-11, atol=1e-12)
    text = kernel.cpp
    loops = text[text.index("gated_value_and_vjp(") :]
    assert "ks::outside" not in loops
    # The state once, before the steps, and its cotangent; none for what the steps overwrite.
    assert loops.count("// copies") == 2
    innermost = re.findall(r"(KS_APART\n)?( +)for \(int64_t i_3 .*\n((?:\2 .*\n)+)", loops)
    adding = [(marked, body) for marked, _, body in innermost if "weight_bar(" in body]
    assert len(adding) == 3
    assert all(marked for marked, _ in adding)
    # The gates are those that the steps have kept, each where it was computed.
    assert not any("ks::tanh" in body or "ks::sigmoid" in body for _, body in adding)
    forward = loops[: loops.index("weight_bar = ")]
    assert len(re.findall(r"ks::tensor<\w+, 1> \w+ = \w+\.part\(layer\);", forward)) == 5
    assert re.findall(r"ks::put\(rt, (\w+?)_?\d*\.part", forward) == ["state"]


def meeting(x: torch.Tensor, y: torch.Tensor, a: torch.Tensor, b: torch.Tensor, step: int):
    """Many tensors read, and two elements in each iteration of which another one may be of the next iteration."""
    total = 0.0
    for i in range(x.shape[0] - step):
        total += x[i] * y[i] * a[i] * b[i] * torch.sin(x[i + step] * y[i + step])
    return total


@pytest.mark.parametrize("step", [1, 3])
def test_iterations_that_add_to_each_others_elements_are_not_apart(step):
    kernel = knossos.grad(knossos.register(meeting), argnums=("x", "y", "a", "b"))
    args = [torch.rand(40, dtype=torch.float64) for _ in range(4)]
    leaves = [arg.clone().requires_grad_() for arg in args]
    expected = torch.autograd.grad(meeting(*leaves, step), leaves)
    for got, want in zip(kernel(*args, step), expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
    assert "KS_APART" not in kernel.cpp


@knossos.register
def scanned(x: torch.Tensor, a: torch.Tensor, b: torch.Tensor):
    """A state per channel; in its reverse rows are stored, and the cotangents of x and of a row's scale are sums."""
    h = torch.zeros_like(a)
    y = torch.zeros_like(x)
    for t in range(x.shape[0]):
        h = torch.exp(-x[t][:, None] * a) * h + x[t][:, None] * b[t]
        y[t] = (h * b[t]).sum(-1)
    return y


def outer_sum(k: torch.Tensor, v: torch.Tensor, s: torch.Tensor):
    for t in range(v.shape[0]):
        s = s + torch.outer(k, torch.sin(v[t]))
    return (s * s).sum(1)


def shifted(w: torch.Tensor, x: torch.Tensor, n: int):
    """Element 0 is read beside each other one, and is out of range where there is none."""
    total = 0.0 * w
    for i in range(w.shape[0]):
        for j in range(n):
            total[i] += torch.sin(w[i] * x[0]) * torch.exp(x[j]) * x[j]
    return total


def compare(kernel, args, *rest):
    args = [arg.double().requires_grad_() for arg in args]
    got, want = kernel(*args, *rest), kernel.__wrapped__(*args, *rest)
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
    seed = torch.rand_like(want)
    bars = torch.autograd.grad(got, args, seed, allow_unused=True)
    for bar, expected in zip(bars, torch.autograd.grad(want, args, seed, allow_unused=True), strict=True):
        expected = torch.zeros_like(bar) if expected is None else expected
        torch.testing.assert_close(bar, expected, rtol=1e-11, atol=1e-12)
    return re.sub(r" +", " ", kernel._latest.source("v", torch.float64).text)


def test_loops_that_store_and_add_up_add_in_lanes_to_a_number():
    """Also for an element that stays the same, which is not touched in the loop."""
    held = r"double (\w+) = 0\.0;\n KS_SUM\(\1\)\n for .*\{\n(?: .*;\n)*? \1 \+= .*\n(?: .*;\n)*? \}\n %s\(%s\) \+= \1;"
    for n in (0, 19):
        text = compare(scanned, (torch.rand(3, 5), torch.rand(5, n), torch.rand(3, n)))
        assert re.search(held % ("x_bar", "i, i_2"), text)
    text = compare(knossos.register(outer_sum), (torch.rand(5), torch.rand(3, 19), torch.rand(5, 19)))
    assert re.search(held % ("k_bar", "i_2"), text)


@pytest.mark.parametrize(("m", "n"), [(4, 19), (3, 0)])
def test_an_element_is_not_touched_where_the_loop_does_not_run(m, n):
    compare(knossos.register(shifted), (torch.rand(m), torch.rand(n)), n)


MEETING = """
(entry f)
(def f (Values (Tensor 1 Float) Float) ((y : (Tensor 1 Float)))
  (let ((n (size y 0))
        (m (add n 1))
        (zeros (build m (lam (i : Integer) 0.0)))
        ((x_bar w_bar)
         (withacc ((x_bar zeros) (w_bar 0.0))
           (build n
             (lam (i : Integer)
               (let ((rest (sub n i)) (left (mul 2 rest)) (half (idiv left 2)) (at (add i AWAY)) (v (index i y))
                     (() (acc_add at x_bar v)))
                 (acc_add w_bar v)))))))
    (values x_bar w_bar)))
"""


def test_a_place_that_a_quotient_holds_still_is_shared_by_all_iterations():
    assert "KS_SUM" in tensor_source("f", parse(MEETING.replace("AWAY", "0"))).text
    assert "KS_SUM" not in tensor_source("f", parse(MEETING.replace("AWAY", "half"))).text
