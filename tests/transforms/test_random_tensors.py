"""Random programs that change tensors in loops: reverse and forward mode against each other and finite differences."""

import numpy as np
from hypothesis import HealthCheck, given, settings

from ksc.ir.interpret import interpret
from ksc.ir.verify import verify
from ksc.passes import optimise, optimise_for_processor
from ksc.transforms import jvp, vjp
from tests.transforms.oracle import active, checked, flat, float_results, handed, random_like
from tests.transforms.tensor_strategy import arguments, tensor_programs

LIMITS = {"deadline": None, "suppress_health_check": list(HealthCheck), "derandomize": True}


def directional(program, args, dots, step):
    """The derivative along ``dots`` by central differences."""

    def moved(by):
        changed = list(args)
        for k, dot in zip(active(program), dots, strict=True):
            changed[k] = args[k] + by * dot
        return flat(float_results(program, interpret(program, changed)))

    return (moved(step) - moved(-step)) / (2 * step)


def agree(program, args, rng):
    """The reverse derivative, its arguments, and the directional derivative with its direction."""
    values = float_results(program, interpret(program, args))
    bars, dots = random_like(rng, values), random_like(rng, [args[k] for k in active(program)])
    reverse, forward = checked(vjp(program)), checked(jvp(program))
    pulled, pushed = flat(interpret(reverse, [*args, *bars])), flat(interpret(forward, [*args, *dots]))
    scale = max(1.0, np.abs(pulled).max(initial=0.0), np.abs(pushed).max(initial=0.0))
    assert abs(pulled @ flat(dots) - flat(bars) @ pushed) <= 1e-10 * scale
    small = flat(
        interpret(checked(optimise_for_processor(optimise(reverse), tensors=True, double=True)), [*args, *bars])
    )
    np.testing.assert_allclose(small, pulled, rtol=1e-10, atol=1e-10 * scale)
    np.testing.assert_array_equal(flat(interpret(handed(program), [*args, *values, *bars])), pulled)
    return reverse, [*args, *bars], dots, pushed


@settings(max_examples=60, **LIMITS)
@given(tensor_programs())
def test_the_modes_agree(program):
    verify(program)
    rng = np.random.default_rng(0)
    args = arguments(rng)
    _, _, dots, pushed = agree(program, args, rng)
    truth, finer = (directional(program, args, dots, step) for step in (1e-5, 1e-6))
    smooth = np.abs(truth - finer) <= 1e-4 * (1 + np.abs(finer))
    np.testing.assert_allclose(pushed[smooth], truth[smooth], rtol=1e-3, atol=1e-3)


@settings(max_examples=12, **LIMITS)
@given(tensor_programs())
def test_the_modes_agree_to_the_second_order(program):
    rng = np.random.default_rng(0)
    reverse, args, _, _ = agree(program, arguments(rng), rng)
    agree(reverse, args, rng)
