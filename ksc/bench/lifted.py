"""Functions of one number lifted to tensors by NVIDIA Warp, values and gradients."""

from typing import Any

import torch

from ksc.bench.convention import Function


def by_warp(function: Function) -> Function:
    """A function of a float32 vector that PyTorch can differentiate.

    Args:
        function: of one number, in what Warp takes of Python.
    """
    import warp  # type: ignore[import-not-found, unused-ignore]

    warp.init()
    lane = warp.func(function)

    def each(x: warp.array(dtype=float), y: warp.array(dtype=float)):  # type: ignore[no-untyped-def, valid-type]
        k = warp.tid()
        y[k] = lane(x[k])

    kernel = warp.Kernel(each)

    class Lifted(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            y = torch.empty_like(x)
            ctx.save_for_backward(x, y)
            warp.launch(kernel, dim=x.numel(), inputs=[_array(x)], outputs=[_array(y)], device="cpu")
            return y

        @staticmethod
        def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:
            x, y = ctx.saved_tensors
            x_bar = torch.zeros_like(x)
            warp.launch(
                kernel,
                dim=x.numel(),
                inputs=[_array(x)],
                outputs=[_array(y)],
                adj_inputs=[_array(x_bar)],
                adj_outputs=[_array(grads[0].contiguous())],
                adjoint=True,
                device="cpu",
            )
            return x_bar

    def _array(tensor: torch.Tensor) -> Any:
        return warp.from_torch(tensor.detach(), requires_grad=False)

    def run(x: torch.Tensor) -> Any:
        return Lifted.apply(x)  # type: ignore[no-untyped-call]

    return run
