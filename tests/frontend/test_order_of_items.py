"""Slices of lists that are written, tuples in order, lists sorted by a key: PyTorch runs the same program."""

import pytest
import torch
from tensor_oracle import check, check_derivatives, described

from ksc.errors import KnossosError
from ksc.frontend import trace


def slice_written(x):
    items = [x[0], x[1], x[2], x[3]]
    items[1:3] = [items[2] * 2, items[1] * 3, x[0]]
    items[::2] = [*items[1::2], x[1]]
    items[5:] = (x[3],)
    items[:1] = []
    return torch.stack(items), len(items)


def alias_sees_it(x):
    items = [x[0], x[1], x[2]]
    other = items
    items[:2] = [x[3]]
    return torch.stack(other)


def in_order(x):
    p, q = (x[0], x[1]), (x[2], x[3])
    return (p < q) * 8 + (p <= q) * 4 + (p > q) * 2 + (p >= q) * 1 + x[0]


def longer(x):
    short, long = [x[0]], [x[0], x[1]]
    return (short < long) * x[1] + (long <= short) * x[2] + ((1, x[0]) < (1, x[1], 2.0)) * x[3]


def chosen_by_order(x):
    best = (x[0], 0)
    for k in range(1, 4):
        if (x[k], k) > best:
            best = (x[k], k)
    return best


def sorted_by_key(x):
    bones = [("c", 2, x[0]), ("a", 1, x[1]), ("b", 1, x[2])]
    by_name = sorted(bones, key=lambda bone: bone[0])
    by_rank = sorted(bones, key=lambda bone: (bone[1], bone[0]), reverse=True)
    return by_name[0][2] * by_rank[0][2] + by_rank[1][2] * 2, sorted([3, 1, 2])[0] * x[3], sorted([1, 2], key=None)[1]


@pytest.mark.parametrize("fn", [slice_written, alias_sees_it, in_order, longer, chosen_by_order, sorted_by_key])
@pytest.mark.parametrize("items", [(0.5, -1.0, 0.5, 2.0), (0.5, -1.0, 0.5, -1.0), (2.0, 1.0, float("nan"), 3.0)])
def test_against_torch(fn, items):
    x = torch.tensor(items, dtype=torch.float64)
    traced = check(fn, x)
    if not x.isnan().any():
        check_derivatives(fn, x, traced=traced)


def wrong_count(x):
    items = [x[0], x[1], x[2]]
    items[::2] = [x[0]]
    return items[0]


def sorted_by_values(x):
    return sorted([(x[0], 1), (x[1], 2)], key=lambda pair: pair[0])[0][1]


def order_of_tuple_and_list(x):
    return (x[0], 1) < [x[1], 2]


@pytest.mark.parametrize(
    ("fn", "code"), [(wrong_count, "KS207"), (sorted_by_values, "KS111"), (order_of_tuple_and_list, "KS200")]
)
def test_refused(fn, code):
    with pytest.raises(KnossosError) as caught:
        trace(fn, [described(torch.ones(4, dtype=torch.float64))])
    assert caught.value.code == code
