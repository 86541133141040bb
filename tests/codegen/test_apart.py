"""Loops over many tensors, whose iterations are known not to meet in memory, say so; others do not."""

import re

import pytest
import torch

import ksc as knossos

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
    adding = [marked for marked, _, body in innermost if "weight_bar(" in body and "ks::tanh" in body]
    assert adding
    assert all(adding)


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
