"""Values that a run does not read, with derivatives that are infinite there: they take no part in the gradient."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import ksc as knossos
from ksc.frontend import Abstract, trace
from ksc.ir.interpret import interpret
from ksc.ir.nodes import walk
from ksc.ir.text import to_text
from ksc.ir.types import Float, Integer, TensorType
from ksc.passes import optimise
from ksc.transforms import vjp
from tests.transforms.copies import copying
from tests.transforms.programs import PROGRAMS


def two_ifs(x: float, a: float, b: float) -> float:
    y = math.sqrt(x)
    s = x
    if a > 0.0:
        s += y
    if b > 0.0:
        s += 2.0 * y
    return s


def loop_without_iterations(x: float, n: int) -> float:
    y = math.sqrt(x)
    s = x
    for i in range(n):
        s += y * i
    return s


def sum_of_nothing(x: float, n: int) -> float:
    y = math.sqrt(x)
    return x + sum(y * i for i in range(n))


def last_update_unread(c: float, n: int) -> float:
    s = 0.0
    y = math.sqrt(c)
    for i in range(n):
        s += y
        y = math.sqrt(c - i - 1.0)
    return s


def if_in_a_loop(x: float, n: int, a: float) -> float:
    y = math.exp(x)
    s = x
    for i in range(n):
        if i > a:
            s += y
    return s


def reads_when_one(y: float, n: int) -> float:
    if n == 0:
        return 1.0
    if n == 1:
        return y + reads_when_one(y, 0)
    return 2.0 * reads_when_one(y, n - 1)


def recursion(x: float, n: int) -> float:
    return x + reads_when_one(math.sqrt(x), n)


def chain(x: float, a: float, b: float) -> float:
    y = 3.0 * math.log(x) + 1.0 / x
    z = y * y
    s = x
    if a > 0.0:
        s += z
    if b > 0.0:
        s -= z
    return s


def stopped_loop(x: float, n: int, a: float) -> float:
    y = math.sqrt(x)
    s = x
    i = 0
    while i < n:
        if i > a:
            break
        s += y * i
        i += 1
    return s


def nested_ifs(x: float, a: float, b: float) -> float:
    y = math.log(x)
    s = x
    if a > 0.0:
        if b > 0.0:
            s += y
    else:
        s += x * x
    if b > 1.0:
        s += 3.0 * y
    return s


def pair_of_roots(x: float) -> tuple[float, float]:
    return math.sqrt(x), 1.0 / x


def tuples(x: float, a: float, b: float) -> float:
    pair = pair_of_roots(x)
    s = x
    if a > 0.0:
        s += pair[0]
    if b > 0.0:
        s += pair[1]
    return s


def powers(x: float, a: float, b: float) -> float:
    y = x**0.5
    s = x
    if a > 0.0:
        s += y
    if b > 0.0:
        s += y * y
    return s


# (function, arguments, first and second derivative with respect to the first argument)
TRUTHS: list[tuple[Callable[..., float], tuple[float, ...], float, float]] = [
    (two_ifs, (0.0, -1.0, -1.0), 1.0, 0.0),
    (two_ifs, (4.0, 1.0, -1.0), 1.25, -1.0 / 32.0),
    (two_ifs, (4.0, 1.0, 1.0), 1.75, -3.0 / 32.0),
    (loop_without_iterations, (0.0, 0), 1.0, 0.0),
    (loop_without_iterations, (4.0, 3), 1.75, -3.0 / 32.0),
    (sum_of_nothing, (0.0, 0), 1.0, 0.0),
    (sum_of_nothing, (4.0, 3), 1.75, -3.0 / 32.0),
    # the last y is sqrt(0)
    (last_update_unread, (1.0, 1), 0.5, -0.25),
    (if_in_a_loop, (1000.0, 3, 5.0), 1.0, 0.0),
    (recursion, (0.0, 0), 1.0, 0.0),
    (recursion, (4.0, 3), 2.0, -0.125),
    (chain, (0.0, -1.0, -1.0), 1.0, 0.0),
    (stopped_loop, (0.0, 4, -1.0), 1.0, 0.0),
    (stopped_loop, (4.0, 4, 2.0), 1.75, -3.0 / 32.0),
    (nested_ifs, (0.0, 1.0, -1.0), 1.0, 0.0),
    (nested_ifs, (0.0, -1.0, 0.5), 1.0, 2.0),
    (nested_ifs, (2.0, 1.0, 2.0), 3.0, -1.0),
    (tuples, (0.0, -1.0, -1.0), 1.0, 0.0),
    (tuples, (4.0, 1.0, -1.0), 1.25, -1.0 / 32.0),
    (tuples, (4.0, 1.0, 1.0), 1.1875, 0.0),
    (powers, (0.0, -1.0, -1.0), 1.0, 0.0),
    (powers, (4.0, 1.0, 1.0), 2.25, -1.0 / 32.0),
]
NAMES = [f"{fn.__name__}{args}" for fn, args, _, _ in TRUTHS]


@pytest.mark.parametrize(("fn", "args", "first", "second"), TRUTHS, ids=NAMES)
def test_both_orders_are_the_truth(
    fn: Callable[..., float], args: tuple[float, ...], first: float, second: float
) -> None:
    for kernel, truth in ((knossos.grad(fn), first), (knossos.grad(knossos.grad(fn)), second)):
        special, _ = kernel.example(args)
        assert interpret(optimise(special.program), args) == pytest.approx((truth,), rel=1e-14, abs=1e-300)
    assert knossos.hessian(fn)(*args) == pytest.approx(second, rel=1e-14, abs=1e-300)


def tangent_of_the_gradient(x: float, a: float, b: float) -> float:
    return knossos.jvp(knossos.grad(two_ifs), (x, a, b), (1.0, 0.0, 0.0))[1]


def gradient_of_the_tangent(x: float, a: float, b: float) -> float:
    def tangent(v: float) -> float:
        return knossos.jvp(two_ifs, (v, a, b), (1.0, 0.0, 0.0))[1]

    return knossos.grad(tangent)(x)


@pytest.mark.parametrize("mixed", [tangent_of_the_gradient, gradient_of_the_tangent])
def test_mixed_modes_are_the_truth(mixed: Callable[..., float]) -> None:
    kernel = knossos.register(mixed)
    assert kernel(0.0, -1.0, -1.0) == 0.0
    assert kernel(4.0, 1.0, -1.0) == pytest.approx(-1.0 / 32.0, rel=1e-14)


def test_lanes_differ_in_what_they_read() -> None:
    x = torch.tensor([0.0, 4.0, 0.0, 4.0], dtype=torch.float64)
    a = torch.tensor([-1.0, 1.0, -1.0, 1.0], dtype=torch.float64)
    b = torch.tensor([-1.0, -1.0, -1.0, 1.0], dtype=torch.float64)
    found = knossos.vmap(knossos.grad(two_ifs))(x, a, b)
    torch.testing.assert_close(found, torch.tensor([1.0, 1.25, 1.0, 1.75], dtype=torch.float64))


def read_in_two_ifs(x: Tensor, a: float, b: float) -> Tensor:
    y = torch.sqrt(x)
    s = torch.sum(x)
    if a > 0.0:
        s = s + torch.sum(y)
    if b > 0.0:
        s = s + 2.0 * torch.sum(y)
    return s


@pytest.mark.parametrize("signs", [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0)])
def test_tensors_are_as_in_eager_pytorch(signs: tuple[float, float]) -> None:
    x = torch.tensor([0.0, 4.0], dtype=torch.float64, requires_grad=True)
    (want,) = torch.autograd.grad(read_in_two_ifs(x, *signs), x)
    torch.testing.assert_close(knossos.grad(read_in_two_ifs)(x.detach(), *signs), want)


def filled(x: Tensor, n: int, a: float, b: float) -> Tensor:
    y = torch.sqrt(x)
    out = torch.zeros_like(x)
    for i in range(n):
        out[i] = y[i] * y[i] + out[i - 1] * x[i]
    s = torch.sum(x)
    if a > 0.0:
        s = s + torch.sum(out)
    if b > 0.0:
        s = s + torch.sum(out * out)
    return s


@pytest.mark.parametrize(("n", "a", "b"), [(3, -1.0, -1.0), (0, 1.0, -1.0), (0, 1.0, 1.0)])
def test_tensors_changed_in_place_are_as_in_eager_pytorch(n: int, a: float, b: float) -> None:
    x = torch.tensor([0.0, 4.0, 0.0], dtype=torch.float64, requires_grad=True)
    (want,) = torch.autograd.grad(filled(x, n, a, b), x)
    torch.testing.assert_close(knossos.grad(filled)(x.detach(), n, a, b), want)


def test_tensors_changed_in_place_have_their_ordinary_gradient() -> None:
    x = torch.tensor([1.0, 4.0, 9.0], dtype=torch.float64, requires_grad=True)
    rows = [x[0]]
    for i in range(1, 3):
        rows.append(x[i] + rows[-1] * x[i])
    out = torch.stack(rows)
    (want,) = torch.autograd.grad(torch.sum(x) + torch.sum(out) + torch.sum(out * out), x)
    torch.testing.assert_close(knossos.grad(filled)(x.detach(), 3, 1.0, 1.0), want)


def adds_in_a_nested_loop(x: float, n: int) -> float:
    s = x
    for i in range(n):
        if i > 0:
            w = math.exp(x)
            for _ in range(2):
                s = s + x * x
                s = s - w
    return s


def test_a_loop_adds_to_an_accumulator_around_one_that_is_constant() -> None:
    # The second derivative with the cotangent of the result held fixed: 4 - 2 exp(x).
    ir = trace(adds_in_a_nested_loop, [Abstract(Float), Abstract(Integer)]).program
    first = vjp(ir, wrt=[0])
    second = vjp(optimise(first), wrt=[0])
    assert interpret(second, (1.0, 2, 1.0, 1.0)) == pytest.approx((4.0 - 2.0 * math.exp(1.0),), rel=1e-14)


@pytest.mark.parametrize("name", ["linear_loop", "running_product", "prefix_norms"])
def test_sums_and_products_ask_for_nothing_at_any_order(name: str) -> None:
    first = optimise(vjp(PROGRAMS[name][0]))
    for derived in (first, optimise(vjp(first))):
        eqns = [eqn for function in derived.functions.values() for eqn in walk(function.body)]
        # An `if` without results explains a check that failed.
        assert not any(eqn.op == "if" and eqn.outs for eqn in eqns)
        assert "has_" not in to_text(derived)


def changed_rows(x: Tensor, n: int, a: float, b: float) -> Tensor:
    y = torch.sqrt(x)
    for _ in range(n):
        for i in range(1, len(x)):
            y[i] = y[i] * y[i - 1] / x[i]
    s = torch.sum(x)
    if a > 0.0:
        s = s + torch.sum(y)
    if b > 0.0:
        s = s + torch.sum(y * y)
    return s


def test_a_loop_that_takes_changes_back_copies_nothing() -> None:
    args = [Abstract(TensorType(1, Float)), Abstract(Integer), Abstract(Float), Abstract(Float)]
    assert not copying(optimise(vjp(trace(changed_rows, args).program, wrt=[0])))
