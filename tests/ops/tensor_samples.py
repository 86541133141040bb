"""One table of the functions of torch on tensors: how each is called, on what; torch itself says what comes out.

A sample is a function of tensors as a kernel has it, and the arguments it is tried with, one tuple for each call. An
argument is a shape, for a tensor of floats, or one of the makers below. Sizes of 1 are known to the trace, all others
are not.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F


@dataclass(frozen=True)
class Make:
    """How an argument that is not simply a tensor of normal numbers is made."""

    make: Callable[[torch.Generator], Any]


@dataclass(frozen=True)
class Sample:
    name: str
    function: Callable[..., Any]
    calls: tuple[tuple[Any, ...], ...]
    order: int = 2
    tolerance: float = 1e-9


def floats(*shape: int, low: float = -2.0, high: float = 2.0) -> Make:
    return Make(lambda g: torch.rand(shape, generator=g, dtype=torch.float64) * (high - low) + low)


def positive(*shape: int) -> Make:
    return floats(*shape, low=0.25, high=2.0)


def ints(*shape: int, low: int = -4, high: int = 5) -> Make:
    return Make(lambda g: torch.randint(low, high, shape, generator=g))


def bools(*shape: int) -> Make:
    return Make(lambda g: torch.rand(shape, generator=g) < 0.5)


def given(values: Any, dtype: torch.dtype = torch.float64) -> Make:
    return Make(lambda g: torch.tensor(values, dtype=dtype))


def spd(n: int, *batch: int) -> Make:
    """A symmetric positive definite matrix."""

    def make(g: torch.Generator) -> torch.Tensor:
        a = torch.randn(*batch, n, n, generator=g, dtype=torch.float64)
        return a @ a.mT + n * torch.eye(n, dtype=torch.float64)

    return Make(make)


def arguments(call: tuple[Any, ...]) -> list[torch.Tensor]:
    """The tensors of one call, the same each time."""
    g = torch.Generator().manual_seed(20240607)
    return [
        part.make(g) if isinstance(part, Make) else torch.randn(part, generator=g, dtype=torch.float64) for part in call
    ]


SAMPLES: list[Sample] = []


def sample(
    name: str, function: Callable[..., Any], *calls: tuple[Any, ...], order: int = 2, tolerance: float = 1e-9
) -> None:
    SAMPLES.append(Sample(name, function, calls, order, tolerance))


V, M, C = (5,), (2, 3), (2, 3, 2)
ONE = ((M,), ((),), ((1, 5),), ((0, 3),))
NAN, INF = float("nan"), float("inf")

# Operators and broadcasting.
sample("add", lambda x, y: x + y, (M, M), (M, (3,)), ((2, 1), (1, 3)), (M, ()), ((), ()), ((0,), (1,)), (M, ints(3)))
sample("add_alpha", lambda x, y: torch.add(x, y, alpha=2.5), (M, (3,)))
sample("sub", lambda x, y: x - 2 * y + 1, (M, M), ((3,), M))
sample("sub_function", lambda x, y: torch.sub(x, y, alpha=2), (M, M))
sample("mul", lambda x, y: x * y, (M, (3,)), ((5, 1), (7,)), (bools(3), M), (ints(2, 3), M))
sample("div", lambda x, y: x / y, (M, positive(2, 3)), (ints(4), ints(4, low=1)))
sample("floordiv", lambda x, y: x // y, (M, positive(3)), (ints(2, 3), ints(3, low=1)), order=0)
sample("mod", lambda x, y: x % y, (M, positive(3)), (ints(2, 3), ints(3, low=1)))
sample("pow_2", lambda x: x**2, *ONE, (ints(4),))
sample("pow_fraction", lambda x: x**1.5, (positive(2, 3),))
sample("pow_tensor", lambda x, y: x**y, (positive(2, 3), M), (ints(4), ints(4, low=0)), (positive(3), ints(2, 3)))
sample("pow_base", lambda y: 2.0**y, (M,))
sample("matmul_operator", lambda x, y: x @ y, (M, (3, 5)))
sample("bitwise", lambda a, b: (a & b, a | b, a ^ b, ~a), (ints(5), ints(5)), (bools(5), bools(5)))
sample("shifts", lambda a, b: (a << b, a >> b), (ints(5), ints(5, low=0, high=4)))
sample("compare", lambda x, y: (x < y, x <= y, x > y, x >= y, x == y, x != y), (M, (3,)), (ints(5), ints(5)))
sample("unary", lambda x: (-x, +x, abs(x)), (M,), (ints(5),))
sample("of_bools", lambda a, b: (a + b, a * b, a | b), (bools(5), bools(5)))
sample("number_and_int", lambda n: (n * 2, n * 2.0, n / 2, n + True), (ints(5),))

# Functions of numbers on tensors.
sample("sin", lambda x: torch.sin(x), *ONE, (ints(3),))
sample("composed", lambda x, y: torch.exp(torch.sin(x) * y) / (1.0 + torch.cosh(y)), (M, (3,)))
sample("log", lambda x: torch.log(x), (positive(2, 3),))
sample("sqrt", lambda x: torch.sqrt(x), (positive(5),))
sample("tanh_sigmoid", lambda x: (torch.tanh(x), torch.sigmoid(x), F.sigmoid(x)), (M,))
sample("atan2", lambda x, y: torch.atan2(x, y), (M, (3,)))
sample("hypot", lambda x, y: torch.hypot(x, y), (M, M))
sample("logaddexp", lambda x, y: torch.logaddexp(x, y), (M, (2, 1)))
sample("xlogy", lambda x, y: torch.xlogy(x, y), (M, positive(3)))
sample("special", lambda x: (torch.special.erf(x), torch.lgamma(x), torch.digamma(x)), (positive(5),))
sample("where", lambda c, x, y: torch.where(c, x, y), (bools(2, 3), M, (3,)), (bools(3), M, ()))
sample("where_number", lambda x: torch.where(x > 0, x * 2, 0.0), (M,), ((),))
sample("clamp", lambda x: torch.clamp(x, -0.5, 0.5), (M,), ((),))
sample("clamp_tensors", lambda x, a: torch.clamp(x, min=a), (M, (3,)))
sample("clamp_int", lambda x: torch.clamp(x, min=-1, max=2), (ints(5),))
sample("larger_of_bools", lambda a, b: (torch.maximum(a, b), torch.minimum(a, b)), (bools(5), bools(5)))
sample("clamped_bools", lambda a, b: (torch.clamp_min(a, b), torch.clamp_max(a, b)), (bools(5), bools(5)))
sample("rounded_ints", lambda n: (torch.floor(n), torch.ceil(n), torch.trunc(n), torch.round(n)), (ints(5),))
sample("sign_of_bools", lambda b: (torch.sign(b), torch.sgn(b)), (bools(5),))
sample("fmod_ints", lambda a, b: torch.fmod(a, b), (ints(7), ints(7, low=1)), (ints(7), ints(7, low=-4, high=0)))
sample("div_trunc", lambda a, b: torch.div(a, b, rounding_mode="trunc"), (ints(7), ints(7, low=1)), (M, positive(3)))
sample("div_floor", lambda a, b: torch.div(a, b, rounding_mode="floor"), (ints(7), ints(7, low=-4, high=0)))
sample("prelu_channels", lambda x, w: F.prelu(x, w), ((2, 3, 3), (3,)), ((2, 3), (3,)), ((), (1,)), (M, (1,)))
sample("arange_step", lambda x: torch.arange(0, 1, 0.3) * x[0], (V,))
sample("arange_of_floats", lambda x: torch.arange(0.0, 3.9, 1.5, dtype=torch.int64), (V,))
sample("cosine_broadcast", lambda x, y: F.cosine_similarity(x, y, dim=-2), ((1, 2, 3), (2, 1, 3)))
sample("pad_circular_cut", lambda x: F.pad(x, (-1, 1, 2, -1), "circular"), ((1, 2, 4, 3),))
sample("scatter_add_bools", lambda a, i, b: a.scatter_add(0, i, b), (bools(3), ints(4, low=0, high=3), bools(4)))
sample("scalar_tensor", lambda x: (torch.scalar_tensor(3), torch.scalar_tensor(3, dtype=torch.int64)), (V,))
sample("max_pool_batch_0", lambda x: F.max_pool2d(x, 2), ((0, 2, 4, 4),))
sample("maximum", lambda x, y: (torch.maximum(x, y), torch.minimum(x, y)), (M, (3,)), (ints(5), ints(5)))
sample("maximum_ties", lambda x, y: torch.maximum(x, y), (given([1.0, 2.0, 3.0]), given([1.0, 1.0, 3.0])))
sample("lerp", lambda x, y: torch.lerp(x, y, 0.3), (M, M))
sample("lerp_tensor", lambda x, y, w: torch.lerp(x, y, w), (M, M, (3,)))
sample("addcmul", lambda x, y, z: torch.addcmul(x, y, z, value=0.5), (M, M, (3,)))
sample("addcdiv", lambda x, y, z: torch.addcdiv(x, y, z), (M, M, positive(3)))
sample("isclose", lambda x, y: torch.isclose(x, y), (given([1.0, NAN, INF]), given([1.0, NAN, INF])))
sample("allclose", lambda x, y: torch.allclose(x, y, equal_nan=True), (given([1.0, NAN]), given([1.0, NAN])), (M, M))
sample("equal", lambda x, y: torch.equal(x, y), (given([1.0, 2.0]), given([1.0, 2.0])), (M, M), (M, (2, 2)))
sample(
    "logical", lambda a, b: (torch.logical_and(a, b), torch.logical_not(a)), (bools(5), bools(5)), (ints(5), ints(5))
)
sample("nan_to_num", lambda x: torch.nan_to_num(x, 1.0, 2.0, 3.0), (given([NAN, INF, -INF, 0.5]),))
sample("frexp", lambda x: torch.frexp(x)[0], (M,))
sample("relu", lambda x: F.relu(x), (M,), ((),))
sample("gelu", lambda x: (F.gelu(x), F.gelu(x, approximate="tanh")), (M,))
sample("activations", lambda x: (F.silu(x), F.softplus(x), F.elu(x), F.leaky_relu(x, 0.2), F.mish(x)), (M,))
sample("hard", lambda x: (F.hardtanh(x), F.hardsigmoid(x), F.relu6(x), F.hardswish(x)), (M,), order=1, tolerance=1e-6)
sample("logsigmoid", lambda x: F.logsigmoid(x), (M,))
sample("prelu", lambda x, w: F.prelu(x, w), (M, (1,)))
sample(
    "bitwise_functions",
    lambda a, b: (torch.bitwise_and(a, b), torch.bitwise_not(a)),
    (ints(5), ints(5)),
    (bools(3), bools(3)),
)
sample("masked_fill", lambda x, m: torch.masked_fill(x, m, 7), (M, bools(3)), (ints(3), bools(3)))

# Reductions.
sample("sum", lambda x: torch.sum(x), *ONE, (ints(5),), (bools(5),))
sample(
    "sum_dim", lambda x: (torch.sum(x, 1), torch.sum(x, dim=-1, keepdim=True), torch.sum(x, (0, 1))), (M,), ((3, 0),)
)
sample("sum_axis", lambda x: torch.sum(x, axis=0), (C,))
sample("mean", lambda x: (torch.mean(x), torch.mean(x, (0, 2), keepdim=True)), (C,))
sample("mean_empty", lambda x: torch.mean(x, 1), ((2, 0),), order=0)
sample("prod", lambda x: (torch.prod(x), torch.prod(x, 0, keepdim=True)), (M,), (ints(2, 3),))
sample("prod_zero", lambda x: torch.prod(x), (given([2.0, 0.0, 3.0]),), (given([0.0, 0.0, 3.0]),), ((),))
sample("amax", lambda x: (torch.amax(x), torch.amin(x, 1), torch.amax(x, (0, -1), keepdim=True)), (C,))
sample(
    "amax_ties",
    lambda x: (torch.amax(x, 1), torch.amin(x, (0, 1))),
    (given([[3.0, 3.0, 3.0], [1.0, 2.0, 1.0]]),),
    order=1,
)
sample("amax_numbers", lambda x: (torch.amax(x, 0), torch.amin(x, 0)), (ints(2, 3),), (bools(2, 3),))
sample("amax_nan", lambda x: (torch.amax(x), torch.amin(x), torch.argmax(x)), (given([1.0, NAN, 3.0]),), order=0)
sample("amax_infinite", lambda x: (torch.amax(x), torch.amin(x)), (given([INF, 1.0, -INF]),), order=1)
sample("max", lambda x: torch.max(x), (M,), (given([1.0, 4.0, 4.0]),), (ints(5),), order=1)
sample("min", lambda x: torch.min(x), (M,), ((),), order=1)
sample("max_dim", lambda x: (torch.max(x, 1), torch.min(x, dim=0, keepdim=True)), (M,), (ints(2, 3),), ((1, 5),))
sample("max_dim_tie", lambda x: torch.max(x, 0)[0], (given([2.0, 2.0, 1.0]),), order=1)
sample("max_values", lambda x: torch.max(x, 1).values, (M,))
sample("max_other", lambda x, y: torch.max(x, y), (M, (3,)))
sample("argmax", lambda x: (torch.argmax(x), torch.argmin(x, 1), torch.argmax(x, 0, keepdim=True)), (M,), (C,))
sample("aminmax", lambda x: torch.aminmax(x, dim=1), (M,))
sample("var", lambda x: (torch.var(x), torch.var(x, 1, correction=0), torch.var(x, 0, keepdim=True)), (M,))
sample("var_unbiased", lambda x: (torch.var(x, unbiased=False), torch.var(x, 1, False)), (M,))
sample("std", lambda x: (torch.std(x), torch.std(x, (0, 1), correction=2)), (M,))
sample("std_constant", lambda x: torch.std(x), (given([1.0, 1.0, 1.0]),), order=1)
sample("var_mean", lambda x: (torch.var_mean(x, 1), torch.std_mean(x, 0)), (M,))
sample("norm", lambda x: (torch.norm(x), torch.norm(x, dim=1), torch.norm(x, p=1), torch.norm(x, 3.0, 0, True)), (M,))
sample("norm_zero", lambda x: (torch.norm(x), torch.norm(x, 1), torch.norm(x, INF)), (given([0.0, 0.0]),), order=1)
sample(
    "norm_p",
    lambda x: (torch.linalg.vector_norm(x, 3.5), torch.linalg.vector_norm(x, 0), torch.linalg.vector_norm(x, 0.5)),
    (M,),
)
sample("norm_inf", lambda x: (torch.linalg.vector_norm(x, INF, 1), torch.linalg.vector_norm(x, -INF)), (M,))
sample("norm_inf_tie", lambda x: torch.linalg.vector_norm(x, INF), (given([2.0, -2.0, 1.0]),), order=1)
sample(
    "linalg_norm",
    lambda x: (torch.linalg.norm(x), torch.linalg.norm(x, 1), torch.linalg.norm(x, INF), torch.linalg.norm(x, "fro")),
    ((3, 2),),
)
sample("matrix_norm", lambda x: (torch.linalg.matrix_norm(x), torch.linalg.matrix_norm(x, 1, keepdim=True)), (C,))
sample("logsumexp", lambda x: (torch.logsumexp(x, 1), torch.logsumexp(x, (0, 1), keepdim=True)), (M,))
sample("logsumexp_infinite", lambda x: torch.logsumexp(x, 0), (given([-INF, -INF]),), (given([INF, 1.0]),), order=0)
sample(
    "any_all",
    lambda a: (torch.any(a), torch.all(a, 1), torch.any(a, 0, keepdim=True)),
    (bools(2, 3),),
    (ints(2, 3),),
    (bools(0, 3),),
)
sample("count_nonzero", lambda a: (torch.count_nonzero(a), torch.count_nonzero(a, dim=1)), (ints(2, 3),))
sample("softmax", lambda x: (torch.softmax(x, 1), F.softmax(x, dim=0)), (M,), ((1, 5),))
sample("softmax_masked", lambda x: torch.softmax(x, 0), (given([-INF, 1.0, 2.0]),), order=1)
sample("log_softmax", lambda x: (F.log_softmax(x, -1), torch.log_softmax(x, 0)), (M,))

# Scans and sorting.
sample(
    "cumsum", lambda x: (torch.cumsum(x, 0), torch.cumsum(x, -1)), (M,), (C,), ((3, 0),), (ints(2, 3),), (bools(2, 3),)
)
sample("cumprod", lambda x: torch.cumprod(x, 1), (M,), (given([[2.0, 0.0, 3.0, 0.0, 1.0]]),))
sample("cummax", lambda x: (torch.cummax(x, 0), torch.cummin(x, 1)), (M,), (given([[1.0, 1.0, 0.0, 2.0]]),))
sample("logcumsumexp", lambda x: torch.logcumsumexp(x, 0), (V,), order=1)
sample("sort", lambda x: (torch.sort(x, 0), torch.sort(x, dim=1, descending=True, stable=True)), (M,), ((5, 7),))
sample(
    "sort_numbers",
    lambda x: torch.sort(x, stable=True),
    (given([3, 1, 2, 1, 3], torch.int64),),
    (given([NAN, 1.0, -INF]),),
    order=0,
)
sample("argsort", lambda x: torch.argsort(x, dim=0), ((7,),), ((0,),))
sample("msort", lambda x: torch.msort(x), ((5, 2),))
sample("topk", lambda x: (torch.topk(x, 2), torch.topk(x, 1, dim=0, largest=False)), (M,), ((7, 5),))
sample(
    "searchsorted",
    lambda s, x: (torch.searchsorted(s, x), torch.searchsorted(s, x, right=True)),
    (given([1.0, 2.0, 2.0, 3.0]), given([0.5, 2.0, 3.5])),
)
sample("bucketize", lambda x, s: torch.bucketize(x, s), (given([[0.5, 2.0, 3.5]]), given([1.0, 2.0, 3.0])))

# New tensors.
sample("zeros", lambda x: (torch.zeros(2, 3) + x, torch.ones((3,)) * x, torch.full((2, 1), 2.5) * x), (M,))
sample("empty", lambda x: torch.zeros(0, 3), (M,))
sample("like", lambda x: (torch.zeros_like(x), torch.ones_like(x), torch.full_like(x, 3)), (M,), (ints(3),), ((),))
sample("full_int", lambda x: (torch.full((2,), 3), torch.full((2,), True), torch.zeros(2, dtype=torch.int64)), (V,))
sample("eye", lambda x: (torch.eye(3) @ x, torch.eye(2, 3) * 2), ((3, 2),))
sample(
    "arange",
    lambda x: (torch.arange(5), torch.arange(2, 9, 3), torch.arange(5, 0, -2), torch.arange(0.0, 1.0, 0.3)),
    (V,),
)
sample("linspace", lambda x: (torch.linspace(0, 1, 5), torch.linspace(2.0, -1.0, 4), torch.linspace(3, 5, 1)), (V,))
sample("logspace", lambda x: torch.logspace(-1, 1, 3), (V,))
sample(
    "tensor",
    lambda x: (
        torch.tensor([1.5, 2.0]),
        torch.tensor([[1, 2], [3, 4]]),
        torch.tensor(2.0),
        torch.tensor([True, False]),
    ),
    (V,),
)
sample("tril", lambda x: (torch.tril(x), torch.triu(x, 1), torch.tril(x, diagonal=-1)), ((3, 5),), (C,), (ints(3, 3),))
sample("tril_indices", lambda x: (torch.tril_indices(3, 3), torch.triu_indices(2, 3, 1)), (V,))
sample("diag", lambda x: (torch.diag(x), torch.diag(x, 1)), (V,), ((3, 5),), ((5, 3),))
sample(
    "diag_embed", lambda x: (torch.diag_embed(x), torch.diag_embed(x, 1, 0, 2), torch.diag_embed(x, offset=-2)), (M,)
)
sample("diagflat", lambda x: torch.diagflat(x), ((3,),), ((),))
sample(
    "meshgrid", lambda x, y: (torch.meshgrid(x, y, indexing="ij"), torch.meshgrid(x, y, indexing="xy")), ((3,), (2,))
)
sample("one_hot", lambda n: F.one_hot(n, 5), (ints(2, 3, low=0),))

# Joining and moving.
sample(
    "cat", lambda x, y: (torch.cat([x, y], 1), torch.cat((x, x, y), dim=-1)), (M, (2, 5)), ((2, 0), M), (M, ints(2, 2))
)
sample("cat_5", lambda x, y: torch.cat([x, y, x, y, x]), (V, (1,)))
sample("stack", lambda x, y: (torch.stack([x, y]), torch.stack((x, y, x), dim=-1), torch.stack([x, y], 1)), (M, M))
sample("stack_numbers", lambda x, y: torch.stack([x, y, x * y]), ((), ()))
sample(
    "hstack",
    lambda x, y: (torch.hstack((x, y)), torch.vstack((x, y)), torch.dstack((x, y)), torch.column_stack((x, y))),
    (M, M),
    ((3,), (3,)),
)
sample("tile", lambda x: (torch.tile(x, (2, 1, 3)), torch.tile(x, (2,))), (M,))
sample("repeat_interleave", lambda x: (torch.repeat_interleave(x, 2), torch.repeat_interleave(x, 3, dim=1)), (M,))
sample("flip", lambda x: (torch.flip(x, (0, 1)), torch.fliplr(x), torch.flipud(x), torch.flip(x, [-1])), (M,))
sample("rot90", lambda x: (torch.rot90(x), torch.rot90(x, 2, (0, 1)), torch.rot90(x, -1, [1, 0])), (M,))
sample("roll", lambda x: (torch.roll(x, 1), torch.roll(x, (1, -2), (0, 1)), torch.roll(x, -1, 0)), (M,), ((0, 3),))
sample("pad", lambda x: (F.pad(x, (1, 2)), F.pad(x, (0, 1, 2, 0), value=3.0), F.pad(x, (-1, 1))), (M,))
sample(
    "pad_modes",
    lambda x: (F.pad(x, (1, 2), mode="reflect"), F.pad(x, (2, 3), mode="replicate"), F.pad(x, (3, 1), mode="circular")),
    ((2, 3),),
)
sample("pad_2d", lambda x: (F.pad(x, (1, 1, 1, 0), mode="reflect"), F.pad(x, (1, 0, 0, 2), "circular")), ((1, 3, 2),))
sample("block_diag", lambda x, y: torch.block_diag(x, y, x), (M, (1, 2)), ((3,), ()))

# Reading and writing at places.
sample("gather", lambda x, n: (torch.gather(x, 1, n), torch.gather(x, 0, n % 2)), (M, ints(2, 3, low=0, high=3)))
sample("take_along_dim", lambda x, n: torch.take_along_dim(x, n, 1), (M, ints(1, 2, low=0, high=3)))
sample(
    "index_select",
    lambda x, n: (torch.index_select(x, 1, n), torch.index_select(x, 0, n % 2)),
    (M, ints(4, low=0, high=3)),
)
sample("take", lambda x, n: torch.take(x, n), (M, ints(2, 2, low=-6, high=6)))
sample("scatter", lambda x, n, s: torch.scatter(x, 1, n, s), (M, given([[0, 2], [1, 0]], torch.int64), (2, 2)))
sample("scatter_number", lambda x, n: torch.scatter(x, 0, n, 2.5), (M, ints(2, 3, low=0, high=2)))
sample("scatter_add", lambda x, n, s: torch.scatter_add(x, 1, n, s), (M, ints(2, 3, low=0, high=3), M))
sample("index_add", lambda x, n, s: torch.index_add(x, 1, n, s, alpha=2.0), (M, ints(4, low=0, high=3), (2, 4)))
sample("index_copy", lambda x, n, s: torch.index_copy(x, 0, n, s), ((3, 2), given([2, 0], torch.int64), (2, 2)))
sample("index_fill", lambda x, n: torch.index_fill(x, 1, n, 4.0), (M, ints(2, low=0, high=3)))
sample("embedding", lambda n, w: (F.embedding(n, w), F.embedding(n, w, padding_idx=-1)), (ints(2, 3, low=0), (5, 2)))

# Products.
sample(
    "matmul",
    lambda x, y: torch.matmul(x, y),
    (M, (3, 5)),
    ((3,), (3, 2)),
    (M, (3,)),
    ((3,), (3,)),
    ((2, 1, 2, 3), (3, 3, 2)),
    ((2, 0), (0, 3)),
)
sample("mm", lambda x, y: torch.mm(x, y), (M, (3, 2)), (ints(2, 3), ints(3, 2)))
sample("bmm", lambda x, y: torch.bmm(x, y), (C, (2, 2, 1)))
sample("mv", lambda x, y: torch.mv(x, y), (M, (3,)))
sample(
    "dot",
    lambda x, y: (torch.dot(x, y), torch.vdot(x, y), torch.inner(x, y), torch.outer(x, y), torch.ger(x, y)),
    (V, V),
)
sample("inner", lambda x, y: torch.inner(x, y), (M, (5, 3)))
sample("einsum", lambda x, y: torch.einsum("ij,jk->ik", x, y), (M, (3, 5)))
sample(
    "einsum_ellipsis",
    lambda x, y: (torch.einsum("...ij,...j->...i", x, y), torch.einsum("b...,b...->b", x, x)),
    (C, (2, 2)),
)
sample(
    "einsum_repeated", lambda x: (torch.einsum("ii->i", x), torch.einsum("ii", x), torch.einsum("ij->ji", x)), ((3, 3),)
)
sample("einsum_three", lambda x, y, z: torch.einsum("ij,jk,kl->il", x, y, z), (M, (3, 2), (2, 5)))
sample(
    "einsum_implicit",
    lambda x, y: (torch.einsum("ij,jk", x, y), torch.einsum("ba", x), torch.einsum("ij->", x)),
    (M, (3, 2)),
)
sample("tensordot", lambda x, y: (torch.tensordot(x, y, 1), torch.tensordot(x, y, dims=([1], [0]))), (M, (3, 5)))
sample("linear", lambda x, w, b: F.linear(x, w, b), (M, (5, 3), (5,)), ((3,), (5, 3), (5,)))
sample("linear_no_bias", lambda x, w: F.linear(x, w), (C, (5, 2)), ((2, 3), (3,)))
sample("bilinear", lambda x, y, w, b: F.bilinear(x, y, w, b), (M, (2, 2), (2, 3, 2), (2,)))
sample("trace", lambda x: torch.trace(x), ((3, 3),), ((2, 5),))
sample("conv1d", lambda x, w, b: F.conv1d(x, w, b, padding=1), ((2, 2, 5), (3, 2, 3), (3,)))
sample(
    "conv1d_strided",
    lambda x, w: (F.conv1d(x, w, stride=2, dilation=2), F.conv1d(x, w, padding="same", dilation=2)),
    ((2, 7), (1, 2, 3)),
)
sample("conv1d_groups", lambda x, w: F.conv1d(x, w, groups=2), ((1, 4, 3), (2, 2, 2)))
sample("conv2d", lambda x, w, b: F.conv2d(x, w, b, stride=(1, 2), padding=(1, 0)), ((1, 2, 3, 4), (2, 2, 2, 3), (2,)))
sample(
    "avg_pool",
    lambda x: (F.avg_pool1d(x, 2), F.avg_pool1d(x, 3, 1, 1), F.avg_pool1d(x, 3, 2, 1, count_include_pad=False)),
    ((1, 2, 5),),
)
sample("avg_pool2d", lambda x: (F.avg_pool2d(x, 2), F.avg_pool2d(x, (3, 2), stride=1, padding=1)), ((1, 3, 4),))
sample("max_pool", lambda x: (F.max_pool1d(x, 2), F.max_pool1d(x, 3, 2, 1)), ((1, 2, 5),))
sample("max_pool2d", lambda x: F.max_pool2d(x, 2, stride=1, padding=1), ((1, 3, 3),))
sample(
    "avg_pool_ceil",
    lambda x: (
        F.avg_pool1d(x, 3, 2, 1, ceil_mode=True),
        F.avg_pool1d(x, 3, 5, 1, ceil_mode=True),
        F.avg_pool1d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False),
    ),
    ((1, 2, 5),),
    ((2, 6),),
    ((2, 1),),
)
sample(
    "avg_pool2d_ceil",
    lambda x: (F.avg_pool2d(x, 2, ceil_mode=True), F.avg_pool2d(x, 2, ceil_mode=True, divisor_override=3)),
    ((1, 3, 4),),
)
sample("avg_pool3d", lambda x: F.avg_pool3d(x, 2, stride=1), ((1, 2, 3, 2),))
sample(
    "max_pool_ceil",
    lambda x: (F.max_pool1d(x, 3, 2, 1, ceil_mode=True, return_indices=True), F.max_pool1d(x, 2, 3, 0, 2, True)),
    ((2, 6),),
    ((2, 5),),
)
sample("max_pool2d_ceil", lambda x: F.max_pool2d(x, (2, 3), 2, (1, 0), ceil_mode=True), ((1, 4, 6),))
sample("max_pool3d", lambda x: F.max_pool3d(x, 2, stride=1, padding=(0, 1, 0)), ((1, 2, 2, 3),))
sample("max_pool_of_integers", lambda x: F.max_pool2d(x, 3, 2, 1), (ints(2, 5, 4),))
sample(
    "max_pool_of_equal_elements_at_the_padding",
    lambda x: F.max_pool2d(x, 3, padding=1, return_indices=True),
    (given([[[-math.inf, -math.inf, 1.0], [-math.inf, -math.inf, 2.0], [0.0, math.nan, 3.0]]]),),
    order=1,
)
sample("conv_of_integers", lambda x, w: F.conv1d(x, w, padding=1), (ints(2, 5), ints(3, 2, 2)))
sample(
    "adaptive_pool_nd",
    lambda x: (
        F.adaptive_avg_pool2d(x, (None, 2)),
        F.adaptive_max_pool2d(x, (2, None), return_indices=True),
        F.adaptive_max_pool1d(x[0], [2]),
        F.adaptive_avg_pool3d(x[None], (1, None, 3)),
        F.adaptive_max_pool3d(x[None], 1),
    ),
    ((2, 3, 4),),
)
sample("adaptive_avg_pool", lambda x: (F.adaptive_avg_pool1d(x, 3), F.adaptive_avg_pool1d(x, 1)), ((2, 1, 5),))

# Losses and normalisations.
sample(
    "mse_loss",
    lambda x, y: (F.mse_loss(x, y), F.mse_loss(x, y, reduction="sum"), F.mse_loss(x, y, reduction="none")),
    (M, M),
)
sample(
    "l1_loss", lambda x, y: (F.l1_loss(x, y), F.smooth_l1_loss(x, y, beta=0.5), F.huber_loss(x, y, delta=0.7)), (M, M)
)
sample(
    "binary_cross_entropy",
    lambda x, y: F.binary_cross_entropy(x, y),
    (floats(2, 3, low=0.1, high=0.9), floats(2, 3, low=0.1, high=0.9)),
)
sample(
    "bce_with_logits",
    lambda x, y: (
        F.binary_cross_entropy_with_logits(x, y),
        F.binary_cross_entropy_with_logits(x, y, pos_weight=torch.full((3,), 1.5)),
    ),
    (M, floats(2, 3, low=0.0, high=1.0)),
)
sample("normalize", lambda x: (F.normalize(x), F.normalize(x, p=1, dim=0)), (M,))
sample("cosine_similarity", lambda x, y: F.cosine_similarity(x, y), (M, M))
sample("pairwise_distance", lambda x, y: F.pairwise_distance(x, y), (M, M))
sample(
    "kl_div",
    lambda x, y: (F.kl_div(x, y, reduction="batchmean"), F.kl_div(x, y, reduction="sum", log_target=True)),
    (M, positive(2, 3)),
)
sample("layer_norm", lambda x, w, b: F.layer_norm(x, (3,), w, b), (M, (3,), (3,)))
sample("rms_norm", lambda x, w: F.rms_norm(x, (3,), w, eps=1e-6), (M, (3,)))
sample("layer_norm_plain", lambda x: F.layer_norm(x, (3, 2)), (C,))
sample(
    "nll_loss",
    lambda x, t: (
        F.nll_loss(x, t),
        F.nll_loss(x, t, reduction="none", ignore_index=1),
        F.nll_loss(x, t, reduction="sum"),
    ),
    (M, ints(2, low=0, high=3)),
    ((2, 3, 2), ints(2, 2, low=0, high=3)),
    ((3,), ints(low=0, high=3)),
)
sample(
    "nll_loss_weight",
    lambda x, t: F.nll_loss(x, t, torch.tensor([0.5, 2.0, 1.0]), ignore_index=1),
    (M, given([0, 2], torch.int64)),
)
sample(
    "cross_entropy",
    lambda x, t: (
        F.cross_entropy(x, t),
        F.cross_entropy(x, t, reduction="none"),
        F.cross_entropy(x, t, label_smoothing=0.1),
    ),
    (M, ints(2, low=0, high=3)),
    ((2, 3, 2), ints(2, 2, low=0, high=3)),
)
sample(
    "cross_entropy_weight",
    lambda x, t: (
        F.cross_entropy(x, t, torch.tensor([0.5, 2.0, 1.0]), ignore_index=1, label_smoothing=0.2),
        F.cross_entropy(x, t, ignore_index=-1),
    ),
    (M, given([0, 2], torch.int64)),
)
sample(
    "cross_entropy_probabilities",
    lambda x, p: (
        F.cross_entropy(x, p),
        F.cross_entropy(x, p, label_smoothing=0.1, reduction="sum"),
        F.cross_entropy(x, p, torch.tensor([0.5, 2.0, 1.0])),
    ),
    (M, positive(2, 3)),
)
sample(
    "batch_norm",
    lambda x, w, b: (
        F.batch_norm(x, torch.tensor([0.5, 1.0, 2.0]), torch.tensor([1.0, 2.0, 0.5]), w, b),
        F.batch_norm(x, None, None, w, b, training=True),
    ),
    ((2, 3), (3,), (3,)),
    ((2, 3, 2), (3,), (3,)),
)
sample("group_norm", lambda x, w, b: F.group_norm(x, 2, w, b), ((2, 4, 3), (4,), (4,)))
sample("instance_norm", lambda x: F.instance_norm(x), ((2, 2, 5),))
sample("glu", lambda x: F.glu(x), ((2, 4),))
sample("dropout", lambda x: (F.dropout(x, 0.5, training=False), F.dropout(x, p=0.0)), (M,))
sample(
    "attention",
    lambda q, k, v: (F.scaled_dot_product_attention(q, k, v), F.scaled_dot_product_attention(q, k, v, is_causal=True)),
    ((2, 3, 2), (2, 3, 2), (2, 3, 5)),
)
sample(
    "attention_mask",
    lambda q, k, v, m: F.scaled_dot_product_attention(q, k, v, m, scale=0.5),
    ((3, 2), (2, 2), (2, 5), (3, 2)),
    ((1, 2), (2, 2), (2, 3), given([[True, False]], torch.bool)),
)
sample("cdist", lambda x, y: (torch.cdist(x, y), torch.cdist(x, y, p=1.0)), (M, (5, 3)), order=1)

# Matrices.
sample("addmm", lambda a, x, y: (torch.addmm(a, x, y, beta=0.5), torch.addmm(a, x, y, alpha=2)), ((2, 2), M, (3, 2)))
sample("addmv", lambda a, x, y: (torch.addmv(a, x, y), torch.addr(x, a, y)), ((2,), M, (3,)))
sample("baddbmm", lambda a, x, y: torch.baddbmm(a, x, y), ((2, 2, 1), (2, 2, 3), (2, 3, 1)))
sample("dist", lambda x, y: (torch.dist(x, y), torch.dist(x, y, 1)), (M, M))
sample("clamp_one", lambda x: (torch.clamp_min(x, 0.1), torch.clamp_max(x, 0.1)), (M,))
sample("det", lambda x: torch.det(x), ((3, 3),), ((2, 2, 2),), ((1, 1),))
sample("slogdet", lambda x: torch.linalg.slogdet(x), ((3, 3),), ((2, 2, 2),))
sample("logdet", lambda x: torch.logdet(x), (spd(3),))
sample("inv", lambda x: (torch.linalg.inv(x), torch.inverse(x)), (spd(2),), (spd(2, 2),))
sample("solve", lambda a, b: torch.linalg.solve(a, b), (spd(3), (3, 2)), (spd(2), (2,)), (spd(2, 2), (2, 2, 1)))
sample("solve_right", lambda a, b: torch.linalg.solve(a, b, left=False), (spd(2), (3, 2)))
sample(
    "solve_triangular",
    lambda a, b: (
        torch.linalg.solve_triangular(a, b, upper=False),
        torch.linalg.solve_triangular(a, b, upper=True, unitriangular=True),
    ),
    (spd(3), (3, 2)),
)
sample(
    "cholesky",
    lambda a: (
        torch.linalg.cholesky(a @ a.mT + torch.eye(2)),
        torch.linalg.cholesky(a @ a.mT + torch.eye(2), upper=True),
    ),
    ((2, 2),),
    ((2, 2, 2),),
)
sample("cholesky_solve", lambda a, b: torch.cholesky_solve(b, torch.tril(a)), (spd(2), (2, 2)))
sample(
    "matrix_power",
    lambda x: (torch.matrix_power(x, 3), torch.linalg.matrix_power(x, -1), torch.matrix_power(x, 0)),
    (spd(2),),
)
sample("matrix_exp", lambda x: torch.matrix_exp(x), ((2, 2),))
sample("multi_dot", lambda x, y, z: torch.linalg.multi_dot([x, y, z]), (M, (3, 2), (2, 5)))
sample("cross", lambda x, y: (torch.linalg.cross(x, y), torch.cross(x, y, dim=-1)), ((3,), (3,)), (M, (1, 3)))
sample("kron", lambda x, y: torch.kron(x, y), (M, (2, 2)), ((3,), M))

# Methods.
sample(
    "methods",
    lambda x: (x.sum(), x.mean(1), x.sin(), x.exp().log(), x.abs().sqrt(), x.clamp(min=0.0), x.pow(2), x.norm()),
    (M,),
)
sample(
    "methods_of_two",
    lambda x, y: (x.add(y, alpha=2), x.mul(y), x.maximum(y), x.where(x > y, y), x.dot(y), x.lerp(y, 0.5)),
    ((3,), (3,)),
)
sample(
    "methods_over_dims",
    lambda x: (
        x.softmax(1),
        x.cumsum(0),
        x.max(1).values,
        x.argmax(),
        x.std(0),
        x.amax((0, 1)),
        x.prod(1),
        x.logsumexp(1),
    ),
    (M,),
)
sample(
    "methods_moving",
    lambda x: (x.repeat(2, 1), x.flip(0), x.roll(1, 1), x.tile(2), x.tril(), x.sort(1).values, x.topk(2).values),
    (M,),
)
sample(
    "methods_reading",
    lambda x, n: (x.gather(1, n), x.index_select(0, n[0] % 2), x.scatter_add(1, n, x), x.masked_fill(x > 0, 0.0)),
    (M, ints(2, 3, low=0, high=3)),
)
sample(
    "new",
    lambda x: (
        x.new_zeros(2, 3),
        x.new_ones((2,)),
        x.new_full((2,), 3.0),
        x.new_zeros(x.shape),
        torch.zeros(x.shape[0], 2),
    ),
    (M,),
)

# Integers where torch keeps them, and arguments that torch takes.
sample(
    "integers_stay_integers",
    lambda n: (
        torch.relu(n),
        F.relu6(n * 3),
        F.hardtanh(n, -1.7, 2.2),
        F.threshold(n, 1.5, 7.9),
        torch.heaviside(n, n + 9),
        torch.logsumexp(n, 0),
    ),
    (ints(6),),
)
sample(
    "negative_powers_of_integers",
    lambda a, n: (a**n, torch.pow(-2, n), a ** torch.tensor(-3), n.pow(2)),
    (given([0, 1, -1, 2, -2, 1, -1, 3], torch.int64), given([-1, -5, -2, -3, 3, 2, -3, 0], torch.int64)),
)
sample(
    "tensordot_stretched",
    lambda a, b: torch.tensordot(a, b, dims=([0, 1], [2, 0])),
    ((1, 1, 1), (2, 1, 2)),
    ((2, 1, 3), (2, 4, 2)),
)
sample(
    "take_along_dim_round",
    lambda x, n: torch.take_along_dim(x, n, 1),
    (M, given([[-1, 0], [-7, 5]], torch.int64)),
)
sample(
    "searchsorted_sorter",
    lambda x, n: (
        torch.searchsorted(x, x + 0.1, sorter=torch.argsort(x)),
        torch.searchsorted(x, x, side="left", sorter=n.argsort().argsort()),
    ),
    ((4,), given([2, 0, 3, 1], torch.int64)),
)
sample(
    "index_of_rank_0",
    lambda x, n: (
        torch.index_add(x, 0, n, x, alpha=2),
        torch.index_fill(x, 0, n, 3.0),
        torch.index_copy(x, 0, n, 2 * x),
    ),
    ((), given([0], torch.int64)),
)
sample("index_add_of_truths", lambda x, n: torch.index_add(x, 0, n, ~x), (bools(4), given([1, 1, 3, 0], torch.int64)))
sample("diagflat_of_a_matrix", lambda x: torch.diagflat(x, 1), (M,), ((0, 2),))
sample(
    "pad_converts",
    lambda n, t: (F.pad(n, (1, 2), value=2.7), F.pad(t, (1, 0), value=1.0)),
    (ints(2, 3), bools(3)),
)
sample("options", lambda x: (x.new_full((2,), 3.0, device="cpu"), torch.eye(2, requires_grad=False) + x.sum()), (M,))
sample(
    "placement",
    lambda x: torch.ones_like(x, layout=torch.strided, pin_memory=False, memory_format=torch.preserve_format) + x,
    (M,),
)
sample("mvlgamma_method", lambda x: (x + 2).mvlgamma(2), (positive(3),))
