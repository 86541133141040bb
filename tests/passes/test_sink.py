"""What one side of an ``if`` alone reads is computed there; everything else stays where it is."""

import random

import pytest

from ksc.ir.nodes import walk
from ksc.ir.text import parse, to_text
from ksc.ir.verify import verify
from ksc.passes.sink import sink
from tests.ir.random_ir import random_program
from tests.passes.test_meaning import argument, outcome, same


def outside(program):
    """The ops of the entry that are not inside a block."""
    return [eqn.op for eqn in program.main.body.eqns]


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ("(let ((y (sqrt x))) (if c y x))", ["if"]),
        ("(let ((s (sin x)) (y (sqrt s))) (if c (add y s) x))", ["if"]),
        ("(let ((s (sin x)) (y (sqrt s))) (if c y s))", ["sin", "if"]),
        ("(let ((y (sqrt x))) (if c y (mul y y)))", ["sqrt", "if"]),
        ("(let ((y (sqrt x))) (add (if c y x) (if c y x)))", ["sqrt", "if", "if", "add"]),
        ("(let ((y (sqrt x))) (add (if c y x) y))", ["sqrt", "if", "add"]),
        ("(let ((y (lt x 0.0))) (if y x (sin x)))", ["lt", "if"]),
        ("(let ((y (to_float (idiv 1 n)))) (if c y x))", ["idiv", "if"]),
        ("(let ((y (if c (sin x) x))) (if (not c) y x))", ["not", "if"]),
    ],
)
def test_where_things_are_computed(body, left):
    program = sink(parse(f"(def f Float ((x : Float) (c : Bool) (n : Integer)) {body})"))
    verify(program)
    assert outside(program) == left, to_text(program)


def test_it_goes_as_deep_as_it_can():
    program = sink(parse("(def f Float ((x : Float) (c : Bool)) (let ((y (sqrt x))) (if c x (if (lt x 2.0) y x))))"))
    (outer,) = (eqn for eqn in program.main.body.eqns if eqn.op == "if")
    inner = next(eqn for eqn in outer.blocks[1].eqns if eqn.op == "if")
    assert [eqn.op for eqn in walk(inner.blocks[0])] == ["sqrt"]


def test_the_meaning_stays():
    for seed in range(150):
        program = random_program(seed)
        sunk = sink(program)
        verify(sunk)
        rng = random.Random(seed)
        args = [argument(rng, param.type) for param in program.main.params]
        want = outcome(program, args)
        if want is not None:
            got = outcome(sunk, args)
            assert got is not None, seed
            assert same(got[0], want[0]), seed
            assert got[1] == want[1], seed
