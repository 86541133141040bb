"""The ``torch.autograd.Function`` of a kernel: a façade over the operator, which brings its own derivatives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from ksc.torch.operator import Operator


def autograd_function(operator: Operator) -> type[torch.autograd.Function]:
    """A Function class whose ``apply`` calls the operator; ``forward`` and ``backward`` may be called directly."""

    def forward(*args: Any) -> Any:
        return operator.call(*args)

    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.inputs = inputs
        ctx.save_for_backward(*(value for value in inputs if isinstance(value, torch.Tensor)))

    def backward(ctx: Any, *cotangents: Any) -> Any:
        given = operator.vjp(*_saved(ctx), *cotangents)
        by_position = dict(zip(operator.spec.float_args, given if isinstance(given, tuple) else (given,), strict=True))
        return tuple(by_position.get(i) for i in range(len(operator.spec.args)))

    def apply(*args: Any) -> Any:
        return operator.call(*args)

    name = operator.spec.name
    return type(
        name,
        (torch.autograd.Function,),
        {
            "__doc__": operator.spec.doc or f"The kernel {name} as a torch.autograd.Function.",
            "forward": staticmethod(forward),
            "setup_context": staticmethod(setup_context),
            "backward": staticmethod(backward),
            "apply": staticmethod(apply),
        },
    )


def _saved(ctx: Any) -> list[Any]:
    tensors = iter(ctx.saved_tensors)
    return [next(tensors) if isinstance(value, torch.Tensor) else value for value in ctx.inputs]
