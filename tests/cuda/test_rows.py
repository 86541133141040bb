"""Loops of which a thread, a few, a warp, a block or the whole grid take a row, by how many there are and how long they are."""

from __future__ import annotations

import numpy as np
import pytest

from ksc.codegen import GeneratedSource, Unit
from ksc.codegen.cuda import generate
from ksc.derive import derive
from ksc.ir.interpret import interpret
from ksc.ir.nodes import Program
from ksc.ir.text import parse
from ksc.passes import optimise
from tests.codegen.tensor_programs import matrix, vector
from tests.cuda.grid import Device, Library

# What they share is compiled once, by one process.
pytestmark = pytest.mark.xdist_group("cuda rows")

WEIGHTED = """
(def weighted (Tensor 2 Float) ((x : (Tensor 2 Float)) (w : (Tensor 1 Float)))
  (let ((() (require (eq (size x 1) (size w)) "x and w do not fit")))
    (build :nested false (size x 0) (lam (i : Integer)
      (let ((most (stop_gradient (reduce max (size x 1) (lam (j : Integer) (index (tuple i j) x)))))
            (e (build (size x 1) (lam (j : Integer) (exp (sub (index (tuple i j) x) most)))))
            (total (reduce add (size x 1) (lam (j : Integer) (index j e)))))
        (build (size x 1) (lam (j : Integer) (mul (index j w) (div (index (sub (sub (size x 1) 1) j) e) total)))))))))
"""

LENGTHS = """
(def lengths (Values Float (Tensor 1 Float)) ((x : (Tensor 2 Float)))
  (values
    (reduce add (size x 0) (lam (i : Integer)
      (log (reduce add (size x 1) (lam (j : Integer) (exp (index (tuple i j) x)))))))
    (build (size x 0) (lam (i : Integer)
      (if (gt (index (tuple i 0) x) 0.0)
        (sqrt (reduce add (size x 1) (lam (j : Integer) (mul (index (tuple i j) x) (index (tuple i j) x)))))
        1.0)))))
"""

SHAPES = {
    "thread": (500, 2),
    "eight": (100, 40),
    "warp": (6, 40),
    "block": (3, 400),
    "grid": (1, 20_000),
    "nothing": (4, 0),
}
"""The shapes of tensors, by who takes a row on the shim's three blocks of 64 threads."""

PROGRAMS = {
    name: {letters: optimise(derive(parse(text), letters)) for letters in ("", "v")}
    for name, text in (("weighted", WEIGHTED), ("lengths", LENGTHS))
}


@pytest.fixture(scope="module")
def sources() -> dict[str, GeneratedSource]:
    return {
        name: generate(Unit(name, list(programs.items()), "float64", kind="tensor"))
        for name, programs in PROGRAMS.items()
    }


@pytest.fixture(scope="module")
def library(sources: dict[str, GeneratedSource]) -> Library:
    return Library(list(sources.values()))


def arguments(name: str, letters: str, rows: int, columns: int) -> list[np.ndarray]:
    x = matrix(rows, columns)
    seeds = [x + 1.0] if name == "weighted" else [np.asarray(0.5), vector(rows)]
    return [x, *([vector(columns)] if name == "weighted" else []), *(seeds if letters == "v" else [])]


def check(library: Library, source: GeneratedSource, program: Program, letters: str, args: list[np.ndarray]) -> None:
    wanted = interpret(program, args)
    for deterministic in (False, True):
        device, outs = library.tensors(
            source.entries[letters],
            program,
            args,
            [np.shape(value) for value in wanted],
            # In order, a thread may have to take a row by itself.
            device=Device(8 << 20, 1 << 20 if deterministic else 1 << 10, deterministic=deterministic),
        )
        assert device.error is None, device.error
        for out, value in zip(outs, wanted, strict=True):
            np.testing.assert_allclose(out, value, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("who", SHAPES)
@pytest.mark.parametrize("name", PROGRAMS)
def test_values_and_derivatives(name: str, who: str, library: Library, sources: dict[str, GeneratedSource]) -> None:
    for letters, program in PROGRAMS[name].items():
        if name == "weighted" or who != "nothing":
            check(library, sources[name], program, letters, arguments(name, letters, *SHAPES[who]))


def test_all_of_them_are_divided(sources: dict[str, GeneratedSource]) -> None:
    assert sources["weighted"].text.count("ks::rows{") == 2
    assert sources["lengths"].text.count("ks::rows{") >= 3
    assert "// On one thread" not in sources["weighted"].text + sources["lengths"].text


def test_what_only_a_nan_needs_is_no_row() -> None:
    """An element that is looked up is a thread's, and is summed up by it alone where it is NaN."""
    program = """
(def looked_up (Tensor 2 Float) ((whole : (Tensor 2 Float)) (x : (Tensor 2 Float)))
  (let ((rows (size x 0)) (columns (size x 1)))
    (build (tuple rows rows) (lam ((i : Integer) (k : Integer))
      (let ((element (index (tuple i k) whole)))
        (if (CHOICE element)
          (reduce add columns (lam (j : Integer) (exp (mul (index (tuple i j) x) (index (tuple k j) x)))))
          element))))))
"""
    for choice, rows in (("isnan", 0), ("lt 0.0", 1)):
        made = optimise(parse(program.replace("CHOICE", choice)))
        assert generate(Unit("looked_up", [("", made)], "float64", kind="tensor")).text.count("ks::rows{") == rows
