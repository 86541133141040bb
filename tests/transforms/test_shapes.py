"""The sizes of results, as a program of their own: against the interpreter, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from ksc.errors import UnsupportedError
from ksc.frontend import trace
from ksc.frontend.values import Abstract
from ksc.ir.interpret import interpret
from ksc.ir.nodes import Program
from ksc.ir.sizes import ShapeProgram, argument_sizes
from ksc.ir.text import parse
from ksc.ir.types import Float, Integer, TensorType
from ksc.transforms import jvp, vjp, vmap
from ksc.transforms.shapes import shapes

X = "(x : (Tensor 1 Float))"
ZEROS = "(lam (i : Integer) 0.0)"

PROGRAMS = {
    "sum of a size and an int": f"(def f (Tensor 1 Float) ({X} (n : Integer)) (build (add (size x) n) {ZEROS}))",
    "differences and products": (
        f"(def f (Tensor 1 Float) ({X} (n : Integer)) (build (sub (mul n (size x)) (mul 2 n)) {ZEROS}))"
    ),
    "Python's quotient and remainder": (
        f"(def f (Tensor 1 Float) ({X} (n : Integer)) (build (add (idiv (sub 0 n) -2) (imod (size x) n)) {ZEROS}))"
    ),
    "bounds": f"(def f (Tensor 1 Float) ({X} (n : Integer)) (build (max 0 (min n (size x))) {ZEROS}))",
    "sides that agree": (
        f"(def f (Tensor 1 Float) ({X} (n : Integer)) (if (gt (index 0 x) 0.0) x (build (size x) {ZEROS})))"
    ),
    "sides chosen by an int": (
        f"(def f (Tensor 1 Float) ({X} (n : Integer)) (if (and (gt n 3) (ne n 9)) x (build n {ZEROS})))"
    ),
    "an update": f"(def f (Tensor 1 Float) ({X} (n : Integer)) (update 0 x 2.0))",
    "two dimensions": (
        f"(def f (Tensor 2 Float) ({X} (n : Integer)) "
        "(build (tuple n (size x)) (lam ((i : Integer) (j : Integer)) (index j x))))"
    ),
    "a call": (
        f"(def g (Tensor 1 Float) ({X} (m : Integer)) (build (add (size x) m) {ZEROS}))"
        f"(def f (Tensor 1 Float) ({X} (n : Integer)) (g (g x n) 2))"
    ),
    "recursion": (
        f"(def f (Tensor 1 Float) ({X} (n : Integer)) "
        "(if (lt n 1) x (f (build (size x) (lam (i : Integer) (mul 2.0 (index i x)))) (sub n 1))))"
    ),
}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize(("size", "n"), [(5, 3), (5, 4), (4, 9), (3, 7)])
def test_sizes_are_those_of_the_interpreter(name: str, size: int, n: int) -> None:
    program = parse(PROGRAMS[name])
    (result,) = interpret(program, [np.arange(1.0, size + 1), n])
    assert shapes(program).evaluate([(size,), ()], {1: n}) == [result.shape]


def described(fn: Any, *types: Any) -> Program:
    return trace(fn, [Abstract(type_) for type_ in types]).program


VECTOR, MATRIX = TensorType(1, Float), TensorType(2, Float)


def running(x: torch.Tensor) -> torch.Tensor:
    out = torch.zeros(x.shape[0])
    s = 0.0
    for i in range(x.shape[0]):
        s += x[i] * x[i]
        if s > 100.0:
            break
        out[i] = s
    return out


def test_a_loop_keeps_the_sizes_of_what_it_carries() -> None:
    assert shapes(described(running, VECTOR)).evaluate([(7,)], {}) == [(7,)]


def state_that_is_rebound(xs: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
    for t in range(xs.shape[0]):
        h = xs[t] + h
    return h


def grown_by_the_loop(xs: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
    for _ in range(xs.shape[0]):
        h = torch.cat([h, h])
    return h


def test_a_size_that_a_loop_asserts_to_be_that_of_its_carry_is_kept() -> None:
    found = shapes(described(state_that_is_rebound, MATRIX, VECTOR))
    assert found.evaluate([(7, 3), (3,)], {}) == [(3,)]
    assert found.evaluate([(0, 5), (3,)], {}) == [(3,)]


def test_a_size_that_a_loop_changes_is_refused() -> None:
    with pytest.raises(UnsupportedError, match="how a loop runs") as caught:
        shapes(described(grown_by_the_loop, MATRIX, VECTOR))
    assert "if it is the same either way" in str(caught.value)


def test_constants_of_the_type_are_folded() -> None:
    program = described(running, TensorType(1, Float, (4,)))
    found = shapes(program)
    assert [op.code for op in found.ops] == ["const"]
    assert found.evaluate([(4,)], {}) == [(4,)]


def test_derivatives_have_the_sizes_of_arguments_and_results() -> None:
    program = parse(PROGRAMS["two dimensions"])
    sizes, values = [(5,), ()], {1: 3}
    assert shapes(vjp(program)).evaluate([*sizes, (3, 5)], values) == [(5,)]
    assert shapes(jvp(program)).evaluate([*sizes, (5,)], values) == [(3, 5)]


def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return a @ b


@pytest.mark.parametrize("flags", [[True, False], [True, True]])
def test_vmap_of_the_table_is_the_table_of_vmap(flags: list[bool]) -> None:
    program = described(product, MATRIX, MATRIX)
    sizes = [(6, 2, 3), (6, 3, 4) if flags[1] else (3, 4)]
    want = [(6, 2, 4)]
    assert shapes(program).mapped(flags).evaluate(sizes, {}) == want
    assert shapes(vmap(program, [0 if flag else None for flag in flags])).evaluate(sizes, {}) == want


def test_a_size_that_differs_between_lanes() -> None:
    found = shapes(parse(PROGRAMS["sum of a size and an int"]))
    assert found.values_used == (1,)
    with pytest.raises(ValueError, match="mapped argument"):
        found.mapped([True, True])
    assert found.mapped([True, False]).evaluate([(2, 5), ()], {1: 3}) == [(2, 8)]


def test_sizes_of_arguments() -> None:
    assert argument_sizes([(2, 1), (0, 2)]).evaluate([(3, 4), (), (5,)], {}) == [(5,), (3, 4)]
    assert ShapeProgram() == argument_sizes([])


def left_early(x: torch.Tensor, n: int) -> torch.Tensor:
    v, rows = x, x.shape[0]
    for _ in range(n):
        w = torch.outer(v, v[::2])
        v = torch.sin(v)
        if v[0] < 0.3:
            return torch.cat([w, w])
    return torch.zeros(rows + rows, (rows + 1) // 2)


@pytest.mark.parametrize("size", [1, 4])
def test_what_a_loop_returns_has_a_size_that_is_known(size: int) -> None:
    program = described(left_early, VECTOR, Integer)
    assert shapes(program).evaluate([(size,), ()], {1: 3}) == [(2 * size, (size + 1) // 2)]
    for start in (0.1, 2.0):
        (result,) = interpret(program, [np.full(size, start), 3])
        assert np.shape(result) == (2 * size, (size + 1) // 2)


def positive(x: torch.Tensor, n: int) -> torch.Tensor:
    count = 0
    for i in range(x.shape[0]):
        if x[i] > 0.0:
            count += 1
    return torch.zeros(count)


def halved(x: torch.Tensor, n: int) -> torch.Tensor:
    return torch.zeros(int(n / 2))


def by_value(x: torch.Tensor, n: int) -> torch.Tensor:
    if x[0] > 0.0:
        return torch.zeros(n)
    return torch.zeros(n + 1)


def repeated(x: torch.Tensor, n: int) -> torch.Tensor:
    count = 0
    for i in range(n):
        count += i
    return torch.zeros(count)


def taken(x: torch.Tensor, n: int) -> torch.Tensor:
    found = torch.arange(n)
    return torch.zeros(int(found[0]))


FLOAT = "the value of a float"
REFUSED = {
    positive: FLOAT,
    halved: FLOAT,
    by_value: FLOAT,
    repeated: "the counter of a loop",
    taken: "an element of a tensor",
}


@pytest.mark.parametrize("fn", REFUSED, ids=lambda fn: fn.__name__)
def test_a_size_that_is_not_known_before_the_call_is_refused(fn: Any) -> None:
    with pytest.raises(UnsupportedError, match=REFUSED[fn]) as caught:
        shapes(described(fn, VECTOR, Integer))
    assert caught.value.code == "KS123"
    assert caught.value.span is not None
    assert caught.value.span.file == __file__
    assert "not known before the call" in caught.value.message
    assert caught.value.remedy


def stopped(x: torch.Tensor) -> torch.Tensor:
    for _ in range(3):
        if abs(x[0]) < 1e-3:
            break
        x = torch.stack([x[0] / 2, x[1]])
    return x


def said(x: torch.Tensor) -> torch.Tensor:
    assert x.shape[0] == 2
    return stopped(x)


def test_a_size_that_is_one_of_two_is_one_where_the_program_says_so() -> None:
    with pytest.raises(UnsupportedError, match="the value of a float") as caught:
        shapes(described(stopped, VECTOR))
    assert "assert x.shape[0] == 2" in caught.value.remedy
    assert shapes(described(said, VECTOR)).results


def powers(m: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, int]:
    a = m @ m.T
    for k in range(9):
        new = a @ v
        if abs(new[0] - v[0]) < 1e-3:
            return new, k
        v = new
    return v, 9


def maybe_powers(m: torch.Tensor, v: torch.Tensor, n: int) -> torch.Tensor:
    a = m @ m.T
    for _ in range(n):
        new = a @ v
        if abs(new[0] - v[0]) < 1e-3:
            return new
        v = new
    return v


def powers_of_some(m: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    a = m @ m.T
    for _ in range(9):
        if v[0] > 0.5:
            v = a @ v
        if abs(v[0]) < 1e-3:
            break
    return v


def test_what_the_first_iteration_asserts_is_known_after_a_loop_that_runs() -> None:
    (kept, _) = shapes(described(powers, MATRIX, VECTOR)).results
    assert len(kept) == 1
    for fn, more in ((maybe_powers, (Integer,)), (powers_of_some, ())):
        with pytest.raises(UnsupportedError, match="KS123"):
            shapes(described(fn, MATRIX, VECTOR, *more))
