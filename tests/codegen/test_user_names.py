"""A variable keeps the user's name, also one that temporaries go by."""

import math

from ksc.codegen import Unit
from ksc.codegen.cpp import generate
from ksc.frontend import trace
from ksc.frontend.values import Abstract
from ksc.ir.text import parse, to_text
from ksc.ir.types import Float
from ksc.passes import optimise


def shares(x: float) -> float:
    share = math.exp(x) / (1.0 + math.exp(x))
    t = math.sin(share * share)
    return t / (1.0 + share)


def traced():
    return optimise(trace(shares, [Abstract(Float)]).program)


def test_t_is_a_name_like_others():
    source = generate(Unit("shares", [("", traced())])).text
    assert "const float t = ks::sin(share * share);" in source
    assert "const float t2 = ks::exp(x);" in source


def test_text_reads_back():
    program = traced()
    assert to_text(parse(to_text(program))) == to_text(program)
