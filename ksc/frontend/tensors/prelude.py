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
from ksc.frontend.tensors.inlining import inlined
from ksc.frontend.tensors.op import Op
from ksc.frontend.tensors.reductions import over, shift_of
from ksc.frontend.tensors.table import TABLE, Handler, objects
from ksc.frontend.values import Static, Value
from ksc.ops.library.tensors import forms, losses, normalising


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


TABLE[forms.shift] = _shift

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
    losses.mse_loss: ("F.mse_loss",),
    losses.l1_loss: ("F.l1_loss",),
    losses.smooth_l1_loss: ("F.smooth_l1_loss",),
    losses.huber_loss: ("F.huber_loss",),
    losses.binary_cross_entropy: ("F.binary_cross_entropy",),
    losses.binary_cross_entropy_with_logits: ("F.binary_cross_entropy_with_logits",),
    losses.kl_div: ("F.kl_div",),
    losses.nll_loss: ("F.nll_loss",),
    losses.cross_entropy: ("F.cross_entropy",),
}
"""The names in torch of the functions of the library."""

for _function, _paths in WRITTEN.items():
    assert isinstance(_function, FunctionType)
    for _path in _paths:
        for _obj in objects(_path):
            TABLE[_obj] = written(_path.rpartition(".")[2], _function)
