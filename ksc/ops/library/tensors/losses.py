"""The losses of ``torch.nn.functional``."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ksc.ops.library.tensors.forms import require


def reduced(loss: Tensor, reduction: str) -> Tensor:
    """The loss of all elements, as ``reduction`` says."""
    if reduction == "mean":
        return torch.mean(loss)
    if reduction == "sum":
        return torch.sum(loss)
    require(reduction == "none", "the reduction is not known", "use 'mean', 'sum' or 'none'")
    return loss


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """The squared difference."""
    apart = input - target
    if weight is None:
        return reduced(apart * apart, reduction)
    weighted = weight * (apart * apart)
    if reduction == "mean":
        return torch.sum(weighted) / torch.sum(weight)
    return reduced(weighted, reduction)


def l1_loss(
    input: Tensor, target: Tensor, size_average: None = None, reduce: None = None, reduction: str = "mean"
) -> Tensor:
    """The absolute difference."""
    return reduced(torch.abs(input - target), reduction)


def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """The absolute difference, a parabola where it is less than ``beta``."""
    apart = torch.abs(input - target)
    if beta == 0.0:
        return reduced(apart, reduction)
    return reduced(torch.where(apart < beta, 0.5 * apart * apart / beta, apart - 0.5 * beta), reduction)


def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """A parabola up to ``delta``, then a line of that slope."""
    assert delta > 0.0, "delta is not positive"
    apart = torch.abs(input - target)
    loss = torch.where(apart <= delta, 0.5 * apart * apart, delta * (apart - 0.5 * delta))
    if weight is None:
        return reduced(loss, reduction)
    if reduction == "mean":
        return torch.sum(weight * loss) / torch.sum(weight)
    return reduced(weight * loss, reduction)


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
) -> Tensor:
    """The cross entropy of probabilities; logarithms are at least -100."""
    hit = torch.clamp(torch.log(input), min=-100.0)
    miss = torch.clamp(torch.log1p(-input), min=-100.0)
    loss = -(target * hit + (1.0 - target) * miss)
    return reduced(loss if weight is None else loss * weight, reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """The cross entropy of the sigmoid."""
    miss = -F.logsigmoid(input)
    if pos_weight is None:
        loss = (1.0 - target) * input + miss
    else:
        loss = (1.0 - target) * input + (1.0 + (pos_weight - 1.0) * target) * miss
    return reduced(loss if weight is None else loss * weight, reduction)


def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: None = None,
    reduce: None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """The Kullback-Leibler divergence of ``target`` from ``exp(input)``."""
    loss = torch.exp(target) * (target - input) if log_target else torch.xlogy(target, target) - target * input
    if reduction == "batchmean":
        return torch.sum(loss) / input.shape[0]
    return reduced(loss, reduction)


def weights_of(target: Tensor, weight: Tensor | None, ignore_index: int) -> Tensor:
    """The weight of each target: its class's, or 1 where classes have none, and 0 where it is ignored."""
    counts = target != ignore_index
    return counts * 1.0 if weight is None else torch.where(counts, weight[torch.where(counts, target, 0)], 0.0)


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: None = None,
    ignore_index: int = -100,
    reduce: None = None,
    reduction: str = "mean",
) -> Tensor:
    """Minus the entry of the target's class; the mean is weighted as the classes are."""
    dim = 0 if input.dim() == 1 else 1
    counts = target != ignore_index
    classes = torch.where(counts, target, 0)
    picked = torch.gather(input, dim, classes.unsqueeze(dim)).squeeze(dim)
    weights = weights_of(target, weight, ignore_index)
    loss = torch.where(counts, -picked * weights, 0.0)
    if reduction == "mean":
        return torch.sum(loss) / torch.sum(weights)
    return reduced(loss, reduction)


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: None = None,
    ignore_index: int = -100,
    reduce: None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """The cross entropy of the softmax, the target given as class indices or as probabilities."""
    dim = 0 if input.dim() == 1 else 1
    logs = F.log_softmax(input, dim)
    classes = input.shape[dim]
    shape = [1] * input.dim()
    shape[dim] = -1
    if target.is_floating_point():
        smooth = target * (1.0 - label_smoothing) + label_smoothing / classes
        terms = logs * smooth if weight is None else logs * smooth * weight.view(shape)
        loss = -torch.sum(terms, dim)
        if reduction == "mean":
            return torch.sum(loss) / (input.numel() / classes)
        return reduced(loss, reduction)
    if label_smoothing == 0.0:
        return F.nll_loss(logs, target, weight, ignore_index=ignore_index, reduction=reduction)
    counts = target != ignore_index
    hit = F.nll_loss(logs, target, weight, ignore_index=ignore_index, reduction="none")
    every = -torch.sum(logs if weight is None else logs * weight.view(shape), dim)
    spread = torch.where(counts, every, 0.0) * (label_smoothing / classes)
    loss = (1.0 - label_smoothing) * hit + spread
    if reduction == "mean":
        return torch.sum(loss) / torch.sum(weights_of(target, weight, ignore_index))
    return reduced(loss, reduction)
