"""Elementwise CUDA on the shim's threads: values and derivatives of lanes, whatever their strides."""

from __future__ import annotations

import numpy as np
import pytest

from ksc.codegen import Unit
from ksc.codegen.cuda import generate
from ksc.derive import derive
from ksc.ir.interpret import interpret
from ksc.ir.text import parse
from ksc.passes import optimise
from tests.codegen.random_programs import random_program
from tests.cuda.grid import Device, Library

# What they share is compiled once, by one process.
pytestmark = pytest.mark.xdist_group("cuda lanes")

TEXTS = {
    "relu3": """
(def relu3 Float (x : Float)
  (if (lt x 0.0) 0.0 (if (lt x 1.0) (div (mul x (mul x x)) 3.0) (sub x (div 2.0 3.0)))))
""",
    "two": "(def two (Values Float Float) ((x : Float) (y : Float)) (values (sin (mul x y)) (exp (sub x y))))",
    "halved": """
(def halved Float ((x : Float) (n : Integer))
  (let (((k t) (while ((k 0) (t x)) (lt k n) (values (add k 1) (mul 0.5 (mul t t)))))) t))
""",
    "divided": "(def divided Integer ((a : Integer) (b : Integer)) (div a b))",
}
X = np.linspace(-2.0, 3.0, 700)
ARGUMENTS = {
    "relu3": [X],
    "two": [X, np.cos(X)],
    "halved": [X, np.arange(700) % 4],
    "divided": [np.arange(700), np.arange(700) % 5 + 1],
}
DERIVATIONS = {"relu3": ("", "v", "j", "vj"), "two": ("", "v", "b", "j"), "halved": ("", "v", "j"), "divided": ("",)}


@pytest.fixture(scope="module")
def library() -> Library:
    sources = []
    for dtype in ("float64", "float32", "float16", "bfloat16"):
        for name, text in TEXTS.items():
            programs = [(d, optimise(derive(parse(text), d))) for d in DERIVATIONS[name]]
            sources.append(generate(Unit(f"{name}_{dtype}", programs, dtype)))
    return Library(sources, optimised=False)


def expected(program, args):
    rows = zip(*(a.ravel().tolist() for a in np.broadcast_arrays(*args)), strict=True)
    values = [interpret(program, row) for row in rows]
    shape = np.broadcast_shapes(*(a.shape for a in args))
    return [np.array(column).reshape(shape) for column in zip(*values, strict=True)]


def arguments(name: str, derivation: str) -> list[np.ndarray]:
    """The primal's arguments, and seeds."""
    program = optimise(derive(parse(TEXTS[name]), derivation))
    given = list(ARGUMENTS[name])
    return given + [np.sin(3.0 * X + k) for k in range(len(program.main.params) - len(given))]


@pytest.mark.parametrize("name", TEXTS)
def test_values_and_derivatives(library: Library, name: str) -> None:
    suffixes = {"": "", "v": "_vjp", "j": "_jvp", "b": "_value_and_vjp", "vj": "_vjp_jvp"}
    for derivation in DERIVATIONS[name]:
        program = optimise(derive(parse(TEXTS[name]), derivation))
        args = arguments(name, derivation)
        right = expected(program, args)
        for dtype, tolerance in (("float64", 1e-14), ("float32", 2e-5), ("float16", 2e-2)):
            symbol = f"ks_{name}_{dtype}{suffixes[derivation]}"
            stored = [a.astype(dtype) if a.dtype == np.float64 else a for a in args]
            # Packs, their rest, and what has no pack; then rows apart, columns, and a value that is shared.
            shapes = {
                "packs": [a[:512] for a in stored],
                "rest": [a[:513] for a in stored],
                "one": [a[1:2] for a in stored],
                "none": [a[:0] for a in stored],
                "unaligned": [a[1:302] for a in stored],
                "every_second": [a[::2] for a in stored],
                "turned": [a[:600].reshape(20, 30).T for a in stored],
                "rows": [a[:600].reshape(20, 30)[:, 3:17] for a in stored],
                "shared": [a[5] if k == 0 else a[:64].reshape(4, 4, 4) for k, a in enumerate(stored)],
            }
            pick = {
                "packs": lambda a, k: a[:512],
                "rest": lambda a, k: a[:513],
                "one": lambda a, k: a[1:2],
                "none": lambda a, k: a[:0],
                "unaligned": lambda a, k: a[1:302],
                "every_second": lambda a, k: a[::2],
                "turned": lambda a, k: a[:600].reshape(20, 30).T,
                "rows": lambda a, k: a[:600].reshape(20, 30)[:, 3:17],
            }
            for kind, given in shapes.items():
                if kind == "shared":
                    wanted = expected(program, [np.asarray(g, np.float64) if g.dtype != np.int64 else g for g in given])
                else:
                    wanted = [pick[kind](value, 0) for value in right]
                device, outs = library.lanes(symbol, program, given, dtype)
                assert device.error is None
                for out, value in zip(outs, wanted, strict=True):
                    np.testing.assert_allclose(
                        out, value, rtol=tolerance, atol=tolerance, err_msg=f"{symbol} {kind}", strict=False
                    )


def test_bfloat16_is_the_upper_half_of_a_float(library: Library) -> None:
    program = optimise(parse(TEXTS["relu3"]))
    x = np.array([-1.0, 0.5, 2.0], np.float32)
    stored = (x.view(np.uint32) >> 16).astype(np.uint16)
    device, (out,) = library.lanes("ks_relu3_bfloat16", program, [stored], "float16")
    assert device.error is None
    got = (out.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_allclose(got, [0.0, 0.5**3 / 3, 2.0 - 2.0 / 3.0], rtol=1e-2)


def test_a_lane_that_fails_says_so(library: Library) -> None:
    program = optimise(parse(TEXTS["divided"]))
    a, b = np.arange(700), np.arange(700) - 321
    device, _ = library.lanes("ks_divided_float32", program, [a, b], "float32")
    assert device.error is not None
    assert device.error[0] == 2
    assert "zero" in device.error[2]
    cleared, (out,) = library.lanes("ks_divided_float32", program, [a, b + 1000], "float32")
    assert cleared.error is None
    np.testing.assert_array_equal(out, a // (b + 1000))


def test_memory_of_its_own_for_each_thread(library: Library) -> None:
    """The tape of a loop; with little of it few threads work, with none the lack is said."""
    program = optimise(derive(parse(TEXTS["halved"]), "v"))
    args = arguments("halved", "v")
    right = expected(program, args)
    for device in (Device(), Device(scratch_bytes=8192, scratch_per_thread=1024)):
        used, outs = library.lanes("ks_halved_float64_vjp", program, args, device=device)
        assert used.error is None
        for out, value in zip(outs, right, strict=True):
            np.testing.assert_allclose(out, value)
    starved, _ = library.lanes(
        "ks_halved_float64_vjp", program, args, device=Device(scratch_bytes=4096, scratch_per_thread=64)
    )
    assert starved.error == (5, 0, "the scratch memory is too small")
    assert starved.state.scratch_wanted_per_thread > 64


def test_random_programs() -> None:
    programs = {f"random{k}": random_program(k) for k in range(30)}
    sources = {name: generate(Unit(name, [("", program)], "float64")) for name, program in programs.items()}
    library = Library(list(sources.values()), optimised=False)
    rows = {
        "Float": np.array([0.5, -1.5, 3.0, 0.0]),
        "Integer": np.array([2, -1, 0, 3]),
        "Bool": np.array([True, False, False, True]),
    }
    for name, program in programs.items():
        args = [rows[str(param.type)] for param in program.main.params]
        values = [interpret(program, row) for row in zip(*(a.tolist() for a in args), strict=True)]
        device, outs = library.lanes(sources[name].entries[""], program, args)
        assert device.error is None
        for out, column in zip(outs, zip(*values, strict=True), strict=True):
            np.testing.assert_array_equal(out, np.array(column), err_msg=name)
