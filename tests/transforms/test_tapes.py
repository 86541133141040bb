"""What loops keep for their reverse: the elements overwritten and what is read nonlinearly, never whole tensors."""

import numpy as np
import pytest

from ksc.ir.interpret import interpret
from ksc.passes import optimise
from ksc.transforms import vjp
from tests.transforms.copies import count_copies
from tests.transforms.tapes import run_counting
from tests.transforms.tensor_loops import LOOPS

CHANGED_IN_PLACE = [
    name
    for name, (_, args) in LOOPS.items()
    if len(args) == 1 and name not in ("lu", "rebound_sometimes", "read_after_changes")
]


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
        ("write_then_multiply", 0),
        ("prefix_norms", 1),
        ("prefix_norms_read_back", 1),
        ("prefix_norms_with_break", 2),
        ("fibonacci", 1),
        ("read_after_overwritten", 1),
        ("build_in_loop", 1),
    ],
)
def test_a_loop_keeps_a_number_or_two_an_iteration(name, per_iteration, monkeypatch):
    small, large = taped(name, 20, monkeypatch), taped(name, 50, monkeypatch)
    assert large <= per_iteration * 50
    assert large - small <= per_iteration * 30


def test_what_is_bound_anew_is_kept_whole(monkeypatch):
    assert taped("rebound_sometimes", 10, monkeypatch) == 10 * 10


@pytest.mark.parametrize("name, per_element", [("table", 1), ("rows", 1)])
def test_a_table_filled_by_nested_loops_keeps_a_number_an_element(name, per_element, monkeypatch):
    assert taped(name, 12, monkeypatch, matrix=True) <= per_element * 12 * 12


@pytest.mark.parametrize("name", CHANGED_IN_PLACE)
def test_a_reversed_loop_copies_its_tensors_once(name, monkeypatch):
    program, (x,) = LOOPS[name]
    for n in (6, 12):
        side = (n,) * x.ndim
        point = np.random.default_rng(0).uniform(0.1, 0.9, size=side)
        bars = [np.ones(np.shape(value)) if np.shape(value) else 1.0 for value in interpret(program, (point,))]
        derived = optimise(vjp(program))
        counts = count_copies(derived, (point, *bars), monkeypatch)
        assert sum(counts.values()) <= 2 * n**x.ndim
