"""Whether sizes alone decide how much memory a program takes."""

from __future__ import annotations

import pytest

from ksc.codegen.demand import memory_varies
from ksc.derive import derive
from ksc.ir.text import parse
from ksc.passes import optimise
from tests.codegen.tensor_programs import SAMPLES
from tests.cuda.test_grid import LARGE

STEADY = {
    "sum_of_squares": "(def f Float (x : (Tensor 1 Float)) (reduce add (size x) (lam (i : Integer) (mul (index i x) (index i x)))))",
    "outer": LARGE["outer"][0],
    "diffused": LARGE["diffused"][0],
    "branch_of_numbers": """
(def f (Tensor 1 Float) (x : (Tensor 1 Float))
  (let (y (index 0 x)) (build (size x) (lam (i : Integer) (if (lt y 0.0) (index i x) y)))))
""",
}
VARYING = {
    "while": LARGE["normalised_until"][0],
    "length_that_is_read": """
(def f Float ((x : (Tensor 1 Float)) (at : (Tensor 1 Integer)))
  (let (u (build (index 0 at) (lam (i : Integer) (mul 2.0 (index 0 x)))))
    (reduce add (size u) (lam (i : Integer) (index i u)))))
""",
    "branch_of_tensors": """
(def f (Tensor 1 Float) (x : (Tensor 1 Float))
  (if (lt (index 0 x) 0.0) x (build (size x) (lam (i : Integer) (sin (index i x))))))
""",
}


@pytest.mark.parametrize("name", STEADY)
def test_sizes_decide(name: str) -> None:
    assert not memory_varies(parse(STEADY[name]), numbers_vary=False)


@pytest.mark.parametrize("name", VARYING)
def test_elements_decide(name: str) -> None:
    assert memory_varies(parse(VARYING[name]), numbers_vary=False)


def test_ints_are_known_or_not() -> None:
    program = optimise(derive(parse(LARGE["diffused"][0]), "v"))
    assert not memory_varies(program, numbers_vary=False)
    assert memory_varies(program, numbers_vary=True)


def test_every_sample_and_its_derivatives_can_be_asked() -> None:
    for name in list(SAMPLES)[::3]:
        for derivation in ("", "v"):
            memory_varies(optimise(derive(SAMPLES[name].program, derivation)), numbers_vary=False)
