"""Python functions called from kernels: values, derivatives, errors, threads, the interpreter."""

import math
import threading

import pytest
import torch

import ksc as knossos
from ksc.errors import ArgumentError, DifferentiationError, KnossosError
from ksc.ir.interpret import interpret

DOUBLE = torch.float64

square = knossos.callback(lambda x: x * x, float, vjp=lambda x, bar: 2.0 * x * bar)
sine = knossos.callback(math.sin, float)
ordered = knossos.callback(
    lambda a: torch.sort(a).values,
    "a",
    vjp=lambda a, bar: torch.empty_like(a).scatter_(0, torch.argsort(a), bar),
)
singular = knossos.callback(lambda a: torch.linalg.svdvals(a), torch.empty(3))
parts = knossos.callback(lambda x: (math.floor(x), x - math.floor(x), x > 1.0), (int, float, bool))


@knossos.register
def polynomial(x: float, n: int) -> float:
    total = 0.0
    for _ in range(n):
        total = total * 0.5 + square(x) if x > 0.0 else square(x + 1.0)
    return total


def test_numbers_in_branches_and_loops():
    assert polynomial(3.0, 2) == 13.5
    assert polynomial.grad(3.0, 2) == 9.0
    assert polynomial(-3.0, 2) == 4.0
    assert polynomial.grad(-3.0, 2) == -4.0
    assert knossos.gradcheck(polynomial, (1.3, 3), check_forward_ad=False)


def test_each_lane_calls_back():
    kernel = knossos.vmap(lambda x: square(x) + sine(0.0))
    for n in (0, 1, 5):
        x = torch.rand(n, dtype=DOUBLE)
        torch.testing.assert_close(kernel(x), x * x, rtol=0, atol=0)
    x = torch.rand(7, dtype=DOUBLE)
    torch.testing.assert_close(kernel.grad(x), 2 * x)
    many = torch.rand(70_000)
    torch.testing.assert_close(kernel(many), many * many)


def test_results_of_several_types():
    assert knossos.register(lambda x: parts(x))(2.25) == (2, 0.25, True)


def test_tensors():
    weights = lambda a: torch.sum(ordered(a) * torch.arange(4.0))  # noqa: E731
    a = torch.rand(4, dtype=DOUBLE)
    expected = torch.func.grad(lambda a: torch.sum(torch.sort(a).values * torch.arange(4.0)))(a)
    torch.testing.assert_close(knossos.grad(weights)(a), expected)
    torch.testing.assert_close(knossos.jacobian(weights)(a), expected)
    m = torch.rand(3, 3, dtype=DOUBLE)
    torch.testing.assert_close(knossos.register(lambda m: singular(m))(m.T), torch.linalg.svdvals(m))
    rows = torch.rand(5, 4, dtype=DOUBLE)
    torch.testing.assert_close(knossos.vmap(lambda a: ordered(a))(rows), torch.sort(rows, dim=1).values)


def test_tensors_have_the_dtype_of_the_kernel():
    seen = []

    def look(a):
        seen.append((a.dtype, tuple(a.shape)))
        return a

    kernel = knossos.register(knossos.callback(look, "a"))
    kernel(torch.ones(3))
    kernel(torch.ones(2, dtype=DOUBLE))
    assert seen == [(torch.float32, (3,)), (DOUBLE, (2,))]


def test_what_the_function_keeps_stays_valid():
    kept = []
    kernel = knossos.register(knossos.callback(lambda a: kept.append(a) or float(a.sum()), float))
    kernel(torch.tensor([1.0, 2.0]))
    kernel(torch.tensor([3.0, 4.0]))
    assert [a.tolist() for a in kept] == [[1.0, 2.0], [3.0, 4.0]]


def test_the_function_s_own_exception_arrives():
    class MyError(Exception):
        pass

    def fails(x):
        raise MyError(f"at {x}")

    failing = knossos.callback(fails, float)
    with pytest.raises(MyError, match=r"at 2\.0"):
        knossos.register(lambda x: failing(x))(2.0)
    with pytest.raises(MyError):
        knossos.vmap(lambda x: failing(x))(torch.rand(100_000))


def test_without_a_vjp_there_is_no_derivative():
    kernel = knossos.register(lambda x: sine(x))
    assert kernel(0.5) == math.sin(0.5)
    with pytest.raises(DifferentiationError, match="its derivative is not known"):
        kernel.grad(0.5)
    with pytest.raises(DifferentiationError, match="its derivative is not known"):
        kernel.jvp(0.5, 1.0)
    assert knossos.grad(lambda x: sine(knossos.stop_gradient(x)) * x)(0.5) == math.sin(0.5)


def test_a_vjp_gives_reverse_mode_alone():
    kernel = knossos.register(lambda x: square(x))
    with pytest.raises(DifferentiationError, match="no forward mode"):
        kernel.jvp(2.0, 1.0)
    with pytest.raises(DifferentiationError, match="its derivative is not known"):
        knossos.grad(knossos.grad(kernel))(2.0)


def test_two_functions_of_one_name_are_kept_apart():
    def make(k):
        def f(x):
            return k * x

        return knossos.register(knossos.callback(f, float))

    two, three = make(2.0), make(3.0)
    assert (two(1.0), three(1.0), two(1.0)) == (2.0, 3.0, 2.0)


@pytest.mark.parametrize("given, declared", [(torch.ones(2), torch.ones(3)), (1.5, int), ((1.0, 2.0), float)])
def test_another_result_than_declared_is_refused(given, declared):
    kernel = knossos.register(knossos.callback(lambda x: given, declared))
    with pytest.raises((ArgumentError, TypeError, ValueError)):
        kernel(1.0)


def test_what_is_no_callback_is_refused():
    with pytest.raises(ArgumentError, match="made of a function"):
        knossos.callback(3, float)
    for spec in (str, "y", torch.tensor(1.0), torch.empty(2, dtype=torch.complex64)):
        with pytest.raises(ArgumentError, match="no result type"):
            knossos.callback(lambda x: x, spec)
    with pytest.raises(KnossosError, match="numbers and tensors"):
        knossos.register(lambda x: square((x, x)))(1.0)


def test_threads_call_back_at_once():
    kernel = knossos.vmap(lambda x: square(x))
    x = torch.rand(3000, dtype=DOUBLE)
    found = [None] * 4

    def work(k):
        found[k] = kernel(x * k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k in range(4):
        torch.testing.assert_close(found[k], (x * k) ** 2)


def test_backward_on_the_engine_s_thread():
    x = torch.tensor(3.0, dtype=DOUBLE, requires_grad=True)
    knossos.register(lambda x: square(x))(x).backward()
    assert x.grad == 6.0


def test_the_interpreter_calls_back_too():
    kernel = knossos.register(lambda x: square(x))
    kernel(1.0)
    assert interpret(kernel.program, [3.0]) == (9.0,)
    rows = knossos.register(lambda a: ordered(a))
    rows(torch.ones(2))
    assert interpret(rows.program, [[3.0, 1.0]])[0].tolist() == [1.0, 3.0]
