"""Numbers of iterations taken apart into indices, without a grid: the same as by divisions."""

from __future__ import annotations

import subprocess
from pathlib import Path

from ksc.codegen import Unit
from ksc.codegen.cuda import generate
from ksc.ir.text import parse
from ksc.passes import optimise
from ksc.paths import prelude_dir

SOURCE = r"""
#include <cstdint>
#include <cstdio>
#include "ks/cuda/indices.h"

template <int rank, class... Size> int wrong(Size... sizes) {
    const int64_t all[] = {sizes...};
    int64_t count = 1;
    for (int64_t size : all) count *= size > 0 ? size : 0;
    const ks::nest<rank> nest(sizes...);
    int found = nest.count() != count;
    const auto look = [&](int64_t k) {
        const auto at = nest.at(k);
        for (int dim = rank - 1; dim >= 0; --dim) {
            found += at[dim] != (dim > 0 ? k % all[dim] : k);
            k /= all[dim];
        }
    };
    for (int64_t k = 0; k < count && k < 5000; ++k) look(k);
    for (int64_t step = count / 5000 + 1, k = count - 1; k >= 0; k -= step) look(k);
    return found;
}

int main() {
    int found = 0;
    for (int64_t size : {1, 2, 3, 5, 7, 64, 255, 256, 257, 641, 65535, 65537, 1 << 20, (1 << 30) + 1, INT32_MAX}) {
        found += wrong<2>(INT32_MAX / size, size) + wrong<2>(INT32_MAX / size + 1, size);
        found += wrong<3>(INT32_MAX / size / 3, size, int64_t{3}) + wrong<3>(int64_t{3}, int64_t{5}, size);
    }
    found += wrong<2>(int64_t{1} << 20, int64_t{1} << 20) + wrong<2>(int64_t{-3}, int64_t{-5}) + wrong<2>(int64_t{0}, int64_t{4});
    std::printf("%d\n", found);
}
"""


def test_as_by_divisions(tmp_path: Path) -> None:
    """Up to 2^31 - 1 iterations are multiplied, more are divided; sizes below zero are none."""
    source = tmp_path / "indices.cpp"
    source.write_text(SOURCE, "utf-8")
    made = str(tmp_path / "indices")
    strict = ("-Wall", "-Wextra", "-Werror", "-fsanitize=undefined", "-fno-sanitize-recover=all")
    subprocess.run(["g++", "-std=c++20", "-O1", *strict, "-I", str(prelude_dir()), str(source), "-o", made], check=True)
    assert subprocess.run([made], capture_output=True, text=True, check=True).stdout == "0\n"


def test_elements_divide_nothing() -> None:
    program = """
(def shifted (Tensor 3 Float) ((x : (Tensor 2 Float)) (y : (Tensor 2 Float)))
  (let ((n (size x 0)) (d (size x 1)) (() (require (eq (size y 1) d) "x and y do not fit")))
    (build (tuple (size y 0) n d) (lam ((k : Integer) (i : Integer) (j : Integer))
      (sub (index (tuple i j) x) (index (tuple k j) y))))))
"""
    text = generate(Unit("shifted", [("", optimise(parse(program)))], "float32", kind="tensor")).text
    assert text.count("ks::nest<3> ") == 1
    assert "ks::quotient" not in text and "ks::remainder" not in text
