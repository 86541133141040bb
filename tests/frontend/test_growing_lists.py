"""Lists as long as the arguments tell: PyTorch runs the same program."""

import pytest
import torch
from tensor_oracle import check, check_derivatives, described

from ksc.errors import KernelRuntimeError, KnossosError
from ksc.frontend import trace
from ksc.ir.interpret import interpret

CASES = {}


def case(*shapes):
    def enter(fn):
        generator = torch.Generator().manual_seed(11)
        CASES[fn.__name__] = fn, [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
        return fn

    return enter


def normalised(row):
    return row / (1.0 + torch.sum(row * row))


@case((4, 3))
def stacked_rows(x):
    out = []
    for row in x:
        out.append(normalised(row) * 2.0)
    return torch.stack(out)


@case((4, 3))
def stacked_calls(x):
    return torch.stack([normalised(row) for row in x])


@case((4, 3))
def stacked_along_the_last(x):
    return torch.stack([row * row for row in x], dim=-1), torch.stack([row * row for row in x], 1)


@case((4, 3))
def stacked_numbers(x):
    return torch.stack([torch.sum(row) for row in x]) * x[:, 0]


@case((5,))
def over_a_range(x):
    return torch.stack([x[i] * 2.0 for i in range(x.shape[0] - 1)])


@case((5,))
def made_of_numbers(x):
    out = []
    s = 1.5
    for i in range(x.shape[0]):
        s = s * 0.5 + i
        out.append(s)
    return torch.tensor(out, dtype=x.dtype) * x


@case((4, 3))
def joined(x):
    return torch.cat([row[:2] * row[0] for row in x]), torch.cat([torch.outer(row, row) for row in x], dim=1)


@case((4, 3))
def summed(x):
    return sum([row * row for row in x]), sum(torch.sum(row) ** 2 for row in x), sum((r[0] for r in x), x[1, 1])


@case((4, 3))
def read_by_index_and_length(x):
    out = [row * x[0] for row in x]
    k = len(out)
    return out[1] + out[-1] * k + out[k - 2], torch.stack(out[1:])


@case((4, 3))
def looped_over(x):
    out = []
    for row in x:
        out.append(row.exp())
    s = torch.zeros_like(x[0])
    for k, (a, b) in enumerate(zip(out, x)):  # noqa: B905
        s = s + a * b * k
    for a in reversed(out):
        s = s * 0.5 + a
    return s


@case((4, 3))
def of_tuples(x):
    out = []
    for row in x:
        out.append((row, torch.sum(row)))
    first = torch.stack([a * b for a, b in out])
    return first + out[1][0] * out[2][1]


@case((5, 3))
def recurrent(x):
    h = torch.zeros(3, dtype=x.dtype)
    states = []
    for row in x:
        h = torch.tanh(h * 0.5 + row)
        states.append(h)
    return torch.stack(states).sum(0), h


@case((5, 3))
def appended_on_both_paths(x):
    out = []
    for row in x:
        if torch.sum(row) > 0.0:
            out.append(row * 2.0)
        else:
            s = torch.sum(row)
            out.append(row * s)
    return torch.stack(out)


@case((5, 3))
def two_lists(x):
    a, b = [], []
    for i in range(x.shape[0]):
        a.append(x[i] * i)
        b.append(torch.max(x[i]))
    return torch.stack(a) * torch.stack(b)[:, None]


@case((5, 3))
def nested(x):
    out = []
    for row in x:
        inner = [v * v * row[0] for v in row]
        out.append(torch.stack(inner))
    return torch.stack(out)


@case((6,))
def in_a_while_loop(x):
    out = []
    s = x[0] * 0.0 + 1.0
    while s < 20.0:
        s = s * (1.5 + x[1] * x[1])
        out.append(s)
    return torch.stack(out).sum() * len(out)


@case((6,))
def until_a_break(x):
    out = []
    s = x[0] * 0.0
    for v in x:
        s = s + v * v
        out.append(s)
        if s > 1.5:
            break
    return torch.stack(out).sum() * len(out)


@case((4, 3))
def buffer_filled_in_each_iteration(x):
    out = []
    for row in x:
        b = torch.zeros_like(row)
        b[0] = row[1] * row[1]
        b += row
        out.append(b)
    return torch.stack(out)


@case((4, 3))
def views_of_a_local_tensor(x):
    y = x * 2.0
    return torch.stack([row for row in y]) * y


@case((70,))
def long_range_that_is_known(x):
    out = []
    for i in range(70):
        out.append(x[i] * x[0])
    return torch.stack(out)


@case((4, 3), (3,))
def through_a_local_function(x, w):
    out = []

    def keep(v):
        out.append(v * w)

    for row in x:
        keep(row)
    return torch.stack(out)


@pytest.mark.parametrize(("fn", "args"), CASES.values(), ids=CASES)
def test_values_and_derivatives_are_those_of_torch(fn, args):
    check_derivatives(fn, *args, traced=check(fn, *args))


def read_within(x):
    out = []
    for v in x:
        out.append(v if len(out) == 0 else out[-1] * v)
    return torch.stack(out)


def on_one_path(x):
    out = []
    for v in x:
        if v > 0.0:
            out.append(v)
    return torch.stack(out)


def twice(x):
    out = []
    for v in x:
        out.append(v)
        out.append(v * 2.0)
    return torch.stack(out)


def changed_after_it_was_appended(x):
    h = torch.zeros(2, dtype=x.dtype)
    out = []
    for v in x:
        h += v
        out.append(h)
    return torch.stack(out)


def changed_in_the_next_iteration(x):
    h = torch.zeros(2, dtype=x.dtype)
    out = []
    for v in x:
        h *= 2.0
        h = h + v
        out.append(h)
    return torch.stack(out)


def changed_after_the_loop(x):
    y = x * 1.0
    out = [v for v in y]
    y[0] = 5.0
    return torch.stack(out)


def item_changed(x):
    out = [v * 2.0 for v in x]
    first = out[0]
    first += 1.0
    return torch.stack(out)


def appended_again(x):
    out = [v * 2.0 for v in x]
    out.append(x[0])
    return torch.stack(out)


def appended_before(x):
    out = [x[0]]
    for v in x:
        out.append(v)
    return torch.stack(out)


def changing_a_tensor(x):
    y = x * 1.0
    out = [y.mul_(v) for v in x]
    return torch.stack(out)


def condition_in_a_comprehension(x):
    return torch.stack([v for v in x if v > 0.0])


def returned(x):
    return [v * 2.0 for v in x]


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (read_within, "used inside the loop"),
        (on_one_path, "list"),
        (twice, "a list of 2 after it"),
        (changed_after_it_was_appended, "KS121"),
        (changed_in_the_next_iteration, "KS121"),
        (changed_after_the_loop, "KS121"),
        (item_changed, "KS122"),
        (appended_again, "KS107"),
        (appended_before, "KS202"),
        (changing_a_tensor, "changes a tensor"),
        (condition_in_a_comprehension, "depends on the arguments"),
        (returned, "KS118"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_refused(fn, message):
    with pytest.raises(KnossosError, match=message):
        trace(fn, [described(torch.ones(3, dtype=torch.float64))])


def of_no_items(x):
    return torch.stack([v * 2.0 for v in x[3:]])


def of_several_sizes(x):
    parts = [x[:i] for i in range(x.shape[0])]
    return torch.cat(parts)


@pytest.mark.parametrize(("fn", "message"), [(of_no_items, "stack.. of no tensors"), (of_several_sizes, "size")])
def test_stopped_at_run_time(fn, message):
    x = torch.ones(3, dtype=torch.float64)
    with pytest.raises(KernelRuntimeError, match=message):
        interpret(trace(fn, [described(x)]).program, [x.numpy()])
