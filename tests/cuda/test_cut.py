"""Programs cut at their products: the steps give what the program gives, and know what it knew of sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

import ksc as knossos
from ksc.codegen import cuda
from ksc.codegen.cuda.cut import Cut, Matrix, Multiply, cut
from ksc.codegen.unit import Unit
from ksc.errors import KernelRuntimeError
from ksc.ir.interpret import interpret
from ksc.ir.nodes import Program
from ksc.ir.types import Integer
from ksc.ir.verify import verify


def layered(x: torch.Tensor, w1: torch.Tensor, b1: torch.Tensor, w2: torch.Tensor):
    h = torch.relu(x @ w1 + b1)
    return torch.tanh(h @ w2)


def attended(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor):
    return torch.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5, -1) @ v


def summed(x: torch.Tensor, w: torch.Tensor, n: int, s: float):
    y = (x * s) @ w
    total = torch.sum(y)
    return (torch.cat([y, y])[:n] * total) @ w.T, total


def asserted(a: torch.Tensor, b: torch.Tensor):
    c = a @ b
    assert c[0, 0] < 1e9
    assert a.shape[0] == b.shape[1]
    return torch.softmax(c, 0) @ a + c.T @ b.T


def of_batches(a: torch.Tensor, b: torch.Tensor):
    return torch.sin(torch.einsum("bhik,hjk->bhij", a, b))


def told_by_an_element(x: torch.Tensor, w: torch.Tensor):
    y = x @ w
    k = torch.argmax(y[0])
    return ((y * y[0, k]) @ w.T)[:, k]


def required(a: torch.Tensor, b: torch.Tensor, n: int, s: float):
    assert n > 2
    assert s > 0.0
    assert a.shape[0] == 9
    return a @ b


def in_a_loop(a: torch.Tensor, n: int):
    for _ in range(n):
        a = a @ a
    return a


def randn(*sizes: int) -> torch.Tensor:
    return torch.randn(*sizes, dtype=torch.float64)


CASES: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "layers": (layered, (randn(9, 10), randn(10, 11), randn(11), randn(11, 8))),
    "no rows": (layered, (randn(0, 10), randn(10, 11), randn(11), randn(11, 8))),
    "attention": (attended, (randn(3, 9, 10), randn(3, 12, 10), randn(3, 12, 8))),
    "a number between": (summed, (randn(9, 10), randn(10, 11), 12, 0.5)),
    "assertions": (asserted, (randn(9, 10), randn(10, 9))),
    "batches": (of_batches, (randn(2, 3, 9, 10), randn(3, 11, 10))),
}


def program_of(fn: Callable[..., Any], args: Sequence[Any], derivation: str) -> Program:
    return knossos.register(fn)._specialise(tuple(args), {})[0].program_of(derivation)


def cut_of(program: Program) -> Cut | None:
    return cut(program, [k for k, param in enumerate(program.main.params) if param.type == Integer])


def execute(steps: Cut, args: Sequence[Any]) -> list[Any] | None:
    """What the core does, by numpy and the interpreter; None where it leaves the call to the whole kernel."""
    values = [*args, *(None for _ in steps.kinds)]
    known = {k: arg for k, arg in enumerate(args) if isinstance(arg, int)}
    evaluated = steps.made.evaluate([np.shape(arg) for arg in args], known)
    if any(condition != (1,) for condition in evaluated[len(steps.kinds) :]):
        return None
    sizes = [*map(np.shape, args), *evaluated[: len(steps.kinds)]]

    def lined_up(matrix: Matrix, batch: int) -> Any:
        value = np.asarray(values[matrix.value])
        order = [matrix.batch.index(b) for b in sorted(matrix.batch)]
        value = value.transpose(*order, len(order), len(order) + 1)
        value = value[tuple(slice(None) if b in matrix.batch else None for b in range(batch))]
        return value.swapaxes(-1, -2) if matrix.transposed else value

    for step in steps.steps:
        if isinstance(step, Multiply):
            batch = len(sizes[step.result]) - 2
            values[step.result] = np.matmul(lined_up(step.left, batch), lined_up(step.right, batch))
        else:
            verify(step.program)
            given = [values[a.value] if a.dim is None else sizes[a.value][a.dim] for a in step.arguments]
            for k, result in zip(step.results, interpret(step.program, given), strict=True):
                values[k] = result
    assert [np.shape(value) for value in values] == [tuple(size) for size in sizes]
    return [values[result] for result in steps.results]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("derivation", ["", "v"])
def test_steps_give_what_the_program_gives(name: str, derivation: str) -> None:
    fn, args = CASES[name]
    program = program_of(fn, args, derivation)
    steps = cut_of(program)
    assert steps is not None
    given = [arg.numpy() if isinstance(arg, torch.Tensor) else arg for arg in args]
    if derivation:
        results = fn(*args)
        results = results if isinstance(results, tuple) else (results,)
        given += [np.random.default_rng(0).standard_normal(tuple(result.shape)) for result in results]
        given = [float(arg) if isinstance(arg, np.ndarray) and arg.ndim == 0 else arg for arg in given]
    found_all = execute(steps, given)
    assert found_all is not None
    for found, wanted in zip(found_all, interpret(program, given), strict=True):
        np.testing.assert_allclose(np.asarray(found), np.asarray(wanted), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("name", "kinds"), [("layers", "MRMR"), ("attention", "MRM"), ("a number between", "RMRM")])
def test_the_fewest_kernels_lie_between_products(name: str, kinds: str) -> None:
    steps = cut_of(program_of(*CASES[name], ""))
    assert steps is not None
    assert "".join("M" if isinstance(step, Multiply) else "R" for step in steps.steps) == kinds


@pytest.mark.parametrize("derivation", ["", "v"])
def test_kernels_know_the_sizes_of_what_they_are_handed(derivation: str) -> None:
    steps = cut_of(program_of(*CASES["attention"], derivation))
    assert steps is not None
    text = cuda.generate(
        Unit("attended", [(f"p{k}", run.program) for k, run in enumerate(steps.runs)], kind="tensor")
    ).text
    assert "checked" not in text and "KS_ERROR_INDEX" not in text


@pytest.mark.parametrize(
    ("fn", "args"),
    [
        (told_by_an_element, (randn(9, 10), randn(10, 9))),
        (in_a_loop, (randn(9, 9), 3)),
        (lambda x: x @ x[0], (randn(9, 9),)),
    ],
)
def test_what_stays_whole(fn: Callable[..., Any], args: tuple[Any, ...]) -> None:
    assert cut_of(program_of(fn, args, "")) is None


def test_what_is_asserted_is_asked_for() -> None:
    a, b = randn(9, 10).numpy(), randn(10, 11).numpy()
    steps = cut_of(program_of(required, (torch.tensor(a), torch.tensor(b), 3, 0.5), ""))
    assert steps is not None
    assert execute(steps, (a, b, 3, 0.5)) is not None
    assert execute(steps, (a, b, 2, 0.5)) is None
    assert execute(steps, (a[:8], b, 3, 0.5)) is None
    with pytest.raises(KernelRuntimeError):
        execute(steps, (a, b, 3, -0.5))
