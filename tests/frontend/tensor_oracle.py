"""PyTorch as the oracle of tensor programs: the function is run eagerly, and its trace is interpreted."""

import numpy as np
import torch
from oracle import flatten

from ksc.frontend import Abstract, Struct, trace
from ksc.ir.interpret import interpret
from ksc.ir.types import Bool, Float, Integer, TensorType
from ksc.ir.verify import verify
from ksc.transforms import jvp, vjp

ELEMENTS = {torch.float64: Float, torch.int64: Integer, torch.bool: Bool}


def described(value):
    """The description of an argument like ``value``: sizes of 1 are known, all others depend on the call."""
    if isinstance(value, torch.Tensor):
        elem = ELEMENTS[value.dtype]
        if value.ndim == 0:
            return Abstract(elem, tensor=True)
        return Abstract(TensorType(value.ndim, elem, tuple(1 if size == 1 else None for size in value.shape)))
    if isinstance(value, bool | int | float):
        return Abstract({bool: Bool, int: Integer, float: Float}[type(value)])
    if hasattr(value, "__dataclass_fields__"):
        keys = tuple(value.__dataclass_fields__)
        return Struct(type(value), tuple(described(getattr(value, key)) for key in keys), keys)
    if hasattr(value, "_fields"):
        return type(value)(*map(described, value))
    return type(value)(map(described, value))


def copied(value):
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if hasattr(value, "__dataclass_fields__"):
        return type(value)(**{key: copied(getattr(value, key)) for key in value.__dataclass_fields__})
    if hasattr(value, "_fields"):
        return type(value)(*map(copied, value))
    return type(value)(map(copied, value)) if isinstance(value, tuple | list) else value


def as_numpy(value):
    if isinstance(value, torch.Tensor):
        return value.detach().numpy() if value.ndim else value.item()
    return value


def assert_same(found, expected, what):
    """Results of the interpreter are what PyTorch gives, up to rounding."""
    found, expected = flatten(found), flatten(expected)
    assert len(found) == len(expected), what
    for mine, theirs in zip(found, expected, strict=True):
        wanted = np.asarray(as_numpy(theirs))
        assert np.shape(mine) == wanted.shape, f"{what}: sizes {np.shape(mine)}, not {wanted.shape}"
        np.testing.assert_allclose(np.asarray(mine), wanted, rtol=1e-12, atol=1e-12, err_msg=what)


def check(fn, *args, twin=None):
    """Trace ``fn`` for arguments like these, compare its value with PyTorch's, or that of its ``twin``; the trace."""
    traced = trace(fn, [described(arg) for arg in args])
    verify(traced.program)
    expected = (twin or fn)(*map(copied, args))
    found = traced.rebuild(interpret(traced.program, [as_numpy(leaf) for leaf in flatten(list(args))]))
    assert_same(found, expected, fn.__name__)
    return traced


def check_derivatives(fn, *args, traced=None, twin=None):
    """Compare vjp and jvp in a random direction with PyTorch's autograd."""
    traced = traced or check(fn, *args, twin=twin)
    generator = torch.Generator().manual_seed(1)
    leaves = [leaf for leaf in flatten([copied(arg) for arg in args])]
    moving = [
        leaf.requires_grad_() for leaf in leaves if isinstance(leaf, torch.Tensor) and leaf.dtype == torch.float64
    ]
    assert len(moving) == sum(isinstance(leaf, float | torch.Tensor) and _is_float(leaf) for leaf in leaves)
    results = flatten((twin or fn)(*_like(list(args), iter(leaves))))
    results = [result for result in results if isinstance(result, torch.Tensor) and result.dtype == torch.float64]
    bars = [torch.randn(result.shape, generator=generator, dtype=torch.float64) for result in results]
    dots = [torch.randn(leaf.shape, generator=generator, dtype=torch.float64) for leaf in moving]
    pairs = [(result, bar) for result, bar in zip(results, bars, strict=True) if result.requires_grad]
    total = sum(((result * bar).sum() for result, bar in pairs), torch.zeros((), dtype=torch.float64))
    wanted = [torch.zeros_like(leaf) for leaf in moving]
    if total.requires_grad:
        found = torch.autograd.grad(total, moving, allow_unused=True, create_graph=False)
        wanted = [zero if own is None else own for zero, own in zip(wanted, found, strict=True)]
    given = [as_numpy(leaf) for leaf in flatten(list(args))]
    backward = vjp(traced.program)
    verify(backward)
    cotangents = interpret(backward, [*given, *map(as_numpy, bars)])
    assert_same(list(cotangents), wanted, f"vjp of {fn.__name__}")
    forward = jvp(traced.program)
    verify(forward)
    tangents = interpret(forward, [*given, *map(as_numpy, dots)])
    mine = sum(float((np.asarray(dot) * bar.numpy()).sum()) for dot, bar in zip(tangents, bars, strict=True))
    theirs = sum(float((own * dot).sum()) for own, dot in zip(wanted, dots, strict=True))
    np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-10, err_msg=f"jvp of {fn.__name__}")


def _is_float(leaf):
    return isinstance(leaf, float) or leaf.dtype == torch.float64


def _like(value, leaves):
    if hasattr(value, "__dataclass_fields__"):
        return type(value)(**{key: _like(getattr(value, key), leaves) for key in value.__dataclass_fields__})
    if hasattr(value, "_fields"):
        return type(value)(*(_like(item, leaves) for item in value))
    if isinstance(value, tuple | list):
        return type(value)(_like(item, leaves) for item in value)
    return next(leaves)
