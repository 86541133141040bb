"""Dimensions that are joined or split in several groups: PyTorch's elements, with no arithmetic across groups."""

import pytest
import torch

import ksc as knossos
from ksc.errors import KernelRuntimeError
from ksc.ir.nodes import walk


def joined(x):
    n, c, h, w = x.shape
    return x.reshape(n * c, h * w) * 2.0


def heads(x):
    n, c, h, w = x.shape
    return x.reshape(n, c, h * w).transpose(1, 2).reshape(n, h * w, 4, c // 4).transpose(1, 2) * 2.0


def patches(x):
    n, c, h, w = x.shape
    parts = x.reshape(n, c, h // 2, 2, w // 3, 3).permute(0, 2, 4, 1, 3, 5)
    return parts.reshape(n, (h // 2) * (w // 3), c * 6) * 2.0


def shuffled(x):
    n, c, h, w = x.shape
    return x.reshape(n, c // 4, 2, 2, h, w).permute(0, 1, 4, 2, 5, 3).reshape(n, c // 4, h * 2, -1) * 2.0


def across(x):
    n, c, h, w = x.shape
    return x.reshape(n * w, c, -1).reshape(c * n, w * h) * 2.0


def turned(x):
    n, c, h, w = x.shape
    return x.permute(2, 0, 3, 1).reshape(h * n, 1, w // 3, 3, c).reshape(h, n * w, c) * 2.0


CASES = {joined: 4, heads: 2, patches: 6, shuffled: 6, across: 10, turned: 6}
"""Functions, with how many quotients and remainders an element may take."""


@pytest.mark.parametrize("f", CASES, ids=lambda f: f.__name__)
def test_elements_are_those_of_torch(f):
    kernel = knossos.register(f, backend="interpret")
    for shape in ((2, 8, 4, 6), (1, 4, 2, 3), (3, 4, 2, 3), (0, 4, 2, 3), (1, 4, 0, 3)):
        x = torch.arange(2 * 8 * 4 * 6, dtype=torch.float64)[: torch.Size(shape).numel()].reshape(shape)
        if f in (across, shuffled) and x.numel() == 0:
            continue
        x.requires_grad_()
        given, expected = kernel(x), f(x)
        assert torch.equal(given, expected)
        bar = torch.cos(torch.arange(expected.numel(), dtype=x.dtype)).reshape(expected.shape)
        assert torch.equal(*(torch.autograd.grad(value, x, bar)[0] for value in (given, expected)))


def test_groups_that_only_make_up_the_whole_together_are_none():
    @knossos.register(backend="interpret")
    def split(x, h: int):
        w = x.shape[1]
        return x.reshape(h // 4, 4, w).reshape(h, w // 4, 4) * 2.0

    x = torch.arange(24.0).reshape(4, 6)
    assert torch.equal(split(x, 6), x.reshape(6, 1, 4) * 2.0)
    with pytest.raises((KernelRuntimeError, RuntimeError)):
        split(x, 5)


@pytest.mark.parametrize("f", CASES, ids=lambda f: f.__name__)
def test_an_index_into_a_group_takes_no_other(f):
    kernel = knossos.register(f)
    special, _ = kernel._specialise((torch.ones(2, 8, 4, 6),), {})
    eqns = [eqn for eqn in walk(special.program_of("").main.body) if eqn.blocks]
    divided = [inner for eqn in eqns for inner in walk(eqn.blocks[0]) if inner.op in ("idiv", "imod")]
    assert len(divided) <= CASES[f], divided
