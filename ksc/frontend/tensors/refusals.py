"""Functions of torch that are known and refused: why, and what to write instead."""

from __future__ import annotations

from collections.abc import Mapping

_RANDOM = ("draws random numbers", "pass the random tensor as an argument")
_SIZE = ("gives a tensor whose size depends on the elements", "use a mask and torch.where()")
_SPECTRAL = ("is not a function that kernels know", "compute it outside, and pass the factors as arguments")

_WIDTH = (
    "fixes a floating dtype: a kernel computes in the dtype of its arguments",
    "convert the arguments of the call",
)
_NARROW = ("makes integers of fewer than 64 bits, which kernels have not", "use .long()")
_PLACE = (
    "moves a tensor: a kernel computes where its arguments are",
    "leave it out, or move what the call takes or gives",
)
_OUTSIDE = ("makes an object that is no tensor", "return the tensor, and convert the result of the call")
_STORED = (
    "tells how a tensor is stored, which is known when the kernel is called",
    "leave it out: any strides will do",
)

REFUSED: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(
        "rand randn randint randperm rand_like randn_like randint_like bernoulli multinomial normal poisson "
        "gumbel_softmax rrelu dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout".split(),
        _RANDOM,
    ),
    **dict.fromkeys("unique unique_consecutive nonzero argwhere masked_select".split(), _SIZE),
    **dict.fromkeys("eig eigvals lu ldl_factor matrix_rank".split(), _SPECTRAL),
    **dict.fromkeys("double half bfloat16".split(), _WIDTH),
    **dict.fromkeys("int short char byte".split(), _NARROW),
    **dict.fromkeys("cpu cuda xpu pin_memory".split(), _PLACE),
    **dict.fromkeys("numpy tolist".split(), _OUTSIDE),
    **dict.fromkeys("stride is_contiguous data_ptr storage_offset untyped_storage".split(), _STORED),
    "backward": ("computes gradients in place", "return the loss, and call .grad() of the kernel"),
    "histc": ("counts into bins", "use one_hot() and sum(), or scatter_add()"),
    "mode": ("is not a function that kernels know", "use one_hot(), sum() and argmax()"),
    "multi_head_attention_forward": ("is not a function that kernels know", "use scaled_dot_product_attention()"),
    "float_power": ("computes in float64, a kernel in the dtype of its arguments", "use pow(), or `**`"),
    "from_numpy": ("makes a tensor of an array from outside", "pass the tensor as an argument"),
}
