"""Random programs of lanes that multiply with shared matrices: by pieces they give what they gave, or fail as they did.

``KSC_TEST_EXAMPLES`` makes more of them, as for other random programs.
"""

from __future__ import annotations

import os
import random
from typing import Any

import numpy as np

from ksc.derive import derive
from ksc.errors import KernelRuntimeError
from ksc.ir.interpret import interpret
from ksc.ir.nodes import Program
from ksc.passes import optimise
from ksc.passes.strips import strip_mine
from tests.passes.test_strips import by_pieces
from tests.strategies.lanes import lane_program
from tests.strategies.tensors_cases import TensorCase, arrays

SEEDS = (2, 9)
"""Programs of which the value or the gradient has products."""

FACTOR = float(os.environ.get("KSC_TEST_EXAMPLES", "1"))


def outcome(program: Program, args: list[Any]) -> list[Any] | None:
    """The results; None where the program stops."""
    try:
        with np.errstate(all="ignore"):
            return list(interpret(program, args))
    except KernelRuntimeError:
        return None


def spoilt(choose: random.Random, args: list[Any]) -> list[Any]:
    """Arguments of which one has an element that is not finite, or a row or column less."""
    args = [np.array(arg) if isinstance(arg, np.ndarray) else arg for arg in args]
    k = choose.choice([k for k, arg in enumerate(args) if isinstance(arg, np.ndarray) and arg.size])
    if choose.randrange(2):
        args[k].flat[choose.randrange(args[k].size)] = choose.choice((np.inf, -np.inf, np.nan))
    else:
        axis = choose.randrange(args[k].ndim)
        args[k] = np.delete(args[k], -1, axis)
    return args


def test_by_pieces_is_as_before() -> None:
    seeds = SEEDS if FACTOR <= 1 else range(round(25 * FACTOR))
    mined = 0
    for seed in seeds:
        random_program = lane_program(seed)
        with TensorCase(random_program) as case:
            primal = case.traced(random_program.arguments((2, 2, 0)))
        choose = random.Random(seed)
        for letters in ("", "v"):
            program = optimise(derive(primal, letters))
            if strip_mine(program, lanes=1, side=1) is program:
                continue
            mined += 1
            small, large = (by_pieces(program, numbers) for numbers in (1, 1000))
            for point in random_program.points:
                seed_values = [1.5 - 0.5 * k for k in range(len(primal.main.result_types))] if letters else []
                good = arrays(random_program.arguments(point))
                for args in (good, spoilt(choose, good)):
                    wanted = outcome(program, [*args, *seed_values])
                    for one in (small, large):
                        _compare(
                            outcome(one, [*args, *seed_values]), wanted, f"{letters!r} at {point} of {random_program!r}"
                        )
    assert mined > len(seeds) // 4, f"{mined} of {len(seeds)} programs have products"


def _compare(found: list[Any] | None, wanted: list[Any] | None, what: str) -> None:
    assert (found is None) == (wanted is None), what
    for mine, theirs in zip(found or (), wanted or (), strict=True):
        size = max(1.0, float(np.abs(np.asarray(theirs)[np.isfinite(theirs)]).max(initial=0.0)))
        np.testing.assert_allclose(mine, theirs, rtol=1e-8, atol=1e-9 * size, err_msg=what)
