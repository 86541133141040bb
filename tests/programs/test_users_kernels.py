"""Kernels as PyTorch's users write them, with tensors of floats, integers and truth values, also empty and of one row.

Each is compared with PyTorch as it is written: its value, vjp, jvp, the jvp of its vjp, and its vmap.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from ksc.derive import derive
from ksc.frontend import Abstract, trace
from ksc.ir.interpret import interpret
from ksc.ir.nodes import Program
from ksc.ir.types import Bool, Float, Integer, TensorType, Type
from ksc.passes import optimise
from tests.strategies.tensors_cases import assert_near, double_precision, flat

KERNELS: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
GENERATOR = torch.Generator().manual_seed(0)
TYPES: dict[torch.dtype, Type] = {torch.float64: Float, torch.int64: Integer, torch.bool: Bool}


def floats(*sizes: int) -> Tensor:
    return torch.randn(*sizes, generator=GENERATOR, dtype=torch.float64)


def below(limit: int, *sizes: int) -> Tensor:
    return torch.randint(0, limit, sizes, generator=GENERATOR)


def at(*points: tuple[Any, ...]) -> Callable[[Any], Any]:
    def enter(fn: Any) -> Any:
        KERNELS.extend((fn, point) for point in points)
        return fn

    return enter


@at((floats(6), below(2, 6)), (floats(1), below(2, 1)))
def lovasz_hinge(logits: Tensor, labels: Tensor):
    errors = 1.0 - logits * (2.0 * labels - 1.0)
    errors, order = torch.sort(errors, dim=0, descending=True)
    truth = labels[order]
    count = truth.sum()
    jaccard = 1.0 - (count - truth.cumsum(0)) / (count + (1 - truth).cumsum(0))
    steps = torch.cat([jaccard[:1], jaccard[1:] - jaccard[:-1]])
    return torch.dot(functional.relu(errors), steps)


@at(
    (floats(4, 5), below(2, 4, 5).bool()),
    (floats(1, 5), torch.ones(1, 5).bool()),
    (floats(0, 5), below(2, 0, 5).bool()),
)
def masked_statistics(x: Tensor, mask: Tensor):
    count = mask.sum(1).clamp(min=1)
    mean = (x * mask).sum(1) / count
    variance = torch.where(mask, (x - mean[:, None]) ** 2, 0.0).sum(1) / count
    return mean, variance, x.masked_fill(~mask, -torch.inf).amax(1), (mask & (x > 0)).any()


@at(
    (floats(5, 3), below(5, 2, 7), floats(3, 3)),
    (floats(1, 3), below(1, 2, 2), floats(3, 3)),
    (floats(5, 3), below(5, 2, 0), floats(3, 3)),
)
def message_passing(x: Tensor, edges: Tensor, w: Tensor):
    source, target = edges
    out = torch.zeros_like(x)
    out.index_add_(0, target, torch.relu(x[source] @ w))
    degree = torch.zeros(x.shape[0]).index_add(0, target, torch.ones(target.shape[0]))
    return out / degree.clamp(min=1).unsqueeze(-1)


@at((floats(6), floats(6), floats(4)), (floats(2), floats(2), floats(1)), (floats(6), floats(6), floats(0)))
def interpolated(xp: Tensor, fp: Tensor, x: Tensor):
    xp, order = torch.sort(xp)
    fp = fp[order]
    i = torch.searchsorted(xp, x).clamp(1, xp.shape[0] - 1)
    left, right = xp[i - 1], xp[i]
    return torch.lerp(fp[i - 1], fp[i], (x - left) / (right - left))


@at((floats(4, 3), floats(3, 3), below(3, 4)), (floats(1, 3), floats(3, 3), below(3, 1)))
def random_field(scores: Tensor, moves: Tensor, path: Tensor):
    alpha = scores[0]
    score = scores[0, path[0]]
    for t in range(1, scores.shape[0]):
        alpha = torch.logsumexp(alpha.unsqueeze(1) + moves, 0) + scores[t]
        score = score + moves[path[t - 1], path[t]] + scores[t, path[t]]
    return torch.logsumexp(alpha, 0) - score


@at((floats(6, 3), below(3, 6)), (floats(2, 3), torch.tensor([0, 1])))
def hard_triplets(z: Tensor, label: Tensor):
    d = (z.unsqueeze(0) - z.unsqueeze(1)).pow(2).sum(-1)
    same = label[:, None] == label[None]
    positive = torch.where(same, d, -torch.inf).max(1)[0]
    negative = torch.where(~same, d, torch.inf).min(1)[0]
    return functional.softplus(positive - negative).mean()


@at((floats(5), floats(5), floats(5)), (floats(1), floats(1), floats(1)), (floats(0), floats(0), floats(0)))
def advantages(reward: Tensor, value: Tensor, mask: Tensor):
    out = torch.zeros_like(reward)
    last = 0.0
    for t in reversed(range(reward.shape[0])):
        following = value[t + 1] if t + 1 < reward.shape[0] else 0.0
        last = reward[t] + 0.99 * following * mask[t] - value[t] + 0.95 * mask[t] * last
        out[t] = last
    return out, out + value


@at((floats(6, 7), torch.tensor(1.2, dtype=torch.float64)), (floats(1, 5), torch.tensor(0.7, dtype=torch.float64)))
def blurred(image: Tensor, sigma: Tensor):
    k = torch.exp(-(torch.arange(-2, 3) ** 2) / (2 * sigma**2))
    k = k / k.sum()
    x = functional.pad(image[None, None], (2, 2, 2, 2), mode="replicate")
    return functional.conv2d(functional.conv2d(x, k[None, None, None, :]), k.view(1, 1, -1, 1))[0, 0]


@at((floats(4, 6),), (floats(1, 6),), (floats(8, 12)[::2, ::2],))
def rotary(x: Tensor):
    steps, d = x.shape
    angle = torch.outer(torch.arange(steps) * 1.0, 100.0 ** (-torch.arange(0, d, 2) / d))
    c, s = angle.cos(), angle.sin()
    even, odd = x[..., ::2], x[..., 1::2]
    return torch.stack((even * c - odd * s, even * s + odd * c), dim=-1).flatten(-2)


@at((floats(3, 4), below(4, 3)), (floats(1, 4), below(4, 1)))
def chosen(x: Tensor, i: Tensor):
    y = x.clone()
    y[torch.arange(x.shape[0]), i] += 1.5
    return y, x.scatter(1, i[:, None], 0.0), (y * y).take_along_dim(i[:, None], 1)


@at(
    (floats(3, 4, 4), floats(3, 4)),
    (floats(4, 4, 3).permute(2, 1, 0), floats(1, 4).expand(3, 4)),
    (floats(0, 4, 4), floats(0, 4)),
)
def quadratic_forms(a: Tensor, x: Tensor):
    s = 0.5 * (a + a.transpose(1, 2))
    return (
        torch.einsum("bi,bij,bj->b", x, s, x),
        torch.bmm(s, x.unsqueeze(2)).squeeze(2),
        (s * torch.eye(4)).sum((1, 2)),
    )


@at((floats(4, 4).abs(), floats(4, 4).abs()), (floats(1, 4).abs(), floats(1, 4).abs()))
def overlap_of_boxes(a: Tensor, b: Tensor):
    a, b = (torch.cat([box[:, :2], box[:, :2] + box[:, 2:]], 1) for box in (a, b))
    area = lambda box: (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1])  # noqa: E731
    inter = (torch.min(a[:, 2:], b[:, 2:]) - torch.max(a[:, :2], b[:, :2])).clamp_min(0).prod(1)
    union = area(a) + area(b) - inter
    hull = (torch.max(a[:, 2:], b[:, 2:]) - torch.min(a[:, :2], b[:, :2])).prod(-1)
    return 1 - inter / union + (hull - union) / hull


@at((floats(5), below(5, 3), below(9, 3)), (floats(5), below(5, 0), below(9, 0)))
def integers(x: Tensor, i: Tensor, j: Tensor):
    k = (i * 3 + j) % 5
    q = torch.div(j, 2, rounding_mode="floor")
    return x[k] * q, k, i > j, i // 2 - j, torch.where(i > 2, i, -j)


@at((torch.tensor([1.0, float("nan"), 3.0, float("inf")], dtype=torch.float64),), (floats(1),))
def finite_only(x: Tensor):
    ok = torch.isfinite(x)
    return (
        (torch.where(ok, x, 0.0) ** 2).sum() / ok.sum().clamp(min=1),
        torch.nan_to_num(x, posinf=9.0),
        torch.nan_to_num(x) * 0.25,
        x.isnan().any(),
        x.max(0),
    )


@pytest.mark.parametrize("number", range(len(KERNELS)), ids=[f"{fn.__name__}-{n}" for n, (fn, _) in enumerate(KERNELS)])
def test_means_what_pytorch_means(number: int) -> None:
    fn, args = KERNELS[number]
    with double_precision():
        program = trace(fn, [described(arg) for arg in args]).program
        check_derivatives(fn, program, args)
        check_lanes(fn, program, args)


def described(value: Tensor) -> Abstract:
    type_ = TYPES[value.dtype]
    return Abstract(
        TensorType(value.ndim, type_, tuple(1 if n == 1 else None for n in value.shape)) if value.ndim else type_
    )


def run(program: Program, values: Sequence[Tensor]) -> list[Any]:
    return list(interpret(optimise(program), tuple(v.numpy() if v.ndim else v.item() for v in values), width="f64"))


def check_derivatives(fn: Callable[..., Any], program: Program, args: Sequence[Tensor]) -> None:
    wanted = flat(fn(*args))
    assert_near(run(program, args), wanted, 1e-9, "value")
    active = [k for k, arg in enumerate(args) if arg.is_floating_point()]
    chosen = [k for k, value in enumerate(wanted) if value.is_floating_point()]
    bars = tuple(
        torch.ones_like(wanted[k]) * 0.7 + 0.3 * wanted[k].nan_to_num(posinf=1.0, neginf=-1.0).sin() for k in chosen
    )
    dots = tuple(torch.linspace(-1.0, 1.0, args[k].numel()).reshape(args[k].shape) for k in active)

    def of_floats(*xs: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip(active, xs, strict=True))
        results = flat(fn(*(given.get(k, arg) for k, arg in enumerate(args))))
        return tuple(results[k] for k in chosen)

    def pulled(*xs: Tensor) -> tuple[Tensor, ...]:
        return torch.func.vjp(of_floats, *xs)[1](bars)

    xs = tuple(args[k].clone() for k in active)
    bars_dots = [torch.zeros_like(bar) for bar in bars]
    assert_near(run(derive(program, "v"), [*args, *bars]), pulled(*xs), 1e-8, "vjp")
    assert_near(run(derive(program, "j"), [*args, *dots]), torch.func.jvp(of_floats, xs, dots)[1], 1e-8, "jvp")
    second = torch.func.jvp(pulled, xs, dots)[1]
    assert_near(run(derive(program, "vj"), [*args, *bars, *dots, *bars_dots]), second, 1e-8, "jvp of vjp")


def check_lanes(fn: Callable[..., Any], program: Program, args: Sequence[Tensor]) -> None:
    lanes = [[arg * (1.0 + 0.1 * k) if arg.is_floating_point() else arg for arg in args] for k in range(2)]
    found = run(derive(program, "m"), [torch.stack(column) for column in zip(*lanes, strict=True)])
    for k, lane in enumerate(lanes):
        assert_near([np.asarray(column)[k] for column in found], flat(fn(*lane)), 1e-9, f"lane {k}")
