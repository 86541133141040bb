"""The loop over lanes: strides, shared arguments, sizes, half precision, errors, the arena."""

import ctypes
import threading

import numpy as np
import pytest
import torch

from ksc.codegen import Unit
from ksc.codegen.cpp import generate
from ksc.compiler import build, load
from ksc.ir.builder import Builder
from ksc.ir.nodes import Function, Program, Var, const
from ksc.ir.types import Bool, Float, Integer
from tests.codegen.harness import EXACT, Host, call, compiled, invoke
from tests.codegen.samples import checked, power, product_vjp, relu3, relu3_vjp, two_results

SIZES = (0, 1, 7, 255, 256, 257, 1000)


@pytest.fixture(scope="module")
def polar():
    return compiled("polar", two_results())


def expected_polar(x, y):
    square = x * x + y * y
    return square / 2, (x - y) / (square + 1)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("x_step", [1, 2, -1, 0])
@pytest.mark.parametrize("y_step", [1, 3, 0])
@pytest.mark.parametrize("out_step", [1, 2])
def test_strides(polar, n, x_step, y_step, out_step):
    rng = np.random.default_rng(n)

    def operand(step):
        array = rng.standard_normal(max(1, n * abs(step)))
        return np.lib.stride_tricks.as_strided(array, (n,), (0,)) if step == 0 else array[: n * abs(step)][::step]

    x, y = operand(x_step), operand(y_step)
    buffers = [np.full(n * out_step, 9.0) for _ in range(2)]
    outs = [buffer[::out_step] for buffer in buffers]
    assert invoke(polar, "ks_polar", outs, [x, y], n, Host()) == 0
    for out, want in zip(outs, expected_polar(x, y), strict=True):
        np.testing.assert_array_equal(out, want)
    if out_step == 2:
        assert all((buffer[1::2] == 9.0).all() for buffer in buffers)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_computes_in_float(dtype):
    unit = Unit("relu3", [("", relu3()), ("v", relu3_vjp())], dtype)
    kernel = load(build(generate(unit), EXACT))
    every = torch.arange(-(2**15), 2**15, dtype=torch.int16)
    x = every.view(getattr(torch, dtype))
    out = torch.empty_like(x)
    arrays = [t.view(torch.int16).numpy() for t in (out, x)]
    assert invoke(kernel, "ks_relu3", arrays[:1], arrays[1:], len(x), Host()) == 0
    wide = x.float()
    third, two_thirds = torch.tensor(1 / 3), torch.tensor(2 / 3)
    want = torch.where(wide < 0, 0.0, torch.where(wide < 1, third * (wide * wide * wide), wide - two_thirds))
    torch.testing.assert_close(out, want.to(x.dtype), rtol=0, atol=0, equal_nan=True)


def test_bools_and_integers_are_stored_as_torch_stores_them():
    x, k, flag = Var("x", Float), Var("k", Integer), Var("flag", Bool)
    b = Builder()
    larger = b.apply("and", flag, b.apply("gt", x, const(0.0)))
    total = b.apply("add", k, k)
    program = Program({"f": Function("f", b.block([x, k, flag], [larger, total]))}, "f")
    kernel = compiled("f", program)
    columns = [np.array([1.0, -1.0, 2.0]), np.array([1, 2, -(2**62)]), np.array([True, True, False])]
    status, (larger, total) = call(kernel, "ks_f", program, columns)
    assert status == 0
    assert larger.tolist() == [True, False, False]
    assert total.tolist() == [2, 4, -(2**63)]


def test_assert_stops_at_its_lane():
    kernel = compiled("checked", checked())
    host = Host()
    columns = [np.array([1.0, -1.0, 2.0]), np.array([3, 0, 0])]
    status, (out,) = call(kernel, "ks_checked", checked(), columns, host=host)
    assert (status, host.error) == (1, (1, 2, 'x must not be "negative"'))
    assert out.tolist() == [3.0, 0.0, 0.0]
    assert host.blocks == []


@pytest.mark.parametrize("index", [-1, 4, 2**62])
def test_index_out_of_range(index):
    host = Host()
    kernel = compiled("checked", checked())
    status, _ = call(kernel, "ks_checked", checked(), [np.array([1.0]), np.array([index])], host=host)
    where = f"{index}, counted from the start," if index < 0 else f"{index}"
    says = f"index {where} is out of range for dimension 0 of table, of size 4"
    assert (status, host.error) == (1, (3, 4, says))


def test_deep_recursion_is_an_error_and_not_a_crash():
    kernel = compiled("power", power())
    found = []

    def run():
        host = Host(stack_limit=lowest_stack_address() + 256 * 1024)
        columns = [np.array([1.0, 1.0]), np.array([10, 10**9])]
        status, (out,) = call(kernel, "ks_power", power(), columns, host=host)
        found.append((status, host.error, out.tolist()))

    before = threading.stack_size(16 * 1024 * 1024)
    try:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    assert found == [(1, (4, 1, "recursion is too deep in power"), [1.0, 0.0])]


def lowest_stack_address():
    """Where the stack of this thread ends."""
    libc = ctypes.CDLL(None)
    libc.pthread_self.restype = ctypes.c_void_p
    attributes = ctypes.create_string_buffer(128)
    low, size = ctypes.c_void_p(), ctypes.c_size_t()
    libc.pthread_getattr_np(ctypes.c_void_p(libc.pthread_self()), attributes)
    libc.pthread_attr_getstack(attributes, ctypes.byref(low), ctypes.byref(size))
    libc.pthread_attr_destroy(attributes)
    return low.value


def test_arena_is_wound_back_after_each_lane():
    program = product_vjp()
    kernel = compiled("product", program)
    n = 500
    host = Host()
    columns = [np.full(n, 1.01), np.full(n, 100), np.full(n, 1.0)]
    status, (p, x_bar) = call(kernel, "ks_product", program, columns, host=host)
    assert status == 0
    np.testing.assert_allclose(p, 1.01**100, rtol=1e-12)
    np.testing.assert_allclose(x_bar, 100 * 1.01**99, rtol=1e-12)
    assert (host.peak, host.blocks) == (1, [])


def test_out_of_memory_is_an_error():
    host = Host(limit=1000)
    kernel = compiled("product", product_vjp())
    columns = [np.array([1.0]), np.array([1000]), np.array([1.0])]
    status, _ = call(kernel, "ks_product", product_vjp(), columns, host=host)
    assert (status, host.error) == (1, (5, 0, "out of memory"))


def test_absurd_size_is_an_error():
    host = Host()
    kernel = compiled("product", product_vjp())
    columns = [np.array([1.0]), np.array([2**62]), np.array([1.0])]
    status, _ = call(kernel, "ks_product", product_vjp(), columns, host=host)
    assert (status, host.error) == (1, (5, 0, "a temporary tensor is too large"))
