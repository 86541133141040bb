"""Long code without loops is compiled without gathering its numbers in registers; short code between loops with it."""

import numpy as np

from ksc.codegen import Unit
from ksc.codegen.cpp import generate
from ksc.codegen.cpp.straight import LONG
from ksc.compiler import build, load
from ksc.ir.text import parse
from tests.codegen.harness import STRICT, call

PRAGMA = '#pragma GCC optimize("no-tree-slp-vectorize")'


def chain(length):
    steps = "".join(f" (x{k + 1} (add (mul x{k} x{k}) {k}.5))" for k in range(length))
    return parse(f"(def f Float (x0 : Float) (if (gt x0 0.0) (let ({steps}) x{length}) 0.0))")


def test_the_source_of_long_code_says_so():
    short, long = (generate(Unit("f", [("", chain(n))], "float64")).text for n in (LONG // 2 - 1, LONG // 2))
    assert PRAGMA not in short
    assert long.index(PRAGMA) < long.index('#include "ks/prelude.h"')


def test_it_compiles_without_a_warning():
    program = chain(LONG)
    kernel = load(build(generate(Unit("f", [("", program)], "float64")), STRICT))
    status, (y,) = call(kernel, "ks_f", program, [np.zeros(1)])
    assert (status, y[0]) == (0, 0.0)
