"""Quotients that are read of a result: the derivative that is handed it equals the one that computes it, with less."""

import numpy as np
import pytest
import torch

import ksc as knossos
from ksc.derive import derive
from ksc.ir.interpret import interpret
from ksc.ir.nodes import walk
from ksc.ir.verify import verify
from ksc.passes import optimise
from ksc.passes.forget_rules import forget_rules
from ksc.transforms import vjp
from tests.transforms.oracle import flat, random_like


def by_hand(x):
    e = torch.exp(2.0 * x - torch.amax(2.0 * x, -1, keepdim=True))
    return e / e.sum(-1, keepdim=True)


def in_loops(x):
    y = torch.zeros_like(x)
    for i in range(x.shape[0]):
        s = 0.0
        for j in range(x.shape[1]):
            s = s + torch.exp(x[i, j])
        for j in range(x.shape[1]):
            y[i, j] = torch.exp(x[i, j]) / s
    return y


def of_one_row(x):
    row = x[1]
    e = torch.exp(row - row.max())
    return e / e.sum(), x.sum()


def normalised(x):
    return x / torch.sqrt((x * x).sum(-1, keepdim=True))


def another_divisor(x):
    e = torch.exp(x)
    return e / e.sum(-1, keepdim=True) + 0.0 * x, e / x.sum(-1, keepdim=True)


def chosen(x):
    return torch.relu(x.t() @ x - 1.0)


def other_side(x):
    z = x.t() @ x - 1.0
    return torch.where(0.0 < z, z, -1.0)


def not_told_apart_in_float32(x):
    z = x.t() @ x - 1.0
    return torch.where(z < 1e-60, 0.0, z)


FUNCTIONS = {
    "softmax": (lambda x: torch.softmax(x, -1), "1", ()),
    "log_softmax": (lambda x: torch.log_softmax(x, -1), "1", ("exp",)),
    "logsumexp": (lambda x: torch.logsumexp(x, -1), "1", ("exp",)),
    "by_hand": (by_hand, "1", ()),
    "in_loops": (in_loops, "1", ()),
    "of_one_row": (of_one_row, "10", ()),
    "normalised": (normalised, "", None),
    "another_divisor": (another_divisor, "", None),
    "chosen": (chosen, "1", None),
    "other_side": (other_side, "1", None),
    "not_told_apart_in_float32": (not_told_apart_in_float32, "", None),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_derivative_is_the_same(name):
    f, digits, dear = FUNCTIONS[name]
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 4))
    special, _ = knossos.register(f)._specialise([torch.tensor(x)], {})
    program = special.program
    values = interpret(program, [x])
    bars = random_like(rng, values)
    want = flat(interpret(vjp(program), [x, *bars]))
    handed = optimise(forget_rules(derive(program, "r")))
    verify(handed)
    np.testing.assert_allclose(flat(interpret(handed, [x, *values, *bars])), want, rtol=1e-9, atol=1e-12)
    assert special.handed_results() == digits
    if dear is not None:
        assert tuple(e.op for e in walk(handed.main.body) if e.op in ("exp", "log", "div", "max")) == dear
