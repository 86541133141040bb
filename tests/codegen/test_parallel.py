"""Loops that run on several threads: which ones, under a host of C++ threads, and under ThreadSanitizer."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path

import pytest
import torch
from torch import Tensor

import ksc as knossos
from ksc.compiler import BuildOptions
from ksc.compiler.toolchain import find_compiler
from ksc.paths import prelude_dir


@knossos.vmap
def scaled(x: Tensor):
    return torch.sin(torch.sum(x)) * x


def weighted(x: Tensor, w: Tensor):
    assert x[0] < 1e30, "too large"
    return torch.sin(torch.dot(x, w)) * x


@knossos.register
def counted(x: Tensor):
    total = 0.0
    count = 0
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            if x[i, j] > 0.0:
                total += torch.exp(x[i, j])
                count += 1
    return total / count


@knossos.register
def decayed(x: Tensor):
    total = 0.0
    for i in range(x.shape[0]):
        total = 0.5 * total + x[i]
    return total


@knossos.register
def nested_sums(x: Tensor):
    """A sum that is read on the way."""
    total = 0.0
    largest = 0.0
    for i in range(x.shape[0]):
        total = total + x[i]
        largest = max(largest, total)
    return largest


@knossos.register
def all_positive(x: Tensor):
    return torch.all(x > 0.0)


@knossos.register
def small(x: Tensor):
    return torch.stack([x[0] * float(k) for k in range(16)])


shared = knossos.vmap(weighted, in_dims=(0, None))


def source(kernel: knossos.Kernel, derivation: str, *args: Tensor) -> str:
    kernel(*args)
    return kernel._latest.source(derivation, torch.float32).text


def shared_parts(text: str) -> list[str]:
    return re.findall(r"^ *\}((?:, ks::\w+.*)?)\);$", text, re.MULTILINE)


def test_a_map_shares_nothing() -> None:
    assert not any(shared_parts(source(scaled, "", torch.ones(3, 4))))


def test_a_shared_argument_has_its_adjoint_once_for_each_range() -> None:
    text = source(shared, "v", torch.ones(3, 5), torch.ones(5))
    assert [part for part in shared_parts(text) if part] == [", ks::summed(w_bar)"]
    text = source(shared, "v", torch.ones(3, 2), torch.ones(2))
    assert [part for part in shared_parts(text) if part] == [", ks::summed(w_bar), ks::summed(w_bar_2)"]


def test_sums_of_a_loop_are_summed_up_apart() -> None:
    assert ", ks::summed(count), ks::summed(total)" in source(counted, "", torch.ones(3, 4))


@pytest.mark.parametrize("kernel", [decayed, nested_sums])
def test_a_loop_that_hands_something_on_stays_whole(kernel: knossos.Kernel) -> None:
    assert "ks::parallel" not in source(kernel, "", torch.ones(3))


def test_truths_are_combined() -> None:
    assert ", ks::combined<bool>(t, true, " in source(all_positive, "", torch.ones(3))


def test_only_the_outermost_loop_is_divided() -> None:
    text = source(shared, "", torch.ones(3, 4), torch.ones(4))
    assert text.count("ks::parallel") == 1


@knossos.register
def means_of_channels(x: Tensor):
    return x.mean((0, 2, 3), keepdim=True)


def test_a_dimension_of_size_one_is_not_what_threads_share_out() -> None:
    text = source(means_of_channels, "", torch.ones(3, 4, 5, 6))
    assert "ks::parallel(rt, x_size1, 5 * x_size0 * x_size2 * x_size3," in text


logged = knossos.callback(lambda x: 0.5 * x, float)


@knossos.vmap
def halved(x: Tensor):
    return logged(torch.sum(x))


def test_a_callback_keeps_its_loop_whole() -> None:
    assert "ks::parallel" not in source(halved, "", torch.ones(3, 2))


def test_a_loop_that_is_known_to_be_short_stays_whole() -> None:
    assert "ks::parallel" not in source(small, "", torch.ones(16))


DRIVER = r"""
#include <cmath>
#include <cstdio>
#include <vector>
#include "ks/host.h"

extern "C" int ks_weighted(const ks_runtime *, const ks_tensor *);
extern "C" int ks_weighted_vjp(const ks_runtime *, const ks_tensor *);

int main() {
    const int64_t n = 30000, d = 8;
    std::vector<float> x(n * d), w(d), y(n * d), seeds(n * d, 1.0f);
    for (size_t i = 0; i < x.size(); ++i) { x[i] = static_cast<float>(i % 97) * 0.01f - 0.4f; }
    for (size_t i = 0; i < w.size(); ++i) { w[i] = static_cast<float>(i + 1) * 0.1f; }
    const int64_t sizes[] = {n, d};
    std::vector<std::vector<float>> values, gradients;
    for (int threads : {1, 4, 4}) {
        ks::host host(threads);
        const ks_tensor forward[] = {{y.data(), sizes, nullptr}, {x.data(), sizes, nullptr}, {w.data(), sizes + 1, nullptr}};
        if (ks_weighted(host.runtime(), forward) != 0) { return 1; }
        values.push_back(y);
        std::vector<float> x_bar(n * d), w_bar(d);
        const ks_tensor backward[] = {{x_bar.data(), sizes, nullptr}, {w_bar.data(), sizes + 1, nullptr},
                                      {x.data(), sizes, nullptr}, {w.data(), sizes + 1, nullptr},
                                      {seeds.data(), sizes, nullptr}};
        if (ks_weighted_vjp(host.runtime(), backward) != 0) { return 2; }
        x_bar.insert(x_bar.end(), w_bar.begin(), w_bar.end());
        gradients.push_back(x_bar);
    }
    if (values[0] != values[1] || gradients[1] != gradients[2]) { return 3; }
    for (size_t i = 0; i < gradients[0].size(); ++i) {
        if (std::fabs(gradients[0][i] - gradients[1][i]) > 1e-4f * (1 + std::fabs(gradients[0][i]))) { return 4; }
    }
    x[20000 * d] = 2e30f;
    x[29000 * d] = 2e30f;
    ks::host host(4);
    const ks_tensor forward[] = {{y.data(), sizes, nullptr}, {x.data(), sizes, nullptr}, {w.data(), sizes + 1, nullptr}};
    if (ks_weighted(host.runtime(), forward) != 1 || host.code() != KS_ERROR_ASSERT) { return 5; }
    std::printf("%s in line %d\n", host.message(), host.line());
    return 0;
}
"""


@pytest.mark.parametrize("sanitizer", ["", "-fsanitize=thread"])
def test_under_a_host_of_threads(tmp_path: Path, sanitizer: str) -> None:
    args = torch.ones(3, 8), torch.ones(8)
    sources = []
    for derivation in ("", "v"):
        sources.append(tmp_path / f"kernel{derivation}.cpp")
        sources[-1].write_text(source(shared, derivation, *args))
    driver = tmp_path / "driver.cpp"
    driver.write_text(DRIVER)
    program = tmp_path / "driver"
    options = BuildOptions(march="", extra=("-O1", "-g", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function"))
    flags = [flag for flag in options.compile_flags() if flag != "-O3"] + ([sanitizer] if sanitizer else [])
    command = [
        *find_compiler().command,
        *flags,
        f"-I{prelude_dir()}",
        *map(str, [driver, *sources]),
        "-o",
        str(program),
    ]
    subprocess.run([*command, *options.link_flags(), "-pthread"], check=True)
    # Under `make sanitize` Python preloads libraries that cannot be beside those of another sanitizer.
    environ = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    done = subprocess.run([str(program)], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"too large in line {weighted.__code__.co_firstlineno + 1}\n"
    assert not done.stderr


def test_what_a_divided_loop_captures_stays_in_registers_so_that_rows_are_not_gathered(tmp_path: Path):
    @knossos.register
    def scores(x: Tensor):
        return torch.logsumexp(x, 1)

    source = tmp_path / "scores.cpp"
    scores(torch.rand(3, 4))
    source.write_text(scores.cpp)
    flags = [flag for flag in BuildOptions().compile_flags() if not flag.startswith("-march")]
    target = ["-march=icelake-server"] if platform.machine() == "x86_64" else []
    command = [*find_compiler().command, *flags, *target, f"-I{prelude_dir()}", "-S", "-o", "-", str(source)]
    assembly = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "gather" not in assembly


def test_what_divides_loops_is_compiled_once_for_all_that_share_the_same(tmp_path: Path):
    @knossos.register
    def steps(x: Tensor):
        x = torch.tanh(x) / (1.0 + torch.sum(x * x))
        x = torch.exp(x) / (1.0 + torch.sum(x * torch.sin(x)))
        return torch.sin(x) / (1.0 + torch.sum(torch.exp(x)))

    file = tmp_path / "steps.cpp"
    file.write_text(source(steps, "", torch.ones(3)))
    command = [*find_compiler().command, "-std=c++17", "-O1", f"-I{prelude_dir()}", "-S", "-o", "-", str(file)]
    assembly = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert file.read_text().count("ks::parallel(") >= 4
    # One for loops that share nothing, one for those that share a sum.
    assert len(re.findall(r"^_+ZN2ks11run_divided\w*:", assembly, re.MULTILINE)) == 2


@knossos.vmap(in_dims=(0, None))
def robust(p: Tensor, w: Tensor) -> Tensor:
    x = (p[0] * w[0] + p[1] * w[1]) / w[2]
    if x * x < 1.0:
        return x * x
    return 2.0 * torch.abs(x) - 1.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_lanes_that_add_to_numbers_run_side_by_side(dtype: torch.dtype):
    generator = torch.Generator().manual_seed(0)
    p = torch.randn(1003, 2, generator=generator, dtype=dtype, requires_grad=True)
    w = torch.tensor([0.5, -1.5, 1.25], dtype=dtype, requires_grad=True)
    x = (p[:, 0] * w[0] + p[:, 1] * w[1]) / w[2]
    want = torch.where(x * x < 1.0, x * x, 2.0 * torch.abs(x) - 1.0)
    seed = torch.randn(1003, generator=generator, dtype=dtype)
    got = robust(p, w)
    torch.testing.assert_close(got, want)
    tolerance = {torch.float32: 1e-4, torch.float64: 1e-11}[dtype]
    for g, e in zip(*(torch.autograd.grad(y, (p, w), seed) for y in (got, want)), strict=True):
        torch.testing.assert_close(g, e, rtol=tolerance, atol=tolerance)
    text = robust._latest.source("v", dtype).text
    assert re.search(r"KS_SUM\(w_bar\w*, w_bar\w*, w_bar\w*\)\n *for \(int64_t lane = first", text)
