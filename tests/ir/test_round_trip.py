"""parse(to_text(program)) is the program, up to the identity and names of variables."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ksc.errors import KernelRuntimeError
from ksc.ir.interpret import interpret
from ksc.ir.nodes import Program, const
from ksc.ir.text import alpha_equal, fingerprint, parse, to_text
from ksc.ir.types import Bool, BoxType, Float, Integer, TensorType, TupleType
from ksc.ir.verify import verify
from tests.ir.random_ir import random_program


def argument(type_):
    """A value of a type."""
    match type_:
        case TensorType(rank=rank, elem=TensorType()):
            return [[1.0], [2.0, 3.0]]
        case TensorType(rank=1, elem=TupleType()):
            return [(1.0, 2), (3.0, 4)]
        case TensorType(rank=rank):
            return np.arange(2.0**rank).reshape((2,) * rank)
        case TupleType(elems=elems):
            return tuple(map(argument, elems))
        case BoxType():
            return (0.5, np.array([1.0, 2.0]))
        case _:
            return {Float: 0.75, Integer: 1, Bool: True}[type_]


def outcome(program):
    """The results and the printed text, or the error."""
    printed = []
    args = [argument(param.type) for param in program.main.params]
    try:
        return repr(interpret(program, args, output=printed.append)), "".join(printed)
    except KernelRuntimeError as error:
        return error.message, "".join(printed)


@settings(max_examples=75, deadline=None)
@given(st.integers(0, 2**32))
def test_round_trip(seed):
    program = random_program(seed)
    verify(program)
    text = to_text(program)
    again = parse(text)
    assert alpha_equal(program, again), text
    assert fingerprint(program) == fingerprint(again)
    assert to_text(again) == text
    assert alpha_equal(program, parse(to_text(program, spans=True)))
    with np.errstate(all="ignore"):
        assert outcome(program) == outcome(again)


def test_some_programs_run_to_their_end():
    with np.errstate(all="ignore"):
        ends = [outcome(random_program(seed))[0] for seed in range(60)]
    assert sum(end.startswith("(") for end in ends) > 15


def test_fingerprints_tell_programs_apart():
    prints = {fingerprint(random_program(seed)) for seed in range(40)}
    assert len(prints) == 40


@pytest.mark.parametrize(
    ("a", "b"),
    [("0.0", "-0.0"), ("nan", "0.0"), ("1", "1.0"), ("1.0", "1.0000000000000002"), ("true", "1"), ('"1"', "1")],
)
def test_alpha_equality_sees_constants(a, b):
    text = "(def f {} () {})"
    types = {a: kind(a), b: kind(b)}
    first, second = (parse(text.format(types[v], v)) for v in (a, b))
    assert not alpha_equal(first, second) and fingerprint(first) != fingerprint(second)


def kind(text):
    return "String" if text[0] == '"' else "Bool" if text == "true" else "Integer" if text.isdigit() else "Float"


def test_alpha_equality_ignores_names_and_spans_only():
    text = "(def f Float ((x : Float) (y : Float)) (let (z (sub x y)) (mul z x)))"
    same = "(def f Float ((b : Float) (a : Float))\n\n (let (c (sub b a)) (mul c b)))"
    other = "(def f Float ((x : Float) (y : Float)) (let (z (sub y x)) (mul z x)))"
    assert alpha_equal(parse(text), parse(same))
    assert not alpha_equal(parse(text), parse(other))
    program = parse(text)
    renamed = Program({"g": dataclasses.replace(program.main, name="g")}, "g")
    assert not alpha_equal(program, renamed)


def test_names_are_unique_and_deterministic():
    text = "(def f Float ((x : Float)) (let (x (sin x)) (let (x (cos x)) (add x x))))"
    program = parse(text)
    assert to_text(program) == to_text(parse(text))
    assert "x_1 (sin x)" in to_text(program) and "x_2 (cos x_1)" in to_text(program)


@pytest.mark.parametrize("value", [0.1, -0.0, 1e-320, 1e22, float("inf"), -float("inf"), float("nan"), -float("nan")])
def test_floats_read_back_bit_for_bit(value):
    from ksc.ir.builder import Builder
    from ksc.ir.nodes import Function

    program = Program({"f": Function("f", Builder().block([], [const(value)]))}, "f")
    (result,) = parse(to_text(program)).main.body.results
    assert result == const(value)
