"""Lists that a loop reads at their end while it appends to them: PyTorch runs the same program."""

import pytest
import torch
from orders import check_orders
from tensor_oracle import described

from ksc.errors import KnossosError
from ksc.frontend import trace

CASES = {}


def case(*shapes):
    def enter(fn):
        generator = torch.Generator().manual_seed(9)
        CASES[fn.__name__] = fn, [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
        return fn

    return enter


@case((5,))
def of_numbers(x):
    ys = [x[0]]
    for i in range(x.shape[0]):
        ys.append(torch.sin(ys[-1]) * x[i])
    return torch.stack(ys), ys[2]


@case((5, 2))
def of_rows(x):
    ys = [x[0], x[0] * 2.0]
    for row in x[1:]:
        ys.append(torch.sin(ys[-1]) * row + ys[-2])
    return torch.stack(ys), torch.sum(ys[-1]) * len(ys)


@case((4, 3))
def of_pairs(x):
    states = [(x[0], torch.sum(x[1]))]
    for row in x:
        position, speed = states[-1]
        states.append((position + 0.1 * speed * row, speed - 0.1 * torch.sum(position * row)))
    last, _ = states[-1]
    return last


@case((5,))
def in_a_while(x):
    ys = [torch.sum(x * x)]
    while ys[-1] < 50.0:
        ys.append(1.5 * ys[-1] + x[0] * x[1] + 1.0)
    return sum(ys)


@case((5,))
def left_by_break(x):
    ys = [x[0]]
    for i in range(x.shape[0]):
        ys.append(ys[-1] * x[i] + 2.0)
        if ys[-1] > 3.0:
            break
    return ys[-1], sum(ys)


@case((3,))
def over_a_long_range(x):
    ys = [x[0]]
    for i in range(100):
        ys.append(torch.sin(ys[-1]) + x[1] * (i % 3))
    return torch.stack(ys)


@case((3, 3))
def in_each_row(x):
    totals = []
    for row in x:
        ys = [row[0]]
        for i in range(row.shape[0]):
            ys.append(ys[-1] * row[i] + 1.0)
        totals.append(ys[-1] + ys[1])
    return torch.stack(totals)


@case((4,))
def seen_under_another_name(x):
    ys = [x[0]]
    zs = ys
    for i in range(x.shape[0]):
        ys.append(ys[-1] * x[i])
    return torch.stack(zs)


@pytest.mark.parametrize("name", CASES)
def test_against_pytorch(name):
    fn, args = CASES[name]
    check_orders(fn, *args)


def without_an_iteration(x):
    ys = [x.sum()]
    for row in x:
        ys.append(ys[-1] * row[0])
    return torch.stack(ys)


def test_without_an_iteration():
    check_orders(without_an_iteration, torch.zeros(0, 2, dtype=torch.float64), mapped=False)


def changed_in_place(x):
    ys = [x * 2.0]
    for row in x:
        last = ys[-1]
        last += row
        ys.append(last)
    return torch.stack(ys)


def read_elsewhere(x):
    ys = [x[0]]
    for i in range(x.shape[0]):
        ys.append(ys[i] * x[i])
    return torch.stack(ys)


@pytest.mark.parametrize(
    ("fn", "message"),
    [(changed_in_place, "or a part of it, which line"), (read_elsewhere, "a list of 2 after it")],
)
def test_what_is_refused(fn, message):
    with pytest.raises(KnossosError, match=message):
        trace(fn, [described(torch.ones(4, dtype=torch.float64))])
