"""Eager calls: layouts, dtypes, numbers, sizes, and what is refused."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close
from torch_kernels import (
    AB,
    Plugged,
    X,
    as_tuple,
    counting,
    failing,
    library,
    loader,
    mixed,
    pair,
    pair_reference,
    relu3,
    relu3_reference,
    scratch,
    square,
)

from ksc.errors import ArgumentError, KernelRuntimeError
from ksc.ir.nodes import Span
from ksc.torch import LoadedEntry, OpSpec, ResultSpec, declare, declared

LAYOUTS = {
    "contiguous": lambda x: x,
    "transposed": lambda x: x.t(),
    "expanded": lambda x: x[:1].expand(6, 8),
    "strided": lambda x: x[::2, 1::3],
    "reversed by index": lambda x: x.flip(0)[1:],
    "offset": lambda x: x[2:],
    "column": lambda x: x[:, 3],
    "0-d": lambda x: x[1, 2],
    "empty": lambda x: x[:0],
    "empty inside": lambda x: x[:, :0],
    "one": lambda x: x[:1, :1],
    "channels last": lambda x: x.reshape(2, 3, 4, 2).to(memory_format=torch.channels_last),
    "overlapping": lambda x: x.as_strided((4, 4), (1, 1)),
    "negative bit": lambda x: torch.imag(torch.complex(-x, x).conj()),
}


@pytest.mark.parametrize(
    ("layout", "dtype"),
    [*((layout, torch.float64) for layout in LAYOUTS), ("contiguous", torch.float32), ("transposed", torch.float32)],
)
def test_layouts(plugged: Plugged, layout: str, dtype: torch.dtype) -> None:
    args = [LAYOUTS[layout](x) for x in plugged.inputs(6, 8, dtype=dtype)]
    assert_close(plugged.call(*args), plugged.reference(*args), equal_nan=True)
    seeds = [torch.rand_like(r) for r in as_tuple(plugged.reference(*args))]
    got = as_tuple(plugged.vjp(*args, *seeds))
    want = torch.func.vjp(plugged.reference, *args)[1](tuple(seeds) if len(seeds) > 1 else seeds[0])
    assert_close(got, want, equal_nan=True)


def test_results_keep_the_layout_as_pytorch_does() -> None:
    for shaped in LAYOUTS.values():
        x = shaped(torch.rand(6, 8))
        assert relu3.call(x).stride() == torch.relu(x).stride()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_computes_in_float32(plugged: Plugged, dtype: torch.dtype) -> None:
    args = plugged.inputs(*((40,) if plugged.elementwise else (10, 4)), dtype=dtype)
    wide = [arg.float() for arg in args]
    exact = {"rtol": 0, "atol": 0} if plugged.elementwise else {}
    assert_close(as_tuple(plugged.call(*args)), tuple(r.to(dtype) for r in as_tuple(plugged.reference(*wide))), **exact)
    grads = torch.autograd.grad(as_tuple(plugged.call(*[a.requires_grad_() for a in args]))[0].sum(), args)
    want = torch.autograd.grad(as_tuple(plugged.reference(*[a.requires_grad_() for a in wide]))[0].sum(), wide)
    assert_close(list(grads), [w.to(dtype) for w in want])


@pytest.mark.parametrize("threads", [1, 2])
def test_large_arrays_in_parallel(plugged: Plugged, threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        # A sum of many numbers depends on their order.
        args = plugged.inputs(300, 700, dtype=torch.float32 if plugged.elementwise else torch.float64)
        assert_close(plugged.call(*args), plugged.reference(*args))
        turned = [arg.t() for arg in args]
        assert_close(plugged.call(*turned), plugged.reference(*turned))
    finally:
        torch.set_num_threads(before)


def test_more_elements_than_an_int32_counts() -> None:
    seen = ctypes.c_int64.in_dll(library(), "lanes_seen")
    seen.value = 0
    y = counting.call(torch.full((1,), 0.5).expand(2**31 + 7))
    assert y.numel() == seen.value == 2**31 + 7
    assert y[-1].item() == 0.5


def test_special_values() -> None:
    x = torch.tensor([float("nan"), float("inf"), -float("inf"), -0.0, 0.0, 5e-324], dtype=torch.float64)
    assert_close(square.call(x), x * x, equal_nan=True, rtol=0, atol=0)
    assert torch.signbit(pair.call(x[3:4], torch.ones(1, dtype=torch.float64))[0]).item()


def test_broadcasting() -> None:
    a, b = torch.rand(5, 1, 3), torch.rand(4, 1) + 1
    assert_close(pair.call(a, b), pair_reference(a, b))
    assert_close(pair.call(a, torch.tensor(2.0)), pair_reference(a, torch.tensor(2.0)))
    assert_close(pair.call(torch.rand(0, 1), b[:1])[0].shape, torch.Size((0, 1)))


@pytest.mark.parametrize("large", [False, True])
def test_numbers_stand_for_tensors_and_do_not_promote(large: bool) -> None:
    x = torch.rand(50_000 if large else 5, dtype=torch.float32)
    for number in (2.5, 3):
        got = pair.call(x, number)
        assert got[0].dtype == torch.float32
        assert_close(got, pair_reference(x, torch.tensor(float(number))))
        assert_close(pair.call(number, x + 1), pair_reference(torch.tensor(float(number)), x + 1))
    half = x.to(torch.bfloat16)
    assert_close(pair.call(half, 2.0)[0], half * 2)
    assert_close(mixed.call(x, 4, False), (x - 4, torch.full_like(x, 5, dtype=torch.int64), torch.ones_like(x).bool()))
    assert_close(relu3.vjp(x, 1.0), torch.func.vjp(relu3_reference, x)[1](torch.ones_like(x))[0])
    result, cotangent = pair.value_and_vjp(x, 2.0, 1.0, 0.0)
    assert_close(result, pair_reference(x, torch.tensor(2.0)))
    assert_close(cotangent, (torch.full_like(x, 2.0), x.sum()), rtol=1e-4, atol=1e-4)


def test_numbers_alone_have_the_default_dtype() -> None:
    assert_close(pair.call(1.0, 2.0), pair_reference(torch.tensor(1.0), torch.tensor(2.0)))


def test_number_beside_a_tensor_that_requires_grad() -> None:
    x = torch.rand(4, requires_grad=True)
    assert_close(torch.autograd.grad(pair.call(x, 3.0)[0].sum(), x)[0], torch.full((4,), 3.0))


@pytest.mark.parametrize("integer", [torch.int32, torch.int16, torch.int8, torch.uint8])
def test_integer_dtypes_are_converted(integer: torch.dtype) -> None:
    n = torch.tensor([1, 2, 3], dtype=integer)
    assert_close(mixed.call(torch.ones(3), n, torch.tensor(True))[0], torch.tensor([1.0, 2.0, 3.0]))


def test_promotion_follows_pytorch() -> None:
    values = [
        torch.ones((), dtype=torch.float64),
        torch.ones(3, dtype=torch.float16),
        torch.ones(3, dtype=torch.bfloat16),
        torch.ones((), dtype=torch.float32),
        torch.ones(3, dtype=torch.float64),
    ]
    for a in values:
        for b in values:
            assert pair.call(a, b)[0].dtype == torch.result_type(a, b) == pair.op(a, b)[0].dtype


def test_autocast_runs_in_the_dtype_given(plugged: Plugged) -> None:
    args = plugged.inputs(4, dtype=torch.float32, grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = plugged.call(*args)
        narrow = torch.ones(4, 4) @ torch.ones(4, 4)
        mixed_results = as_tuple(plugged.call(*[(arg[:1, None] @ arg[None, :1]).reshape(1) for arg in args]))
    assert narrow.dtype == torch.bfloat16
    assert all(r.dtype == torch.bfloat16 for r in mixed_results)
    assert_close(got, plugged.reference(*args))
    assert as_tuple(got)[0].dtype == torch.float32


class Logged(torch.Tensor):
    seen: list[str]

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        Logged.seen.append(getattr(func, "__name__", str(func)))
        return super().__torch_function__(func, types, args, kwargs or {})


def test_subclasses_see_the_operator() -> None:
    Logged.seen = []
    x = torch.rand(3).as_subclass(Logged)
    y = relu3.call(x)
    assert isinstance(y, Logged)
    assert any("relu3" in name for name in Logged.seen)
    assert_close(y.as_subclass(torch.Tensor), relu3_reference(x.as_subclass(torch.Tensor)))


REFUSED: list[tuple[str, Any, str]] = [
    ("too few", lambda: pair.call(torch.ones(2)), r"takes 2 argument\(s\) \(a, b\), and 1"),
    ("too many", lambda: square.call(torch.ones(2), 1.0), r"takes 1 argument\(s\) \(x\), and 2"),
    ("integers for floats", lambda: square.call(torch.arange(3)), "argument x .* torch.int64: a float tensor"),
    ("complex", lambda: pair.call(torch.ones(2), torch.ones(2, dtype=torch.complex64)), "argument b .*complex64"),
    ("bools for floats", lambda: square.call(torch.ones(2).bool()), "argument x .* torch.bool"),
    ("floats for integers", lambda: mixed.call(torch.ones(2), torch.ones(2), True), "argument n .* integer tensor"),
    ("integers for bools", lambda: mixed.call(torch.ones(2), 1, torch.ones(2).long()), "argument up .* bool tensor"),
    ("number for a bool", lambda: mixed.call(torch.ones(2), 1, 1), "argument up .* type int"),
    ("float for an int", lambda: mixed.call(torch.ones(2), 1.5, True), "argument n .* type float"),
    ("a string", lambda: square.call("x"), "argument x .* type str"),
    ("None", lambda: pair.call(torch.ones(2), None), "argument b .* NoneType"),
    ("shapes", lambda: pair.call(torch.ones(2), torch.ones(3)), r"do not broadcast: a \(2,\), b \(3,\)"),
    ("cotangent's shape", lambda: square.vjp(torch.ones(2), torch.ones(3)), "cotangent of the result"),
    ("cotangent too large", lambda: square.vjp(torch.ones(()), torch.ones(3)), r"shape \(3,\), and should have \(\)"),
    ("tangent's shape", lambda: pair.jvp(torch.ones(2), 1.0, torch.ones(2), torch.ones(2)), "tangent of b"),
    ("no cotangent", lambda: pair.vjp(torch.ones(2), 1.0, 1.0), r"2 cotangent\(s\), and 1"),
    ("cotangent's dtype", lambda: square.vjp(torch.ones(2), torch.ones(2).long()), "cotangent of the result .*int64"),
    ("too few for vjp", lambda: pair.vjp(torch.ones(2)), r"takes 2 argument\(s\)"),
]


@pytest.mark.parametrize(("call", "message"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_refused_arguments(call: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        call()


def test_other_devices_are_refused() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode(allow_non_fake_inputs=True):
        with pytest.raises(ArgumentError, match="argument x of test_square is on xpu"):
            square.call(torch.empty(3, device="xpu"))
        assert square.call(torch.empty(3, device="cuda")).device.type == "cuda"


def test_the_operator_itself_refuses_other_dtypes() -> None:
    with pytest.raises(TypeError, match=r"test_square: the argument x"):
        square.op(torch.arange(3))


same = declare(OpSpec("test_same", AB, (ResultSpec(),) * 2, lift="same"), loader("pair"))
with_shared = declare(
    OpSpec("test_shared", (X, type(X)("y", shared=True)), (ResultSpec(),) * 2, lift="same"), loader("pair")
)
scalar = declare(OpSpec("test_scalar", AB, (ResultSpec(),) * 2, lift="scalar"), loader("pair"))


def test_lift_same_wants_equal_shapes() -> None:
    x = torch.rand(2, 3) + 1
    assert_close(same.call(x, x), pair_reference(x, x))
    assert_close(same.call(x, 2.0), pair_reference(x, torch.tensor(2.0)))
    for other in (torch.ones(3), torch.ones(1, 3), torch.ones(())):
        with pytest.raises(ArgumentError, match="mapped together have one shape"):
            same.call(x, other)


def test_lift_same_with_a_shared_number() -> None:
    x, y = torch.rand(2, 3, requires_grad=True), torch.tensor(2.0, requires_grad=True)
    assert_close(with_shared.call(x, y), pair_reference(x, y))
    got = torch.autograd.grad(with_shared.call(x, y)[1].sum(), (x, y))
    assert_close(got, torch.autograd.grad(pair_reference(x, y)[1].sum(), (x, y)))
    assert_close(with_shared.vjp(x.detach(), y.detach(), 0.0, 1.0), got)
    with pytest.raises(ArgumentError, match=r"argument y .* a number belongs there"):
        with_shared.call(x, torch.ones(2, 3))


def test_lift_scalar_wants_numbers() -> None:
    assert_close(scalar.call(torch.tensor(1.0), 2.0), pair_reference(torch.tensor(1.0), torch.tensor(2.0)))
    with pytest.raises(ArgumentError, match=r"argument a .* a number belongs there"):
        scalar.call(torch.ones(2), 2.0)
    x = torch.rand(5) + 1
    assert_close(torch.func.vmap(scalar.call)(x, x), pair_reference(x, x))


@pytest.mark.parametrize("size", [3, 100_000])
def test_a_kernel_that_stops_names_the_line(size: int) -> None:
    x = torch.ones(size)
    assert_close(failing.call(x), x)
    x[size // 2] = 0
    for call in (failing.call, failing.op, lambda v: failing.call(v.clone().requires_grad_())):
        with pytest.raises(KernelRuntimeError, match=r"model.py:7.*\[KS701\] x is zero") as caught:
            call(x)
        assert caught.value.span is not None
        assert (caught.value.span.file, caught.value.span.line) == ("model.py", 7)
    x[size // 2] = 1
    assert_close(failing.call(x), x)


def test_scratch_memory_is_private_to_a_call() -> None:
    x = torch.rand(50)
    big = torch.rand(40_000)
    assert_close(scratch.call(x), x)
    results: dict[int, torch.Tensor] = {}
    threads = [
        threading.Thread(target=lambda i=i: results.__setitem__(i, scratch.call(torch.full((60,), float(i)))))
        for i in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(4):
        assert_close(results[i], torch.full((60,), float(i)))
    assert_close(scratch.call(big[:2000]), big[:2000])


def test_what_the_loader_raises_reaches_the_caller() -> None:
    class NoCompilerError(Exception):
        pass

    def broken(derivation: str, dtype: torch.dtype) -> LoadedEntry:
        raise NoCompilerError(derivation)

    operator = declare(OpSpec("test_broken", (X,), (ResultSpec(),)), broken)
    with pytest.raises(NoCompilerError):
        operator.call(torch.ones(3))
    with pytest.raises(NoCompilerError, match="v"):
        operator.vjp(torch.ones(3), 1.0)
    with pytest.raises(NoCompilerError):
        operator.op(torch.ones(100_000))
    assert operator.call(torch.ones(0)).shape == (0,)


def test_the_loader_is_asked_once_by_many_threads() -> None:
    asked: list[tuple[str, torch.dtype]] = []
    inner = loader("square")

    def counting(derivation: str, dtype: torch.dtype) -> LoadedEntry:
        asked.append((derivation, dtype))
        threading.Event().wait(0.05)
        return inner(derivation, dtype)

    operator = declare(OpSpec("test_asked_once", (X,), (ResultSpec(),)), counting)
    threads = [threading.Thread(target=lambda: operator.call(torch.ones(3))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert asked == [("", torch.float32)]


def test_a_name_is_declared_once() -> None:
    first = declare(OpSpec("test_once", (X,), (ResultSpec(),)), loader("square"))
    again = declare(
        OpSpec("test_once", (X,), (ResultSpec(),), doc="other", span=Span("f", 1, 0, 1, 0)), loader("square")
    )
    assert first is again is declared("test_once")
    with pytest.raises(ArgumentError, match="declared already"):
        declare(OpSpec("test_once", AB, (ResultSpec(),)), loader("pair"))
    assert declared("test_never") is None


def test_importing_the_core_loads_none_of_the_slow_parts() -> None:
    slow = ("torch._dynamo", "torch._inductor", "torch.utils.cpp_extension", "setuptools", "jinja2", "sympy")
    code = "import sys, torch; had = set(sys.modules); import ksc.kernel; print(sorted(set(sys.modules) - had))"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert not [name for name in slow if f"'{name}'" in done.stdout]
    assert "'ksc.kernel'" in done.stdout


def test_tensors_on_several_devices_are_refused() -> None:
    here, elsewhere = torch.rand(3), torch.rand(3, device="meta")
    for args in ((here, elsewhere), (elsewhere, here)):
        with pytest.raises(ArgumentError, match=r"are on (cpu and meta|meta and cpu)"):
            pair.call(*args)
    with pytest.raises(ArgumentError, match=r"the cotangent of .* is on meta"):
        relu3.vjp(here, elsewhere)
    assert pair.call(elsewhere, torch.tensor(2.0))[0].device.type == "meta"
