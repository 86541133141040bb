"""Names that stand for one storage or another, depending on the path: buffers that are swapped, lists, and both at once."""

import pytest
import torch
from tensor_oracle import check, check_derivatives, described

import ksc as knossos
from ksc.errors import UnsupportedError
from ksc.frontend import trace


def given(first=0.7):
    return torch.tensor([first, -0.4, 0.6, 1.3, 0.2], dtype=torch.float64)


def ping_pong(u, n: int):
    a = u.clone()
    b = torch.zeros_like(u)
    last = u.shape[0] - 1
    for _ in range(n):
        b[0] = a[0]
        b[last] = a[last]
        for i in range(1, last):
            b[i] = a[i] + 0.1 * (a[i - 1] - 2 * a[i] + a[i + 1]) * a[i].clone()
        a, b = b, a
    return a, b * 2.0


def three_in_a_ring(u, n: int):
    a, b, c = u.clone(), u * 2.0, u * 3.0
    for i in range(n):
        c[i % 5] = a[0].clone() * b[1].clone()
        a[1] += c[2] * 0.1
        a, b, c = b, c, a
    return a, b, c


def swapped_on_one_path(u, n: int):
    a, b = u.clone(), u * 2.0
    if u[0] > n:
        a, b = b, a
    a[0] = 5.0 * u[1]
    b[1] = a[0].clone() * b[2].clone()
    return a, b


def swapped_while_a_test_holds(u, n: int):
    a, b = u.clone(), u * 2.0
    for i in range(n):
        if a[i] < b[i]:
            a, b = b, a
        a[i] += b[i + 1] * 0.5
    return a, b


def two_lists_or_one(u, n: int):
    if u[0] > n:
        p = [u[0]]
        q = p
    else:
        p = [u[0] * 2]
        q = [u[1] * 3]
    return p[0], q[0]


def list_changed_before_a_loop(u, n: int):
    items = [u[0], u[1]]
    items[0] = u[2]
    for _ in range(n):
        items = [items[0] * 0.5, u[1]]
    return items[0]


def list_changed_on_one_path(u, n: int):
    a, b = [u[0]], [u[1]]
    if u[0] > 0:
        b[0] = b[0] + u[2]
    for _ in range(n):
        b = a
    return b[0] * a[0]


def bound_before_break(u, n: int):
    for i in range(n):
        if u[i] > 0.5:
            found = u[i] * u[i]
            break
    else:
        found = u.sum()
    k = 0
    while k < n:
        if u[k] < 0:
            place = u[k] * 2.0
            break
        k += 1
    else:
        place = found * 3.0
    return found, place


PROGRAMS = [
    bound_before_break,
    ping_pong,
    three_in_a_ring,
    swapped_on_one_path,
    swapped_while_a_test_holds,
    two_lists_or_one,
    list_changed_before_a_loop,
    list_changed_on_one_path,
]


@pytest.mark.parametrize("fn", PROGRAMS)
@pytest.mark.parametrize("first", [0.7, -0.7])
def test_against_torch(fn, first):
    for n in (0, 1, 4):
        check_derivatives(fn, given(first), n, traced=check(fn, given(first), n))


@pytest.mark.parametrize("n", [0, 3, 4])
def test_swapped_buffers_compiled(n):
    kernel = knossos.register(ping_pong)
    u, own = (given().requires_grad_() for _ in range(2))
    for found, wanted in zip(kernel(u, n), ping_pong(own, n), strict=True):
        torch.testing.assert_close(found, wanted)
    sum((r * r).sum() for r in kernel(u, n)).backward()
    sum((r * r).sum() for r in ping_pong(own, n)).backward()
    torch.testing.assert_close(u.grad, own.grad)


def read_of_what_may_have_changed(u, n: int):
    a = u.clone()
    b = a if u[0] > n else u * 2.0
    b[0] = 1.0
    return a


def read_of_a_swapped_buffer(u, n: int):
    a, b = u.clone(), u * 2.0
    first = a
    for _ in range(n):
        a[0] = 1.0
        a, b = b, a
    return first


def may_be_the_argument(u, n: int):
    a, b = u, u.clone()
    for _ in range(n):
        b[0] = a[1]
        a, b = b, a
    return a


def list_or_literal(u, n: int):
    a = [u[0], u[1]]
    b = [u[2], u[3]] if u[0] > n else a
    b[0] = u[4]
    return a[0]


def lists_that_may_be_one(u, n: int):
    if u[0] > n:
        p = [u[0]]
        q = p
    else:
        p = [u[0] * 2]
        q = [u[1] * 3]
    p[0] = u[2]
    return q[0]


def read_by_else(u, n: int):
    for i in range(n):
        if u[i] > 0.5:
            found = u[i]
            break
    else:
        found = found + 1.0
    return found


def exchanged_by_min_and_max(u, n: int):
    """Of two elements the less is one of them, so the greater may be overwritten before it is stored."""
    v = u.clone()
    a, b = v[0], v[1]
    v[0], v[1] = min(a, b), max(a, b)
    return v


def least_of_what_changes(u, n: int):
    v = u.clone()
    least = v[0]
    for i in range(n):
        least = min(least, v[i])
        v[i] = 0.0
    return least


def changed_least(u, n: int):
    least = min(u[0], u[1], u[2])
    least += 1.0
    return u.sum()


@pytest.mark.parametrize(
    ("fn", "code"),
    [
        (read_by_else, "KS112"),
        (exchanged_by_min_and_max, "KS121"),
        (least_of_what_changes, "KS121"),
        (changed_least, "KS120"),
        (read_of_what_may_have_changed, "KS121"),
        (read_of_a_swapped_buffer, "KS121"),
        (may_be_the_argument, "KS120"),
        (list_or_literal, "KS121"),
        (lists_that_may_be_one, "KS121"),
    ],
)
def test_refused_where_it_is_not_known(fn, code):
    with pytest.raises(UnsupportedError) as caught:
        trace(fn, [described(given()), described(3)])
    assert caught.value.code == code


def rows_in_turn(u, n: int):
    """What the least of elements may be is known to be neither of the other's storage."""
    before, row = u.clone(), u.clone()
    for i in range(1, n):
        least = min(before[i], row[i - 1], before[i - 1])
        row[i] = least + u[i]
        before[i - 1] = row[i] * 2.0
    return before + row


def test_the_least_of_two_tensors_makes_them_no_one_tensor():
    check(rows_in_turn, given(), 3)
