"""Loops that look for extrema, and the reductions that take their place, interpreted side by side."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import ksc as knossos
from ksc.derive import derive
from ksc.frontend.tensors import extrema
from ksc.ir.interpret import interpret
from ksc.ir.nodes import walk
from ksc.ir.text import parse
from ksc.ir.verify import verify
from ksc.passes import optimise
from ksc.passes.extremes import reduce_extremes

NAN, INF = float("nan"), float("inf")
CASES = [
    [3.0, 1.0, 3.0, 2.0],
    [NAN, 1.0, NAN],
    [1.0, NAN, 5.0, NAN],
    [-INF, -INF],
    [INF, 1.0, INF],
    [-0.0, 0.0],
    [7.0],
]


def largest(x: torch.Tensor):
    return torch.max(x)


def lowest_of_squares(x: torch.Tensor):
    return torch.amin(x * x)


def place(x: torch.Tensor):
    return torch.argmax(x)


def of_rows(x: torch.Tensor):
    return torch.amax(x.reshape(1, x.shape[0]), 1)


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have extrema looked for as pooling looks for those of its windows."""

    def extremum(op, sizes, at, *, largest):
        best, count = extrema.search(op, sizes, at, largest=largest)

        def shared():
            def apart(index):
                here = at(index)
                tied = here.eq(at(best)) & op.apply("isfinite", here)
                return tied.select(here - at(best), 0.0)

            return at(best) + op.reduce("add", sizes, apart) / count.float

        return op.if_(count > 1, shared, lambda: at(best))

    def first_place(op, sizes, at, value):
        return extrema.ravelled(op, extrema.search(op, sizes, at, largest=True)[0], sizes)

    monkeypatch.setattr(extrema, "extremum", extremum)
    monkeypatch.setattr(extrema, "first_place", first_place)


@pytest.mark.usefixtures("searched")
@pytest.mark.parametrize("letters", ["", "v", "j"])
@pytest.mark.parametrize("function", [largest, lowest_of_squares, place, of_rows])
def test_the_same_without_loops(function, letters: str) -> None:
    if function is place and letters:
        return
    special, _ = knossos.register(function).example([torch.ones(3, dtype=torch.float64)])
    program = optimise(derive(special.program, letters))
    reduced = reduce_extremes(program)
    verify(reduced)
    assert any(eqn.op == "for" for eqn in walk(program.main.body))
    assert not any(eqn.op == "for" for eqn in walk(reduced.main.body))
    for case in CASES:
        x = np.array(case)
        more = {"": [], "v": [np.ones(1) if function is of_rows else np.asarray(1.0)], "j": [np.ones(len(x))]}[letters]
        with np.errstate(all="ignore"):
            wanted, found = (interpret(one, [x, *more]) for one in (program, reduced))
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(one, other)


OTHERS = {
    "other start": "(for (i (size x)) ((m 0.0)) (max m (index i x)))",
    "read again": "(for (i (size x)) ((m -inf)) (max m (mul m (index i x))))",
    "not the extremum": "(for (i (size x)) ((m -inf)) (add m (index i x)))",
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_loops_are_left(name: str) -> None:
    program = parse(f"(def f Float (x : (Tensor 1 Float)) {OTHERS[name]})")
    assert any(eqn.op == "for" for eqn in walk(reduce_extremes(program).main.body))
