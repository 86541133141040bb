"""Loops over tensors, unpacking, structures and functions of tensors: PyTorch runs the same program."""

import dataclasses
from typing import NamedTuple

import pytest
import torch
from tensor_oracle import check, check_derivatives

CASES = {}


def tensor(*shape, seed=3):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def case(*args):
    def enter(fn):
        CASES[fn.__name__] = fn, args
        return fn

    return enter


@case(tensor(4, 3))
def rows(x):
    s = torch.zeros(x.shape[1], dtype=x.dtype)
    for row in x:
        s = s * 0.5 + row
    return s


@case(tensor(6))
def elements(x):
    s = 0.0
    for v in x:
        if v < 0:
            continue
        s += v * v
    return s


@case(tensor(4, 3))
def rows_with_break(x):
    s = torch.zeros_like(x[0])
    for row in x:
        if row.sum() > 1.5:
            break
        s = s + row * row
    return s


@case(tensor(4, 3))
def rows_are_views(x):
    out = x.clone()
    for row in out:
        row *= 2.0
        row[0] += 1.0
    return out


@case(tensor(5), tensor(5, seed=4))
def zipped(x, y):
    s = 0.0
    for a, b in zip(x, y, strict=True):
        s = s + a * b * b
    return s


@case(tensor(5), tensor(3, seed=4))
def zip_takes_the_shortest(x, y):
    s = 0.0
    for a, b in zip(x, y, strict=False):
        s = s + a * b
    return s


@case(tensor(5, 2))
def enumerated(x):
    out = torch.zeros_like(x)
    for i, row in enumerate(x):
        out[i] = row * (i + 1)
    return out


@case(tensor(5))
def enumerated_zip_with_start(x):
    out = torch.zeros_like(x)
    for i, (a, k) in enumerate(zip(x, range(x.shape[0]), strict=False), 1):
        out[k] = a * i
    return out


@case(tensor(5))
def reversed_elements(x):
    s = 0.0
    for v in reversed(x):
        s = s * 0.5 + v
    return s


@case(tensor(3))
def unpacked(x):
    a, b, c = x
    return a * b + c


@case(tensor(2, 3))
def unpacked_rows_are_views(x):
    out = x.clone()
    a, b = out
    out[0] += 1.0
    return a * b


@case(tensor(1, 3))
def comprehension_over_rows(x):
    return torch.stack([row * 2 for row in x])


@dataclasses.dataclass
class State:
    h: torch.Tensor
    c: torch.Tensor


class Pair(NamedTuple):
    first: torch.Tensor
    second: torch.Tensor


@case(State(tensor(3), tensor(3, seed=5)), tensor(4, 3))
def dataclass_carried(state, xs):
    for x in xs:
        c = state.c * 0.5 + torch.sigmoid(x) * torch.tanh(state.h)
        state = State(torch.tanh(c), c)
    return state


@case(Pair(tensor(3), tensor(3, seed=5)))
def namedtuple_argument(p):
    return Pair(p.second, p.first * p.second)


@case((tensor(2), [tensor(3, seed=5), tensor(3, seed=6)]))
def nested_argument(p):
    a, bs = p
    return a.sum() * bs[0] + bs[1]


def twice(f, x):
    return f(f(x))


@case(tensor(3))
def function_as_argument(x):
    return twice(lambda v: v * v + x, x)


def norm(v):
    return (v * v).sum()


@case(tensor(3), tensor(2, 3))
def helper_of_several_ranks(x, y):
    return norm(x) + norm(y) * norm(y[0])


def tree_sum(x: torch.Tensor, n: int) -> float:
    if n == 0:
        return x.sum() * 0.5
    return tree_sum(x * 2.0, n - 1) + x[0]


@case(tensor(3), 3)
def recursion_with_tensors(x, n):
    return tree_sum(x, n)


@case(tensor(4, 3))
def sizes(x):
    n, m = x.shape
    assert x.ndim == x.dim() == 2
    return x.sum() * n + m + len(x) + x.size(0) + x.numel() + x.shape[-1]


@case(tensor(3, 4), torch.tensor([2, 0, -1]), torch.tensor([1, 1, 3]))
def integer_tensors(x, i, j):
    return x[i], x[i, j], x[:, i], x[i][:, j], x[None, :, i], x[0, i], x[i, :2]


@case(torch.zeros(2, 3, 4, 5, dtype=torch.float64) + tensor(5), torch.tensor([1, 0]), torch.tensor([[1], [0]]))
def placed_dimensions(x, i, j):
    return x[:, i, j], x[i, :, j], x[0, :, i], x[..., i], x[:, [0, 2], 1], x[i, None, :, j]


@case(tensor(5), torch.tensor([0, 3, 3, -1]), tensor(4, seed=8))
def integer_tensor_writes(x, i, v):
    out = x.clone()
    out[i[:2]] = v[:2]
    out[i[2:]] += v[2:] * 2
    out[[0, 1]] *= 3.0
    return out


@case(tensor(3, 4), tensor(3, 4, seed=9) > 0)
def masks(x, m):
    out = x.clone()
    out[m] = 2.0
    out[x > 0.5] += 1.0
    out[out < -1.0] *= 0.5
    out[m[:, 0]] = x[0]
    return out


@case(tensor(3, 4), 1, -1)
def run_time_indices(x, i, j):
    out = x.clone()
    out[i, j] = 5.0
    out[j] += x[i]
    return out, x[i], x[j, i], x[i:], x[:j], x[j:, ::2], x[i:10, -2:]


@case(tensor(7))
def slices(x):
    return x[2:], x[:-2], x[1:6:2], x[-3:], x[5:2], x[::3], x[...], x[None], x[:, None], x[1:][1:-1]


@case(tensor(2, 3, 4))
def views(x):
    return (
        x.permute(2, 0, 1), x.transpose(0, -1), x.movedim(0, 2), x.mT, x.flatten(1), x.reshape(6, 4), x.view(-1),
        x.reshape(4, 3, 2), x.unflatten(2, (2, 2)), x.unsqueeze(1), x.unsqueeze(-1).squeeze(-1), x[0].T, x[0].t(),
        x.flatten(), x.ravel(), x[0, 0].expand(2, 4), x.select(1, 2),
        x.narrow(2, 1, 2), x.diagonal(0, 1, 2), x.diagonal(1), x.swapaxes(0, 1).reshape(3, -1),
        torch.broadcast_to(x[0, 0], (2, 4)), x.reshape(2, -1, 2), x[1],
        x.transpose(0, 1).contiguous().view(-1), x.view(2, 12)[:, 3:].reshape(2, 3, 3),
    )  # fmt: skip


@case(tensor(6), torch.tensor([0, 2, 2, 6]), torch.tensor([3]))
def ranges_of_elements(x, first, count):
    out = torch.zeros(count.item(), dtype=x.dtype)
    for j in range(count):
        for e in range(first[j], first[j + 1]):
            out[j] += (e + 1) * x[e] ** 2
    return out


# PyTorch takes no derivative through a write into a tensor that was unbound.
VALUE_ONLY = ("rows_are_views", "unpacked_rows_are_views")


@pytest.mark.parametrize("name", CASES)
def test_value_and_derivatives(name):
    fn, args = CASES[name]
    traced = check(fn, *args)
    if name not in VALUE_ONLY:
        check_derivatives(fn, *args, traced=traced)
