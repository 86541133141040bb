"""Loops over short ranges that change the sizes of what they carry: PyTorch runs the same program."""

import pytest
import torch
from orders import check_orders
from tensor_oracle import described

import ksc as knossos
from ksc.frontend import trace
from ksc.ir.nodes import walk
from ksc.passes.resized import box_resized

CASES = {}


def case(*shapes):
    def enter(fn):
        generator = torch.Generator().manual_seed(7)
        CASES[fn.__name__] = fn, [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
        return fn

    return enter


@case((3,))
def grown(x):
    y = x
    for i in range(3):
        y = torch.cat([y, torch.sin(x) * (i + 1)])
    return y, torch.sum(y * y)


@case((3,))
def grown_in_a_while(x):
    y, i = x, 0
    while i < 3:
        y = torch.cat([y, y[-1:] * x])
        i += 1
    return y


@case((3,))
def grown_in_two_loops(x):
    y = x[:1]
    for i in range(2):
        for j in range(3):
            y = torch.cat([y, y[-1:] * x[j] + i])
    return y


@case((3,))
def grown_on_both_sides_of_an_if(x):
    y = x
    for i in range(3):
        if x[i] > 0:
            y = torch.cat([y, x]) * 2.0
        else:
            y = torch.cat([y, -y])
    return y * y


@case((8,))
def halved(x):
    y = x
    for _ in range(3):
        half = y.shape[0] // 2
        y = y[:half] * y[half:]
    return y


@case((5,))
def left_early(x):
    y = x * x
    for _ in range(4):
        y = y[1:] * y[:-1]
        if torch.sum(y) < -1.0:
            return torch.sum(y)
        if y[0] > 100.0:
            break
    return y[0]


@case((3,))
def of_another_kind_in_one_iteration(x):
    s, t = 0.0, x[0]
    for i in range(3):
        part = x[i] * t if i > 0 else x
        s = s + torch.sum(part)
    return s


@case((4, 3), (5, 4), (2, 5), (3,))
def layers(a, b, c, x):
    h = x
    for k, weight in enumerate([a, b, c]):
        h = weight @ h
        if k < 2:
            h = torch.tanh(h)
    return h


@case((8,))
def levels_of_a_pyramid(x):
    levels = [x]
    for _ in range(2):
        levels.append(0.5 * (levels[-1][::2] + levels[-1][1::2] ** 2))
    return torch.cat(levels)


@case((7,))
def halved_until_one_is_left(x):
    y = x
    while y.shape[0] > 1:
        y = torch.sin(y[::2]) * 1.5 + y[: (y.shape[0] + 1) // 2]
    return y.sum()


@case((5,))
def grown_by_the_index(x):
    t = torch.sum(x)
    for k in range(1, x.shape[0]):
        r = x[:k] * t
        for j in range(k):
            r = torch.cat([r, r[:1] * x[:j]])
        t = t + torch.sum(r * r)
    return t


@case((6,))
def on_one_side_of_an_if(x):
    y, z = x, x[:1]
    for v in x:
        if v > 0.0:
            y = y[1:] * v
        z = y * y
    return torch.sum(y * y), torch.sum(z)


@case((4,))
def grown_from_a_constant(x):
    y = torch.zeros(1, dtype=x.dtype)
    for v in x:
        y = torch.cat([y, y[-1:] * v + 1.0])
    return torch.sum(y * y)


@case((6,))
def by_another_that_changes(x):
    y, n = x * x, x.shape[0]
    for _ in range(x.shape[0] - 1):
        n = n - 1
        w = y[:n]
        y = w * torch.sum(y)
    return y


@case((4,), (4,))
def the_same_although_it_is_not_told(x, y):
    h = x
    for v in y:
        h = torch.tanh(y * v + h)
    return h


@pytest.mark.parametrize("name", ["halved_until_one_is_left", "grown_by_the_index", "on_one_side_of_an_if"])
def test_records_are_kept_of_what_changes(name):
    fn, args = CASES[name]
    program = trace(fn, [described(arg) for arg in args]).program
    assert any(eqn.op == "box" for eqn in walk(box_resized(program).main.body))


@pytest.mark.parametrize("name", ["halved_until_one_is_left", "on_one_side_of_an_if"])
def test_the_reverse_of_a_reverse(name):
    fn, (x,) = CASES[name]
    kernel = knossos.register(fn, backend="interpret")
    assert torch.autograd.gradgradcheck(kernel, (x.clone().requires_grad_(),))


def test_compiled():
    fn, (x,) = CASES["on_one_side_of_an_if"]
    mine, theirs = (x.clone().requires_grad_() for _ in range(2))
    sum(knossos.register(fn)(mine)).backward()
    sum(fn(theirs)).backward()
    torch.testing.assert_close(mine.grad, theirs.grad)


def test_none_are_kept_of_what_stays():
    fn, args = CASES["the_same_although_it_is_not_told"]
    program = trace(fn, [described(arg) for arg in args]).program
    assert box_resized(program) is program


@pytest.mark.parametrize("name", CASES)
def test_against_pytorch(name):
    fn, args = CASES[name]
    check_orders(fn, *args)


def test_a_loop_that_keeps_the_sizes_stays_a_loop():
    def smoothed(x):
        for _ in range(5):
            x = 0.5 * (x + torch.flip(x, [0]))
        return x

    program = trace(smoothed, [described(torch.ones(4, dtype=torch.float64))]).program
    assert any(eqn.op == "for" for eqn in walk(program.main.body))
