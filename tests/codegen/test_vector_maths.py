"""The prelude's mathematics: errors over all exponents, special values, and results that do not depend on the place."""

import ctypes
import functools
import shutil
import subprocess
from dataclasses import replace

import mpmath
import numpy as np
import pytest
import scipy.special

from ksc.compiler import BuildOptions
from ksc.paths import prelude_dir

FUNCTIONS = {
    "erf_float": ("float", "ks::erf"),
    "exp_float": ("float", "ks::exp"),
    "exp_minus_float": ("float", "ks::exp_minus"),
    "exp_minus_size_float": ("float", "[](float x) { return ks::exp_minus(ks::abs(x)); }"),
    "sigmoid_float": ("float", "ks::sigmoid"),
    "sigmoid_of_minus_float": ("float", "ks::sigmoid_of_minus"),
    "softplus_float": ("float", "ks::softplus"),
    "tanh_double": ("double", "ks::tanh"),
}
"""Functions of our own, not of the C library; docs/design/0012 has the table of all errors."""

ANGLES = {f"{name}_{type_}": (type_, name) for name in ("sin", "cos", "lone_sin") for type_ in ("float", "double")}
"""Functions that loops have inline for angles that are not large; beyond, the loop is run again with those of the C library."""

LARGE = {np.float32: 8192.0, np.float64: 1048576.0}

BOUNDS = {
    "erf_float": 3.0,
    "exp_float": 3.2,
    "sigmoid_float": 3.5,
    "sigmoid_of_minus_float": 3.5,
    "softplus_float": 4.0,
    "tanh_double": 4.0,
}

EXACT = {
    "exp_float": np.exp,
    "sigmoid_float": scipy.special.expit,
    "sigmoid_of_minus_float": lambda x: scipy.special.expit(-np.abs(x)),
    "softplus_float": lambda x: np.logaddexp(x, 0.0),
}
"""In double precision, right to far more places than a float has."""


@pytest.fixture(scope="module", params=[True, False], ids=["contracted", "exact"])
def library(request, tmp_path_factory):
    """Loops over each function, compiled as kernels are."""
    folder = tmp_path_factory.mktemp("maths")
    lines = ['#include "ks/prelude.h"']
    for name, (type_, function) in FUNCTIONS.items():
        lines.append(f'extern "C" void {name}(const {type_} *__restrict x, {type_} *__restrict y, int64_t n) {{')
        lines.append(f"    for (int64_t i = 0; i < n; ++i) {{ y[i] = {function}(x[i]); }}")
        lines.append("}")
    for name, (type_, function) in ANGLES.items():
        lines += [
            f'extern "C" void {name}(const {type_} *__restrict x, {type_} *__restrict y, int64_t n) {{',
            "    ks::angles(0, n, [=](auto angle, int &far, int64_t i) KS_INLINED {",
            f"        y[i] = angle.{function}(far, x[i]);",
            "    });",
            "}",
            f'extern "C" void {name}_row(const {type_} *x, {type_} *y, int64_t) {{',
            "    ks::angles<16>([=](auto angle, int &far, int64_t i) KS_INLINED {",
            f"        y[i] = angle.{function}(far, x[i]);",
            "    });",
            "}",
        ]
    (folder / "maths.cpp").write_text("\n".join(lines))
    options = replace(BuildOptions.from_environment(), contract=request.param)
    compiler = shutil.which("g++")
    assert compiler is not None
    unfused = [] if request.param else ["-DKS_NO_FUSED"]
    command = [compiler, *options.compile_flags(), *unfused, "-shared", "-I", str(prelude_dir())]
    subprocess.run([*command, str(folder / "maths.cpp"), "-o", str(folder / "maths.so"), "-lmvec", "-lm"], check=True)
    return ctypes.CDLL(str(folder / "maths.so"))


def apply(library, name, x):
    y = np.empty_like(x)
    getattr(library, name)(ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(y.ctypes.data), ctypes.c_int64(len(x)))
    return y


def every_exponent():
    """Floats of all exponents and both signs, each with 3000 fractions; NaN, infinities, zeros, subnormals among them."""
    rng = np.random.default_rng(0)
    fractions = np.unique(np.r_[rng.integers(0, 1 << 23, 3000), 0, 1, 1 << 22, (1 << 23) - 1]).astype(np.uint32)
    bits = (np.arange(512, dtype=np.uint32)[:, None] << 23 | fractions).ravel()
    return bits.view(np.float32)


def errors(got, exact, smallest):
    """In units of the last place of the exact value."""
    spacing = np.spacing(np.maximum(np.abs(exact).astype(got.dtype), smallest))
    return np.abs(got.astype(np.float64) - exact) / spacing


def test_erf_over_all_floats(library):
    x = every_exponent()
    got = apply(library, "erf_float", x)
    nan = np.isnan(x)
    assert np.isnan(got[nan]).all()
    with np.errstate(invalid="ignore"):
        exact = scipy.special.erf(x[~nan].astype(np.float64))
    assert errors(got[~nan], exact, np.finfo(np.float32).tiny).max() <= BOUNDS["erf_float"]
    assert (np.signbit(got[~nan]) == np.signbit(x[~nan])).all()
    assert np.abs(got[~nan]).max() == 1.0


def test_erf_where_the_two_parts_meet(library):
    x = np.arange(0.9, 1.0, 2.0**-24).astype(np.float32)
    got = apply(library, "erf_float", x)
    assert errors(got, scipy.special.erf(x.astype(np.float64)), np.finfo(np.float32).tiny).max() <= BOUNDS["erf_float"]


@pytest.mark.parametrize("name", EXACT)
def test_exponentials_over_all_floats(library, name):
    x = every_exponent()
    near = np.random.default_rng(0).uniform(-110.0, 95.0, 2_000_000).astype(np.float32)
    x = np.r_[x, near, np.float32([np.inf, -np.inf, 0.0, -0.0, 88.72284, -87.33655, -103.97208, -103.97209])]
    got = apply(library, name, x)
    nan = np.isnan(x)
    assert np.isnan(got[nan]).all()
    with np.errstate(over="ignore", under="ignore"):
        exact = EXACT[name](x[~nan].astype(np.float64))
        infinite = np.isinf(exact.astype(np.float32))
    got = got[~nan]
    np.testing.assert_array_equal(got[infinite], np.inf)
    assert np.isfinite(got[~infinite]).all()
    with np.errstate(over="ignore"):
        worst = errors(got[~infinite], exact[~infinite], np.finfo(np.float32).smallest_subnormal).max()
    assert worst <= BOUNDS[name]
    assert not np.signbit(got).any()


def test_exponentials_at_zero_and_at_infinity(library):
    x = np.float32([0.0, -0.0, np.inf, -np.inf])
    assert apply(library, "exp_float", x).tolist() == [1.0, 1.0, np.inf, 0.0]
    assert apply(library, "sigmoid_float", x).tolist() == [0.5, 0.5, 1.0, 0.0]
    assert apply(library, "softplus_float", x).tolist() == [np.float32(np.log(2.0))] * 2 + [np.inf, 0.0]


def test_exponentials_of_negated_numbers_are_those_of_the_numbers(library):
    x = np.arange(0, 1 << 32, 7919, dtype=np.uint32).view(np.float32)
    assert np.array_equal(apply(library, "exp_minus_float", x), apply(library, "exp_float", -x), equal_nan=True)
    below = apply(library, "exp_float", -np.abs(x))
    assert np.array_equal(apply(library, "exp_minus_size_float", x), below, equal_nan=True)


def test_tanh_of_doubles(library):
    rng = np.random.default_rng(0)
    sizes = np.exp2(rng.uniform(-1074, 10, 2000))
    x = np.r_[sizes, -sizes, rng.uniform(-4, 4, 4000), 0.0, -0.0, np.inf, -np.inf, 5e-324, -5e-324, 19.1, 710.0]
    got = apply(library, "tanh_double", x)
    with mpmath.workprec(160):
        exact = [mpmath.tanh(mpmath.mpf(float(value))) for value in x]
        units = [mpmath.mpf(float(np.spacing(abs(float(value))))) for value in exact]
        worst = max(abs(mpmath.mpf(float(g)) - e) / u for g, e, u in zip(got, exact, units, strict=True))
    assert worst <= BOUNDS["tanh_double"]
    assert (np.signbit(got) == np.signbit(x)).all()
    assert np.isnan(apply(library, "tanh_double", np.array([np.nan]))).all()


@pytest.mark.parametrize("name", ["erf_float", *EXACT])
def test_lanes_do_not_depend_on_their_place(library, name):
    """A loop's vectorised body and its remainder give the same bits."""
    x = np.random.default_rng(0).standard_normal(64).astype(np.float32) * 2
    whole = apply(library, name, x)
    for start in range(17):
        for stop in range(start + 1, 64, 5):
            np.testing.assert_array_equal(apply(library, name, x[start:stop]), whole[start:stop])


def multiples_of_a_quarter_turn(dtype):
    """Where either function is nearly zero, up to the limit: the floats about a multiple, and those beside them."""
    counts = np.unique(np.r_[np.arange(2000), np.random.default_rng(0).integers(0, LARGE[dtype] / 1.58, 3000)])
    near = (counts * (np.pi / 2)).astype(dtype)
    return np.r_[near, np.nextafter(near, dtype(0)), np.nextafter(near, dtype(np.inf)), -near]


@pytest.mark.parametrize("name", ["sin", "cos", "lone_sin"])
def test_angles_of_floats(library, name):
    exact_of = getattr(np, name.removeprefix("lone_"))
    x = every_exponent()
    uniform = np.random.default_rng(0).uniform(-LARGE[np.float32], LARGE[np.float32], 500_000).astype(np.float32)
    near = np.r_[x[np.abs(x) <= LARGE[np.float32]], uniform, multiples_of_a_quarter_turn(np.float32)]
    got = apply(library, f"{name}_float", near)
    assert errors(got, exact_of(near.astype(np.float64)), np.finfo(np.float32).smallest_subnormal).max() <= 3.0
    assert np.abs(got).max() <= 1.0
    got = apply(library, f"{name}_float", x)
    finite = np.isfinite(x)
    assert np.isnan(got[~finite]).all()
    worst = errors(got[finite], exact_of(x[finite].astype(np.float64)), np.finfo(np.float32).smallest_subnormal)
    assert worst.max() <= 4.0


@functools.cache
def angles_of_doubles(function):
    """Angles, what a function gives of them, and the last digit of that."""
    rng = np.random.default_rng(0)
    sizes = np.exp2(rng.uniform(-1074, 20, 1000))
    uniform = rng.uniform(-LARGE[np.float64], LARGE[np.float64], 2000)
    x = np.r_[sizes, -sizes, uniform, multiples_of_a_quarter_turn(np.float64)]
    x = x[np.abs(x) <= LARGE[np.float64]]
    with mpmath.workprec(1200):
        exact = [getattr(mpmath, function)(mpmath.mpf(float(value))) for value in x]
        return x, exact, [mpmath.mpf(float(np.spacing(abs(float(value))))) for value in exact]


@pytest.mark.parametrize("name", ["sin", "cos", "lone_sin"])
def test_angles_of_doubles(library, name):
    function = name.removeprefix("lone_")
    x, exact, units = angles_of_doubles(function)
    got = apply(library, f"{name}_double", x)
    with mpmath.workprec(1200):
        worst = max(abs(mpmath.mpf(float(g)) - e) / u for g, e, u in zip(got, exact, units, strict=True))
    assert worst <= 3.0
    large = np.float64([1e7, -1e22, 1e300, np.inf, -np.inf, np.nan])
    with np.errstate(invalid="ignore"):
        want = getattr(np, function)(large)
    np.testing.assert_allclose(apply(library, f"{name}_double", large), want, rtol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_angles_row_by_row(library, dtype):
    """Signs of zeros; and one angle that is large, or none at all, in a row."""
    name = {np.float32: "float", np.float64: "double"}[dtype]
    x = np.linspace(-3, 3, 16).astype(dtype)
    x[3:5] = 0.0, -0.0
    zeros = apply(library, f"sin_{name}_row", x)[3:5]
    assert np.signbit(zeros).tolist() == [False, True]
    assert apply(library, f"cos_{name}_row", x)[3:5].tolist() == [1.0, 1.0]
    x[7:10] = 1e30, np.nan, -np.inf
    for function in ("sin", "cos"):
        with np.errstate(invalid="ignore"):
            want = getattr(np, function)(x.astype(np.float64))
        tolerance = 8 * np.finfo(dtype).eps
        np.testing.assert_allclose(apply(library, f"{function}_{name}_row", x), want, rtol=tolerance, atol=0)
