"""Autograd over kernels, as over PyTorch's own operators."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch.autograd import forward_ad
from torch.testing import assert_close
from torch_kernels import Plugged, as_tuple, mixed, pair, pair_reference, quotient, relu3, square, total


def gradients(f: Any, args: list[torch.Tensor], **more: Any) -> tuple[torch.Tensor, ...]:
    return torch.autograd.grad(total(f(*args)), args, **more)


def test_gradcheck_in_both_modes_and_batched(plugged: Plugged) -> None:
    args = plugged.inputs(2, 3, grad=True)
    assert torch.autograd.gradcheck(
        plugged.call, args, check_forward_ad=True, check_batched_grad=True, check_batched_forward_grad=True
    )


def test_gradgradcheck_in_both_modes(plugged: Plugged) -> None:
    args = plugged.inputs(2, 2, grad=True)
    assert torch.autograd.gradgradcheck(plugged.call, args, check_fwd_over_rev=True, check_rev_over_rev=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_backward_equals_reference(plugged: Plugged, dtype: torch.dtype) -> None:
    args = plugged.inputs(5, 4, dtype=dtype, grad=True)
    got, want = gradients(plugged.call, args), gradients(plugged.reference, args)
    assert [g.dtype for g in got] == [dtype] * plugged.arity
    # A sum in float32 depends on its order.
    loose = {"rtol": 1e-4, "atol": 1e-4} if dtype == torch.float32 and not plugged.elementwise else {}
    assert_close(got, want, **loose)


def test_forward_mode(plugged: Plugged) -> None:
    args = plugged.inputs(3, 4)
    tangents = [arg.sin() for arg in args]
    with forward_ad.dual_level():
        duals = [forward_ad.make_dual(arg, tangent) for arg, tangent in zip(args, tangents, strict=True)]
        got = [forward_ad.unpack_dual(r) for r in as_tuple(plugged.call(*duals))]
        want = [forward_ad.unpack_dual(r) for r in as_tuple(plugged.reference(*duals))]
    for g, w in zip(got, want, strict=True):
        assert_close((g.primal, g.tangent), (w.primal, w.tangent))


def test_forward_mode_in_no_grad_and_of_one_argument() -> None:
    a, b = torch.rand(3, dtype=torch.float64) + 1, torch.rand(3, dtype=torch.float64) + 1
    with forward_ad.dual_level(), torch.no_grad():
        dual = forward_ad.make_dual(a, torch.ones_like(a))
        got = [forward_ad.unpack_dual(r).tangent for r in pair.call(dual, b)]
    assert_close(got, [b, 1 / b + a.cos()])


def test_forward_over_reverse(plugged: Plugged) -> None:
    def second(f: Any) -> list[torch.Tensor]:
        args = plugged.inputs(3, grad=True)
        with forward_ad.dual_level():
            duals = [forward_ad.make_dual(arg, arg.detach().cos()) for arg in args]
            grads = torch.autograd.grad(total(f(*duals)), duals)
            return [forward_ad.unpack_dual(grad).tangent for grad in grads]

    assert_close(second(plugged.call), second(plugged.reference))


def test_order_three(plugged: Plugged) -> None:
    def third(f: Any) -> torch.Tensor:
        args = plugged.inputs(4, grad=True)
        (first,) = torch.autograd.grad(total(f(*args)), args[:1], create_graph=True)
        (second,) = torch.autograd.grad(first.sin().sum(), args[:1], create_graph=True)
        return torch.autograd.grad(second.sin().sum(), args)[0]

    assert_close(third(plugged.call), third(plugged.reference))


def test_input_changed_in_place_raises(plugged: Plugged) -> None:
    leaf = plugged.inputs(4, grad=True)
    args = [x * 1 for x in leaf]
    result = total(plugged.call(*args))
    args[-1].add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        result.backward()


def test_result_may_be_changed_in_place(plugged: Plugged) -> None:
    def changed(f: Any) -> tuple[torch.Tensor, ...]:
        args = plugged.inputs(4, grad=True)
        results = as_tuple(f(*args))
        results[0].mul_(3)
        return torch.autograd.grad(total(results), args)

    assert_close(changed(plugged.call), changed(plugged.reference))


def test_no_grad_and_inference_mode(plugged: Plugged) -> None:
    args = plugged.inputs(4, grad=True)
    want = [r.detach() for r in as_tuple(plugged.reference(*args))]
    with torch.no_grad():
        got = as_tuple(plugged.call(*args))
        assert not any(r.requires_grad for r in got)
        assert_close(list(got), want)
    with torch.inference_mode():
        got = as_tuple(plugged.call(*args))
        assert all(r.is_inference() for r in got)
        assert_close([r.clone() for r in got], want)


def test_retain_graph(plugged: Plugged) -> None:
    args = plugged.inputs(4, grad=True)
    result = total(plugged.call(*args))
    first = torch.autograd.grad(result, args, retain_graph=True)
    assert_close(torch.autograd.grad(result, args), first)
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(result, args)


def test_tensor_hooks(plugged: Plugged) -> None:
    def hooked(f: Any) -> tuple[list[Any], ...]:
        args = plugged.inputs(4, grad=True)
        results = as_tuple(f(*args))
        seen: list[torch.Tensor] = []
        results[0].register_hook(lambda grad: seen.append(grad.clone()))
        results[-1].register_hook(lambda grad: 2 * grad)
        args[0].register_hook(lambda grad: grad + 1)
        total(results).backward()
        return seen, [arg.grad for arg in args]

    assert_close(hooked(plugged.call), hooked(plugged.reference))


def test_retain_grad_of_result(plugged: Plugged) -> None:
    args = plugged.inputs(4, grad=True)
    first = as_tuple(plugged.call(*args))[0]
    first.retain_grad()
    (first * 2).sum().backward()
    assert_close(first.grad, torch.full_like(first, 2.0))


def test_module_hooks(plugged: Plugged) -> None:
    module = plugged.module()
    args = plugged.inputs(4, grad=True)
    seen: list[str] = []
    module.register_forward_pre_hook(lambda m, inputs: seen.append("before"))
    module.register_forward_hook(lambda m, inputs, out: seen.append("after"))
    module.register_full_backward_hook(lambda m, given, got: tuple(3 * g for g in given))
    total(module(*args)).backward()
    assert seen == ["before", "after"]
    want = gradients(plugged.reference, args)
    assert_close([arg.grad for arg in args], [3 * g for g in want])


def test_detect_anomaly_names_the_operator(plugged: Plugged) -> None:
    args = plugged.inputs(4, 9, grad=True)
    with warnings.catch_warnings(record=True) as caught, torch.autograd.detect_anomaly(check_nan=True):
        warnings.simplefilter("always")
        result = as_tuple(plugged.call(*args))[0]
        result.register_hook(lambda grad: grad * float("nan"))
        with pytest.raises(
            RuntimeError, match=f"{plugged.op.name().removeprefix('knossos::')}Backward0.* returned nan"
        ):
            result.sum().backward()
    assert any("Traceback of forward call" in str(w.message) for w in caught)


def test_saved_tensor_hooks(plugged: Plugged) -> None:
    args = plugged.inputs(4, grad=True)
    packed: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: packed.append(t) or t * 2, lambda t: t / 2):
        results = plugged.call(*args)
    got = gradients(lambda *_: results, args)
    assert len(packed) >= plugged.arity
    assert_close(got, gradients(plugged.reference, args))


def test_checkpoint(plugged: Plugged) -> None:
    from torch.utils.checkpoint import checkpoint

    args = plugged.inputs(4, grad=True)
    got = gradients(lambda *xs: checkpoint(plugged.call, *xs, use_reentrant=False), args)
    assert_close(got, gradients(plugged.reference, args))


def test_only_wanted_gradients_and_unused_results() -> None:
    a = torch.rand(3, dtype=torch.float64, requires_grad=True)
    b = torch.rand(3, dtype=torch.float64) + 1
    product, _ = pair.call(a, b)
    assert_close(torch.autograd.grad(product.sum(), a)[0], b)
    _, other = pair.call(b, a)
    assert_close(torch.autograd.grad(other.sum(), a)[0], -b / a.detach() ** 2)


def test_zero_seeds_are_left_out() -> None:
    a = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    b = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    product, _ = quotient.call(a, b)
    assert_close(torch.autograd.grad(product.sum(), (a, b)), (b.detach(), a.detach()))
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(b.detach(), torch.ones(2, dtype=torch.float64))
        tangent = forward_ad.unpack_dual(quotient.call(a.detach(), dual)[0]).tangent
    assert_close(tangent, a.detach())


def test_cotangents_are_summed_over_broadcast_dimensions() -> None:
    def grads(f: Any) -> tuple[torch.Tensor, ...]:
        a = torch.rand(4, 1, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
        b = (torch.rand(5, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) + 1).requires_grad_()
        return torch.autograd.grad(total(f(a, b)), (a, b))

    assert_close(grads(pair.call), grads(pair_reference))


def test_mixed_dtypes_promote_and_cotangents_come_back_in_their_own() -> None:
    a = torch.rand(4, dtype=torch.float32, requires_grad=True)
    b = (torch.rand(4, dtype=torch.float64) + 1).requires_grad_()
    results = pair.call(a, b)
    assert results[0].dtype == torch.float64
    got = torch.autograd.grad(total(results), (a, b))
    assert [g.dtype for g in got] == [torch.float32, torch.float64]
    assert_close(got, torch.autograd.grad(total(pair_reference(a, b)), (a, b)))


def test_integers_and_bools_carry_no_gradient() -> None:
    x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y, n, up = mixed.call(x, torch.tensor([2, 3, 4]), torch.tensor([True, False, True]))
    assert (n.dtype, up.dtype) == (torch.int64, torch.bool)
    assert (n.requires_grad, up.requires_grad) == (False, False)
    assert_close(n, torch.tensor([3, 4, 5]))
    assert_close(torch.autograd.grad(y.sum(), x)[0], torch.tensor([2.0, 1.0, 4.0]))
    assert_close(mixed.call(x, 2, True)[0].detach(), 2 * x.detach())


def test_autograd_function_is_the_operator(plugged: Plugged) -> None:
    function = plugged.autograd_function
    assert issubclass(function, torch.autograd.Function)
    args = plugged.inputs(3, 2, grad=True)
    assert_close(function.apply(*args), plugged.reference(*args))
    assert_close(gradients(function.apply, args), gradients(plugged.reference, args))
    args = plugged.inputs(3, 2)
    assert_close(torch.func.jacrev(function.apply)(*args), torch.func.jacrev(plugged.reference)(*args))


def test_autograd_function_backward_called_directly() -> None:
    class Context:
        saved_tensors: tuple[torch.Tensor, ...] = ()

        def save_for_backward(self, *tensors: torch.Tensor) -> None:
            self.saved_tensors = tensors

    a, b = torch.rand(3) + 1, torch.rand(3) + 1
    context = Context()
    pair.autograd_function.setup_context(context, (a, b), pair.autograd_function.forward(a, b))
    assert_close(pair.autograd_function.backward(context, a, b), pair.vjp(a, b, a, b))


def test_direct_derivatives(plugged: Plugged) -> None:
    args = plugged.inputs(3, 2)
    out, pull = torch.func.vjp(plugged.reference, *args)
    seeds = tuple(o.cos() for o in as_tuple(out))
    want = pull(seeds if len(seeds) > 1 else seeds[0])
    assert_close(as_tuple(plugged.vjp(*args, *seeds)), want)
    value, cotangents = plugged.value_and_vjp(*args, *seeds)
    assert_close((value, as_tuple(cotangents)), (out, want))
    tangents = tuple(arg.sin() for arg in args)
    assert_close(plugged.jvp(*args, *tangents), torch.func.jvp(plugged.reference, tuple(args), tangents)[1])


def test_direct_vjp_is_differentiable() -> None:
    x = torch.rand(4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda y: square.vjp(y, y.sin()), (x,))
    assert torch.autograd.gradcheck(lambda y: square.value_and_vjp(y, y.sin())[1], (x,))
    assert torch.autograd.gradcheck(lambda y: relu3.jvp(y, y.sin()), (x,))
