"""One check before a loop says what the checks in it would have said; indices known to be in range are so."""

import math
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import ksc as knossos
from ksc.codegen.cpp import generate
from ksc.codegen.unit import Unit
from ksc.derive import derive
from ksc.errors import KernelRuntimeError, KnossosError
from ksc.ir.interpret import interpret
from ksc.ir.nodes import walk
from ksc.ir.text import parse
from ksc.ir.verify import verify
from ksc.passes import optimise
from ksc.passes.fuse.facts import Facts
from ksc.passes.guards import require_before_loops

COUNTS = ["n", "i", "(add i 1)", "(sub n i)", "(sub (sub n i) 1)"]
FACTORS = st.integers(-2, 2)

NEST = """
(def f Float ((x : (Tensor 1 Float)) (y : (Tensor 1 Float)))
  (let ((n (size y)))
    (for (i n) ((s 0.0))
      (for (j {count}) ((s s))
        (let ((at {index}) (a (index at x)))
          (add s a))))))
"""


def outcome(program, args):
    try:
        return float(interpret(program, args)[0])
    except KnossosError:
        return "stopped"


@given(
    count=st.sampled_from(COUNTS),
    linear=st.tuples(FACTORS, FACTORS, FACTORS, st.integers(-3, 3)),
    squares=st.tuples(st.integers(-1, 1), st.integers(-1, 1)),
    halved=st.booleans(),
    clip=st.booleans(),
    sizes=st.tuples(st.integers(0, 12), st.integers(0, 4)),
)
def test_stops_if_and_only_if_an_iteration_would(count, linear, squares, halved, clip, sizes):
    a, b, c, d = linear
    index = f"(add (add (mul {a} i) (mul {b} j)) (add (mul {c} n) {d}))"
    p, q = squares
    product = f"(add (mul {p} (mul i (add i 1))) (mul {q} (mul j (sub j 1))))"
    index = f"(add {index} (idiv {product} 2))" if halved else f"(add {index} {product})"
    index = f"(max {index} 0)" if clip else index
    program = parse(NEST.format(count=count, index=index))
    guarded = require_before_loops(program)
    verify(guarded)
    length, n = sizes
    args = torch.arange(1.0, length + 1, dtype=torch.float64).numpy(), torch.zeros(n, dtype=torch.float64).numpy()
    assert outcome(guarded, args) == outcome(program, args)
    facts, _ = Facts.of(guarded.main)
    (read,) = (eqn for eqn in walk(guarded.main.body) if eqn.op == "index")
    if facts.in_range(read.args[1], facts.size(read.args[0], 0), facts.places[read.outs[0]]):
        try:
            interpret(guarded, args)
        except KernelRuntimeError as error:
            assert "index out of range" in str(error)  # the check before the loops; a read names its index


def packed(x: torch.Tensor, v: torch.Tensor):
    d = v.shape[0]
    total = 0.0
    for i in range(d):
        r = 1.0 * v[i]
        for j in range(i):
            r += x[j * (2 * d - j - 1) // 2 + i - j - 1] * v[j]
        total += r * r
    return total


def by_row(x: torch.Tensor, v: torch.Tensor):
    total = 0.0
    for r in range(v.shape[0]):
        for c in range(r + 1):
            total += x[r * (r + 1) // 2 + c] * v[r] * v[c]
    return total


def sliced(x: torch.Tensor, v: torch.Tensor):
    d = v.shape[0]
    head, tail = x[:d], x[d:]
    total = 0.0
    for i in range(d):
        total += head[i] * v[i]
        for j in range(i):
            total += tail[i * (i - 1) // 2 + j] * v[i] * v[j]
    return total


PROGRAMS = [(packed, 0), (by_row, 1), (sliced, 1)]
LOOP = re.compile(r"\n( *)for \(.*?\n\1\}", re.DOTALL)


def length(d: int, diagonal: int) -> int:
    return d * (d - 1) // 2 + diagonal * d


@pytest.mark.parametrize(("fn", "diagonal"), PROGRAMS)
def test_no_check_and_no_copy_in_a_triangular_loop(fn, diagonal):
    kernel = knossos.register(fn)
    x, v = (torch.randn(n, dtype=torch.float64, requires_grad=True) for n in (length(5, diagonal), 5))
    expected = fn(x, v)
    torch.testing.assert_close(kernel(x.detach(), v.detach()), expected.detach())
    bars = knossos.grad(kernel, argnums=(0, 1))(x.detach(), v.detach())
    torch.testing.assert_close(tuple(bars), torch.autograd.grad(expected, (x, v)))
    derived = optimise(derive(kernel.program, "v"))
    for text in (kernel.cpp, generate(Unit("f", [("v", derived)], "float64", kind="tensor")).text):
        for loop in LOOP.finditer(text):
            assert "ks::outside" not in loop[0]
            assert "fail" not in loop[0]
            assert "ks::tensor" not in loop[0]


@pytest.mark.parametrize(("fn", "diagonal"), PROGRAMS)
@pytest.mark.parametrize("d", [0, 1, 2, 5])
def test_one_element_too_few_stops_the_kernel(fn, diagonal, d):
    kernel = knossos.register(fn)
    v = torch.ones(d, dtype=torch.float64)
    exact = length(d, diagonal)
    assert math.isfinite(kernel(torch.ones(exact, dtype=torch.float64), v))
    if exact > 0:
        with pytest.raises(KernelRuntimeError, match="out of range"):
            kernel(torch.ones(exact - 1, dtype=torch.float64), v)
