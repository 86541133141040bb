"""Aliases, views and writes: programs that PyTorch runs, run by the interpreter as well, with their derivatives."""

import pytest
import torch
from tensor_oracle import check, check_derivatives

CASES = {}


def case(*shapes):
    def enter(fn):
        assert fn.__name__ not in CASES
        CASES[fn.__name__] = fn, shapes
        return fn

    return enter


def tensor_of(shape, seed=0):
    generator = torch.Generator().manual_seed(seed + 7)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


@case((3,))
def alias(x):
    a = x * 2
    b = a
    b[0] = 1.0
    return a


@case((3, 4))
def row_in_place(x):
    out = x * 1.0
    row = out[1]
    row += x[0]
    return out, row


@case((3, 4))
def view_of_view(x):
    out = x.clone()
    inner = out[1:][0:1]
    cell = inner[0][2]
    cell *= 3.0
    inner[0, 3] = x[0, 0]
    return out


@case((3, 4))
def through_transpose(x):
    out = x.clone()
    columns = out.T
    columns[1] = x[:, 0]
    columns[2:, 1:] += 5.0
    return out, columns


@case((3, 4))
def through_reshape(x):
    out = x.clone()
    flat = out.reshape(-1)
    flat[5] = 2.0
    flat[7:9] *= x[0, :2]
    again = out.view(2, 6)
    again[1, 0] -= 1.0
    return out


@case((2, 3, 4))
def through_permute_and_select(x):
    out = x.clone()
    p = out.permute(2, 0, 1)
    p[1] = p[0] * 2
    q = p.select(1, 0)
    q[3] += x[0, :, 1]
    return out


@case((4,), (4,))
def swap(x, y):
    a, b = x.clone(), y.clone()
    a, b = b, a
    a[0] = 0.0
    b += 1.0
    return a, b


@case((4,))
def swap_elements(x):
    out = x.clone()
    t = out[0].clone()
    out[0] = out[1]
    out[1] = t
    return out


@case((4,))
def element_is_a_view(x):
    out = x.clone()
    first = out[0]
    out[0] = 5.0
    return out * first


@case((4,))
def value_read_before_write(x):
    out = x.clone()
    before = out * 1.0
    out[0] = 5.0
    return before + out


@case((4,), ())
def branch_writes(x, c):
    out = x.clone()
    if c > 0:
        out[0] = c
    else:
        out += x
    return out


@case((4,), ())
def branch_binds_views(x, c):
    out = x.clone()
    if c > 0:
        row = out[1:]
        row *= 2.0
    return out


@case((4,), ())
def branch_rebinds(x, c):
    y = x
    if c > 0:
        y = x * c
    return y + 1.0


@case((4,), ())
def branch_aliases(x, c):
    a, b = x + 1, x + 2
    y = a if c > 0 else b
    y[0] = 9.0
    return y


@case((4,), ())
def same_new_tensor_under_two_names(x, c):
    if c > 100:
        return x
    a = x * 2
    b = a
    b[0] = 7.0
    return a + b


@case((5,))
def loop_writes(x):
    out = torch.zeros_like(x)
    for i in range(x.shape[0]):
        out[i] = x[i] * x[i]
        if i > 0:
            out[i] += out[i - 1]
    return out


@case((5, 3))
def loop_of_rows(x):
    out = x.clone()
    for i in range(1, len(x)):
        row = out[i]
        row += out[i - 1] * 0.5
    return out


@case((3, 3), (3,))
def loop_rebinds(w, h):
    for _ in range(4):
        h = torch.tanh(w @ h)
    return h


@case((6,))
def loop_backwards(x):
    out = x.clone()
    for i in range(x.shape[0] - 2, -1, -1):
        out[i] += 0.5 * out[i + 1]
    return out


@case((6,))
def negative_indices(x):
    out = x.clone()
    for i in range(3):
        out[-i - 1] = x[i - 3] * 2
    return out


@case((6,))
def running_sum_is_rank_0(x):
    s = 0.0
    out = torch.zeros(x.shape[0], dtype=x.dtype)
    for i in range(x.shape[0]):
        s += x[i]
        out[i] = s
    return out, s


@case((6,))
def accumulator_tensor(x):
    s = torch.zeros((), dtype=x.dtype)
    for i in range(x.shape[0]):
        s += x[i] * x[i]
    return s


@case((6,))
def break_keeps_what_was_written(x):
    out = torch.zeros_like(x)
    s = 0.0
    for i in range(x.shape[0]):
        s += x[i] * x[i]
        if s > 2.0:
            break
        out[i] = torch.sqrt(s)
    return out


@case((6,))
def while_with_tensor(x):
    y = x.clone()
    n = 0
    while y.abs().sum() > 0.5:
        y = y * 0.5
        y[0] += 0.001
        n += 1
    return y, n


@case((6,))
def while_writes(x):
    y = x.clone()
    i = 0
    while i < len(y) - 1:
        y[i + 1] += y[i] * 0.5
        i += 1
    return y


@case((4, 4))
def nested_loops(a):
    low = torch.zeros_like(a)
    n = a.shape[0]
    for i in range(n):
        for j in range(i + 1):
            s = a[i, j] * a[i, j] + 1.0
            for k in range(j):
                s = s - low[i, k].clone() * low[j, k].clone() * 0.1
            low[i, j] = s
    return low


@case((6,))
def overlapping_copy(x):
    y = x.clone()
    y[1:] = y[:-1].clone()
    return y


@case((5,))
def in_place_methods(x):
    y = x.clone()
    y.mul_(2.0).add_(x)
    y[1:].fill_(3.0)
    y[0:1].copy_(x[2:3])
    z = torch.zeros_like(x)
    z.copy_(y)
    y.zero_()
    return y, z


@case((5,), (5,))
def in_place_operators(x, y):
    a = x.clone()
    a += y
    a -= 0.5
    a *= y
    a /= 3.0
    a **= 2
    return a


@case((3, 1), (4,))
def broadcast_write(x, y):
    out = torch.zeros(3, 4, dtype=x.dtype)
    out[:] = x
    out[0] = y
    out[:, 1] = 7.0
    out[1:] += y
    return out


def overwrite_first(t, value):
    t[0] = value


def first_row(t):
    return t[0]


@case((3, 4))
def helper_writes(x):
    out = x.clone()
    overwrite_first(out, x[1] * 2)
    return out


@case((3, 4))
def helper_returns_a_view(x):
    out = x.clone()
    row = first_row(out)
    row += 1.0
    return out


@case((3, 4))
def closure_writes(x):
    out = x.clone()

    def put(i, v):
        out[i] = v

    put(1, x[0])
    put(2, 3.0)
    return out


@case((4,))
def list_of_tensors(x):
    xs = [x * k for k in range(3)]
    ys = xs
    ys.append(x + 1)
    xs[0] = x - 1
    ys[1] += 2.0
    return torch.stack(xs)


@case((4,))
def list_grown_in_a_loop(x):
    xs = []
    for k in range(4):
        xs.append(x[k] * k)
    last = xs.pop()
    xs.insert(0, last)
    xs += [x[0]]
    return torch.stack(xs)


@case((4,), ())
def list_changed_on_one_path(x, c):
    xs = [x, x * 2]
    if c > 0:
        xs[0] = x * 3
    return xs[0] + xs[1]


@case((4,))
def elements_of_a_list_are_aliases(x):
    a = x.clone()
    xs = [a, a]
    xs[0][1] = 4.0
    return xs[1]


@case((3, 4))
def detached(x):
    y = x.detach()
    return x * y


@case((4, 3))
def diagonal_write(x):
    out = x.clone()
    d = out.diagonal()
    d += 2.0
    out.diagonal(1)[0] = x[0, 0]
    return out


# PyTorch takes no derivative through a write into a tensor that was split.
VALUE_ONLY = ("parts",)


@case((4, 6))
def parts(x):
    out = x.clone()
    a, b, c = out.chunk(3, 1)
    top, rest = out.split([1, x.shape[0] - 1])
    out[0] += 1.0
    out[:, 2:] *= x[:, :4]
    return out, a * b, c, top, rest.narrow(1, 1, 3), out.tensor_split(2)[1]


@case((5,))
def return_of_the_argument(x):
    return x, x[1:], x.sum()


@case((1, 1))
def branch_on_one_element(x):
    if x:
        return x * 2
    return x


@case((5,), ())
def early_return_of_a_view(x, c):
    out = x * 2
    if c > 0:
        return out[1:]
    out[0] = c
    return out[:-1]


@case((6,))
def loop_returns(x):
    out = x.clone()
    for i in range(x.shape[0]):
        out[i] = 0.0
        if x[i] > 0.5:
            return out * x[i]
    return out


@case((4,))
def condition_that_changes_a_tensor(x):
    out = x * 1.0
    i = 0
    while i < 3 and out.add_(1.0).sum() < 100:
        i += 1
    return out


@case((4,), ())
def choice_that_changes_a_tensor(x, c):
    out = x * 1.0
    y = out.mul_(2.0) if c > 0 else out
    return out, y


@case((4,))
def comprehension_that_changes_a_tensor(x):
    out = x * 1.0
    _ = [out.mul_(2.0) for _ in range(3)]
    return out


@case((4,))
def number_that_becomes_an_element(x):
    best = 0.0
    w = torch.zeros(2, dtype=x.dtype)
    for v in x:
        if v > best:
            best = v
            w[0] = v
        else:
            w[1] += v
    return best * 1.0, w


@case((4,), ())
def element_changed_on_one_path(x, c):
    out = x * 1.0
    first = out[0]
    if c > 0:
        first += 1.0
    first *= 2
    return out


@case((4,))
def tuple_of_views_carried(x):
    out = x * 1.0
    t = (out[0:2], out)
    for _ in range(len(x)):
        t[0][1] += 1.0
        t = (out[0:2], out * 1)
    return out, t[1]


@case((3,), ())
def list_made_and_changed_on_one_path(x, c):
    if c > 0:
        parts = [x]
        parts.append(x * 2.0)
        parts[0] = x * 5.0
    else:
        parts = [x * 3.0, x]
    return parts[0], parts[1]


@case((3,), ())
def list_changed_on_the_path_that_returns(x, c):
    if c > 0:
        parts = [x, x]
        for i in range(x.shape[0]):
            parts[1] = parts[1] * x[i]
        return parts
    return [x * 2.0, x]


SIGNS = (-1.0, 1.0)


@pytest.mark.parametrize("name", CASES)
def test_value_and_derivatives(name):
    fn, shapes = CASES[name]
    for sign in SIGNS:
        args = [
            tensor_of(shape, k) if shape else torch.tensor(sign, dtype=torch.float64) for k, shape in enumerate(shapes)
        ]
        traced = check(fn, *args)
        if name not in VALUE_ONLY:
            check_derivatives(fn, *args, traced=traced)
