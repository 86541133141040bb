"""Backward is handed the results that spare it work, as PyTorch's own backward is."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch.testing import assert_close

import ksc as knossos


@knossos.register
def layer(x: torch.Tensor, w: torch.Tensor):
    y = torch.tanh(x @ w)
    return y, (y * y).sum()


@knossos.elementwise
def gate(x: float, k: float):
    return torch.sigmoid(k * x)


@knossos.register
def polynomial(x: torch.Tensor):
    return x * x + 2.0 * x


def reference(x: torch.Tensor, w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    y = torch.tanh(x @ w)
    return y, (y * y).sum()


def inputs(dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(size, dtype=torch.float64, generator=generator).to(dtype).requires_grad_()
        for size in ((3, 4), (4, 2))
    ]


def special(kernel, *args):
    return kernel._specialise(args, {})[0]


def taken(kernel, *args) -> set[str]:
    """The derivations of the kernel that have run."""
    return {derivation for derivation, *_ in special(kernel, *args).operator._entries}


def test_results_are_handed_where_that_spares_work():
    assert special(layer, *inputs()).handed_results() == "10"
    assert special(polynomial, torch.rand(3)).handed_results() == ""
    assert special(gate, torch.rand(3), 2.0).handed_results() == "1"


def test_backward_reads_them_and_agrees_to_the_second_order():
    def second(f, args):
        grads = torch.autograd.grad(f(*args)[0].sin().sum(), args, create_graph=True)
        return *grads, *torch.autograd.grad(sum(g.square().sum() for g in grads), args)

    args = inputs()
    assert_close(second(layer, args), second(reference, args))
    assert "r1010" in taken(layer, *args) and "v10" not in taken(layer, *args)
    x = torch.randn(4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: gate(x, 2.0), [x], check_batched_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: gate(x, 2.0), [x], check_fwd_over_rev=True)


def test_a_result_without_cotangent():
    args = inputs()
    got = torch.autograd.grad(layer(*args)[1], args)
    assert_close(got, torch.autograd.grad(reference(*args)[1], args))
    assert "r1001" in taken(layer, *args)


def test_a_result_changed_in_place_raises():
    args = inputs()
    y, total = layer(*args)
    y.mul_(2.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        total.backward()
    y, total = layer(*args)
    total.mul_(2.0)
    assert_close(torch.autograd.grad(total, args), torch.autograd.grad(2.0 * reference(*args)[1], args))


def test_the_graph_is_kept_or_freed_and_holds_no_cycle():
    args = inputs()
    y, _ = layer(*args)
    y.sum().backward(retain_graph=True)
    y.sum().backward()
    with pytest.raises(RuntimeError, match="second time"):
        y.sum().backward()
    gc.disable()
    try:
        y, total = layer(*args)
        alive = weakref.ref(y)
        del y, total
        assert alive() is None
    finally:
        gc.enable()


def test_half_precision_computes_from_the_arguments():
    x = torch.randn(4).to(torch.bfloat16).requires_grad_()
    gate(x, 2.0).sum().backward()
    ran = {derivation for derivation, dtype, *_ in special(gate, x, 2.0).operator._entries if dtype == torch.bfloat16}
    assert ran == {"", "v"}


def test_func_transforms_and_compile():
    x, w = (arg.detach() for arg in inputs())
    batch = torch.stack([x, 2 * x])

    def of_layer(f):
        return torch.func.vmap(torch.func.grad(lambda x: f(x, w)[0].sum()))(batch)

    def of_gate(f):
        def mapped(x):
            return torch.func.vmap(lambda x: f(x).sin())(x).sum()

        return torch.func.hessian(mapped)(x), torch.func.grad(mapped)(x)

    assert_close(of_layer(layer), of_layer(reference))
    assert_close(of_gate(lambda x: gate(x, 2.0)), of_gate(lambda x: torch.sigmoid(2.0 * x)))
    compiled = torch.compile(lambda x, w: layer(x, w)[0].sin(), fullgraph=True, backend="aot_eager")
    args = inputs()
    want = torch.autograd.grad(reference(*args)[0].sin().sum(), args)
    assert_close(torch.autograd.grad(compiled(*args).sum(), args), want)


def test_saved_tensor_hooks_and_the_arguments_of_the_operator():
    args = inputs()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.shape) or t, lambda t: t):
        layer(*args)
    assert kept == [args[0].shape, args[1].shape, torch.Size([3, 2])]
    op = special(layer, *args).operator.overload("r1011")
    with pytest.raises(ValueError, match="is to have the shape"):
        op(*(arg.detach() for arg in args), torch.rand(3, 3), torch.rand(3, 2), torch.rand(()))
