"""Functions of torch that are known and refused: why, and what to write instead."""

from __future__ import annotations

from collections.abc import Mapping

_RANDOM = ("draws random numbers", "pass the random tensor as an argument")
_SIZE = ("gives a tensor whose size depends on the elements", "use a mask and torch.where()")
_SPECTRAL = ("is not a function that kernels know", "compute it outside, and pass the factors as arguments")

REFUSED: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(
        "rand randn randint randperm rand_like randn_like randint_like bernoulli multinomial normal poisson "
        "gumbel_softmax rrelu dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout".split(),
        _RANDOM,
    ),
    **dict.fromkeys("unique unique_consecutive nonzero argwhere masked_select".split(), _SIZE),
    **dict.fromkeys(
        "qr eigh eigvalsh eig eigvals svd svdvals lstsq pinv lu lu_factor ldl_factor matrix_rank".split(), _SPECTRAL
    ),
    "bincount": _SIZE,
    "histc": ("counts into bins", "use one_hot() and sum(), or scatter_add()"),
    "median": ("is not a function that kernels know", "use sort() and take the middle"),
    "kthvalue": ("is not a function that kernels know", "use sort() and take an element"),
    "mode": ("is not a function that kernels know", "use one_hot(), sum() and argmax()"),
    "quantile": ("is not a function that kernels know", "use sort() and interpolate"),
    "conv_transpose1d": ("is not a function that kernels know", "insert zeros, flip the weight, and use conv1d()"),
    "conv_transpose2d": ("is not a function that kernels know", "insert zeros, flip the weight, and use conv2d()"),
    "interpolate": ("is not a function that kernels know", "write the weighted sum of neighbours"),
    "grid_sample": ("is not a function that kernels know", "write the weighted sum of neighbours"),
    "multi_head_attention_forward": ("is not a function that kernels know", "use scaled_dot_product_attention()"),
    "float_power": ("computes in float64, a kernel in the dtype of its arguments", "use pow(), or `**`"),
    "from_numpy": ("makes a tensor of an array from outside", "pass the tensor as an argument"),
}
