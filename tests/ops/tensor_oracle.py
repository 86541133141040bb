"""What is asked of a sample: value, tangents, cotangents, second order and vmap, interpreted, against torch."""

import warnings

import numpy as np
import torch

from ksc.frontend import Abstract, trace
from ksc.ir.interpret import interpret
from ksc.ir.types import Bool, Float, Integer, TensorType, is_differentiable
from ksc.ir.verify import verify
from ksc.transforms import jvp, vjp
from ksc.transforms.vmap import vmap

ELEMENTS = {torch.float64: Float, torch.int64: Integer, torch.bool: Bool}


def description(tensor):
    """A tensor of which only the rank is known, and which sizes are 1."""
    elem = ELEMENTS[tensor.dtype]
    if not tensor.dim():
        return Abstract(elem, tensor=True)
    return Abstract(TensorType(tensor.dim(), elem, tuple(1 if size == 1 else None for size in tensor.shape)))


def flat(value):
    """The tensors of a result, depth first."""
    if isinstance(value, tuple | list):
        return [leaf for part in value for leaf in flat(part)]
    return [torch.as_tensor(value)]


def data(tensor):
    return tensor.detach().numpy() if tensor.dim() else tensor.item()


def run(program, args):
    return [torch.as_tensor(np.asarray(value)) for value in interpret(program, [data(arg) for arg in args])]


def alike(found, expected, what, tolerance=1e-9):
    assert len(found) == len(expected), f"{what}: {len(found)} results, not {len(expected)}"
    for k, (have, want) in enumerate(zip(found, expected, strict=True)):
        message = f"{what} {k}: {have} but torch has {want}"
        assert have.shape == want.shape and have.dtype == want.dtype, message
        torch.testing.assert_close(
            have,
            want.detach(),
            rtol=tolerance,
            atol=tolerance,
            equal_nan=True,
            msg=lambda m, text=message: f"{text}\n{m}",
        )


def is_float(tensor):
    return tensor.dtype == torch.float64


def pulled(outs, ins, bars, graph=False):
    """The cotangents of ``ins``, zero where there is no path."""
    pairs = [(out, bar) for out, bar in zip(outs, bars, strict=True) if out.requires_grad]
    if not pairs or not ins:
        return [torch.zeros_like(x) for x in ins]
    grads = torch.autograd.grad(
        [out for out, _ in pairs],
        ins,
        [bar for _, bar in pairs],
        create_graph=graph,
        retain_graph=True,
        allow_unused=True,
    )
    return [torch.zeros_like(x) if g is None else g for g, x in zip(grads, ins, strict=True)]


def product(a, b):
    """The inner product of two lists of tensors."""
    return sum(((x * y).sum() for x, y in zip(a, b, strict=True)), torch.zeros(()))


class Truth:
    """torch's derivatives of a function at some arguments, in directions drawn at random."""

    def __init__(self, function, args):
        g = torch.Generator().manual_seed(7)

        def like(tensor):
            return torch.randn(tensor.shape, generator=g, dtype=torch.float64)

        self.args = [arg.clone().requires_grad_() if is_float(arg) else arg for arg in args]
        self.ins = [arg for arg in self.args if is_float(arg)]
        self.values = flat(function(*self.args))
        self.outs = [value for value in self.values if is_float(value)]
        self.dots = [like(x) for x in self.ins]
        self.bars = [like(y) for y in self.outs]

    def cotangents(self):
        return pulled(self.outs, self.ins, self.bars)

    def tangents(self):
        """The derivative, linear in the cotangents, of the product of cotangents and tangents."""
        bars = [torch.zeros_like(bar).requires_grad_() for bar in self.bars]
        back = pulled(self.outs, self.ins, bars, graph=True)
        return pulled(back, bars, self.dots)

    def second(self):
        """The cotangents of the arguments and of the tangents, of the derivative along the tangents."""
        bars = [bar.clone().requires_grad_() for bar in self.bars]
        back = pulled(self.outs, self.ins, bars, graph=True)
        return [*pulled(back, self.ins, self.dots), *[x.detach() for x in back]]


def check(function, args, order=2, tolerance=1e-9):
    """Check a function of tensors at some arguments up to an order of derivatives.

    At order 1, for functions that torch has no second derivative of, tangents are compared with cotangents alone.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        truth = Truth(function, args)
        program = trace(function, [description(arg) for arg in args]).program
        verify(program)
        alike(run(program, args), truth.values, "value")
        _check_vmap(program, args, truth)
        active = any(is_differentiable(p.type) for p in program.main.params) and truth.outs
        if order == 0 or not active or not any(out.requires_grad for out in truth.outs):
            return
        forward, reverse = jvp(program), vjp(program)
        verify(forward)
        verify(reverse)
        back, along = run(reverse, [*args, *truth.bars]), run(forward, [*args, *truth.dots])
        alike(back, truth.cotangents(), "cotangent", tolerance)
        torch.testing.assert_close(product(back, truth.dots), product(along, truth.bars), equal_nan=True)
        if order > 1:
            alike(along, truth.tangents(), "tangent", tolerance)
            second = vjp(forward)
            verify(second)
            alike(run(second, [*args, *truth.dots, *truth.bars]), truth.second(), "second order", 10 * tolerance)


def _check_vmap(program, args, truth):
    if args and all(arg.numel() for arg in args):
        mapped = vmap(program)
        verify(mapped)
        found = run(mapped, [torch.stack([arg, arg.flip(0) if arg.dim() else arg]) for arg in args])
        alike([value[0] for value in found], truth.values, "vmap")
