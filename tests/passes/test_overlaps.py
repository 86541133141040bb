"""Additions to neighbours in one loop, as the reverse of a stencil has them, are made place by place."""

import numpy as np
import pytest
import torch

from ksc.frontend import Abstract, trace
from ksc.ir.interpret import interpret
from ksc.ir.nodes import walk
from ksc.ir.text import parse
from ksc.ir.types import Float, TensorType
from ksc.ir.verify import verify
from ksc.passes import optimise, prepare
from ksc.passes.dce import remove_dead_code
from ksc.passes.overlaps import part_overlaps
from ksc.passes.spent import read_spent_from_start
from ksc.transforms import vjp

HEAD = """(def f {} ((x : (Tensor 1 Float)) (y : (Tensor 2 Float)) (k : Float)) {})"""
ADDED = HEAD.format(
    "(Values (Tensor 2 Float) Float)",
    """(withacc ((a y) (s k)) (let ((n (max (sub (size y 1) 3) 0))) {}))""",
)
BODIES = {
    "three neighbours": """(let ((v (mul (index i x) k)) (j (add i 1)) (l (add i 3)) (w (mul v 3.0)) (m (neg v))
        (() (acc_add (tuple 0 j) a w)) (() (acc_add (tuple 0 i) a v)) (() (acc_add s m))
        (() (acc_add (tuple 1 j) a v)) (() (acc_add (tuple 1 2) a w))) (acc_add (tuple 0 l) a m))""",
    "of something dear": """(let ((v (exp (index i x))) (j (add i 2)) (w (sin v))
        (() (acc_add (tuple 0 i) a w)) (() (acc_add (tuple 0 j) a v))) (acc_add (tuple 0 i) a v))""",
}
LOOPS = ["(build n (lam (i : Integer) {}))", "(for (i n) () {})", "(for (i n down) () {})"]


def arguments(n):
    rng = np.random.default_rng(n)
    return rng.standard_normal(max(n - 3, 0)), rng.standard_normal((2, n)), np.float64(1.5)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_each_place_is_added_to_by_one_iteration(body, loop) -> None:
    program = parse(ADDED.format(loop.format(body)))
    parted = part_overlaps(program)
    verify(parted)
    for n in (3, 4, 5, 6, 7, 12):
        for got, want in zip(interpret(parted, arguments(n)), interpret(program, arguments(n)), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-13, atol=1e-13)
    for eqn in walk(parted.main.body):
        places = [one.args[1:-1] for block in eqn.blocks for one in block.eqns if one.op == "acc_add"]
        assert len(set(places)) == len(places)


@pytest.mark.parametrize(
    "body",
    [
        "(let ((v (index i x)) (j (add i i)) (() (acc_add (tuple 0 i) a v))) (acc_add (tuple 0 j) a v))",
        "(let ((v (index i x)) (c (gt v 0.0)) (o (select c 1 0)) (j (add i o)) (l (add j 1)) (() (acc_add (tuple 0 j) a v))) (acc_add (tuple 0 l) a v))",
        "(let ((v (index i x)) (j (add i 1)) (() (acc_add (tuple 0 i) a v))) (acc_add (tuple 1 j) a v))",
    ],
    ids=["twice as fast", "an index that is read", "different rows"],
)
def test_others_stay(body) -> None:
    program = parse(ADDED.format(LOOPS[0].format(body)))
    assert part_overlaps(program) is program


SPENT = HEAD.format("(Values (Tensor 2 Float) (Tensor 1 Float))", "{}")
TAKEN = """(withacc ((a y)) (for (i (size x)) ((t x))
    (let ((j {}) (e (index j t)) (() (acc_add (tuple 0 i) a e))) (update j t 0.0))))"""


def test_a_loop_that_takes_each_element_once_adds_without_a_carry() -> None:
    program = parse(SPENT.format(f"(let (((u b) {TAKEN.format('i')})) (values u b))"))
    parted = remove_dead_code(read_spent_from_start(program))
    verify(parted)
    adds = [
        eqn for eqn in walk(parted.main.body) if eqn.op == "for" and any(e.op == "acc_add" for e in walk(eqn.blocks[0]))
    ]
    assert [eqn.outs for eqn in adds] == [()]
    for got, want in zip(interpret(parted, arguments(6)), interpret(program, arguments(6)), strict=True):
        np.testing.assert_array_equal(got, want)


def test_a_loop_that_may_take_an_element_twice_stays() -> None:
    program = parse(SPENT.format(f"(let (((u b) {TAKEN.format('(idiv i 2)')})) (values u b))"))
    assert read_spent_from_start(program) is program


def spread(u, k):
    for _ in range(3):
        v = u.clone()
        v[1:-1, 1:-1] = u[1:-1, 1:-1] + k * (u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2])
        u = v
    return u


def test_the_reverse_of_a_stencil_adds_without_a_carry() -> None:
    program = trace(spread, [Abstract(TensorType(2, Float)), Abstract(Float)]).program
    reverse = part_overlaps(optimise(vjp(prepare(program))))
    verify(reverse)
    inner = [eqn for loop in walk(reverse.main.body) if loop.op == "for" for eqn in walk(loop.blocks[0])]
    assert not any(
        eqn.op == "for" and eqn.outs and any(e.op == "acc_add" for e in walk(eqn.blocks[0])) for eqn in inner
    )
    u, w = torch.randn(2, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    given = u.clone().requires_grad_(), torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    wanted = torch.autograd.grad(spread(*given), given, w)
    for got, want in zip(interpret(reverse, [u.numpy(), np.float64(0.3), w.numpy()]), wanted, strict=True):
        np.testing.assert_allclose(got, want.numpy(), rtol=1e-12)
