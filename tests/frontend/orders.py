"""A program through every transformation: value, vjp, jvp, the tangent of the vjp, vmap; PyTorch is the oracle."""

import numpy as np
import torch
from oracle import flatten
from tensor_oracle import as_numpy, assert_same, check, check_derivatives

from ksc.ir.interpret import interpret
from ksc.ir.verify import verify
from ksc.transforms import jvp, vjp, vmap


def check_orders(fn, *args, twin=None, mapped=True):
    """Compare ``fn`` of float64 tensors with itself, or its ``twin``, run by PyTorch, to second order and in lanes."""
    theirs = twin or fn
    traced = check(fn, *args, twin=twin)
    check_derivatives(fn, *args, traced=traced, twin=twin)
    given = [as_numpy(arg) for arg in args]
    generator = torch.Generator().manual_seed(5)

    def direction(like):
        return torch.randn(like.shape, generator=generator, dtype=torch.float64)

    primals = [arg.clone().requires_grad_() for arg in args]
    results = [part for part in flatten(theirs(*primals)) if _is_float(part)]
    bars, dots = [direction(part) for part in results], [direction(arg) for arg in args]
    total = sum((part * bar).sum() for part, bar in zip(results, bars, strict=True))
    firsts = torch.autograd.grad(total, primals, create_graph=True, allow_unused=True, materialize_grads=True)
    slope = sum((first * dot).sum() for first, dot in zip(firsts, dots, strict=True))
    seconds = [torch.zeros_like(arg) for arg in args]
    if slope.requires_grad:
        seconds = torch.autograd.grad(slope, primals, allow_unused=True, materialize_grads=True)
    tangents = jvp(vjp(traced.program))
    verify(tangents)
    still = [np.zeros(bar.shape) if bar.ndim else 0.0 for bar in bars]
    found = interpret(tangents, [*given, *map(as_numpy, bars), *map(as_numpy, dots), *still])
    assert_same(list(found), list(seconds), f"second derivative of {fn.__name__}")
    if mapped:
        rows = [torch.stack([arg, arg]) for arg in args]
        lanes = interpret(vmap(traced.program), [row.numpy() for row in rows])
        once = flatten(theirs(*[arg.clone() for arg in args]))
        assert_same(list(lanes), [torch.stack([torch.as_tensor(part)] * 2) for part in once], f"vmap of {fn.__name__}")


def _is_float(value):
    return isinstance(value, torch.Tensor) and value.dtype == torch.float64
