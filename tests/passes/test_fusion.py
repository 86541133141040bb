"""Fusion keeps what a program gives and whether it stops, and leaves no tensor that a person would not have made."""

import numpy as np
import pytest

from ksc.errors import KernelRuntimeError
from ksc.ir.interpret import interpret
from ksc.ir.nodes import walk
from ksc.ir.types import TensorType
from ksc.ir.verify import verify
from ksc.passes import optimise, prepare
from ksc.passes.dce import remove_dead_code
from ksc.passes.fuse import fuse, fuse_neighbours
from ksc.passes.fuse.branches import hoist_common_reads
from ksc.passes.fuse.rows import fuse_rows
from ksc.passes.fuse.structure import resolve_structure
from ksc.passes.fuse.sums import turn_accumulations_into_sums
from ksc.passes.fuse.vertical import fuse_producers
from ksc.transforms import jvp, vjp
from tests.ir.random_tensors import random_arguments, random_tensor_program
from tests.passes.chains import CHAINS
from tests.passes.temporaries import temporaries
from tests.transforms.oracle import check_derivatives

PASSES = (
    resolve_structure,
    hoist_common_reads,
    turn_accumulations_into_sums,
    fuse_producers,
    fuse_rows,
    fuse_neighbours,
    fuse,
    optimise,
)


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


@pytest.mark.parametrize("first", range(0, 120, 40))
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


# How many tensors are left: of the function, its vjp, its jvp, the jvp of its vjp.
TEMPORARIES = {
    "sqrl": (0, 0, 0, 0),
    "mse": (0, 0, 0, 0),
    "variance": (0, 0, 0, 0),
    "logsumexp": (0, 0, 0, 0),
    # The exponentials, which are read by the sum and by the quotient, and their tangents.
    "softmax": (1, 1, 2, 2),
    "layer_norm": (0, 0, 0, 0),
    "linear": (0, 0, 0, 0),
    # A product that is added to a cotangent of which it may be a part; the two products that a tangent consists of.
    "gram": (0, 1, 2, 0),
    "flatten": (0, 0, 0, 0),
}


def derivatives(program):
    return (
        program,
        vjp(prepare(program)),
        jvp(prepare(program)),
        jvp(prepare(vjp(prepare(program)))),
    )


@pytest.mark.parametrize("name", CHAINS)
def test_no_tensor_is_made_that_is_no_result(name):
    program = CHAINS[name]
    assert len(temporaries(program)) > 0
    counts = tuple(len(temporaries(optimise(derived))) for derived in derivatives(program))
    assert counts == TEMPORARIES[name]


def size_of_loops(program):
    """The number of equations in loops and branches; before them stand checks of sizes, which have no result."""
    return sum(1 for eqn in program.main.body.eqns if eqn.outs for block in eqn.blocks for _ in walk(block))


@pytest.mark.parametrize("name", CHAINS)
def test_the_fused_program_is_smaller(name):
    program = CHAINS[name]
    assert size_of_loops(prepare(program)) < size_of_loops(program)
    # A gradient without fusion has to keep tensors and read them back.
    assert TEMPORARIES[name][1] < len(temporaries(vjp(program))) or name == "gram"


@pytest.mark.parametrize("name", CHAINS)
def test_chains_keep_their_meaning_and_derivatives(name):
    program = CHAINS[name]
    rng = np.random.default_rng(3)
    args = [_argument(rng, param.type) for param in program.main.params]
    check_derivatives(program, args, order=1)
    for plain, fused in zip((program, vjp(program), jvp(program)), derivatives(program), strict=False):
        seeds = [_argument(rng, param.type) for param in plain.main.params[len(args) :]]
        done = optimise(fused)
        verify(done)
        for a, b in zip(interpret(plain, (*args, *seeds)), interpret(done, (*args, *seeds)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def _argument(rng, type_):
    if isinstance(type_, TensorType):
        return rng.normal(size=(3,) * type_.rank)
    return float(rng.normal())


@pytest.mark.parametrize("first", range(0, 90, 30))
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_gradients_of_random_programs_are_those_of_the_program_as_written(first):
    for seed in range(first, first + 30):
        program = random_tensor_program(seed)
        args = random_arguments(seed)
        values = outcome(program, args)
        if values is None:
            continue
        rng = np.random.default_rng(seed)
        seeds = [rng.normal(size=np.shape(v)) if np.shape(v) else float(rng.normal()) for v in values]
        fused = optimise(vjp(prepare(program)))
        verify(fused)
        for a, b in zip(interpret(vjp(program), (*args, *seeds)), interpret(fused, (*args, *seeds)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9, err_msg=str(seed))
