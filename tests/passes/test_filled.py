"""Loops that fill a tensor row by row are builds; loops that do anything else with it stay as they are."""

from typing import Annotated

import pytest
import torch
from torch import Tensor

import ksc as knossos
from ksc.errors import KernelRuntimeError
from ksc.ir.nodes import walk
from ksc.ir.verify import verify
from ksc.passes import prepare


@knossos.register
def whole_rows(x: Tensor):
    out = torch.zeros_like(x)
    for i in range(x.shape[0]):
        out[i] = x[i] * torch.sum(x[i])
    return out


@knossos.register
def elements(x: Tensor):
    out = torch.zeros(x.shape[0], x.shape[1])
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = x[i, j] * x[i, 0]
    return out


@knossos.register
def numbers(x: Tensor):
    out = torch.ones(x.shape[0])
    for i in range(x.shape[0]):
        out[i] *= torch.sum(torch.sin(x[i]))
    return out


@knossos.register
def some_rows(x: Tensor):
    out = x.clone()
    for i in range(x.shape[0]):
        if x[i, 0] > 0.0:
            out[i] = -x[i]
        else:
            out[i, 1] += out[i, 0] * x[i, 1]
    return out


@knossos.register
def parts_of_rows(x: Tensor):
    out = torch.zeros(x.shape[0], 5)
    for i in range(x.shape[0]):
        out[i, 1:3] = x[i, :2]
        out[i, 4] = x[i, 1] ** 2
    return out


@knossos.register
def two_tensors(x: Tensor):
    a, b = torch.zeros(x.shape[0]), torch.zeros_like(x)
    for i in range(x.shape[0]):
        a[i] = x[i, 0] * x[i, 1]
        b[i] = x[i] * a[i]
    return a, b


@knossos.register
def backwards(x: Tensor):
    out = torch.zeros_like(x)
    for i in range(x.shape[0] - 1, -1, -1):
        out[i] = x[i] * x[0]
    return out


@knossos.register
def table(x: Annotated[Tensor, ("n", 3)]):
    out = torch.zeros(x.shape[0], 3, 3)
    for i in range(x.shape[0]):
        out[i] = torch.outer(x[i], x[i])
    return out


@knossos.register
def until_enough(x: Tensor):
    out = torch.zeros_like(x)
    for i in range(x.shape[0]):
        left = 1.0
        for j in range(x.shape[1]):
            if x[i, j] < 0.0:
                continue
            for k in range(x.shape[1]):
                out[i, k] += left * x[i, j] * x[i, k]
            left = left * torch.exp(-x[i, j])
            if left < 0.2:
                break
    return out


@knossos.register
def until_grown(x: Tensor):
    out = torch.ones_like(x)
    for i in range(x.shape[0]):
        while out[i, 0] < 3.0:
            out[i] = out[i] * (x[i] * x[i] + 1.5)
    return out


@knossos.register
def columns(x: Tensor):
    out = torch.zeros_like(x)
    for j in range(x.shape[1]):
        mean = 0.0
        for i in range(x.shape[0]):
            mean += x[i, j] / x.shape[0]
        for i in range(x.shape[0]):
            out[i, j] = torch.sin(x[i, j] - mean) * x[0, j]
    return out


@knossos.register
def planes(x: Tensor):
    out = torch.zeros(x.shape[0], x.shape[1], x.shape[0])
    for j in range(x.shape[1]):
        out[:, j] = torch.outer(x[:, j], x[:, j]) / torch.sum(torch.exp(x[:, j]))
    return out


FILLED = [whole_rows, elements, numbers, some_rows, parts_of_rows, two_tensors, table, until_enough, until_grown]
FILLED += [columns, planes]


@knossos.register
def earlier_rows(x: Tensor):
    out = x.clone()
    for i in range(1, x.shape[0]):
        out[i] = out[i - 1] * x[i]
    return out


@knossos.register
def one_row(x: Tensor):
    out = torch.zeros_like(x)
    for i in range(x.shape[0]):
        out[0] += x[i]
    return out


@knossos.register
def first_rows(x: Tensor):
    out = torch.zeros_like(x)
    for i in range(x.shape[0] - 1):
        out[i] = x[i] * x[i + 1]
    return out


@knossos.register
def sum_beside(x: Tensor):
    out = torch.zeros_like(x)
    total = 0.0
    for i in range(x.shape[0]):
        out[i] = x[i] * total
        total += x[i, 0]
    return out


@knossos.register
def read_as_a_whole(x: Tensor):
    out = x.clone()
    for i in range(x.shape[0]):
        out[i] = x[i] * torch.sum(out)
    return out


@knossos.register
def even_columns(x: Tensor):
    out = x.clone()
    for j in range(x.shape[1] // 2):
        for i in range(x.shape[0]):
            out[i, 2 * j] = x[i, j] * x[i, 1]
    return out


LEFT = [earlier_rows, one_row, first_rows, sum_beside, read_as_a_whole, even_columns]


def outer_loops(kernel, *args):
    """The loops with a carry of two dimensions or of all rows, in the program that derivatives are taken of."""
    kernel(*args)
    program = prepare(kernel._latest.program)
    verify(program)
    return [eqn for eqn in program.main.body.eqns if eqn.op == "for"]


X = torch.tensor([[1.0, -2.0, 0.5], [-0.5, 0.25, 3.0], [2.0, 1.0, -1.0], [-1.5, 0.75, 2.0]], dtype=torch.float64)


@pytest.mark.parametrize("kernel", FILLED, ids=lambda kernel: kernel.__name__)
def test_a_filled_tensor_is_built(kernel) -> None:
    assert not outer_loops(kernel, X)


@pytest.mark.parametrize("kernel", LEFT, ids=lambda kernel: kernel.__name__)
def test_other_loops_stay(kernel) -> None:
    assert len(outer_loops(kernel, X)) == 1


@pytest.mark.parametrize("kernel", [*FILLED, *LEFT, backwards], ids=lambda kernel: kernel.__name__)
def test_values_are_those_of_pytorch_and_derivatives_those_of_differences(kernel) -> None:
    torch.set_default_dtype(torch.float64)
    try:
        want = kernel.__wrapped__(X)
    finally:
        torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(kernel(X), want)
    assert knossos.gradcheck(kernel, (X,))


def test_what_a_column_shares_is_computed_once_for_it_and_the_rest_for_each_element() -> None:
    columns(X)
    program = prepare(columns._latest.program)
    *_, shared, elements = [eqn for eqn in program.main.body.eqns if eqn.op == "build"]
    assert len(shared.args) == 1 and any(eqn.op == "reduce" for eqn in walk(shared.blocks[0]))
    assert len(elements.args) == 2 and not any(eqn.blocks for eqn in walk(elements.blocks[0]))


def test_elements_of_a_tensor_that_a_loop_carries_are_stored_in_their_places() -> None:
    assert not any(
        eqn.op == "build" and any(inner.op == "update" for inner in walk(eqn.blocks[0]))
        for loop in outer_loops(even_columns, X)
        for eqn in walk(loop.blocks[0])
    )


def test_a_row_of_another_size_stops_the_kernel() -> None:
    @knossos.register
    def wrong(x: Tensor, y: Tensor):
        out = torch.zeros_like(x)
        for i in range(x.shape[0]):
            out[i] = y
        return out

    with pytest.raises(KernelRuntimeError, match="must agree"):
        wrong(X, torch.ones(2, dtype=torch.float64))
    assert torch.equal(wrong(X, X[1]), X[1].expand(4, 3))


def test_a_filled_tensor_has_row_blocks() -> None:
    blocks = knossos.jacobian(whole_rows, sparse="blocks")(X)
    dense = knossos.jacobian(whole_rows)(X)
    torch.testing.assert_close(blocks, torch.stack([dense[i, :, i] for i in range(4)]))


def test_parts_of_a_row_share_its_work() -> None:
    @knossos.register
    def scaled(x: Tensor):
        out = torch.zeros_like(x)
        for i in range(x.shape[0]):
            norm = 0.0
            for j in range(x.shape[1]):
                norm += torch.exp(x[i, j])
            out[i] = x[i] / norm
        return 2.0 * out

    scaled(X)
    eqns = list(walk(scaled._latest.program_of("").main.body))
    exps = [eqn for eqn in eqns if eqn.op == "exp"]
    assert len(exps) == 1
    loops = [eqn for eqn in eqns if eqn.op == "build" and any(exps[0] in walk(block) for block in eqn.blocks)]
    assert all(len(loop.args) == 1 for loop in loops)
