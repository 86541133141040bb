"""Samples of functions of which PyTorch has none, or only large ones: images, windows, and other names of functions."""

import torch
from torch.nn import functional as F

from tests.ops.tensor_samples import floats, given, positive, sample

EPS, NAN, INF = 1e-5, float("nan"), float("inf")
sample("torch_layer_norm", lambda x, w, b: torch.layer_norm(x, (3,), w, b, EPS), ((2, 3), (3,), (3,)))
sample("torch_group_norm", lambda x, w, b: torch.group_norm(x, 2, w, b, EPS), ((2, 4, 3), (4,), (4,)))
sample(
    "torch_batch_norm",
    lambda x, w, b, m, v: torch.batch_norm(x, w, b, m.detach(), v.detach(), False, 0.1, EPS, True),
    ((2, 3, 2), (3,), (3,), (3,), positive(3)),
)
sample(
    "torch_instance_norm",
    lambda x, w, b: torch.instance_norm(x, w, b, None, None, True, 0.1, EPS, True),
    ((2, 3, 4), (3,), (3,)),
)
sample("frobenius_norm", lambda x: torch.frobenius_norm(x, (0, 1), True), ((2, 3),))
sample("slice_scatter", lambda x, y: torch.slice_scatter(x, y, 1, -5, None, 2), ((2, 6), (2, 3)))
sample("slice_scatter_to", lambda x, y: x.slice_scatter(y, end=-1), ((4, 2), (3, 2)))
sample("atleast_list", lambda x, y: torch.atleast_2d([x, y]), ((3,), given(2.0)))
sample("unfold_view", lambda x: x.unfold(0, 3, 2).sum(-1) * x.unfold(0, 1, 2)[1:, 0], ((6,),))

GRID, GRID_3D = (1, 2, 2, 2), floats(1, 1, 2, 2, 3, low=-1.6, high=1.6)
sample(
    "grid_sample_border", lambda x, g: F.grid_sample(x, g * 1.3, padding_mode="border"), ((1, 2, 3, 4), GRID), order=1
)
sample(
    "grid_sample_bicubic",
    lambda x, g: F.grid_sample(x, g, "bicubic", "reflection", align_corners=True),
    ((1, 1, 3, 4), GRID),
    order=1,
)
sample(
    "grid_sample_3d",
    lambda x, g: F.grid_sample(x, g, padding_mode="reflection", align_corners=False),
    ((1, 2, 2, 3, 2), GRID_3D),
    order=1,
)
sample("grid_sample_nearest", lambda x, g: F.grid_sample(x, g, "nearest", "zeros", True), ((1, 2, 3, 2), GRID), order=1)
sample(
    "grid_sample_nan", lambda x, g: F.grid_sample(x, g), ((1, 1, 2, 2), given([[[[NAN, 0.0], [INF, 0.1]]]])), order=0
)
sample("affine_grid", lambda t, x: F.affine_grid(t, x.shape, align_corners=True), ((2, 2, 3), (2, 1, 3, 1)))
sample("affine_grid_3d", lambda t: F.affine_grid(t, [1, 2, 2, 3, 2], align_corners=False), ((1, 3, 4),))
sample("fold", lambda x: F.fold(x, (4, 5), (2, 3), padding=(1, 0), stride=(2, 1)), ((2, 6, 9),))
sample("unfold", lambda x: F.unfold(x, (2, 2), dilation=(1, 2), padding=1, stride=2), ((1, 2, 3, 4),))
sample("lp_pool1d", lambda x: F.lp_pool1d(x, 3, 2, ceil_mode=True), (positive(1, 2, 5),))
sample("lp_pool2d", lambda x: F.lp_pool2d(x, 2.0, (2, 3), stride=1), (positive(2, 3, 4),))
sample("lp_pool3d", lambda x: F.lp_pool3d(x, 1.5, 2), (positive(1, 2, 2, 4),))
sample(
    "conv_transpose2d",
    lambda x, w, b: F.conv_transpose2d(x, w, b, stride=(2, 1), padding=1, output_padding=(1, 0), groups=2),
    ((1, 4, 2, 3), (4, 1, 3, 2), (2,)),
)
sample("interpolate_twice", lambda x: F.interpolate(x, scale_factor=2, mode="nearest-exact"), ((1, 2, 3),))
sample("interpolate_aligned", lambda x: F.interpolate(x, (5, 1), mode="bicubic", align_corners=True), ((1, 1, 3, 4),))
sample("interpolate_half", lambda x: F.interpolate(x, scale_factor=(0.5, 1.25), mode="bilinear"), ((1, 1, 5, 4),))
sample("soft_margin_loss", lambda x, y: F.soft_margin_loss(x, y.detach()), ((2, 3), given([[1.0, -1, 1], [-1, 1, 1]])))
sample(
    "triplet_margin_with_distance_loss",
    lambda a, p, n: F.triplet_margin_with_distance_loss(
        a, p, n, distance_function=lambda x, y: (x - y).abs().sum(-1), margin=2.5, swap=True, reduction="none"
    ),
    ((3, 2), (3, 2), (3, 2)),
)
sample("gaussian_nll_loss_of_number", lambda x, y: F.gaussian_nll_loss(x, y, 0.5, full=True), ((2, 3), (2, 3)))

TIES = given([[1.0, 2.0, 2.0], [NAN, 0.5, 3.0], [2.0, 2.0, 2.0]])
TWICE = given([0, 2, 0, 2], torch.int64)
sample("median_ties", lambda x: (x[0].median(), x[2].nanmedian(), x.median(), x.nanmedian()), (TIES,), order=1)
sample("quantile_nan", lambda x: (x.quantile(0.4, 1), x.nanquantile(0.4, 1, True)), (TIES,), order=1)
sample(
    "scatter_reduce_ties",
    lambda x, s, i: x.scatter_reduce(0, i, s, "amax", include_self=False),
    (given([3.0, 1.0, 0.0]), given([5.0, 2.0, 5.0, 2.0]), TWICE),
    order=1,
)
sample(
    "index_put_accumulate",
    lambda x, v, i: torch.index_put(x, (i,), v, accumulate=True) + x.index_put((i[:2], i[:2]), v[0, 0]),
    ((3, 3), (4, 1), TWICE),
)
sample("index_put_mask", lambda x, v: x.index_put((x > 0,), v, accumulate=True), ((2, 3), given(0.5)))


def accumulated(x, v, i):
    """Added in place, through a view."""
    y = x.clone()
    y[1:].index_put_((i // 2,), v, accumulate=True)
    y[0].scatter_reduce_(0, i, v[0], "mean")
    return y


sample("accumulated_in_place", accumulated, ((3, 4), (4, 4), TWICE))

FLAT = (2, 2, 3)
RANK_2 = given([[1.0, 2.0, 3.0], [2.0, 4.5, 6.0], [3.0, 6.5, 9.0]])
TRIANGLE = given([[2.0, 0.5, -1.0], [0.0, -1.5, 0.25], [0.0, 0.0, 3.0]])


def procrustes(x, y):
    """The rotation that takes centred points to others: Kabsch's method."""
    u, _, vh = torch.linalg.svd((x - x.mean(0)).mT @ (y - y.mean(0)))
    flip = torch.diag(torch.stack([torch.ones(()), torch.ones(()), torch.det(u @ vh)]))
    return u @ flip @ vh


def solved_by_factors(a, b):
    """From either side, as it is and transposed."""
    lu, pivots = torch.linalg.lu_factor(a)
    first = torch.linalg.lu_solve(lu, pivots, b)
    return (
        first,
        torch.linalg.lu_solve(lu, pivots, b.mT, left=False),
        torch.linalg.lu_solve(lu, pivots, b, adjoint=True),
    )


def principal_axes(x):
    """The variances and the projections on the axes, of which the sign is not told."""
    pairs = torch.linalg.eigh(torch.cov(x.mT))
    return pairs.eigenvalues, ((x - x.mean(0)) @ pairs.eigenvectors).abs()


def unsigned_svd(x):
    """What is the same of all singular vectors."""
    u, s, vh = torch.linalg.svd(x, full_matrices=False)
    return u.abs(), s, vh.abs(), u @ vh


sample("procrustes", procrustes, ((4, 3), (4, 3)), order=1)
sample("principal_axes", principal_axes, ((5, 3),))
sample("svd", unsigned_svd, ((3, 2),))
sample("svd_of_batch", unsigned_svd, (FLAT,), order=1)
sample("svd_of_rank_2", lambda x: unsigned_svd(x)[1:2], (RANK_2,), order=0)
sample("svd_complete", lambda x: torch.linalg.svd(x)[0] @ torch.linalg.svd(x)[0].mT, (RANK_2,), order=0)
sample(
    "eigvalsh_equal", lambda x: torch.linalg.eigvalsh(x * 0.5 + x.mT * 0.5, "U"), (given([[2.0, 0], [0, 2]]),), order=1
)
sample("qr", lambda x: tuple(torch.linalg.qr(x)), ((2, 3),), (TRIANGLE,))
sample("qr_of_batch", lambda x: tuple(torch.linalg.qr(x)), ((2, 3, 2),), order=1)
sample("pinv_of_rank_2", lambda x: torch.linalg.pinv(x, rtol=1e-9), (RANK_2,))
sample("lstsq", lambda a, b: torch.linalg.lstsq(a, b).solution, ((4, 2), (4, 1)), ((2, 3), (2, 1)), order=1)
sample("lu_solve", solved_by_factors, ((2, 3, 3), (2, 3, 2)), order=1)
