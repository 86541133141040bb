"""Fusion keeps what a program gives and whether it stops, and leaves no tensor that a person would not have made."""

import numpy as np
import pytest

from ksc.errors import KernelRuntimeError
from ksc.ir.interpret import interpret
from ksc.ir.verify import verify
from ksc.passes import optimise
from ksc.passes.dce import remove_dead_code
from ksc.passes.fuse import fuse
from ksc.passes.fuse.branches import hoist_common_reads
from ksc.passes.fuse.structure import resolve_structure
from ksc.passes.fuse.vertical import fuse_producers
from tests.ir.random_tensors import random_arguments, random_tensor_program

PASSES = (resolve_structure, hoist_common_reads, fuse_producers, fuse, optimise)


def outcome(program, args):
    try:
        return interpret(program, args)
    except KernelRuntimeError:
        return None


def check(program, args, seed):
    before = outcome(program, args)
    for step in PASSES:
        after_pass = step(program)
        verify(after_pass)
        after = outcome(after_pass, args)
        assert (before is None) == (after is None), (seed, step.__name__)
        for a, b in zip(before or (), after or (), strict=True):
            assert np.shape(a) == np.shape(b), (seed, step.__name__)
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12, err_msg=f"{seed} {step.__name__}")


@pytest.mark.parametrize("first", range(0, 240, 40))
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_random_programs_keep_their_meaning(first):
    for seed in range(first, first + 40):
        check(random_tensor_program(seed), random_arguments(seed), seed)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_random_programs_over_empty_tensors_keep_their_meaning():
    for seed in range(60):
        check(random_tensor_program(seed, nested=False), random_arguments(seed, empty=True), seed)


@pytest.mark.parametrize("first", range(0, 120, 40))
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_programs_that_read_out_of_range_stop_as_before(first):
    for seed in range(first, first + 40):
        # What nobody reads may go away together with its errors, so it goes away before.
        program = remove_dead_code(resolve_structure(random_tensor_program(seed, risky=True)))
        check(program, random_arguments(seed), seed)
