"""Every pass keeps what a program gives and prints, on random programs that use every op."""

import math
import random

import numpy as np
import pytest

from ksc.errors import KnossosError
from ksc.ir.interpret import interpret
from ksc.ir.types import Bool, BoxType, Float, Integer, TensorType, TupleType, is_scalar
from ksc.ir.verify import verify
from ksc.passes import GRID, PIPELINE, PREPARE, PROCESSOR, optimise, processor_passes
from ksc.transforms import jvp, vjp
from tests.ir.random_ir import random_program
from tests.transforms.programs import PROGRAMS


def argument(rng, type_):
    match type_:
        case TensorType() if is_scalar(type_.elem):
            values = [argument(rng, type_.elem) for _ in range(3**type_.rank)]
            return np.array(values).reshape((3,) * type_.rank)
        case TensorType():
            return [argument(rng, type_.elem) for _ in range(3)]
        case TupleType():
            return tuple(argument(rng, elem) for elem in type_.elems)
        case BoxType():
            return (1.5, np.array([1.0, 2.0]))
    choices = {Float: [0.5, -1.25, 2.0, 0.0, -0.0, math.inf, math.nan], Integer: range(-1, 4), Bool: [False, True]}
    return rng.choice(choices[type_])


def outcome(program, args):
    """What the program gives and what it prints; None where it stops with an error."""
    printed = []
    try:
        return interpret(program, args, output=printed.append), printed
    except KnossosError:
        return None


def same(a, b):
    """Whether two values agree up to the last places, which products of constants may change."""
    match a, b:
        case (tuple(), tuple()):
            return len(a) == len(b) and all(map(same, a, b))
        case (np.ndarray(), np.ndarray()):
            return a.shape == b.shape and all(map(same, a.ravel().tolist(), b.ravel().tolist()))
        case (float(), float()):
            return (a != a and b != b) or a == b or abs(a - b) <= 1e-13 * abs(a)
    return a == b


@pytest.mark.parametrize("first", range(0, 300, 50))
def test_each_pass_keeps_the_meaning(first):
    for seed in range(first, first + 50):
        program = random_program(seed)
        rng = random.Random(seed)
        args = [argument(rng, param.type) for param in program.main.params]
        before = outcome(program, args)
        for step in (*PIPELINE, *processor_passes(tensors=True, double=True)):
            program = step.run(program)
            verify(program)
            after = outcome(program, args)
            # A program that would have failed may give a result no one asked for; one that did not must not fail.
            assert before is None or (after is not None and same(before[0], after[0])), (seed, step.name)
            assert before is None or before[1] == after[1], (seed, step.name)


@pytest.mark.parametrize("name", PROGRAMS)
def test_each_pass_keeps_the_meaning_of_derivatives(name):
    program, args = PROGRAMS[name]
    if name == "empty":
        args = (np.zeros(0), 0.4)
    for derive in (lambda p: p, lambda p: vjp(p, with_value=True), lambda p: jvp(vjp(p))):
        derived = derive(program)
        rng = np.random.default_rng(1)
        seeds = [_seed(rng, param, args) for param in derived.main.params[len(args) :]]
        before = interpret(derived, (*args, *seeds))
        for step in (*PIPELINE, *processor_passes(tensors=True, double=True)):
            derived = step.run(derived)
            verify(derived)
            for a, b in zip(before, interpret(derived, (*args, *seeds)), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12, err_msg=step.name)


def _seed(rng, param, args):
    if not isinstance(param.type, TensorType):
        return float(rng.normal())
    sizes = next(np.shape(arg) for arg in args if np.ndim(arg) == param.type.rank)
    return rng.normal(size=sizes)


@pytest.mark.parametrize("name", ["nested_loops", "tree", "rows", "vmap_of_while", "accumulator"])
def test_the_pipeline_finds_little_to_do_a_second_time(name):
    from tests.transforms.oracle import size

    once = optimise(vjp(PROGRAMS[name][0]))
    assert size(optimise(once)) <= size(once)


def test_every_pass_says_why():
    for last in (PROCESSOR, GRID):
        names = [step.name for step in (*PIPELINE, *last)]
        assert len(set(names)) == len(names)
    assert all(step.why for step in (*PREPARE, *PIPELINE, *PROCESSOR, *GRID))
