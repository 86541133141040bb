"""The losses of ``torch.nn.functional`` that compare: with a margin, by angle, and with the spread of a prediction."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from ksc.ops.library.tensors.forms import require
from ksc.ops.library.tensors.losses import reduced


def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0.0,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
) -> Tensor:
    """How much less than ``margin`` the first input is above the second one, or below it where the target is -1."""
    same = input1.dim() == input2.dim() and input1.dim() == target.dim()
    require(same, "margin_ranking_loss() of different numbers of dimensions", "give all the same")
    return reduced(torch.clamp_min(margin - target * (input1 - input2), 0.0), reduction)


def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
) -> Tensor:
    """The distance of what is alike, and how much less than ``margin`` it is where the target is -1."""
    apart = torch.where(target != 1, torch.clamp_min(margin - input, 0.0), 0.0)
    return reduced(apart + torch.where(target != -1, input, 0.0), reduction)


def soft_margin_loss(
    input: Tensor, target: Tensor, size_average: None = None, reduce: None = None, reduction: str = "mean"
) -> Tensor:
    """The logistic loss of classes -1 and 1."""
    return reduced(torch.log1p(torch.exp(-target * input)), reduction)


def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
) -> Tensor:
    """How much less than ``margin`` the entry of the target's class is above those of the others."""
    require(p in (1, 2), "multi_margin_loss() with another p", "use 1 or 2")
    require(input.dim() in (1, 2), "multi_margin_loss() needs one or two dimensions", "reshape the input")
    rows = input if input.dim() == 2 else input[None]
    classes = target if target.dim() == 1 else target[None]
    assert rows.shape[0] == classes.shape[0], "the input and the target have different sizes"
    own = torch.gather(rows, 1, classes[:, None])
    short = torch.clamp_min(margin - own + rows, 0.0)
    if p == 2:
        short = short * short
    if weight is not None:
        require(weight.dim() == 1, "a weight of multi_margin_loss() that is no vector", "give one for each class")
        assert weight.shape[0] == rows.shape[1], "there is not one weight for each class"
        short = short * weight[classes][:, None]
    others = torch.arange(rows.shape[1])[None, :] != classes[:, None]
    loss = torch.sum(torch.where(others, short, 0.0), 1) / rows.shape[1]
    return reduced(loss if target.dim() == 1 else loss[0], reduction)


def multilabel_margin_loss(
    input: Tensor, target: Tensor, size_average: None = None, reduce: None = None, reduction: str = "mean"
) -> Tensor:
    """How much less than 1 the entries of the targets, which end before a -1, are above those of other classes."""
    require(input.dim() == target.dim(), "an input and a target of different numbers of dimensions", "reshape them")
    require(input.dim() in (1, 2), "multilabel_margin_loss() needs one or two dimensions", "reshape the input")
    rows, labels = (input, target) if input.dim() == 2 else (input[None], target[None])
    count = rows.shape[1]
    assert labels.shape[1] == count and labels.shape[0] == rows.shape[0], "input and target have different sizes"
    counts = torch.cumsum(labels < 0, 1) == 0
    classes = torch.where(counts, labels, 0)
    assert torch.all(classes < count), "a target is not a class"
    hits = (classes[:, :, None] == torch.arange(count)) & counts[:, :, None]
    other = ~torch.any(hits, 1)
    own = torch.gather(rows, 1, classes)
    short = torch.clamp_min(1.0 - own[:, :, None] + rows[:, None, :], 0.0)
    wanted = counts[:, :, None] & other[:, None, :]
    loss = torch.sum(torch.where(wanted, short, 0.0), (1, 2)) / count
    return reduced(loss if input.dim() == 2 else loss[0], reduction)


def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
) -> Tensor:
    """The cross entropy of the sigmoid of each class, its mean over the classes."""
    loss = -(target * F.logsigmoid(input) + (1.0 - target) * F.logsigmoid(-input))
    if weight is not None:
        loss = loss * weight
    return reduced(torch.sum(loss, -1) / input.shape[-1], reduction)


def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0.0,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
) -> Tensor:
    """1 less the cosine of what is alike, and how much above ``margin`` the cosine is where the target is -1."""
    require(target.dim() in (0, 1), "a target of cosine_embedding_loss() of two dimensions", "give a vector")
    same = input1.dim() == input2.dim() and input1.dim() == target.dim() + 1
    require(same, "cosine_embedding_loss() needs inputs of a dimension more than the target", "reshape them")
    dim = target.dim()
    least = 1e-12
    first = torch.sum(input1 * input1, dim) + least
    second = torch.sum(input2 * input2, dim) + least
    cosine = torch.sum(input1 * input2, dim) / torch.sqrt(first * second)
    apart = torch.where(target == -1, torch.clamp_min(cosine - margin, 0.0), 0.0)
    return reduced(apart + torch.where(target == 1, 1.0 - cosine, 0.0), reduction)


def triplet_loss(near: Tensor, far: Tensor, margin: float, reduction: str) -> Tensor:
    """How much less than ``margin`` one distance is below another."""
    return reduced(torch.clamp_min(margin + near - far, 0.0), reduction)


def require_triplet(anchor: Tensor, positive: Tensor, negative: Tensor, margin: float) -> None:
    """Refuse tensors of different numbers of dimensions."""
    same = anchor.dim() == positive.dim() and anchor.dim() == negative.dim()
    require(same, "a triplet of different numbers of dimensions", "give all the same")
    assert margin > 0.0, "the margin of a triplet is not positive"


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-06,
    swap: bool = False,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
) -> Tensor:
    """How much less than ``margin`` the anchor is nearer to the positive example than to the negative one."""
    require_triplet(anchor, positive, negative, margin)
    near = F.pairwise_distance(anchor, positive, p, eps)
    far = F.pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = torch.minimum(far, F.pairwise_distance(positive, negative, p, eps))
    return triplet_loss(near, far, margin, reduction)


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """``triplet_margin_loss`` with a distance of one's own."""
    require_triplet(anchor, positive, negative, margin)
    distance = F.pairwise_distance if distance_function is None else distance_function
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = torch.minimum(far, distance(positive, negative))
    return triplet_loss(near, far, margin, reduction)


def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: None = None,
    eps: float = 1e-08,
    reduce: None = None,
    reduction: str = "mean",
) -> Tensor:
    """Minus the logarithm of the likelihood of counts, whose rate (or its logarithm) is the input."""
    loss = torch.exp(input) - target * input if log_input else input - target * torch.log(input + eps)
    if full:
        stirling = target * torch.log(target) - target + 0.5 * torch.log(2.0 * math.pi * target)
        loss = loss + torch.where(target <= 1, 0.0, stirling)
    return reduced(loss, reduction)


def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-06,
    reduction: str = "mean",
) -> Tensor:
    """Minus the logarithm of the likelihood of normal numbers; a variance is at least ``eps``, its derivative kept."""
    spread = var if isinstance(var, Tensor) else torch.full_like(input, var)
    assert torch.all(~(spread < 0.0)), "a variance is negative"
    if spread.dim() == input.dim() - 1:
        spread = spread.unsqueeze(-1)
    require(spread.dim() == input.dim(), "var has not the dimensions of the input", "reshape it")
    variance = torch.where(spread < eps, eps + (spread - spread.detach()), spread)
    apart = input - target
    loss = 0.5 * (torch.log(variance) + apart * apart / variance)
    if full:
        loss = loss + 0.5 * math.log(2.0 * math.pi)
    return reduced(loss, reduction)
