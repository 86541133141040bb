"""What loops keep for their reverse: the elements overwritten and what is read nonlinearly, never whole tensors."""

import numpy as np
import pytest

from ksc.ir.interpret import interpret
from ksc.transforms import vjp
from tests.transforms.tapes import run_counting
from tests.transforms.tensor_loops import LOOPS


def taped(name, n, monkeypatch, *, matrix=False):
    """The numbers that the reverse of a loop stacks for a vector, or a square matrix, of size n."""
    program, args = LOOPS[name]
    rng = np.random.default_rng(0)
    x = rng.uniform(0.1, 0.9, size=(n, n) if matrix else n)
    given = (x, *args[1:])
    bars = [np.ones(np.shape(value)) if np.shape(value) else 1.0 for value in interpret(program, given)]
    _, tapes = run_counting(vjp(program), (*given, *bars), monkeypatch)
    return tapes.peak


@pytest.mark.parametrize(
    "name, per_iteration",
    [
        ("running_product", 1),
        ("cumulative_product", 1),
        ("write_then_multiply", 2),
        ("prefix_norms", 1),
        ("prefix_norms_read_back", 2),
        ("prefix_norms_with_break", 2),
        ("fibonacci", 2),
        ("read_after_overwritten", 2),
        ("build_in_loop", 2),
    ],
)
def test_a_loop_keeps_a_number_or_two_an_iteration(name, per_iteration, monkeypatch):
    small, large = taped(name, 20, monkeypatch), taped(name, 50, monkeypatch)
    assert large <= per_iteration * 50
    assert large - small <= per_iteration * 30


@pytest.mark.parametrize("name, per_element", [("table", 2), ("rows", 1)])
def test_a_table_filled_by_nested_loops_keeps_a_number_an_element(name, per_element, monkeypatch):
    assert taped(name, 12, monkeypatch, matrix=True) <= per_element * 12 * 12
