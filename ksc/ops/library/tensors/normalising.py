"""Softmax, distances and the normalisations of ``torch.nn.functional``."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ksc.ops.library.tensors.forms import require, shift


def softmax(input: Tensor, dim: int, dtype: torch.dtype | None = None) -> Tensor:
    """Exponentials along a dimension, divided by their sum."""
    exponentials = torch.exp(input - shift(input, dim))
    return exponentials / torch.sum(exponentials, dim, keepdim=True, dtype=dtype)


def log_softmax(input: Tensor, dim: int, dtype: torch.dtype | None = None) -> Tensor:
    """The logarithm of the softmax."""
    shifted = input - shift(input, dim)
    return shifted - torch.log(torch.sum(torch.exp(shifted), dim, keepdim=True, dtype=dtype))


def softmax_of_module(input: Tensor, dim: int, _stacklevel: int = 3, dtype: torch.dtype | None = None) -> Tensor:
    """``softmax`` with the parameters that torch.nn.functional has."""
    return softmax(input, dim, dtype)


def log_softmax_of_module(input: Tensor, dim: int, _stacklevel: int = 3, dtype: torch.dtype | None = None) -> Tensor:
    """``log_softmax`` with the parameters that torch.nn.functional has."""
    return log_softmax(input, dim, dtype)


def softmin(input: Tensor, dim: int, _stacklevel: int = 3, dtype: torch.dtype | None = None) -> Tensor:
    """The softmax of the negative."""
    return softmax(-input, dim, dtype)


def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """Vectors along a dimension, divided by their norm."""
    return input / torch.clamp(torch.linalg.vector_norm(input, p, dim, keepdim=True), min=eps)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-08) -> Tensor:
    """The cosine of the angle between vectors, of the tensors as broadcasting makes them."""
    a, b = torch.broadcast_tensors(x1, x2)  # type: ignore[no-untyped-call]
    first = torch.clamp(torch.linalg.vector_norm(a, 2, dim, keepdim=True), min=eps)
    second = torch.clamp(torch.linalg.vector_norm(b, 2, dim, keepdim=True), min=eps)
    return torch.sum((a / first) * (b / second), dim)


def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-06, keepdim: bool = False) -> Tensor:
    """The norm of the difference along the last dimension, to which ``eps`` is added."""
    distance: Tensor = torch.linalg.vector_norm(x1 - x2 + eps, p, -1, keepdim=keepdim)
    return distance


def dist(input: Tensor, other: Tensor, p: float = 2.0) -> Tensor:
    """The norm of the difference."""
    distance: Tensor = torch.linalg.vector_norm(input - other, p)
    return distance


def cdist(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str = "") -> Tensor:
    """The distance of each row of one matrix to each row of another."""
    distance: Tensor = torch.linalg.vector_norm(x1.unsqueeze(-2) - x2.unsqueeze(-3), p, -1)
    return distance


def standardised(input: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
    """Mean 0 and variance 1 over some dimensions."""
    centred = input - torch.mean(input, dims, keepdim=True)
    variance = torch.mean(centred * centred, dims, keepdim=True)
    return centred * torch.rsqrt(variance + eps)


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-05,
) -> Tensor:
    """Mean 0 and variance 1 over the last dimensions, then scaled and moved."""
    count = len(normalized_shape)
    for k in range(count):
        assert input.shape[input.dim() - count + k] == normalized_shape[k], "normalized_shape is not that of the input"
    result = standardised(input, tuple(range(-count, 0)), eps)
    if weight is not None:
        result = result * weight
    return result if bias is None else result + bias


def rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """Mean square 1 over the last dimensions, then scaled."""
    count = len(normalized_shape)
    assert count > 0, "normalized_shape is empty"
    for k in range(count):
        assert input.shape[input.dim() - count + k] == normalized_shape[k], "normalized_shape is not that of the input"
    require(eps is not None, "the default eps of rms_norm() depends on the dtype", "give eps")
    least = 0.0 if eps is None else eps
    result = input * torch.rsqrt(torch.mean(input * input, tuple(range(-count, 0)), keepdim=True) + least)
    return result if weight is None else result * weight


def of_channels(input: Tensor, vector: Tensor) -> Tensor:
    """A vector with an element per channel, the second dimension, as a tensor to be broadcast over ``input``."""
    require(input.dim() > 1, "a tensor without a second dimension has no channels", "add it with unsqueeze()")
    return vector.view([-1 if k == 1 else 1 for k in range(input.dim())])


def scaled(input: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """Each channel scaled and moved."""
    if weight is not None:
        input = input * of_channels(input, weight)
    return input if bias is None else input + of_channels(input, bias)


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-05,
) -> Tensor:
    """Each channel with the given mean and variance, or without them its own, made 0 and 1; scaled and moved."""
    if running_mean is None or running_var is None:
        dims = tuple(k for k in range(input.dim()) if k != 1)
        return scaled(standardised(input, dims, eps), weight, bias)
    require(not training, "batch_norm() would change the running statistics", "use training=False, or pass None")
    centred = input - of_channels(input, running_mean)
    return scaled(centred * of_channels(input, torch.rsqrt(running_var + eps)), weight, bias)


def instance_norm(
    input: Tensor,
    running_mean: None = None,
    running_var: None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-05,
) -> Tensor:
    """Each channel of each element of a batch made mean 0 and variance 1; scaled and moved."""
    require(use_input_stats, "instance_norm() without the statistics of its input", "use batch_norm()")
    return scaled(standardised(input, tuple(range(2, input.dim())), eps), weight, bias)


def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-05
) -> Tensor:
    """Groups of channels made mean 0 and variance 1; channels scaled and moved."""
    assert input.shape[1] % num_groups == 0, "the groups of group_norm() do not divide the channels"
    per_group = input.shape[1] // num_groups
    grouped = torch.unflatten(input, 1, (num_groups, per_group))
    made = standardised(grouped, tuple(range(2, grouped.dim())), eps)
    return scaled(made.flatten(1, 2), weight, bias)


def layer_norm_of_torch(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-05,
    cudnn_enable: bool = True,
) -> Tensor:
    """``layer_norm`` with the parameters that torch has."""
    return layer_norm(input, normalized_shape, weight, bias, eps)


def group_norm_of_torch(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-05,
    cudnn_enabled: bool = True,
) -> Tensor:
    """``group_norm`` with the parameters that torch has."""
    return group_norm(input, num_groups, weight, bias, eps)


def batch_norm_of_torch(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Tensor:
    """``batch_norm`` with the parameters that torch has."""
    return batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)


def instance_norm_of_torch(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: None,
    running_var: None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Tensor:
    """``instance_norm`` with the parameters that torch has."""
    return instance_norm(input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)


def local_response_norm(input: Tensor, size: int, alpha: float = 0.0001, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """Each element divided by a power of the mean square of its neighbours in other channels."""
    require(input.dim() > 2, "local_response_norm() of fewer than 3 dimensions", "add dimensions with unsqueeze()")
    squares = (input * input).movedim(1, -1)
    padded = F.pad(squares, (size // 2, (size - 1) // 2))
    mean = torch.mean(padded.unfold(-1, size, 1), -1).movedim(-1, 1)
    return input / torch.pow(mean * alpha + k, beta)


def rooted(mean: Tensor, count: int, norm_type: float) -> Tensor:
    """The norms of windows from the means of powers of their elements."""
    return torch.pow(torch.sign(mean) * torch.relu(torch.abs(mean)) * count, 1.0 / norm_type)


def lp_pool1d(
    input: Tensor, norm_type: float, kernel_size: int, stride: int | None = None, ceil_mode: bool = False
) -> Tensor:
    """The norms of windows."""
    step = kernel_size if stride is None else stride
    return rooted(F.avg_pool1d(torch.pow(input, norm_type), kernel_size, step, 0, ceil_mode), kernel_size, norm_type)


def lp_pool2d(
    input: Tensor,
    norm_type: float,
    kernel_size: int | tuple[int, int],
    stride: int | tuple[int, int] | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """The norms of windows."""
    count = kernel_size**2 if isinstance(kernel_size, int) else kernel_size[0] * kernel_size[1]
    return rooted(F.avg_pool2d(torch.pow(input, norm_type), kernel_size, stride, 0, ceil_mode), count, norm_type)


def lp_pool3d(
    input: Tensor,
    norm_type: float,
    kernel_size: int | tuple[int, int, int],
    stride: int | tuple[int, int, int] | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """The norms of windows."""
    count = kernel_size**3 if isinstance(kernel_size, int) else kernel_size[0] * kernel_size[1] * kernel_size[2]
    return rooted(F.avg_pool3d(torch.pow(input, norm_type), kernel_size, stride, 0, ceil_mode), count, norm_type)


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """The first half times the sigmoid of the second."""
    assert input.shape[dim] % 2 == 0, "glu() halves a dimension of even size"
    first, second = torch.chunk(input, 2, dim)
    return first * torch.sigmoid(second)


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Nothing, unless elements were to be dropped, which kernels cannot do."""
    require(p == 0.0 or not training, "dropout() in training draws random numbers", "pass a mask and multiply by it")
    return input.clone()


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """The values, weighted by the softmax of the products of queries and keys."""
    require(dropout_p == 0.0, "attention with dropout draws random numbers", "leave dropout_p at 0")
    require(not enable_gqa, "attention with groups of queries", "repeat the keys and values with repeat_interleave()")
    factor = 1.0 / torch.sqrt(query.new_full((), query.shape[-1])) if scale is None else scale
    scores = torch.matmul(query, key.transpose(-2, -1)) * factor
    if is_causal:
        ones = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool)
        scores = torch.where(torch.tril(ones), scores, -torch.inf)
    elif attn_mask is not None:
        scores = torch.where(attn_mask, scores, -torch.inf) if attn_mask.dtype == torch.bool else scores + attn_mask
    return torch.matmul(torch.softmax(scores, -1), value)
