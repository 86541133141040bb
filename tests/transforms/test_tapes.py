"""What loops keep for their reverse: the elements overwritten and what is read nonlinearly, never whole tensors."""

import numpy as np
import pytest
import torch
from torch import Tensor

import ksc as knossos
from ksc.ir.interpret import interpret
from ksc.ir.nodes import walk
from ksc.ir.text import parse
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


@pytest.mark.parametrize("name, per_element", [("table", 1), ("rows", 2)])
def test_a_table_filled_by_nested_loops_keeps_a_number_an_element(name, per_element, monkeypatch):
    assert taped(name, 12, monkeypatch, matrix=True) <= per_element * 12 * 12


@pytest.mark.parametrize(
    "name, depth",
    [
        ("stencil", 2),
        ("triangle", 2),
        ("bubble_sort", 2),
        ("while_in_for", 2),
        ("three_deep", 3),
        ("lu", 3),
        ("layers", 2),
    ],
)
def test_nested_loops_run_once_and_once_backwards(name, depth):
    derived = vjp(LOOPS[name][0])
    assert sum(eqn.op in ("for", "while") for eqn in walk(derived.main.body)) == 2 * depth


def test_a_function_of_the_numbers_of_a_row_is_computed_once():
    for source in (LOOPS["layers"][0], optimise(LOOPS["layers"][0])):
        assert sum(eqn.op == "tanh" for eqn in walk(vjp(source).main.body)) == 1


def test_what_nested_loops_keep_is_of_the_order_of_what_they_overwrite(monkeypatch):
    program, _ = LOOPS["layers"]
    for steps, layers, n in ((4, 3, 5), (8, 6, 10)):
        given = [np.full(sides, 0.1) for sides in ((steps, n), (layers, n), (layers, n))]
        _, tapes = run_counting(vjp(program), (*given, layers, 1.0), monkeypatch)
        assert tapes.peak <= (1 + 7) * steps * layers * n


def test_a_loop_that_overwrites_nothing_has_a_tape_for_one_run(monkeypatch):
    for n in (10, 20):
        assert taped("loop_that_overwrites_nothing", n, monkeypatch) <= 3 * n


def test_a_whole_tensor_read_between_two_changes_has_the_iteration_run_again():
    derived = vjp(LOOPS["row_between_loops"][0])
    assert sum(eqn.op == "for" for eqn in walk(derived.main.body)) > 6


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


def test_what_is_added_in_place_leaves_the_cotangent_as_it_is():
    text = """
    (def f (Tensor 1 Float) ((t : (Tensor 1 Float)) (x : Float) (n : Integer))
      (for (i n) ((u t)) (if (lt x 9.0) (update i u (add (index i u) (mul x x))) u)))
    """
    derived = optimise(vjp(parse(text)))
    assert not any(eqn.op == "update" for eqn in walk(derived.main.body))
    t_bar, x_bar = interpret(derived, (np.ones(3), 2.0, 3, np.array([1.0, 2.0, 3.0])))
    assert (list(t_bar), x_bar) == ([1.0, 2.0, 3.0], 24.0)


def test_checks_in_a_branch_do_not_have_loops_run_once_more():
    @knossos.register
    def painted(x: Tensor, c: Tensor):
        out = torch.zeros_like(x)
        for i in range(x.shape[0]):
            left = 1.0
            for j in range(x.shape[0]):
                if x[j] < 0.5:
                    continue
                for k in range(3):
                    out[i] += left * c[j, k]
                left = left * x[j]
                if left < 0.1:
                    break
        return out

    painted(torch.rand(4), torch.rand(4, 3))
    derived = painted._latest.program_of("v")
    assert not derived.boxes
    assert sum(eqn.op == "while" for eqn in walk(derived.main.body)) == 1
