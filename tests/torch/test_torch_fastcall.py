"""The fast path is taken exactly where it may be: its fallback raises here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch.autograd import forward_ad
from torch.overrides import TorchFunctionMode
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode
from torch_kernels import Plugged, as_tuple, mixed, pair, pair_reference, relu3, relu3_reference, square

from ksc.torch.operator import CallKind, Operator, OperatorCall, core


class FellBackError(Exception):
    pass


@core.vectorcall
class OnlyFast(OperatorCall):
    """A call whose general way raises."""

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        raise FellBackError


def only_fast(operator: Operator, kind: CallKind = "primal", *, plain_only: bool = True) -> OnlyFast:
    return OnlyFast(operator, kind, plain_only=plain_only)


class FunctionMode(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


class DispatchMode(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


class Subclass(torch.Tensor):
    pass


@contextmanager
def default_device() -> Iterator[None]:
    with torch.device("cpu"):
        yield


@pytest.mark.parametrize(
    "x",
    [
        torch.rand(16),
        torch.rand(16, dtype=torch.float64),
        torch.rand(16).half(),
        torch.rand(16).bfloat16(),
        torch.rand(()),
        torch.rand(0, 3),
        torch.rand(4, 5).t(),
        torch.rand(3, 1).expand(3, 7),
        torch.rand(60, 1000),
        torch.nn.Parameter(torch.rand(4), requires_grad=False),
    ],
    ids=lambda x: f"{x.dtype}-{tuple(x.shape)}",
)
def test_taken_for_plain_tensors(x: torch.Tensor) -> None:
    assert_close(only_fast(square)(x), x * x)
    assert_close(only_fast(square, "vjp")(x, x), 2 * x * x)
    assert_close(only_fast(square, "jvp")(x, x), 2 * x * x)
    assert_close(only_fast(square, "value_and_vjp")(x, x), (x * x, 2 * x * x))


def test_taken_for_numbers_and_shared_values() -> None:
    x = torch.rand(5)
    assert_close(only_fast(pair)(x, 2.0), pair_reference(x, torch.tensor(2.0)))
    assert_close(only_fast(pair)(3, x + 1), pair_reference(torch.tensor(3.0), x + 1))
    assert_close(only_fast(pair)(x, torch.tensor(2.0)), pair_reference(x, torch.tensor(2.0)))
    assert_close(only_fast(square, "vjp")(x, 1.0), 2 * x)
    assert_close(only_fast(pair, "vjp")(x, torch.tensor(2.0), 1.0, x)[1].shape, torch.Size(()))
    assert_close(only_fast(mixed)(x, 2, True)[0], 2 * x)


def test_taken_under_no_grad_and_inference_mode() -> None:
    x = torch.rand(4, requires_grad=True)
    for context in (torch.no_grad(), torch.inference_mode()):
        with context:
            assert_close(only_fast(square)(x), x * x)
            assert_close(only_fast(square, "vjp")(x, x), 2 * x * x)
    assert_close(only_fast(square)(torch.nn.Parameter(x.detach(), requires_grad=False)), x.detach() ** 2)


def test_taken_with_autograd_where_asked() -> None:
    x = torch.nn.Parameter(torch.rand(4))
    y = only_fast(square, plain_only=False)(x)
    assert y.grad_fn is not None
    assert_close(torch.autograd.grad(y.sum(), x)[0], 2 * x.detach())


NOT_PLAIN: dict[str, tuple[Any, Any]] = {
    "requires grad": (lambda: torch.rand(3, requires_grad=True), nullcontext),
    "parameter": (lambda: torch.nn.Parameter(torch.rand(3)), nullcontext),
    "subclass": (lambda: torch.rand(3).as_subclass(Subclass), nullcontext),
    "function mode": (lambda: torch.rand(3), FunctionMode),
    "default device": (lambda: torch.rand(3), default_device),
    "dispatch mode": (lambda: torch.rand(3), DispatchMode),
    "autocast": (lambda: torch.rand(3), lambda: torch.autocast("cpu", dtype=torch.bfloat16)),
    "negative bit": (lambda: torch.imag(torch.randn(3, dtype=torch.complex64).conj()), nullcontext),
    "meta": (lambda: torch.empty(3, device="meta"), nullcontext),
    "sparse": (lambda: torch.rand(3).to_sparse(), nullcontext),
    "integer dtype": (lambda: torch.arange(3), nullcontext),
    "not a tensor": (lambda: [1.0], nullcontext),
    "only a number": (lambda: 1.0, nullcontext),
    "bool for a float": (lambda: True, nullcontext),
}


@pytest.mark.parametrize("case", NOT_PLAIN)
@pytest.mark.parametrize("kind", ["primal", "vjp", "jvp", "value_and_vjp"])
def test_left_alone(case: str, kind: CallKind) -> None:
    make, context = NOT_PLAIN[case]
    x = make()
    call = only_fast(square, kind)
    seeds = () if kind == "primal" else (1.0,)
    with context(), pytest.raises(FellBackError):
        call(x, *seeds)


def test_left_alone_in_forward_mode() -> None:
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(torch.rand(3), torch.ones(3))
        with pytest.raises(FellBackError):
            only_fast(square)(dual)
        assert_close(forward_ad.unpack_dual(only_fast(square, plain_only=False)(dual)).tangent, 2 * dual)


@pytest.mark.parametrize("transform", ["vmap", "grad", "jvp", "functionalize"])
@pytest.mark.parametrize("plain_only", [True, False])
def test_left_alone_under_torch_func(transform: str, plain_only: bool) -> None:
    x = torch.rand(3)
    call = only_fast(square, plain_only=plain_only)
    apply = {
        "vmap": lambda: torch.func.vmap(call)(x),
        "grad": lambda: torch.func.grad(lambda v: call(v).sum())(x),
        "jvp": lambda: torch.func.jvp(call, (x,), (x,)),
        "functionalize": lambda: torch.func.functionalize(call)(x),
    }[transform]
    with pytest.raises(FellBackError):
        apply()


def test_left_alone_while_traced() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.proxy_tensor import make_fx

    x = torch.rand(3)
    call = only_fast(square)
    with pytest.raises(FellBackError):
        make_fx(call)(x)
    with FakeTensorMode() as mode, pytest.raises(FellBackError):
        call(mode.from_tensor(x))
    with pytest.raises(FellBackError):
        torch.jit.trace(lambda v: call(v), x, check_trace=False)


def test_left_alone_for_arguments_that_need_a_closer_look() -> None:
    x = torch.rand(3)
    for call in (
        lambda: only_fast(square)(),
        lambda: only_fast(square)(x, x),
        lambda: only_fast(square)(x=x),
        lambda: only_fast(pair)(x, torch.rand(1)),
        lambda: only_fast(square, "vjp")(x, torch.rand(())),
        lambda: only_fast(square, "vjp")(x, torch.rand(1)),
        lambda: only_fast(square, "vjp")(torch.rand(()), x),
        lambda: only_fast(mixed)(x, torch.tensor([1, 2, 3], dtype=torch.int32), True),
        lambda: only_fast(mixed)(x, 2**70, True),
    ):
        with pytest.raises(FellBackError):
            call()


def test_mixed_devices_and_other_modes_after_the_fast_path_was_used() -> None:
    call = only_fast(relu3)
    x = torch.rand(3)
    call(x)
    with DispatchMode(), pytest.raises(FellBackError):
        call(x)
    call(x)


def test_the_result_is_the_same_either_way(plugged: Plugged) -> None:
    args = plugged.inputs(3, 5)
    with FunctionMode():
        general = plugged.call(*args)
    assert_close(plugged.call(*args), general, rtol=0, atol=0)
    assert_close(as_tuple(general), as_tuple(plugged.reference(*args)))


def test_an_unbound_callable_goes_to_its_general_way() -> None:
    @core.vectorcall
    class Lazy(core.FastCall):  # type: ignore[misc]
        def __call__(self, *args: Any, **keywords: Any) -> Any:
            return args, keywords

    lazy = Lazy()
    assert lazy(1, b=2) == ((1,), {"b": 2})
    lazy.arm(relu3.call, ())
    assert_close(lazy(torch.ones(3)), relu3_reference(torch.ones(3)))
    assert lazy("x") == (("x",), {})
