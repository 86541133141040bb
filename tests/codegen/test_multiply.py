"""The prelude's product of matrices: against numpy and, bit for bit, against a loop over the terms in order."""

import ctypes
import itertools
import platform
import shutil
import subprocess
from dataclasses import dataclass, replace

import numpy as np
import pytest

from ksc.compiler import BuildOptions
from ksc.paths import prelude_dir

SOURCE = """
#include <cmath>

#include "ks/prelude.h"
#include "ks/host.h"

namespace {

template <class T> ks::matrix<T> operand(T *data, int64_t rows, int64_t columns, int turned) {
    const int64_t size[] = {turned ? columns : rows, turned ? rows : columns};
    const auto whole = ks::tensor<T, 2>::at(data, size);
    return turned ? ks::transposed(whole) : ks::as_rows(whole);
}

template <class T>
int multiplied(int threads, T *c, T *a, T *b, int64_t rows, int64_t columns, int64_t depth, int a_turned, int b_turned) {
    ks::host host(threads);
    ks::runtime rt(host.runtime());
    return rt.guard([&] {
        const int64_t size[] = {rows, columns};
        const auto product = ks::tensor<T, 2>::at(c, size);
        ks::multiply(rt, product, operand(a, rows, depth, a_turned), operand(b, depth, columns, b_turned), depth);
    });
}

template <class T>
int in_order(T *c, T *a, T *b, int64_t rows, int64_t columns, int64_t depth, int a_turned, int b_turned) {
    const auto left = operand(a, rows, depth, a_turned), right = operand(b, depth, columns, b_turned);
    for (int64_t i = 0; i < rows; ++i) {
        for (int64_t j = 0; j < columns; ++j) {
            T sum = 0;
            for (int64_t k = 0; k < depth; ++k) {
                const T x = left.data[i * left.row + k * left.column], y = right.data[k * right.row + j * right.column];
#if defined(KS_SUMS_IN_LANES) && defined(__FP_FAST_FMA)
                sum = std::fma(x, y, sum);  // what the compiler makes of x * y + sum, unless it has several products at once
#else
                sum += x * y;
#endif
            }
            c[i * columns + j] = sum;
        }
    }
    return 0;
}

}  // namespace

#define ENTRIES(type)                                                                                                   \\
    extern "C" int multiply_##type(int threads, type *c, type *a, type *b, int64_t rows, int64_t columns,               \\
                                   int64_t depth, int a_turned, int b_turned) {                                         \\
        return threads == 0 ? in_order(c, a, b, rows, columns, depth, a_turned, b_turned)                               \\
                            : multiplied(threads, c, a, b, rows, columns, depth, a_turned, b_turned);                   \\
    }
ENTRIES(float)
ENTRIES(double)
"""

ORDERS = list(itertools.product((False, True), repeat=2))
"""Whether a and b are given as their transposes."""


@dataclass(frozen=True)
class Products:
    library: ctypes.CDLL
    in_lanes: bool
    """Whether a vector times the columns of a matrix may be summed up in lanes."""

    def __call__(self, a, b, turned=(False, False), threads=1):
        """The product of ``a`` and ``b``, each laid out by columns where ``turned``; in order by a loop if ``threads`` is 0."""
        (rows, depth), columns = a.shape, b.shape[1]
        operands = [
            np.asarray(x, order="F" if by_columns else "C") for x, by_columns in zip((a, b), turned, strict=True)
        ]
        around = np.full(rows * columns + 128, 7.0, a.dtype)
        c = around[64 : 64 + rows * columns].reshape(rows, columns)
        c[...] = np.nan
        entry = getattr(self.library, "multiply_float" if a.dtype == np.float32 else "multiply_double")
        places = [ctypes.c_void_p(x.ctypes.data) for x in (c, *operands)]
        sizes = [ctypes.c_int64(n) for n in (rows, columns, depth)]
        assert entry(threads, *places, *sizes, *turned) == 0
        assert (around[:64] == 7.0).all()
        assert (around[64 + rows * columns :] == 7.0).all()
        return c

    def keep_the_order(self, rows, columns, turned):
        by_columns = (rows == 1 and (turned[1] or columns == 1)) or (columns == 1 and not turned[0])
        return not (self.in_lanes and by_columns)


@pytest.fixture(scope="module", params=["contracted", "exact"])
def products(request, tmp_path_factory):
    """Compiled for this machine, and with smaller registers and every operation rounded by itself."""
    folder = tmp_path_factory.mktemp("multiply")
    options = BuildOptions.from_environment()
    if request.param == "exact":
        x86 = platform.machine().lower() in ("x86_64", "amd64")
        options = replace(options, contract=False, march="x86-64-v3" if x86 else options.march)
    (folder / "multiply.cpp").write_text(SOURCE)
    compiler = shutil.which("g++")
    assert compiler is not None
    strict = ["-Wall", "-Wextra", "-Wconversion", "-Werror"]
    command = [compiler, *options.compile_flags(), *strict, "-shared", "-pthread", "-I", str(prelude_dir())]
    subprocess.run([*command, str(folder / "multiply.cpp"), "-o", str(folder / "multiply.so"), "-lm"], check=True)
    return Products(ctypes.CDLL(str(folder / "multiply.so")), options.contract)


def random(rng, rows, columns, dtype):
    return rng.standard_normal((rows, columns)).astype(dtype)


def same_bits(x, y):
    return np.array_equal(x.view(np.uint8), y.view(np.uint8))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("depth", [1, 2, 3, 4, 7, 37, 192, 193, 390])
def test_all_remainders_of_a_tile(products, dtype, depth):
    rng = np.random.default_rng(depth)
    rows = [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 23]
    columns = [1, 2, 3, 4, 5, 8, 10, 15, 16, 17, 24, 31, 33, 40, 48, 49, 63, 64, 65, 95, 97, 144]
    for m, n in itertools.product(rows, columns):
        a, b = random(rng, m, depth, dtype), random(rng, depth, n, dtype)
        exact = a.astype(np.float64) @ b.astype(np.float64)
        bound = depth * np.finfo(dtype).eps * (np.abs(a).astype(np.float64) @ np.abs(b).astype(np.float64))
        turned = ORDERS[rng.integers(4)]
        got = products(a, b, turned)
        assert (np.abs(got - exact) <= bound).all(), (m, n, turned)
        if products.keep_the_order(m, n, turned):
            assert same_bits(got, products(a, b, turned, threads=0)), (m, n, turned)


@pytest.mark.parametrize("turned", ORDERS)
def test_where_operands_are_packed(products, turned):
    rng = np.random.default_rng(0)
    for dtype, m, n, depth in [(np.float32, 397, 211, 210), (np.float64, 185, 403, 270)]:
        a, b = random(rng, m, depth, dtype), random(rng, depth, n, dtype)
        assert same_bits(products(a, b, turned), products(a, b, turned, threads=0))


@pytest.mark.parametrize("turned", ORDERS)
def test_without_elements_or_terms(products, turned):
    for m, n, depth in itertools.product((0, 1, 2, 70), repeat=3):
        a, b = np.ones((m, depth)), np.ones((depth, n))
        assert np.array_equal(products(a, b, turned), np.full((m, n), float(depth)))


@pytest.mark.parametrize("turned", ORDERS)
@pytest.mark.parametrize("sizes", [(3, 5, 4), (11, 19, 33), (75, 201, 200), (1, 100, 100), (100, 1, 100)])
def test_a_row_or_column_that_is_not_finite_reaches_no_other(products, sizes, turned):
    m, n, depth = sizes
    rng = np.random.default_rng(0)
    for value in (np.nan, np.inf, -np.inf):
        a, b = random(rng, m, depth, np.float32), random(rng, depth, n, np.float32)
        a[m // 2, depth // 2] = value
        b[depth // 3, n - 1] = value
        with np.errstate(invalid="ignore"):
            exact = a.astype(np.float64) @ b.astype(np.float64)
        np.testing.assert_allclose(products(a, b, turned), exact, rtol=1e-3, atol=1e-3)


def test_sums_of_negative_zeros_are_positive(products):
    for m, n, depth in [(1, 1, 1), (1, 70, 3), (70, 1, 3), (2, 3, 2), (9, 50, 200)]:
        a, b = np.full((m, depth), -0.0, np.float32), np.ones((depth, n), np.float32)
        for turned in ORDERS:
            assert not np.signbit(products(a, b, turned)).any()


@pytest.mark.parametrize("turned", ORDERS)
@pytest.mark.parametrize("sizes", [(300, 250, 260), (2501, 20, 300), (20, 2503, 300), (1, 4001, 900), (4001, 1, 900)])
def test_threads_give_the_bits_of_one(products, sizes, turned):
    m, n, depth = sizes
    rng = np.random.default_rng(0)
    a, b = random(rng, m, depth, np.float32), random(rng, depth, n, np.float32)
    alone = products(a, b, turned)
    for threads in (2, 3):
        assert same_bits(products(a, b, turned, threads), alone)
