"""An index into a list of numbers may depend on the arguments; what is found is never taken for what is in the list."""

import numpy as np
import pytest
import torch
from tensor_oracle import check, check_derivatives, described

from ksc.errors import KernelRuntimeError, KnossosError
from ksc.frontend import trace
from ksc.ir.interpret import interpret

KNOTS = (0.0, 1, 2.5, 4.0)
PAIRS = [(1, 2.0), (3, 0.5), (0, 7)]


def spline(x, k):
    j = 0
    while j < 2 and x[0] >= KNOTS[j + 1]:
        j += 1
    return (x[0] - KNOTS[j]) / (KNOTS[j + 1] - KNOTS[j]) * k


def several_numbers(x, k):
    n, w = PAIRS[k]
    return n * x[1] + w * KNOTS[n]


def from_the_end(x, k):
    values = [x[0], 2.0, x[1] * x[1]]
    return x[0] * values[k - 3] * values[-k - 1]


def nested(x, k):
    r = [[[x[0], 1.0], [2.0, x[1]]], [[x[1], 3.0], [2.0, x[0] * x[1]]]]
    return x[0] * r[k][1 - k][k] * r[0][k][1]


def replaced(x, k):
    r = [(x[0], 1.0), (2.0, x[1])]
    q = r[k]
    r[0] = (30.0, x[1])
    return q[0] * q[1] + r[k][0]


def replaced_in_a_loop(x, k):
    r = [[x[0], 1.0], [2.0, x[1]]]
    t = 0.0
    for i in range(3):
        q = r[(k + i) % 2]
        r[0] = [t + x[0], 3.0]
        t += q[0] * q[1]
    return t


def copied_before_it_is_changed(x, k):
    r = [[x[0], 1.0], [2.0, x[1]]]
    q = list(r[k])
    q[0] = 5.0 * x[0]
    return q[0] + r[k][0]


def one_of_two_lists(x, k):
    r = [[x[0], 1.0], [2.0, x[1]]]
    q = r[k]
    if x[0] > 100.0:
        q = [3.0, x[1]]
    return q[0] + sum(r[k]) + len(q)


FOUND = [
    spline,
    several_numbers,
    from_the_end,
    nested,
    replaced,
    replaced_in_a_loop,
    copied_before_it_is_changed,
    one_of_two_lists,
]


@pytest.mark.parametrize("k", [0, 1])
@pytest.mark.parametrize("fn", FOUND, ids=lambda fn: fn.__name__)
def test_found(fn, k):
    x = torch.tensor([1.75, -0.5], dtype=torch.float64)
    check_derivatives(fn, x, k, traced=check(fn, x, k))


def changed(x, k):
    r = [[x[0], 1.0], [2.0, x[1]]]
    q = r[k]
    q[0] = 30.0
    return r[0][0]


def maybe_changed(x, k):
    r = [[x[0], 1.0], [2.0, x[1]]]
    q = r[k]
    if x[0] > 100.0:
        q = [3.0, x[1]]
    q[0] = 30.0
    return r[0][0]


def changed_in_a_loop(x, k):
    r = [[x[i], 1.0] for i in range(k)]
    q = r[-1]
    for _ in range(k):
        q[0] = 5.0
        q = [1.0, 2.0]
    return r[k - 1][0]


def item_of_a_grown_list(x, k):
    r = []
    for i in range(k):
        r.append([x[i], 1.0])
    q = r[0]
    q[0] = 30.0
    return r[0][0]


def entry_of_a_grown_list(x, k):
    r = [{"a": x[i]} for i in range(k)]
    r[0]["a"] = 30.0
    return r[0]["a"]


def changed_behind_its_back(x, k):
    r = [[x[0], 1.0], [2.0, x[1]]]
    q = r[k]
    r[0][0] = 30.0
    return q[0]


def number_changed(x, k):
    r = [x[0] * 2.0, x[1] * 3.0]
    q = r[k]
    q += 1.0
    return r[0]


def number_changed_behind_its_back(x, k):
    r = [x[0] * 2.0, x[1] * 3.0]
    q = r[k]
    r[0] += 1.0
    return q


def tensors(x, k):
    return [x, 2.0 * x][k]


def unlike(x, k):
    return [x[0], (x[0], x[1])][k]


def empty(x, k):
    return [][k]


REFUSED = [
    (changed, "KS122"),
    (maybe_changed, "KS122"),
    (changed_in_a_loop, "KS122"),
    (item_of_a_grown_list, "KS122"),
    (entry_of_a_grown_list, "KS122"),
    (changed_behind_its_back, "KS121"),
    (number_changed, "KS122"),
    (number_changed_behind_its_back, "KS121"),
    (tensors, r"torch\.stack"),
    (unlike, "its items differ"),
    (empty, "KS111"),
]


@pytest.mark.parametrize(("fn", "message"), REFUSED, ids=lambda value: getattr(value, "__name__", ""))
def test_refused(fn, message):
    with pytest.raises(KnossosError, match=message):
        trace(fn, [described(torch.ones(2, dtype=torch.float64)), described(1)])


@pytest.mark.parametrize("k", [3, -1])
def test_out_of_range(k):
    program = trace(from_the_end, [described(torch.ones(2, dtype=torch.float64)), described(k)]).program
    with pytest.raises(KernelRuntimeError, match="out of range"):
        interpret(program, [np.ones(2), k])
