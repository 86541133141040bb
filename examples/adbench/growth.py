"""How objective and derivative of the four problems of ADBench grow with the data: python growth.py.

Synthetic instances of n points, observations or characters and of a hundred times as many, on one thread. Times are in
milliseconds of processor time, the tenth percentile of many calls in turns; the last column says how many objectives a
derivative costs at 100 n for each that it costs at n: 1 is proportional, which small instances, that the call itself
dominates, make look better.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).resolve().parent))
from compare import Run, ba, gmm, hand, lstm, measured


def gmm_of(n: int, path: Path) -> tuple[Run, Run]:
    """Ten components of points in ten dimensions."""
    args = gmm.read(*gmm.generate(n, 10, 10, path))
    return lambda: gmm.gmm_objective(*args), lambda: gmm.gradient(*args)


def ba_of(n: int, path: Path) -> tuple[Run, Run]:
    """Observations of half as many points by 20 cameras."""
    args = ba.read(*ba.generate(20, n // 2, n, path))
    return lambda: ba.errors(*args), lambda: ba.nonzeros(*args)


def hand_of(n: int, path: Path) -> tuple[Run, Run]:
    """As many vertices as points are seen."""
    args = hand.read(hand.generate(n, path, vertices=n)[0])
    return lambda: hand.objective(args), lambda: hand.derivatives(args)


def lstm_of(n: int, path: Path) -> tuple[Run, Run]:
    """Two layers, and 14 numbers a character."""
    args = lstm.read(*lstm.generate(2, n, 14, path))
    return lambda: lstm.lstm_loss(*args), lambda: lstm.gradient(*args)


CASES = {"gmm": (gmm_of, 1000), "ba": (ba_of, 1000), "hand": (hand_of, 1000), "lstm": (lstm_of, 100)}


def main(argv: Sequence[str] = ()) -> None:
    """Measure, and print a line for each problem."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each instance is measured")
    parser.add_argument("--factor", type=int, default=100, help="how many times as much data the large instance has")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    print("|      |      n | objective | derivative | ratio |      n | objective | derivative | ratio | growth |")
    print("| ---- | -----: | --------: | ---------: | ----: | -----: | --------: | ---------: | ----: | -----: |")
    with tempfile.TemporaryDirectory() as folder:
        for kind, (case, n) in CASES.items():
            cells, ratios = [], []
            for size in (n, n * options.factor):
                objective, derivative = measured(case(size, Path(folder) / f"{kind}{size}"), options.seconds)
                ratios.append(derivative / objective)
                cells.append(f"{size:>6} | {objective:>9.4f} | {derivative:>10.4f} | {ratios[-1]:>5.2f}")
            print(f"| {kind:<4} | {' | '.join(cells)} | {ratios[1] / ratios[0]:>6.2f} |", flush=True)


if __name__ == "__main__":
    # See compare.py.
    torch.set_flush_denormal(True)
    main(sys.argv[1:])
