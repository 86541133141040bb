"""What a call costs, and the first call of all, as ratios to PyTorch's own operations in this run.

    python -m ksc.bench.startup [--quick]

Calls of 16 elements, arrays of 2^20 float32 on one thread, the time from a new process to the first gradient, and the
time the C++ compiler takes for one kernel. Every pair is measured in turns, and of each the fastest round counts, so
that what else the machine does disturbs both alike. The last column is the aim.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import timeit
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

import ksc as knossos
from ksc.bench.convention import find
from ksc.compiler import BuildOptions
from ksc.paths import build_root, examples_dir, prelude_dir

EXAMPLE = examples_dir() / "dl-activations"


@dataclass(frozen=True)
class Row:
    """One line of the table: a time in seconds, what it is compared with, and the largest ratio or time aimed at."""

    what: str
    seconds: float
    against: str = ""
    other: float = 0.0
    aim: str = ""

    def __str__(self) -> str:
        ratio = f"{self.seconds / self.other:6.2f}" if self.other else " " * 6
        other = f"{self.against} {_duration(self.other)}" if self.other else ""
        return f"{self.what:<44} {_duration(self.seconds):>10}  {ratio}  {other:<36} {self.aim}"


def _duration(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def side_by_side(functions: list[Callable[[], object]], rounds: int, seconds: float = 0.02) -> list[float]:
    """The fastest time of one call of each function, over rounds in which each has its turn."""
    counts = []
    for function in functions:
        function()
        single = min(timeit.repeat(function, number=1, repeat=5))
        counts.append(max(1, round(seconds / max(single, 1e-9))))
    best = [float("inf")] * len(functions)
    for _ in range(rounds):
        for k, (function, count) in enumerate(zip(functions, counts, strict=True)):
            best[k] = min(best[k], timeit.timeit(function, number=count) / count)
    return best


def small_calls(rounds: int) -> Iterator[Row]:
    """16 elements."""
    relu3 = _kernel()
    x = torch.linspace(-2.0, 2.0, 16)
    xg = x.clone().requires_grad_()
    ones = torch.ones_like(x)

    def backward(function: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[], object]:
        def run() -> object:
            return torch.autograd.grad(function(xg), xg, ones)

        return run

    ours, theirs = side_by_side([lambda: relu3(x), lambda: torch.relu(x)], rounds)
    yield Row("16 elements, no grad", ours, "torch.relu", theirs, "<= 1.0")
    ours, theirs = side_by_side([lambda: relu3(xg), lambda: torch.relu(xg)], rounds)
    yield Row("16 elements, forward with grad", ours, "torch.relu", theirs, "<= 1.2")
    ours, theirs = side_by_side([backward(relu3), backward(torch.relu)], rounds)
    yield Row("16 elements, forward and backward", ours, "torch.relu", theirs, "<= 1.2")
    direct, both = side_by_side([lambda: relu3.vjp(x, ones), lambda: relu3.value_and_grad(x)], rounds)
    yield Row("16 elements, kernel.vjp", direct, aim="<= 1.5 us")
    yield Row("16 elements, kernel.value_and_grad", both, aim="<= 1.5 us")


def large_arrays(rounds: int) -> Iterator[Row]:
    """2^20 elements of float32 on one thread."""
    relu3 = _kernel()
    torch.set_num_threads(1)
    x = torch.randn(1 << 20, generator=torch.Generator().manual_seed(0))
    y = torch.randn_like(x)
    ours, theirs = side_by_side([lambda: relu3(x), lambda: x.clone()], rounds)
    yield Row("2^20 float32, forward", ours, "x.clone()", theirs, "<= 1.15")
    ours, theirs = side_by_side([lambda: relu3.vjp(x, y), lambda: torch.add(x, y)], rounds)
    yield Row("2^20 float32, backward", ours, "torch.add(x, y)", theirs, "<= 1.15")


FIRST_GRADIENT = """
import time
start = time.{clock}()
import torch
torch_only = time.{clock}() - start
import sys
sys.path.insert(0, {example!r})
import ksc
from relu3 import relu3
x = torch.linspace(-2.0, 2.0, 16, requires_grad=True)
ksc.vmap(relu3)(x).sum().backward()
print(time.{clock}() - start - torch_only)
"""


MANY = 1000
"""How many kernels lie in a cache that is well used."""


def first_gradients(rounds: int) -> Iterator[Row]:
    """A new process, to the first gradient of relu3, over what ``import torch`` takes; warm, in processor time."""
    repeats = range(max(1, rounds // 10))
    cold = min(_first_gradients(1, "perf_counter")[0] for _ in repeats)
    yield Row("first gradient, no kernel cached", cold, aim="<= 1 s")
    warm = min(_first_gradients(1 + len(repeats), "process_time")[1:])
    yield Row("first gradient, kernel cached", warm, aim="<= 0.1 s")
    warm = min(_first_gradients(1 + len(repeats), "process_time", beside=MANY)[1:])
    yield Row(f"first gradient, kernel cached among {MANY}", warm, aim="<= 0.1 s")


def _first_gradients(processes: int, clock: str, *, beside: int = 0) -> list[float]:
    """What each of some processes takes that share a cache, empty at first; then kernels lie ``beside`` its own."""
    seconds = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "core").symlink_to(build_root() / "core")
        for number in range(processes):
            result = subprocess.run(
                [sys.executable, "-c", FIRST_GRADIENT.format(example=str(EXAMPLE), clock=clock)],
                env={**os.environ, "KSC_BUILD_DIR": str(folder)},
                capture_output=True,
                text=True,
                check=True,
            )
            seconds.append(float(result.stdout))
            if number == 0:
                fill_cache(folder / "torch_extensions", beside)
    return seconds


def fill_cache(cache: Path, count: int) -> None:
    """Put copies of the kernels and traces in a cache beside them, under other names, ``count`` of each."""
    entries = [entry for entry in (*cache.glob("*-*"), *cache.glob(".traces/*-*")) if len(_key(entry)) == 16]
    for entry in entries:
        for number in range(count):
            copy = entry.with_name(entry.name.replace(_key(entry), f"{number:016x}"))
            if entry.is_dir():
                shutil.copytree(entry, copy)
            else:
                shutil.copy2(entry, copy)


def _key(entry: Path) -> str:
    return entry.stem.rpartition("-")[2]


def compile_time(rounds: int) -> Iterator[Row]:
    """What the C++ compiler takes for relu3 with its vjp."""
    source = _kernel().source_path
    options = BuildOptions.from_environment()
    compiler = os.environ.get("CXX", "g++")
    with tempfile.TemporaryDirectory() as name:
        target = str(Path(name) / "kernel.so")
        command = [compiler, *options.compile_flags(), "-shared", f"-I{prelude_dir()}", str(source), "-o", target]
        command += options.link_flags()
        times = timeit.repeat(lambda: subprocess.run(command, check=True), number=1, repeat=max(2, rounds // 10))
    yield Row("the C++ compiler for one kernel", min(times), aim="<= 0.5 s")


def _kernel() -> knossos.Kernel:
    (relu3,) = find(EXAMPLE / "relu3.py")
    return relu3.kernel


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    rounds = 5 if parser.parse_args().quick else 40
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {os.cpu_count()} cores")
    print(f"{'':<44} {'time':>10}  {'ratio':>6}  {'compared with':<36} aim")
    for measure in (small_calls, large_arrays, first_gradients, compile_time):
        for row in measure(rounds):
            print(row, flush=True)


if __name__ == "__main__":
    main()
