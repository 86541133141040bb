"""More elements than integers of 32 bits can number, without so many."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path

import numpy as np

from ksc.codegen import Unit
from ksc.codegen.cuda import generate
from ksc.derive import derive
from ksc.ir.interpret import interpret
from ksc.ir.text import parse
from ksc.passes import optimise
from ksc.paths import prelude_dir
from tests.cuda.cases import cases
from tests.cuda.grid import SHIM, Device, Library
from tests.cuda.test_grid import LARGE
from tests.cuda.test_lanes import TEXTS

PLACES = r"""
#include <cstdio>
#include "ks/cuda/prelude.h"

// A result that lies densely, an argument with its dimensions turned, and one that is the same along the first of them.
int main() {
    const int64_t sizes[] = {70001, 3, 40009}, n = sizes[0] * sizes[1] * sizes[2];
    char *const data[] = {nullptr, nullptr, nullptr};
    const int64_t numbers[3] = {};
    const int64_t strides[3][3] = {{4, 4 * sizes[0], 12 * sizes[0]}, {4 * sizes[1] * sizes[2], 4 * sizes[2], 4}, {0, 4, 12}};
    ks::strided<3> all;
    int wrong = ks::describe(all, data, strides[0], sizes, 3, numbers) != n;
    const auto look = [&](int64_t k) {
        const ks::offsets<3> found(all, k);
        const int64_t i = k % sizes[0], j = k / sizes[0] % 3, l = k / sizes[0] / 3;
        for (int operand = 0; operand < 3; ++operand) {
            wrong += found.of[operand] != i * strides[operand][0] + j * strides[operand][1] + l * strides[operand][2];
        }
        const ks::nest<3> nest(sizes[2], sizes[1], sizes[0]);
        const auto at = nest.at(k);
        wrong += at[0] != l || at[1] != j || at[2] != i || nest.count() != n;
        ks::given operand = {nullptr, {sizes[2], sizes[1], sizes[0]}, {1, sizes[2], sizes[1] * sizes[2]}};
        wrong += 4 * ks::place_of<3>(operand, k) != found.of[1];
    };
    for (int64_t k = 0; k < n; k += n / 1000) look(k);
    for (int64_t near : {int64_t{1} << 31, int64_t{1} << 32, n}) {
        for (int64_t k = near - 3; k < near + 3 && k < n; ++k) look(k);
    }
    wrong += ks::blocks_for(n) != (n + KS_BLOCK_SIZE - 1) / KS_BLOCK_SIZE || ks::blocks_for(int64_t{1} << 50) != INT32_MAX || ks::blocks_for(0) != 1;
    std::printf("%d\n", wrong);
}
"""


MANY = f"(def many Float ({' '.join(f'(x{k} : Float)' for k in range(20))}) {{}})".format(
    functools.reduce(lambda body, k: f"(mul {body} (sin x{k}))", range(1, 20), "x0")
)
"""Of its vjp, 41 operands: more than there are bits in a word."""


def test_places_of_elements(tmp_path: Path) -> None:
    source, made = tmp_path / "places.cpp", tmp_path / "places"
    source.write_text(PLACES, "utf-8")
    flags = ("-std=c++20", "-O1", "-fsanitize=undefined", "-fno-sanitize-recover=all", "-I", prelude_dir(), "-I", SHIM)
    subprocess.run(["g++", *flags, source, SHIM / "shim.cpp", "-o", made], check=True)
    assert subprocess.run([made], capture_output=True, text=True, check=True).stdout == "0\n"


def test_kernels_go_the_other_way() -> None:
    """Loops in each other, operands that are copied, lanes of any strides, where there are more than so many."""
    found = [
        case for name in ("outer", "weighted") for case in cases(name, parse(LARGE[name][0]), LARGE[name][1], ("", "v"))
    ]
    sources = [
        generate(Unit(f"{case.name}_{case.derivation}", [("", case.program)], "float64", kind="tensor", offsets=64))
        for case in found
    ]
    lane = optimise(derive(parse(TEXTS["two"]), "v"))
    lanes = generate(Unit("two", [("v", lane)], "float64"))
    many = optimise(derive(parse(MANY), "v"))
    operands = generate(Unit("many", [("v", many)], "float64"))
    library = Library([*sources, lanes, operands], optimised=False, few=True)
    for case, source in zip(found, sources, strict=True):
        for turn in (np.asarray, np.asfortranarray):
            args = [turn(arg) for arg in case.arguments]
            shapes = [np.shape(value) for value in case.expected]
            device, outs = library.tensors(source.entries[""], case.program, args, shapes, device=Device())
            assert device.error is None
            for out, value in zip(outs, case.expected, strict=True):
                np.testing.assert_allclose(out, value, rtol=1e-12, atol=1e-12)
    x = np.linspace(-1.0, 1.0, 3 * 5 * 40).reshape(40, 5, 3)
    args = [x.T, np.cos(x.T), np.asfortranarray(np.sin(x.T)), np.broadcast_to(x.T[:, :, :1], x.T.shape)]
    dense = [np.linspace(k, k + 1.0, 64) for k in range(20)]
    for entry, program, given in (
        (lanes.entries["v"], lane, args),
        (operands.entries["v"], many, [*dense, np.asarray(0.5)]),
    ):
        device, outs = library.lanes(entry, program, given)
        assert device.error is None
        rows = zip(*(arg.ravel().tolist() for arg in np.broadcast_arrays(*given)), strict=True)
        for out, column in zip(outs, zip(*(interpret(program, row) for row in rows), strict=True), strict=True):
            np.testing.assert_allclose(out.ravel(), column, rtol=1e-13)
