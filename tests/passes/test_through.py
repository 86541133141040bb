"""The cotangent of a slice is added where that of the whole is."""

import pytest
import torch

import ksc as knossos
from ksc.derive import derive
from ksc.errors import KernelRuntimeError
from ksc.ir.interpret import interpret
from ksc.ir.nodes import const, walk
from ksc.ir.text import parse
from ksc.ir.verify import verify
from ksc.passes import optimise
from ksc.passes.through import add_through

NEST = """
(def f (Tensor 2 Float) ((x : (Tensor 1 Float)) (whole : (Tensor 2 Float)) (k : Integer))
  (withacc ((all whole))
    (let ((n (size x))
          (zeros (build n (lam (i : Integer) 0.0)))
          (part
            (withacc ((acc zeros))
              (for (i n) ()
                (for (j {count}) ()
                  (let ((a (index i x))) (acc_add {at} acc a)))))))
      (build n (lam (j : Integer)
        (let ((p (add j 1)) (e (index j part))) (acc_add (tuple k p) all e)))))))
"""


def sums(program):
    return sum(eqn.op == "withacc" and bool(eqn.args) for eqn in walk(program.main.body))


@pytest.mark.parametrize(
    ("count", "at", "goes"),
    [("1", "i", False), ("(sub n i)", "(add i j)", True), ("n", "j", False), ("n", "(add i j)", False)],
)
def test_additions_that_depend_on_all_loops_and_are_in_range_go_through(count, at, goes):
    program = parse(NEST.format(count=count, at=at))
    through = add_through(program)
    verify(through)
    assert sums(program) == 2
    assert (sums(through) == 1) is goes
    x, whole = torch.arange(1.0, 4.0, dtype=torch.float64).numpy(), torch.zeros(2, 4, dtype=torch.float64).numpy()
    try:
        (expected,) = interpret(program, (x, whole, 1))
    except KernelRuntimeError:
        with pytest.raises(KernelRuntimeError):
            interpret(through, (x, whole, 1))
        return
    torch.testing.assert_close(torch.as_tensor(interpret(through, (x, whole, 1))[0]), torch.as_tensor(expected))


BUILT = """
(def f (Values (Tensor 2 Float) (Tensor 1 Float)) ((x : (Tensor 1 Float)) (whole : (Tensor 2 Float)) (rows : Integer))
  (withacc ((all whole))
    (for (k rows) ((y x))
      (let (((z part) {made})
            (() (build {count} (lam (j : Integer)
              (let ((p (add j 1)) (e (index j part))) (acc_add (tuple k p) all e))))))
        {given}))))
"""
PAIR = "(build (size y) (lam (i : Integer) (let (a (index i y)) (values (mul 2.0 a) (sin a)))))"
SUMS = "(withacc ((acc y)) (build (size y) (lam (i : Integer) (let ((a (index i x)) (() (acc_add i acc a))) (sin (index i y))))))"


@pytest.mark.parametrize(
    ("parts", "goes"),
    [
        ({}, True),
        ({"made": SUMS}, True),
        # Not all of it, or something else reads it.
        ({"count": "(sub (size y) 1)"}, False),
        ({"given": "part"}, False),
    ],
)
def test_what_a_loop_builds_to_be_added_is_added_by_that_loop(parts, goes):
    program = parse(BUILT.format(**{"made": PAIR, "count": "(size y)", "given": "z", **parts}))
    through = add_through(program)
    verify(through)
    builds = [sum(eqn.op == "build" for eqn in walk(p.main.body)) for p in (program, through)]
    assert builds[0] - builds[1] == goes
    for n in (3, 1):
        given = torch.arange(1.0, 1.0 + n, dtype=torch.float64).numpy(), torch.ones(2, n + 1).double().numpy(), 2
        for a, b in zip(interpret(program, given), interpret(through, given), strict=True):
            torch.testing.assert_close(torch.as_tensor(a), torch.as_tensor(b))


def halves(x: torch.Tensor, v: torch.Tensor):
    d = v.shape[0]
    head, tail = x[:d], x[d:]
    total = 0.0
    for i in range(d):
        r = head[i] * v[i]
        for j in range(i):
            r += tail[i * (i - 1) // 2 + j] * v[j]
        total += r * r
    return total


def test_the_gradient_of_slices_fills_only_that_of_the_whole():
    kernel = knossos.register(halves)
    x, v = torch.randn(15, dtype=torch.float64, requires_grad=True), torch.randn(5, dtype=torch.float64)
    assert torch.equal(knossos.grad(kernel)(x.detach(), v), knossos.grad(kernel)(x.detach(), v))
    torch.testing.assert_close(knossos.grad(kernel)(x.detach(), v), torch.autograd.grad(halves(x, v), x)[0])
    derived = optimise(derive(kernel.program, "v"))
    zeros = [e for e in walk(derived.main.body) if e.op == "build" and e.blocks[0].results == (const(0.0),)]
    assert len(zeros) <= 2
