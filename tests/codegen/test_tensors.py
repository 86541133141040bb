"""Programs over tensors compiled, with their derivatives, and compared with the reference interpreter."""

import re
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from ksc.codegen import Unit
from ksc.codegen.cpp import generate
from ksc.compiler import build, load
from ksc.ir.interpret import interpret
from ksc.ir.text import parse
from ksc.ir.types import FloatType, TensorType, is_differentiable
from ksc.ir.verify import verify
from ksc.passes import optimise
from ksc.paths import prelude_dir
from ksc.transforms import jvp, vjp
from tests.codegen.harness import STRICT, Host, call_tensors, stored_as, tensor_source
from tests.codegen.tensor_programs import SAMPLES

WIDTHS = {"float32": "f32", "float64": "f64"}
# Small blocks are parts of larger ones, but here each is counted.
EACH_BLOCK = replace(STRICT, extra=("-DKS_EACH_BLOCK_ASKED_FOR", *STRICT.extra))


def run(source, entry, program, arguments, dtype, host=None):
    kernel = load(build(source, EACH_BLOCK))
    given = [np.asarray(a, stored_as(p.type, dtype)) for a, p in zip(arguments, program.main.params, strict=True)]
    expected = interpret(program, given, width=WIDTHS[dtype])
    host = host or Host()
    status, outs = call_tensors(kernel, entry, program, given, [np.shape(v) for v in expected], dtype, host)
    assert (status, host.error, host.blocks) == (0, None, [])
    return outs, expected


@pytest.mark.parametrize("dtype", WIDTHS)
def test_compiled_equals_interpreted(dtype):
    letters = iter("vjbm")
    for chunk in range(0, len(SAMPLES), 4):
        letters = dict(zip("vjbm", list(SAMPLES.values())[chunk : chunk + 4], strict=False))
        programs = [(letter, sample.program) for letter, sample in letters.items()]
        source = generate(Unit(f"samples{chunk}", programs, dtype, kind="tensor"))
        for letter, program in programs:
            verify(program)
            outs, expected = run(source, source.entries[letter], program, letters[letter].arguments, dtype)
            for out, value in zip(outs, expected, strict=True):
                # The order of a sum is the text's, but for the C library's last bit of exp.
                np.testing.assert_allclose(out, value, rtol=1e-6 if dtype == "float32" else 1e-14, atol=0)


DIFFERENTIABLE = ["prefix_norms", "matvec", "stencil", "softmax", "steps", "swap", "part_read_later", "sum_of_outer"]


@pytest.mark.parametrize("name", DIFFERENTIABLE)
@pytest.mark.parametrize("dtype", WIDTHS)
def test_derivatives(name, dtype):
    sample = SAMPLES[name]
    primal = optimise(sample.program)
    arguments = [5 if isinstance(a, int) else a for a in sample.arguments]
    results = interpret(primal, arguments)
    generator = np.random.default_rng(0)
    cotangents = [generator.standard_normal(np.shape(r)) for r in results]
    tangents = [
        generator.standard_normal(np.shape(a))
        for a, p in zip(arguments, primal.main.params, strict=True)
        if is_differentiable(p.type)
    ]
    reverse, forward = optimise(vjp(primal)), optimise(jvp(primal))
    source = generate(Unit(name, [("v", reverse), ("j", forward)], dtype, kind="tensor"))
    for letter, program, seeds in (("v", reverse, cotangents), ("j", forward, tangents)):
        outs, expected = run(source, source.entries[letter], program, [*arguments, *seeds], dtype)
        for out, value in zip(outs, expected, strict=True):
            np.testing.assert_allclose(out, value, rtol=2e-5 if dtype == "float32" else 1e-12, atol=1e-6)


@pytest.mark.parametrize("name", ["prefix_norms", "matvec", "stencil", "softmax", "steps", "sort_rows"])
def test_golden(golden, name):
    golden.check(tensor_source(name, optimise(SAMPLES[name].program), "float32").text, ".cpp")


@pytest.mark.parametrize("name", SAMPLES)
def test_copies(name):
    source = tensor_source(name, optimise(SAMPLES[name].program))
    assert source.copies == SAMPLES[name].copies
    assert source.text.count("// copies ") == source.copies
    assert len(re.findall(r"ks::(?:result_)?copy\(", source.text)) == source.copies


def test_blocks_of_scratch_memory():
    """However long the loops are, memory is what the sample says."""
    for name, sample in SAMPLES.items():
        program = optimise(sample.program)
        host = Host()
        run(tensor_source(name, program), f"ks_{name}", program, sample.arguments, "float64", host)
        assert host.peak == sample.blocks, name


@pytest.mark.parametrize("name", ["prefix_norms", "matvec", "stencil", "softmax", "sum_of_outer"])
def test_no_check_that_cannot_fail(name):
    assert "ks::outside" not in tensor_source(name, optimise(SAMPLES[name].program)).text


PAST_THE_END = "index 3 is out of range for dimension 0 of x, of size 3"
BEFORE = "index -1, counted from the start, is out of range for dimension 0 of x, of size 3"
WRAPPED = BEFORE.replace("-1", str(-(2**63)))

FAILURES = {
    "(def f Float ((x : (Tensor 1 Float)) (k : Integer))\n (index k x))": (3, 2, PAST_THE_END),
    "(def f (Tensor 1 Float) ((x : (Tensor 1 Float)) (k : Integer))\n (update k x 1.0))": (3, 2, PAST_THE_END),
    "(def f Float ((x : (Tensor 1 Float)) (k : Integer))\n (reduce add (sub 0 k) (lam (i : Integer) 1.0)))": (
        3,
        2,
        "a tensor cannot have a negative size",
    ),
    "(def f Float ((x : (Tensor 1 Float)) (k : Integer))\n"
    " (index (tuple 0 0) (build (tuple (mul k 1000000000) (mul k 10000000000)) (lam ((i : Integer) (j : Integer)) 1.0))))": (
        5,
        0,
        "a temporary tensor is too large",
    ),
    "(def f Float ((x : (Tensor 1 Float)) (k : Integer))\n"
    " (index 0 (for (i 2) ((c x)) (update i c (index (add i (sub k 1)) x)))))": (3, 2, PAST_THE_END),
    "(def f Float ((x : (Tensor 1 Float)) (k : Integer))\n"
    " (let (s (add k 9223372036854775800)) (if (gte k 0) (if (lt s (size x)) (index s x) 0.0) 0.0)))": (
        3,
        2,
        WRAPPED,
    ),
    "(def f (Tensor 1 Float) ((x : (Tensor 1 Float)) (k : Integer))\n"
    " (reduce add k (lam (i : Integer) (build (add 1 i) (lam (j : Integer) 1.0)))))": (
        3,
        2,
        "tensors of different sizes",
    ),
}


@pytest.mark.parametrize("text", FAILURES)
def test_errors_name_their_line(text):
    program = parse(text)
    kernel = load(build(tensor_source("f", program), STRICT))
    host = Host()
    shapes = [() if isinstance(t, FloatType) else (3,) for t in program.main.result_types]
    k = np.array(8 if "922337203685477" in text else 3)
    status, _ = call_tensors(kernel, "ks_f", program, [vector3(), k], shapes, host=host)
    assert (status, host.error, host.blocks) == (1, FAILURES[text], [])


@pytest.mark.parametrize(
    ("indices", "says"),
    [
        ((1, 3), "index 3 is out of range for dimension 1 of table, of size 3"),
        ((2, 3), "index 2 is out of range for dimension 0 of table, of size 2"),
    ],
)
def test_errors_name_the_index_that_is_out_of_range(indices, says):
    program = parse(
        "(def f Float ((table : (Tensor 2 Float)) (i : Integer) (j : Integer))\n (index (tuple i j) table))"
    )
    kernel = load(build(tensor_source("f", program), STRICT))
    host = Host()
    arguments = [np.ones((2, 3)), *map(np.array, indices)]
    assert call_tensors(kernel, "ks_f", program, arguments, [()], host=host)[0] == 1
    assert host.error == (3, 2, says)


def vector3():
    return np.array([1.0, 2.0, 3.0])


def test_sums_in_lanes_repeat_at_any_address():
    """A sum made in lanes depends on its terms only, not on where they lie."""
    program = parse(SAMPLES["matvec"].text)
    kernel = load(build(tensor_source("matvec", program, "float32")))
    generator = np.random.default_rng(1)
    terms, ones = generator.standard_normal((1, 1003)).astype(np.float32), np.ones(1003, np.float32)
    seen = set()
    for shift in range(17):
        memory = np.zeros(1003 + 17, np.float32)
        memory[shift : shift + 1003] = ones
        status, (out,) = call_tensors(
            kernel, "ks_matvec", program, [terms, memory[shift : shift + 1003]], [(1,)], "float32"
        )
        assert status == 0
        seen.add(out.tobytes())
    assert len(seen) == 1
    np.testing.assert_allclose(np.frombuffer(seen.pop(), np.float32), terms.sum(), rtol=1e-4)


def test_no_warnings(tmp_path):
    """All samples in one run of the compiler, as it is run on its own."""
    includes = []
    for name, sample in SAMPLES.items():
        file = tmp_path / f"{name}.cpp"
        file.write_text(tensor_source(name, optimise(sample.program)).text)
        includes.append(f'#include "{file}"\n')
    (tmp_path / "all.cpp").write_text("".join(includes))
    flags = ["-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only", "-I", str(prelude_dir())]
    done = subprocess.run(["g++", *flags, str(tmp_path / "all.cpp")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_results_with_storage_of_half_precision():
    program = parse(SAMPLES["stencil"].text)
    assert isinstance(program.main.result_types[0], TensorType)
    kernel = load(build(tensor_source("stencil", program, "float16"), STRICT))
    x = np.array([1.0, 2.0, 4.0, 8.0], np.float16)
    status, (out,) = call_tensors(kernel, "ks_stencil", program, [x], [(2,)], "float16")
    assert status == 0
    np.testing.assert_array_equal(out, [1.0, 2.0])


UNSOUND = {
    # A count below zero stacks nothing, but is not the size of what it stacks.
    "(def f Float ((x : (Tensor 1 Float)) (k : Integer))\n"
    " (let ((n (sub 0 k)) (s (for (i n) () 1.0)))\n"
    "  (if (gt (size s) 0) (index n s) (index (add n 2) x))))": BEFORE,
    # Nothing was made by this build, so nothing is known of the sizes of its elements.
    "(def f Float ((x : (Tensor 1 Float)) (k : Integer))\n"
    " (let ((m (sub 0 k)) (s (build :nested false 0 (lam (i : Integer) (build m (lam (j : Integer) 1.0))))))\n"
    "  (index (add m 2) x)))": BEFORE,
    # A sum of integers that are no sizes may wrap.
    "(def f Float ((x : (Tensor 1 Float)) (k : Integer))\n"
    " (let (s (add k 9223372036854775805))\n"
    "  (if (gte k 0) (if (lt s (size x)) (index s x) 0.0) 0.0)))": WRAPPED,
}


@pytest.mark.parametrize("text", UNSOUND)
def test_checks_stay_where_nothing_is_known(text):
    program = parse(text)
    kernel = load(build(tensor_source("f", program), STRICT))
    host = Host()
    status, _ = call_tensors(kernel, "ks_f", program, [vector3(), np.array(3)], [()], host=host)
    assert (status, host.error and host.error[2]) == (1, UNSOUND[text])


def test_a_part_is_copied_rather_than_its_tensor():
    """A row that is read after its tensor has changed; the row alone is copied, in each iteration."""
    text = """(def f (Tensor 2 Float) ((x : (Tensor 2 Float)))
      (for (i (sub (get$1$2 (size x)) 1)) ((t x))
        (let ((row (index i t)) (next (add i 1)) (u (update i t (build 3 (lam (c : Integer) 0.5)))))
          (update next u row))))"""
    program = optimise(parse(text))
    source = tensor_source("f", program)
    ((value,), (expected,)) = run(source, "ks_f", program, [np.arange(15.0).reshape(5, 3)], "float64")
    np.testing.assert_array_equal(value, expected)
    assert re.findall(r"// copies (.*?):", source.text) == ["x", "t.part(i)"]


SIZES_OF_SIDES = """
(def f Float ((x : (Tensor 1 Float)) (k : Integer))
  (if (lt k 0)
    (let ((n (size x 0)) (s (reduce add n (lam (i : Integer) (index i x)))))
      (mul (mul s (to_float n)) (to_float n)))
    (let ((n (add k 1)))
      (add (index n x) (to_float n)))))
"""


def test_a_size_is_known_by_its_name_where_that_is_declared():
    program = parse(SIZES_OF_SIDES)
    source = tensor_source("f", program, "float64")
    assert "ks::outside(n, n)" not in source.text
    for k in (-1, 1):
        outs, expected = run(source, "ks_f", program, [np.arange(3.0), k], "float64")
        np.testing.assert_allclose(outs, expected)
