"""Samples of functions of which PyTorch has none, or only large ones: images, windows, and other names of functions."""

import torch

from tests.ops.tensor_samples import given, positive, sample

EPS = 1e-5
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
