"""Lanes by pieces mean what they meant, and multiply matrices where they summed up."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

import ksc as knossos
from ksc.derive import derive
from ksc.ir.interpret import interpret
from ksc.ir.nodes import Block, Program, Var, walk, walk_inside
from ksc.ir.verify import verify
from ksc.passes import GRID, optimise, optimise_for_grid
from ksc.passes.product import product_of
from ksc.passes.strips import strip_mine


def mixture(*, triangular: bool, weighted: bool, curved: bool, several: bool) -> knossos.Kernel:
    """A sum over points of what is made of products of the point with matrices that all points share."""

    @knossos.register
    def f(q: Tensor, m: Tensor, x: Tensor):
        total = 0.0
        for i in range(x.shape[0]):
            terms = torch.zeros(m.shape[0])
            for k in range(m.shape[0]):
                length = 0.0
                for r in range(m.shape[1]):
                    y = x[i, r] * q[k, r, r] if triangular else 0.0
                    for j in range(r if triangular else m.shape[1]):
                        v = torch.sin(x[i, j]) if curved else x[i, j]
                        y += q[k, r, j] * (v - m[k if several else 0, j])
                    length += torch.tanh(y) if curved else y * y
                terms[k] = -length
            total += torch.logsumexp(terms, 0) if weighted else torch.sum(terms)
        return total

    return f


def lowered(kernel: knossos.Kernel, derivation: str, args: Sequence[Tensor]) -> Program:
    special, _ = kernel.example(tuple(args))
    return optimise(derive(special.program, derivation))


def by_pieces(program: Program, numbers: int) -> Program:
    """The program by pieces, whatever the sizes."""
    mined = strip_mine(program, lanes=1, side=1, numbers=numbers)
    for step in GRID:
        mined = step.run(mined) if step.after == "strips" else mined
    verify(mined)
    return mined


def results_agree(mined: Program, program: Program, given: Sequence[np.ndarray], atol: float = 0.0) -> None:
    """Both programs give the same finite numbers."""
    for out, expected in zip(interpret(mined, given), interpret(program, given), strict=True):
        assert np.isfinite(expected).all()
        np.testing.assert_allclose(out, expected, rtol=1e-11, atol=atol)


def products_in(block: Block) -> int:
    return sum(product_of(eqn) is not None for eqn in walk(block))


def products(program: Program) -> int:
    return products_in(program.main.body)


def arguments(seed: int) -> list[Tensor]:
    random = torch.Generator().manual_seed(seed)
    n, components, d = (int(torch.randint(low, 7, (), generator=random)) for low in (4, 2, 3))
    shapes = (components, d, d), (components, d), (n, d)
    return [torch.randn(shape, dtype=torch.float64, generator=random) for shape in shapes]


CASES = {
    "weighted": ((False, True, False, True), 3),
    "curved": ((True, True, True, True), 3),
    "one mean": ((True, False, False, False), 3),
}
"""What a mixture is, and how many products its derivative has; the value has one."""


@pytest.mark.parametrize("name", CASES)
def test_pieces_mean_the_same(name: str) -> None:
    flags, expected_products = CASES[name]
    kernel = mixture(**dict(zip(("triangular", "weighted", "curved", "several"), flags, strict=True)))
    for derivation, most in (("", 1), ("v", expected_products)):
        program = lowered(kernel, derivation, arguments(0))
        for seed, numbers in ((1, 1), (2, 60), (3, 10_000)):
            given = [value.numpy() for value in arguments(seed)] + [np.asarray(1.5)] * len(derivation)
            mined = by_pieces(program, numbers)
            results_agree(mined, program, given, atol=1e-11)
        assert products(mined) - products(program) == most


def test_the_value_goes_along_with_the_gradient() -> None:
    """Of a mixture: one product for the residuals, one each for the cotangents of matrices, and of points and means."""
    kernel = mixture(triangular=True, weighted=True, curved=False, several=True)
    mined = by_pieces(lowered(kernel, "b", arguments(0)), 1000)
    assert products(mined) == 3


def test_lanes_add_to_what_they_share_by_chunks() -> None:
    """Only to a point's own cotangent does a lane add by itself; what is added to the same elements is summed up first."""
    program = lowered(mixture(triangular=True, weighted=True, curved=False, several=True), "v", arguments(0))
    (pieces,) = (eqn for eqn in walk(by_pieces(program, 1000).main.body) if eqn.op == "while")
    loops = [eqn for eqn in pieces.blocks[1].eqns if eqn.op == "build" and not eqn.outs]
    (count,) = (eqn.outs[0] for eqn in pieces.blocks[1].eqns if eqn.outs and eqn.outs[0].name == "count")
    (chunks,) = (eqn.outs[0] for eqn in pieces.blocks[1].eqns if eqn.outs and eqn.outs[0].name == "chunks")

    def added(size: Var) -> list[str]:
        inside = (inner for eqn in loops if eqn.args[0] is size for inner in walk_inside(eqn))
        return [str(inner.args[0]) for inner in inside if inner.op == "acc_add" and len(inner.args) > 2]

    assert {name[:5] for name in added(count)} == {"x_bar"}
    assert {name[:5] for name in added(chunks)} == {"m_bar", "q_bar"}


@knossos.register
def below(q: Tensor, x: Tensor):
    total = 0.0
    for i in range(x.shape[0]):
        for r in range(x.shape[1]):
            y = 0.0
            for j in range(r):
                y += q[r, j] * x[i, j]
            total += torch.tanh(y)
    return total


@pytest.mark.parametrize("number", [np.inf, np.nan])
def test_zeros_beside_a_triangle_meet_no_number_that_is_not_finite(number: float) -> None:
    """The last element of a row is below no other one."""
    q, x = torch.randn(5, 5).double(), torch.randn(6, 5).double()
    program = lowered(below, "v", [q, x])
    x[1, -1] = number
    given = [q.numpy(), x.numpy(), np.asarray(1.0)]
    mined = by_pieces(program, 60)
    assert products(mined) > products(program)
    results_agree(mined, program, given)


@knossos.register
def before_the_first(q: Tensor, x: Tensor, z: Tensor):
    total = 0.0
    for i in range(x.shape[0]):
        for r in range(x.shape[1]):
            y = 0.0
            for j in range(r):
                y += q[r, j] * x[i, j] * z[i, r - 1]
            total += y
    return total


def test_what_no_lane_reads_is_not_read() -> None:
    """The first row of a triangle is empty: there is no ``z[i, -1]``."""
    q, x, z = torch.randn(5, 5).double(), torch.randn(6, 5).double(), torch.randn(6, 4).double()
    program = lowered(before_the_first, "v", [q, x, z])
    mined = by_pieces(program, 60)
    assert products(mined) > products(program)
    results_agree(mined, program, [q.numpy(), x.numpy(), z.numpy(), np.asarray(1.5)], atol=1e-12)


@knossos.register
def pairs(q: Tensor, x: Tensor):
    total = 0.0
    for i in range(x.shape[0]):
        for r in range(q.shape[0]):
            for j in range(r):
                for k in range(q.shape[2]):
                    y = 0.0
                    for c in range(q.shape[3]):
                        y += q[r, j, k, c] * x[i, c]
                    total += torch.tanh(y)
    return total


def test_loops_that_never_run_read_nothing() -> None:
    """One row has nothing below its diagonal, and so it does not matter that ``x`` is too short."""
    program = lowered(pairs, "", [torch.randn(3, 3, 4, 5).double(), torch.randn(6, 5).double()])
    mined = by_pieces(program, 60)
    assert products(mined) > products(program)
    results_agree(mined, program, [np.ones((1, 1, 4, 5)), np.ones((6, 3))])


def test_sizes_choose_when_it_runs() -> None:
    """Without as many lanes, or with shorter sums, the loop is what it was."""
    program = lowered(mixture(triangular=False, weighted=False, curved=False, several=True), "", arguments(0))
    mined = optimise_for_grid(program)
    (choice,) = (eqn for eqn in walk(mined.main.body) if eqn.op == "if" and any(map(products_in, eqn.blocks)))
    assert not products_in(choice.blocks[1])


@knossos.register
def own_matrices(q: Tensor, x: Tensor):
    total = 0.0
    for i in range(x.shape[0]):
        for r in range(x.shape[1]):
            y = 0.0
            for j in range(x.shape[1]):
                y += q[i, r, j] * x[i, j]
            total += y * y
    return total


def test_what_no_two_lanes_share_is_no_product() -> None:
    program = lowered(own_matrices, "v", [torch.ones(3, 4, 4), torch.ones(3, 4)])
    assert strip_mine(program, lanes=1, side=1) is program
