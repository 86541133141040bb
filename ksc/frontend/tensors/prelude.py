"""Functions of torch that are written in the kernel language: which they are, and how a call of one is traced.

They are traced in the place of the call, and what stems from them has the place of the call: errors then name the
line of the user.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import Any

from ksc.errors import KnossosError
from ksc.frontend.frame import Frame
from ksc.frontend.functions import locate
from ksc.frontend.tensors.array import is_single
from ksc.frontend.tensors.inlining import inlined
from ksc.frontend.tensors.integers import least
from ksc.frontend.tensors.op import Op, Tensor
from ksc.frontend.tensors.reductions import over, shift_of
from ksc.frontend.tensors.scalars import Scalar
from ksc.frontend.tensors.table import TABLE, Handler, objects
from ksc.frontend.values import NONE, Static, Struct, Value
from ksc.ops.library.tensors import differences, factors, forms, losses, margins, matrices, normalising, statistics


def written(name: str, function: FunctionType) -> Handler:
    """A function of torch as the library function that it is."""

    def handler(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
        from ksc.frontend.calls import bind_arguments, defaults_of

        op = Op(frame, name, node)
        if "out" in kwargs:
            op.refuse("with out=", f"bind the result: `y = {name}(…)`", code="KS107")
        inplace = kwargs.get("inplace")
        if isinstance(inplace, Static) and inplace.value:
            op.refuse("with inplace=True", f"bind the result: `x = {name}(x)`", code="KS107")
        _, definition, _ = locate(function)
        defaults = defaults_of(frame, function, node)
        values = bind_arguments(frame, name, definition, args, kwargs, defaults, node)
        try:
            return inlined(frame, function, values, node)
        except KnossosError as error:
            error.add_note(f"  in torch's {name}(), which is written in the kernel language")
            raise

    return handler


def _shift(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
    op = Op(frame, "softmax", node)
    x = op.float_tensor(args[0])
    if op.static(args[1], "dim") is None:
        op.refuse("without dim", "give the dimension")
    dims = (op.dim(args[1], x.rank),)[: x.rank]
    return op.result(over(op, x, dims, True, lambda sizes, at: shift_of(op, sizes, at)))


def _each_matrix(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
    op, matrices = _matrices(frame, args, node)
    op.same(*matrices[0].sizes[-2:])
    for matrix in matrices[1:]:
        op.same(matrices[0].sizes[-1], matrix.sizes[-2])
    return _mapped(op, op.static(args[0], "function"), matrices)


def _each_of(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
    op, matrices = _matrices(frame, args, node)
    # What sizes of results are made of is computed before the lanes.
    least(frame, node, *(size.atom for size in matrices[0].sizes[-2:]))
    return _mapped(op, op.static(args[0], "function"), matrices)


def _matrices(frame: Frame, args: Sequence[Value], node: ast.AST) -> tuple[Op, list[Tensor]]:
    op = Op(frame, "a function of matrices", node)
    matrices = [op.tensor(value) for value in args[1:]]
    if any(matrix.rank < 2 for matrix in matrices):
        op.refuse("needs tensors of two dimensions or more", "add dimensions with unsqueeze()")
    return op, matrices


def _mapped(op: Op, function: FunctionType, matrices: Sequence[Tensor]) -> Value:
    """``function`` of the matrices at each index into the leading dimensions."""
    batch = op.broadcast([matrix.sizes[:-2] for matrix in matrices])
    shape: list[Struct] = []

    def body(index: list[Scalar]) -> list[Tensor]:
        found = inlined(op.frame, function, [op.result(spread_row(matrix, index)) for matrix in matrices], op.node)
        if isinstance(found, Struct):
            shape.append(found)
            return [op.tensor(item) for item in found.items]
        return [op.tensor(found)]

    made = op.build_rows(batch, body)
    return op.results(shape[0].cls, made, shape[0].keys) if shape else op.result(made[0])


def _sized(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
    op = Op(frame, "sized", node)
    x, sizes = op.tensor(args[0]), [op.integer(value, "a size") for value in args[1:]]
    return op.result(op.build(sizes, lambda index: x[index]))


def _smaller(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
    op = Op(frame, "smaller", node)
    return Scalar.of(op, least(frame, node, *(op.integer(value, "a size").atom for value in args))).value


def spread_row(matrix: Tensor, index: Sequence[Scalar]) -> Tensor:
    """The matrix that broadcasting puts at an index of the leading dimensions."""
    own = list(index[len(index) - (matrix.rank - 2) :])
    zero = matrix.op.number(0)
    return matrix.row(
        [zero if is_single(matrix.op.frame, size.atom) else i for i, size in zip(own, matrix.sizes[:-2], strict=True)]
    )


def _require(frame: Frame, args: Sequence[Value], kwargs: Mapping[str, Value], node: ast.AST) -> Value:
    op = Op(frame, "require", node)
    holds, reason, instead = (op.static(value, "condition") for value in args)
    if not holds:
        frame.refuse(node, reason, instead, code="KS204")
    return NONE


TABLE[forms.require] = _require
TABLE[forms.shift] = _shift
TABLE[forms.each_matrix] = _each_matrix
TABLE[forms.each_of] = _each_of
TABLE[forms.sized] = _sized
TABLE[forms.smaller] = _smaller

WRITTEN: Mapping[Callable[..., Any], tuple[str, ...]] = {
    normalising.softmax: ("softmax", "special.softmax"),
    normalising.log_softmax: ("log_softmax", "special.log_softmax"),
    normalising.softmax_of_module: ("F.softmax",),
    normalising.log_softmax_of_module: ("F.log_softmax",),
    normalising.softmin: ("F.softmin",),
    normalising.normalize: ("F.normalize",),
    normalising.cosine_similarity: ("torch.cosine_similarity", "F.cosine_similarity"),
    normalising.pairwise_distance: ("torch.pairwise_distance", "F.pairwise_distance"),
    normalising.cdist: ("torch.cdist",),
    normalising.layer_norm: ("F.layer_norm",),
    normalising.rms_norm: ("torch.rms_norm", "F.rms_norm"),
    normalising.batch_norm: ("F.batch_norm",),
    normalising.instance_norm: ("F.instance_norm",),
    normalising.group_norm: ("F.group_norm",),
    normalising.glu: ("F.glu",),
    normalising.dropout: ("F.dropout",),
    normalising.scaled_dot_product_attention: ("F.scaled_dot_product_attention",),
    matrices.det: ("det", "linalg.det"),
    matrices.slogdet: ("slogdet", "linalg.slogdet"),
    matrices.logdet: ("logdet",),
    matrices.inv: ("linalg.inv",),
    matrices.inverse: ("inverse",),
    matrices.solve: ("linalg.solve",),
    matrices.solve_triangular: ("linalg.solve_triangular",),
    matrices.cholesky: ("linalg.cholesky",),
    matrices.cholesky_solve: ("cholesky_solve",),
    matrices.matrix_power: ("matrix_power", "linalg.matrix_power"),
    matrices.matrix_exp: ("matrix_exp", "linalg.matrix_exp"),
    factors.eigh: ("linalg.eigh",),
    factors.eigvalsh: ("linalg.eigvalsh",),
    factors.svd: ("linalg.svd",),
    factors.svdvals: ("linalg.svdvals",),
    factors.qr: ("linalg.qr",),
    factors.pinv: ("linalg.pinv",),
    factors.pinverse: ("pinverse",),
    factors.lstsq: ("linalg.lstsq",),
    factors.lu_factor: ("linalg.lu_factor",),
    factors.lu_solve: ("linalg.lu_solve",),
    matrices.multi_dot: ("linalg.multi_dot",),
    matrices.addmm: ("addmm",),
    matrices.addmv: ("addmv",),
    matrices.baddbmm: ("baddbmm",),
    matrices.addr: ("addr",),
    normalising.dist: ("dist",),
    normalising.layer_norm_of_torch: ("torch.layer_norm",),
    normalising.group_norm_of_torch: ("torch.group_norm",),
    normalising.batch_norm_of_torch: ("torch.batch_norm",),
    normalising.instance_norm_of_torch: ("torch.instance_norm",),
    normalising.local_response_norm: ("F.local_response_norm",),
    normalising.lp_pool1d: ("F.lp_pool1d",),
    normalising.lp_pool2d: ("F.lp_pool2d",),
    normalising.lp_pool3d: ("F.lp_pool3d",),
    differences.diff: ("diff",),
    differences.trapezoid: ("torch.trapezoid", "torch.trapz"),
    differences.cumulative_trapezoid: ("torch.cumulative_trapezoid",),
    statistics.nansum: ("nansum",),
    statistics.nanmean: ("nanmean",),
    statistics.cov: ("cov",),
    statistics.corrcoef: ("corrcoef",),
    statistics.vecdot: ("linalg.vecdot",),
    statistics.frobenius_norm: ("torch.frobenius_norm",),
    losses.mse_loss: ("F.mse_loss",),
    losses.l1_loss: ("F.l1_loss",),
    losses.smooth_l1_loss: ("F.smooth_l1_loss",),
    losses.huber_loss: ("F.huber_loss",),
    losses.binary_cross_entropy: ("F.binary_cross_entropy",),
    losses.binary_cross_entropy_with_logits: ("F.binary_cross_entropy_with_logits",),
    losses.kl_div: ("F.kl_div",),
    losses.nll_loss: ("F.nll_loss",),
    losses.cross_entropy: ("F.cross_entropy",),
    margins.margin_ranking_loss: ("F.margin_ranking_loss",),
    margins.hinge_embedding_loss: ("F.hinge_embedding_loss",),
    margins.soft_margin_loss: ("F.soft_margin_loss",),
    margins.multi_margin_loss: ("F.multi_margin_loss",),
    margins.multilabel_margin_loss: ("F.multilabel_margin_loss",),
    margins.multilabel_soft_margin_loss: ("F.multilabel_soft_margin_loss",),
    margins.cosine_embedding_loss: ("F.cosine_embedding_loss",),
    margins.triplet_margin_loss: ("F.triplet_margin_loss",),
    margins.triplet_margin_with_distance_loss: ("F.triplet_margin_with_distance_loss",),
    margins.poisson_nll_loss: ("F.poisson_nll_loss",),
    margins.gaussian_nll_loss: ("F.gaussian_nll_loss",),
}
"""The names in torch of the functions of the library."""

for _function, _paths in WRITTEN.items():
    assert isinstance(_function, FunctionType)
    for _path in _paths:
        for _obj in objects(_path):
            TABLE[_obj] = written(_path.rpartition(".")[2], _function)
