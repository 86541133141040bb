"""One check before a loop says what the checks in it would have said; indices known to be in range are so."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ksc as knossos
from ksc.codegen.cpp import generate
from ksc.codegen.unit import Unit
from ksc.derive import derive
from ksc.errors import KernelRuntimeError, KnossosError
from ksc.ir.interpret import interpret
from ksc.ir.nodes import Block, Program, walk
from ksc.ir.text import parse, to_text
from ksc.ir.verify import verify
from ksc.passes import optimise
from ksc.passes.fuse.facts import Facts
from ksc.passes.guards import require_before_loops

COUNTS = ["n", "i", "(add i 1)", "(sub n i)", "(sub (sub n i) 1)", "(idiv n 2)", "(idiv (add n 3) 4)"]
FACTORS = st.integers(-2, 2)

NEST = """
(def f Float ((x : (Tensor 1 Float)) (y : (Tensor 1 Float)))
  (let ((n (size y)))
    (for (i n) ((s 0.0))
      (for (j {count}) ((s s))
        (let ((at {index}){also} (a (index at x)))
          (add s a))))))
"""


def outcome(program, args):
    try:
        return float(interpret(program, args)[0])
    except KnossosError as error:
        return str(error).rpartition("] ")[2]


def without_explanations(program):
    """The same program, whose checks before loops do not say which iteration fails."""
    functions = {
        name: function if function.result_types else replace(function, body=Block(function.params, (), ()))
        for name, function in program.functions.items()
    }
    return Program(functions, program.entry)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    count=st.sampled_from(COUNTS),
    linear=st.tuples(FACTORS, FACTORS, FACTORS, st.integers(-3, 3)),
    squares=st.tuples(st.integers(-1, 1), st.integers(-1, 1)),
    halved=st.booleans(),
    clip=st.booleans(),
    also=st.sampled_from(["", '(() (require (lt (add i j) 3) "too many"))', "(b (index (add i j) y))"]),
    sizes=st.tuples(st.integers(0, 12), st.integers(0, 4)),
)
def test_stops_if_and_only_if_an_iteration_would_and_says_the_same(count, linear, squares, halved, clip, also, sizes):
    a, b, c, d = linear
    index = f"(add (add (mul {a} i) (mul {b} j)) (add (mul {c} n) {d}))"
    p, q = squares
    product = f"(add (mul {p} (mul i (add i 1))) (mul {q} (mul j (sub j 1))))"
    index = f"(add {index} (idiv {product} 2))" if halved else f"(add {index} {product})"
    index = f"(max {index} 0)" if clip else index
    program = parse(NEST.format(count=count, index=index, also=also))
    guarded = require_before_loops(program)
    verify(guarded)
    length, n = sizes
    args = torch.arange(1.0, length + 1, dtype=torch.float64).numpy(), torch.zeros(n, dtype=torch.float64).numpy()
    assert outcome(guarded, args) == outcome(program, args)
    facts, _ = Facts.of(guarded.main)
    (*_, read) = (eqn for eqn in walk(guarded.main.body) if eqn.op == "index")
    if facts.in_range(read.args[1], facts.size(read.args[0], 0), facts.places[read.outs[0]]):
        said = outcome(without_explanations(guarded), args)
        assert not re.match("index .* is out of range", str(said)) or "y" in also


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
CHECKS = re.compile(r"\nKS_COLD static void checks_of.*?\n\}", re.DOTALL)
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
        for loop in LOOP.finditer(CHECKS.sub("", text)):
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
        with pytest.raises(KernelRuntimeError) as stopped:
            kernel(torch.ones(exact - 1, dtype=torch.float64), v)
        if fn is sliced:
            words = "an index is out of range for dimension 0 of a view of x"
        else:
            words = f"index {exact - 1} is out of range for dimension 0 of x, of size {exact - 1}"
        assert words in str(stopped.value)


def positive(x: torch.Tensor, w: torch.Tensor, n: int):
    total = 0.0
    for i in range(n):
        assert w[i] > 0.0, "weights must be positive"
        total += w[i] * x[i]
    return total


def few(x: torch.Tensor, n: int, most: int):
    total = 0.0
    for i in range(n):
        assert i < most, "too many"
        total += x[i]
    return total


def stopping(x: torch.Tensor, n: int):
    total = 0.0
    for i in range(n):
        if i > 2:
            break
        total += x[i]
    return total


def chosen(x: torch.Tensor, n: int):
    total = 0.0
    for i in range(n):
        if i < 3:
            total += x[i]
    return total


ONES = torch.ones(3, dtype=torch.float64)


@pytest.mark.parametrize(
    ("fn", "args", "words"),
    [
        (
            positive,
            (ONES, torch.ones(6, dtype=torch.float64), 6),
            "index 3 is out of range for dimension 0 of x, of size 3",
        ),
        (positive, (ONES, torch.zeros(6, dtype=torch.float64), 6), "weights must be positive"),
        (few, (ONES, 9, 5), "index 3 is out of range for dimension 0 of x, of size 3"),
        (few, (ONES, 9, 2), "too many"),
    ],
)
def test_the_first_error_is_the_one_that_is_raised(fn, args, words):
    with pytest.raises(KernelRuntimeError, match=words):
        knossos.register(fn)(*args)


@pytest.mark.parametrize(("fn", "n"), [(stopping, 9), (chosen, 9), (few, 0)])
def test_what_no_iteration_reads_is_no_error(fn, n):
    args = (ONES, n, 0) if fn is few else (ONES, n)
    assert knossos.register(fn)(*args) == min(n, 3)


def test_a_check_is_made_of_what_there_is_before_the_loop():
    """Of two sizes that are required to agree only later, the one that is computed first."""
    text = """
    (def f (Tensor 1 Float) ((x : (Tensor 1 Float)) (y : (Tensor 1 Float)) (z : (Tensor 1 Float)))
      (let ((n (idiv (add (size x) 1) 2))
            (m (idiv (add (size y) 1) 2))
            (a (build n (lam (i : Integer) (index (mul 2 i) x))))
            (k (idiv (add (size z) 1) 2))
            (() (require (eq k n) "sizes must agree"))
            (() (require (eq n m) "sizes must agree")))
        (build m (lam (i : Integer) (add (index (mul 2 i) y) (mul (index i a) (index (mul 2 i) z)))))))
    """
    program = parse(text)
    for guarded in (require_before_loops(program), optimise(program), optimise(derive(program, "v"))):
        verify(guarded)
    args = [np.arange(float(n)) for n in (5, 6, 6)]
    np.testing.assert_allclose(interpret(optimise(program), args)[0], interpret(program, args)[0])


def test_a_check_inside_a_branch_is_not_made_of_what_the_branch_gives():
    """A size that a later assert says is that of the tensor which comes out of the branch."""
    text = """
    (def f Float ((x : (Tensor 1 Float)) (z : (Tensor 1 Float)) (n : Integer) (go : Bool))
      (for (k 3) ((s 0.0))
        (let ((r (if go (build n (lam (i : Integer) (index (mul 2 i) x))) z))
              (() (require (eq (size r) n) "sizes must agree")))
          (add s (reduce add n (lam (i : Integer) (index i r)))))))
    """
    program = parse(text)
    for guarded in (require_before_loops(program), optimise(program), optimise(derive(program, "v"))):
        verify(guarded)


def test_the_check_of_a_derivative_says_the_same():
    kernel = knossos.register(few)
    with pytest.raises(KernelRuntimeError, match="index 3 is out of range for dimension 0 of x"):
        knossos.value_and_grad(kernel)(ONES, 9, 5)


def test_an_assert_of_indices_has_a_text_form():
    program = parse("""
        (def f Integer ((i : Integer) (n : Integer))
          (let ((() (require (lt i n) "index out of range" "x" 1 i n)))
            i))""")
    assert to_text(parse(to_text(program))) == to_text(program)
    with pytest.raises(KernelRuntimeError, match="index 4 is out of range for dimension 1 of size 3"):
        interpret(program, (4, 3))
