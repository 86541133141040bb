"""What a derivative costs, counted in steps of the interpreter: a bounded number of times the primal, for any size."""

import numpy as np
import pytest

from ksc.ir import interpret as interpreter
from ksc.passes import optimise
from ksc.transforms import jvp, vjp
from tests.transforms.tensor_loops import LOOPS

LINES = (
    "running_product",
    "cumulative_product",
    "write_then_multiply",
    "prefix_norms",
    "prefix_norms_read_back",
    "prefix_norms_with_break",
    "fibonacci",
    "read_after_overwritten",
    "read_after_changes",
)
SQUARES = ("triangle", "table", "rows", "loop_in_build", "bubble_sort", "build_in_loop")


def steps(program, args, monkeypatch):
    """The results, and how many numbers were computed, read, stored or added."""
    count = 0

    def counted(op):
        def run(machine, eqn, values):
            nonlocal count
            count += 1 if eqn.op == "size" else int(np.size(values[-1])) if eqn.op in ("update", "acc_add") else 1
            return op(machine, eqn, values)

        return run

    with monkeypatch.context() as patch:
        patch.setattr(interpreter.Machine, "scalar", counted(interpreter.Machine.scalar))
        patch.setattr(interpreter, "PLAIN_OPS", {op: counted(run) for op, run in interpreter.PLAIN_OPS.items()})
        results = interpreter.interpret(program, args)
    return results, count


@pytest.mark.parametrize("name, sizes", [*((name, (4, 400)) for name in LINES), *((name, (4, 40)) for name in SQUARES)])
def test_a_derivative_costs_a_few_times_the_primal_for_any_size(name, sizes, monkeypatch):
    """With a hundred times the elements, or as many pairs of them, the ratio is about what it was."""
    program, (x,) = LOOPS[name]
    ratios = []
    for n in sizes:
        x = np.random.default_rng(0).uniform(0.5, 1.0, (n,) * x.ndim)
        values, primal = steps(optimise(program), (x,), monkeypatch)
        bars = [np.ones_like(value) if np.ndim(value) else 1.0 for value in values]
        _, reverse = steps(optimise(vjp(program)), (x, *bars), monkeypatch)
        _, forward = steps(optimise(jvp(program)), (x, np.ones_like(x)), monkeypatch)
        ratios.append(np.array([reverse, forward]) / primal)
    assert np.all(ratios[1] <= 1.25 * ratios[0]), ratios
    assert np.all(ratios[1] <= [7, 4]), ratios


@pytest.mark.parametrize("name", ["read_after_overwritten", "read_after_changes"])
def test_a_second_derivative_costs_a_few_times_the_first(name, monkeypatch):
    """Elements are added to the cotangent of a newer version of their tensor, in derivatives of derivatives too."""
    program, _ = LOOPS[name]
    first, across = optimise(vjp(program)), optimise(jvp(program))
    orders = [optimise(jvp(first)), optimise(vjp(first)), optimise(vjp(across))]
    counts = []
    for n in (4, 400):
        x = np.random.default_rng(0).uniform(0.5, 1.0, n)
        given = [(x, 1.0, x, 1.0), (x, 1.0, x), (x, x, 1.0)]
        counts.append([steps(order, args, monkeypatch)[1] / n for order, args in zip(orders, given, strict=True)])
    assert np.all(np.array(counts[1]) <= 1.25 * np.array(counts[0])), counts
