"""Finite differences in float64 over the reference interpreter, and what is asked of every derivative."""

import numpy as np

from ksc.ir.interpret import interpret
from ksc.ir.nodes import walk
from ksc.ir.types import is_differentiable
from ksc.ir.verify import verify
from ksc.passes import optimise
from ksc.transforms import jvp, vjp


def flat(values):
    return np.concatenate([np.ravel(np.asarray(value, float)) for value in values]) if len(values) else np.zeros(0)


def active(program):
    return [k for k, param in enumerate(program.main.params) if is_differentiable(param.type)]


def float_results(program, values):
    return [v for v, type_ in zip(values, program.main.result_types, strict=True) if is_differentiable(type_)]


def jacobian(program, args, step=1e-6):
    """All float results against all float arguments, by central differences."""
    columns = []
    for k in active(program):
        base = np.asarray(args[k], float)
        for at in np.ndindex(base.shape):

            def moved(by, k=k, base=base, at=at):
                value = base.copy()
                value[at] += by
                changed = list(args)
                changed[k] = value if value.shape else float(value)
                return flat(float_results(program, interpret(program, changed)))

            columns.append((moved(step) - moved(-step)) / (2 * step))
    rows = len(flat(float_results(program, interpret(program, args))))
    return np.array(columns).reshape(len(columns), rows).T


def handed(program):
    """The vjp that is handed all float results."""
    positions = [k for k, type_ in enumerate(program.main.result_types) if is_differentiable(type_)]
    return checked(vjp(program, given=positions))


def random_like(rng, values):
    return [rng.normal(size=np.shape(value)) if np.shape(value) else float(rng.normal()) for value in values]


def size(program):
    return sum(1 for function in program.functions.values() for _ in walk(function.body))


def checked(program):
    verify(program)
    return program


def check_derivatives(program, args, order=2, tolerance=2e-6, pipeline=True):
    """vjp and jvp against finite differences and against each other, before and after the pipeline, to an order."""
    rng = np.random.default_rng(0)
    verify(program)
    truth = jacobian(program, args)
    values = interpret(program, args)
    bars = random_like(rng, float_results(program, values))
    dots = random_like(rng, [args[k] for k in active(program)])
    reverse, forward = checked(vjp(program)), checked(jvp(program))
    derived = [(reverse, forward)]
    if pipeline:
        derived.append((checked(optimise(reverse)), checked(optimise(forward))))
    for derived_r, derived_f in derived:
        pulled = flat(interpret(derived_r, [*args, *bars]))
        pushed = flat(interpret(derived_f, [*args, *dots]))
        np.testing.assert_allclose(pulled, flat(bars) @ truth, rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(pushed, truth @ flat(dots), rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(pulled @ flat(dots), flat(bars) @ pushed, rtol=1e-11, atol=1e-11)
    if order > 1:
        read = interpret(checked(optimise(handed(program))), [*args, *float_results(program, values), *bars])
        np.testing.assert_allclose(flat(read), pulled, rtol=1e-10, atol=1e-10)
    both = interpret(checked(vjp(program, with_value=True)), [*args, *bars])
    np.testing.assert_array_equal(flat(both[: len(values)]), flat(values))
    np.testing.assert_allclose(flat(both[len(values) :]), pulled, rtol=1e-13, atol=1e-13)
    both = interpret(checked(jvp(program, with_value=True)), [*args, *dots])
    np.testing.assert_array_equal(flat(both[: len(values)]), flat(values))
    np.testing.assert_allclose(flat(both[len(values) :]), pushed, rtol=1e-13, atol=1e-13)
    if order > 1:
        # As kernels are made, what is derived again has gone through the pipeline.
        check_derivatives(reverse, [*args, *bars], order - 1, pipeline=False)
        check_derivatives(forward, [*args, *dots], order - 1)
        check_derivatives(derived[-1][0], [*args, *bars], order - 1)
