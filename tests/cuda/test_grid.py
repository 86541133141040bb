"""Generated CUDA on the shim's threads, compared with the reference interpreter: values, derivatives, mapped forms."""

from __future__ import annotations

import re

import numpy as np
import pytest

from ksc.codegen import Dtype, GeneratedSource, Unit
from ksc.codegen.cuda import generate
from ksc.errors import UnsupportedError
from ksc.ir.interpret import interpret
from ksc.ir.nodes import Program
from ksc.ir.text import parse
from ksc.passes import optimise
from tests.codegen.random_tensors import random_tensor_program
from tests.codegen.tensor_programs import SAMPLES, matrix, vector
from tests.cuda.cases import Case, cases, sample_cases
from tests.cuda.grid import MARGIN, Device, Library

CHUNK = 8

LARGE: dict[str, tuple[str, list[np.ndarray]]] = {
    "softmax": (SAMPLES["softmax"].text, [vector(300)]),
    "weighted": (
        """
(def weighted (Tensor 1 Float) ((x : (Tensor 2 Float)) (w : (Tensor 1 Float)))
  (build (size x 0) (lam (i : Integer)
    (sin (reduce add (size w) (lam (j : Integer) (mul (index (tuple i j) x) (index j w))))))))
""",
        [matrix(200, 3), vector(3)],
    ),
    "gathered": (
        """
(def gathered Float ((x : (Tensor 1 Float)) (at : (Tensor 1 Integer)))
  (reduce add (size at) (lam (i : Integer) (let (v (index (index i at) x)) (mul v v)))))
""",
        [vector(5), np.arange(250) * 7 % 5],
    ),
    "gathered_from_many": (
        """
(def gathered_from_many Float ((x : (Tensor 1 Float)) (at : (Tensor 1 Integer)))
  (reduce add (size at) (lam (i : Integer) (let (v (index (index i at) x)) (mul v v)))))
""",
        [vector(3000), np.arange(250) * 7 % 3000],
    ),
    "outer": (
        """
(def outer (Tensor 2 Float) ((x : (Tensor 1 Float)) (y : (Tensor 1 Float)))
  (build (tuple (size x) (size y)) (lam ((i : Integer) (j : Integer)) (mul (index i x) (index j y)))))
""",
        [vector(17), vector(23)],
    ),
    "diffused": (
        """
(def diffused (Tensor 1 Float) ((x : (Tensor 1 Float)) (n : Integer))
  (let (m (sub (size x) 1))
    (for (t n) ((u x))
      (build (size u) (lam (i : Integer)
        (add (index i u) (mul 0.25 (sub (index (if (lt i m) (add i 1) 0) u) (index i u)))))))))
""",
        [vector(150), np.int64(4)],
    ),
    "normalised_until": (
        """
(def normalised_until (Tensor 1 Float) ((x : (Tensor 1 Float)))
  (let (((u n) (while ((u x) (n 0))
          (and (lt n 5) (gt (reduce add (size u) (lam (i : Integer) (mul (index i u) (index i u)))) 3.0))
          (values (build (size u) (lam (i : Integer) (mul 0.5 (index (sub (sub (size u) 1) i) u)))) (add n 1)))))
    u))
""",
        [vector(200)],
    ),
    "histogram": (
        """
(def histogram (Values (Tensor 1 Float) Float) ((x : (Tensor 1 Float)) (at : (Tensor 1 Integer)))
  (let ((y (build (size x) (lam (i : Integer) (exp (index i x)))))
        ((h last) (for (i (size at)) ((h (build 7 (lam (k : Integer) 0.5))) (last 0.0))
          (let (k (index i at))
            (values (update k h (add (index k h) (index i y))) (sub (index k h) last))))))
    (values (build 7 (lam (k : Integer) (sin (index k h)))) (mul last (reduce add (size y) (lam (i : Integer) (index i y)))))))
""",
        [vector(150), np.arange(150) * 5 % 7],
    ),
    "extremes": (
        """
(def extremes (Values Float Integer Bool) ((x : (Tensor 1 Float)) (at : (Tensor 1 Integer)))
  (values (reduce max (size x) (lam (i : Integer) (index i x)))
          (reduce add (size at) (lam (i : Integer) (index i at)))
          (reduce or (size x) (lam (i : Integer) (gt (index i x) 0.99)))))
""",
        [vector(300), np.arange(300)],
    ),
    "column_sums": (
        """
(def column_sums (Tensor 1 Float) (x : (Tensor 2 Float))
  (reduce add (size x 0) (lam (i : Integer) (build (size x 1) (lam (j : Integer) (exp (index (tuple i j) x)))))))
""",
        [matrix(150, 4)],
    ),
}
"""Programs whose grids have several blocks, or threads that take several turns."""


def source_of(name: str, program: Program, dtype: Dtype = "float64") -> GeneratedSource:
    return generate(Unit(name, [("", program)], dtype, kind="tensor"))


def run(library: Library, source: GeneratedSource, case: Case, device: Device) -> None:
    shapes = [np.shape(value) for value in case.expected]
    device, outs = library.tensors(source.entries[""], case.program, case.arguments, shapes, device=device)
    assert device.error is None, (case.name, case.derivation, device.error)
    for out, value in zip(outs, case.expected, strict=True):
        # Sums are taken in another order.
        np.testing.assert_allclose(out, value, rtol=1e-12, atol=1e-12, err_msg=f"{case.name} {case.derivation!r}")


def run_all(found: list[Case]) -> list[GeneratedSource]:
    sources = [source_of(f"{case.name}_{case.derivation}", case.program) for case in found]
    library = Library(sources, optimised=False)
    for source, case in zip(sources, found, strict=True):
        for deterministic in (False, True):
            run(library, source, case, Device(scratch_bytes=8 << 20, deterministic=deterministic))
    return sources


@pytest.mark.parametrize("chunk", range((len(SAMPLES) + CHUNK - 1) // CHUNK))
def test_samples(chunk: int) -> None:
    names = list(SAMPLES)[chunk * CHUNK : (chunk + 1) * CHUNK]
    run_all([case for name in names for case in sample_cases(name)])


LED = {(name, letters) for name in ("softmax", "extremes") for letters in ("v", "vj")}
LED |= {("histogram", letters) for letters in ("", "v", "j", "vj")}
"""What has a loop for one thread: the reverse of a maximum stores its elements one after another."""


def test_large() -> None:
    derivations = ("", "v", "j", "vj")
    found = [case for name, (text, given) in LARGE.items() for case in cases(name, parse(text), given, derivations)]
    sources = run_all(found)
    texts = {(case.name, case.derivation): source.text for case, source in zip(found, sources, strict=True)}
    assert {key for key, text in texts.items() if "ks::lead(" in text} == LED
    assert not any("outside of a loop that threads can share" in text for text in texts.values())


def test_random_programs() -> None:
    """Programs that share and change tensors, mostly on one thread; several to a file."""
    letters = "vjbm"
    rows = [
        (np.array([1.0, -2.0, 3.0]), np.arange(9.0).reshape(3, 3) - 4, np.asarray(0.5)),
        (np.array([0.25, 0.5, 8.0]), np.full((3, 3), 0.5), np.asarray(2.0)),
    ]
    programs = [{a: random_tensor_program(len(letters) * k + n) for n, a in enumerate(letters)} for k in range(8)]
    sources = [
        generate(Unit(f"random{k}", list(group.items()), "float64", kind="tensor")) for k, group in enumerate(programs)
    ]
    library = Library(sources, optimised=False)
    for group, source in zip(programs, sources, strict=True):
        for letter, program in group.items():
            for row in rows:
                with np.errstate(all="ignore"):
                    expected = interpret(program, row)
                shapes = [np.shape(value) for value in expected]
                device, outs = library.tensors(source.entries[letter], program, row, shapes)
                assert device.error is None, device.error
                for out, value in zip(outs, expected, strict=True):
                    np.testing.assert_allclose(out, value, rtol=1e-12)


# Operands.


def test_strides_half_precision_and_nothing_at_all() -> None:
    program = optimise(parse(LARGE["weighted"][0]))
    sources = {dtype: source_of(f"weighted_{dtype}", program, dtype) for dtype in ("float64", "float32", "float16")}
    library = Library(list(sources.values()), optimised=False)
    for dtype, tolerance in (("float64", 1e-12), ("float32", 1e-5), ("float16", 2e-3)):
        x = np.asarray(matrix(3, 200), dtype).T[::2]
        w = np.asarray(vector(6), dtype)[::-2]
        expected = np.sin(x.astype(np.float64) @ w.astype(np.float64))
        device, (out,) = library.tensors(sources[dtype].entries[""], program, [x, w], [(100,)], dtype)
        assert device.error is None
        np.testing.assert_allclose(out, expected, rtol=tolerance, atol=tolerance)
        for rows, columns in ((0, 3), (4, 0), (0, 0)):
            none = [np.zeros((rows, columns), dtype), np.zeros(columns, dtype)]
            device, (out,) = library.tensors(sources[dtype].entries[""], program, none, [(rows,)], dtype)
            assert device.error is None
            np.testing.assert_array_equal(out, np.zeros(rows))


# Errors.


CHECKED = """
(def checked (Tensor 1 Float) ((x : (Tensor 1 Float)) (at : (Tensor 1 Integer)))
  (let ((() (require (gt (size x) 2) "too short")))
    (build (size at) (lam (i : Integer) (index (index i at) x)))))
"""


def test_errors_say_what_and_where() -> None:
    program = optimise(parse(CHECKED))
    source = source_of("checked", program)
    library = Library([source])
    at = np.zeros(300, np.int64)
    at[217] = 9
    device, _ = library.tensors("ks_checked", program, [vector(5), at], [(300,)])
    assert device.error == (3, 4, "index 9 is out of range for dimension 0 of x, of size 5")
    # Nothing runs before the host has cleared it.
    device, (out,) = library.tensors(
        "ks_checked", program, [vector(5), np.zeros(300, np.int64)], [(300,)], device=device
    )
    assert np.all(np.frombuffer(out.tobytes(), np.uint8) == 0xA5)
    device, _ = library.tensors("ks_checked", program, [vector(2), at], [(300,)])
    assert device.error == (1, 3, "too short")
    device, _ = library.tensors("ks_checked", program, [vector(5), np.zeros(300, np.int64)], [(299,)])
    assert device.error == (6, 0, "a result has other sizes than were computed for it")


def test_too_little_memory_is_said_and_more_is_enough() -> None:
    program = optimise(parse(LARGE["diffused"][0]))
    source = source_of("diffused", program)
    library = Library([source])
    args = [vector(150), np.asarray(4)]
    device, _ = library.tensors("ks_diffused", program, args, [(150,)], device=Device(scratch_bytes=256))
    assert device.error == (5, 0, "the scratch memory is too small")
    enough = 16
    while device.error is not None:
        assert device.state.scratch_wanted > enough
        enough = device.state.scratch_wanted
        device, (out,) = library.tensors(
            "ks_diffused", program, args, [(150,)], device=Device(scratch_bytes=int(enough))
        )
    np.testing.assert_allclose(out, interpret(program, args)[0])


OWN = """
(def own (Tensor 1 Float) ((x : (Tensor 2 Float)))
  (build (size x 0) (lam (i : Integer)
    (let (u (for (j (size x 1)) ((u (build (size x 1) (lam (k : Integer) 1.0))))
        (update j u (add (index 0 u) (index (tuple i j) x)))))
      (index (sub (size x 1) 1) u)))))
"""


def test_every_thread_says_how_much_memory_of_its_own_it_wants() -> None:
    """The first thread's own memory begins where that of all does."""
    program = optimise(parse(OWN))
    source = source_of("own", program)
    library = Library([source])
    rows = matrix(1, 200)
    device, _ = library.tensors("ks_own", program, [rows], [(1,)], device=Device(1024, 16))
    assert device.error == (5, 0, "the scratch memory is too small")
    assert (device.state.scratch_wanted, device.state.scratch_wanted_per_thread) == (0, 1600 + MARGIN)
    device, (out,) = library.tensors("ks_own", program, [rows], [(1,)], device=Device(4096, 1600 + MARGIN))
    np.testing.assert_allclose(out, interpret(program, [rows])[0])


REFUSED = {
    "recursion": "(def f Float ((x : Float) (n : Integer)) (if (lt n 1) x (f (mul x x) (sub n 1))))",
    "operands": f"(def f Float ({' '.join(f'(x{k} : Float)' for k in range(240))}) x0)",
    "dimensions": "(def f (Tensor 9 Float) (x : (Tensor 9 Float)) x)",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_grid_cannot_do_is_refused(name: str) -> None:
    with pytest.raises(UnsupportedError) as refused:
        source_of("f", parse(REFUSED[name]))
    assert refused.value.code == "KS119"
    assert re.search("run it on the CPU", str(refused.value))
