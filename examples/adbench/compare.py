"""The four problems of ADBench beside the same written by hand in C++: python compare.py FOLDER, see ``instances``.

Objectives and derivatives are first compared, then measured in turns, on one thread; of each the tenth
percentile counts, as a processor's clock is higher for some calls than for most.
The table is in Markdown, with times in milliseconds of processor time, and ratios below 1 where the kernel is faster.
"""

import argparse
import ctypes
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.testing import assert_close

from ksc.cli.target import import_file
from ksc.compiler import BuildOptions
from ksc.paths import prelude_dir

HERE = Path(__file__).resolve().parent
gmm, ba, hand, lstm = (
    import_file(HERE.parent / f"{place}.py") for place in ("ml-gmm/gmm", "cv-ba/ba", "cv-hand/hand", "dl-lstm/lstm")
)

Run = Callable[[], tuple[Tensor, ...]]
Problem = tuple[Run, Run, Run, Run]
"""Objective and derivatives, as compiled and by hand."""


def build(folder: str) -> ctypes.CDLL:
    """Compile what is written by hand with the flags that kernels are compiled with."""
    options = BuildOptions.from_environment()
    target = str(Path(folder) / "by_hand.so")
    command = [
        "g++",
        *options.compile_flags(),
        "-shared",
        f"-I{prelude_dir()}",
        str(HERE / "by_hand.cpp"),
        "-o",
        target,
    ]
    subprocess.run([*command, *options.link_flags()], check=True)
    library = ctypes.CDLL(target)
    library.gmm.restype = library.lstm.restype = ctypes.c_double
    return library


def _c(value: Any) -> Any:
    if isinstance(value, Tensor):
        return ctypes.c_void_p(value.data_ptr())
    return ctypes.c_void_p(None) if value is None else ctypes.c_int64(value)


def _number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def of_gmm(library: ctypes.CDLL, path: Path) -> Problem:
    """What the prior adds needs no loop over points, and is left to the kernel in both."""
    alphas, means, icf, x, gamma, m = gmm.read(path)
    known = (x.shape[0], x.shape[1], len(alphas), alphas, means, icf, x)
    none = x[:0]
    rest = gmm.gmm_objective(alphas, means, icf, none, gamma, m)
    bars_of_rest = gmm.gradient(alphas, means, icf, none, gamma, m)[1]
    rest = rest - 0.5 * x.numel() * torch.log(_number(2.0 * torch.pi))

    def objective() -> tuple[Tensor, ...]:
        return (library.gmm(*map(_c, (*known, None, None, None))) + rest,)

    def derivative() -> tuple[Tensor, ...]:
        bars = [bar.clone() for bar in bars_of_rest]
        return (library.gmm(*map(_c, (*known, *bars))) + rest, *bars)

    def ours() -> tuple[Tensor, ...]:
        value, bars = gmm.gradient(alphas, means, icf, x, gamma, m)
        return (value, *bars)

    return lambda: (gmm.gmm_objective(alphas, means, icf, x, gamma, m),), ours, objective, derivative


def of_ba(library: ctypes.CDLL, path: Path) -> Problem:
    """Errors and nonzeros."""
    args = ba.read(path)
    p = len(args[2])

    def objective() -> tuple[Tensor, ...]:
        outs = torch.empty(p, 2, dtype=torch.float64), torch.empty(p, dtype=torch.float64)
        library.ba(*map(_c, (p, *args, *outs, None, None)))
        return outs

    def derivative() -> tuple[Tensor, ...]:
        outs = torch.empty(p, 2, 15, dtype=torch.float64), torch.empty(p, dtype=torch.float64)
        library.ba(*map(_c, (p, *args, None, None, *outs)))
        return outs

    return lambda: ba.errors(*args), lambda: ba.nonzeros(*args), objective, derivative


def of_hand(library: ctypes.CDLL, path: Path) -> Problem:
    """Errors and all derivatives, of either kind."""
    args = hand.read(path)
    theta, *sliding, model, which, points = args
    u = sliding[0] if sliding else None
    bones = (model.parents, model.relatives, model.inverse_absolutes)
    mesh = (model.vertices, model.first, model.bones, model.weights, len(model.vertices), model.triangles)

    def run(*outs: Tensor | None) -> None:
        library.hand(*map(_c, (theta, u, *bones, *mesh, len(points), which, points, *outs)))

    def objective() -> tuple[Tensor, ...]:
        errors = torch.empty_like(points)
        run(errors, None, None)
        return (errors,)

    def derivative() -> tuple[Tensor, ...]:
        by_theta = torch.empty(len(points), 3, 26, dtype=torch.float64)
        by_u = None if u is None else torch.empty(len(points), 3, 2, dtype=torch.float64)
        run(torch.empty_like(points), by_u, by_theta)
        return (by_theta,) if by_u is None else (by_u, by_theta)

    return lambda: (hand.objective(args),), lambda: hand.derivatives(args), objective, derivative


def of_lstm(library: ctypes.CDLL, path: Path) -> Problem:
    """The loss and its gradient."""
    args = lstm.read(path)
    main, _, _, sequence = args
    known = (len(main) // 2, *sequence.shape, *args)

    def objective() -> tuple[Tensor, ...]:
        return (_number(library.lstm(*map(_c, (*known, None, None)))),)

    def derivative() -> tuple[Tensor, ...]:
        bars = torch.empty_like(args[0]), torch.empty_like(args[1])
        return (_number(library.lstm(*map(_c, (*known, *bars)))), *bars)

    def ours() -> tuple[Tensor, ...]:
        value, bars = lstm.gradient(*args)
        return (value, *bars)

    return lambda: (lstm.lstm_loss(*args),), ours, objective, derivative


KINDS = {"gmm": of_gmm, "ba": of_ba, "hand": of_hand, "lstm": of_lstm}


def instances(folder: Path) -> Iterator[tuple[str, Path]]:
    """The instances in the folders gmm, ba, hand and lstm, each with its kind; one in hand has its model beside it."""
    for kind in KINDS:
        for path in sorted((folder / kind).rglob("*.txt")):
            if path.parent.name != "model":
                yield kind, path


def measured(runs: Sequence[Run], seconds: float) -> list[float]:
    """The processor time of a call of each in milliseconds, the tenth percentile; they have their turns."""
    times: list[list[int]] = [[] for _ in runs]
    end = time.perf_counter() + seconds
    while len(times[0]) < 3 or time.perf_counter() < end:
        for run, own in zip(runs, times, strict=True):
            start = time.thread_time_ns()
            run()
            own.append(time.thread_time_ns() - start)
    return [sorted(own)[len(own) // 10] / 1e6 for own in times]


def main(argv: Sequence[str] = ()) -> None:
    """Compare, and print a line for each instance."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="where the instances are; synthetic ones without")
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each instance is measured")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as made:
        folder = options.folder or synthetic(Path(made))
        library = build(made)
        heads = ("objective", "by hand", "ratio", "derivative", "by hand", "ratio")
        print(_line("instance", heads), _line("-" * 36, ["-" * 9 + ":"] * 6), sep="\n")
        for kind, path in instances(folder):
            objective, derivative, *by_hand = KINDS[kind](library, path)
            assert_close(objective(), by_hand[0](), rtol=1e-9, atol=1e-9)
            assert_close(derivative(), by_hand[1](), rtol=1e-9, atol=1e-8)
            a, b, c, d = measured([objective, by_hand[0], derivative, by_hand[1]], options.seconds)
            name = path.stem if path.stem.startswith(kind) else f"{path.parent.name} {path.stem}"
            figures = (f"{a:.3f}", f"{b:.3f}", f"{a / b:.2f}", f"{c:.3f}", f"{d:.3f}", f"{c / d:.2f}")
            print(_line(name, figures), flush=True)


def _line(name: str, figures: Sequence[str]) -> str:
    return " | ".join([f"| {name:<36}", *(f"{figure:>10}" for figure in figures)]) + " |"


def synthetic(folder: Path) -> Path:
    """Write a small instance of each problem."""
    for kind in KINDS:
        (folder / kind).mkdir()
    gmm.generate(50, 3, 4, folder / "gmm" / "gmm.txt")
    ba.generate(3, 20, 40, folder / "ba" / "ba.txt")
    hand.generate(20, folder / "hand")
    lstm.generate(2, 20, 8, folder / "lstm" / "lstm.txt")
    return folder


if __name__ == "__main__":
    # Weights of a mixture underflow, and processors are a hundred times slower on such numbers, ours and by hand.
    torch.set_flush_denormal(True)
    main(sys.argv[1:])
