"""``python -m ksc.bench``: measure, save as JSON, and print the table."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ksc.bench import suite
from ksc.bench.peers import MODES
from ksc.bench.plan import Plan
from ksc.bench.table import markdown, read, summary
from ksc.errors import ArgumentError
from ksc.paths import build_root, examples_dir


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; gives the exit status: 1 where a benchmark could not be run, 2 where the request is wrong."""
    options = _parser().parse_args(arguments)
    if importlib.util.find_spec("pytest_benchmark") is None:
        sys.stderr.write("ksc.bench needs pytest-benchmark: pip install 'ksc[bench]'\n")
        return 2
    import pytest

    output: Path = options.json
    try:
        plan = Plan(
            options.files or sorted(examples_dir().glob("*/*.py")),
            threads=options.threads,
            modes=options.modes,
            kernels=options.kernels,
            sizes=options.sizes,
            only=options.peers,
            seconds=options.seconds,
        )
    except ArgumentError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if not plan.cells:
        sys.stderr.write("no benchmark fits\n")
        return 2
    output.parent.mkdir(parents=True, exist_ok=True)
    # Where no cell can be run nothing is saved, and what an earlier run saved is not this one's.
    output.unlink(missing_ok=True)
    flags = ["-q", "-c", os.devnull, "--rootdir", str(output.parent), "-p", "no:cacheprovider"]
    flags += ["-W", "ignore::DeprecationWarning"]
    flags += ["--benchmark-quiet", "--benchmark-columns=min", f"--benchmark-json={output}", "--import-mode=importlib"]
    status = pytest.main([*flags, str(Path(suite.__file__))], plugins=[plan])
    if output.is_file() and output.stat().st_size:
        rows = read(output)
        sys.stdout.write(f"\n{markdown(rows)}\n\n{summary(rows)}\n{output}\n")
    return int(status != 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ksc.bench", description="Time kernels beside their peers.")
    parser.add_argument("files", nargs="*", type=Path, help="files with benchmarks; the examples if there are none")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2], metavar="N")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--kernels", nargs="+", default=[], metavar="NAME")
    parser.add_argument("--sizes", nargs="+", default=[], metavar="SIZE", help="as the table writes them, 16 or 2^20")
    parser.add_argument("--peers", nargs="+", default=[], metavar="PEER", help="as the table writes them")
    parser.add_argument("--seconds", type=float, default=0.2, help="how long each peer of a cell is measured")
    parser.add_argument("--json", type=Path, default=build_root() / "bench" / "bench.json")
    return parser


if __name__ == "__main__":
    sys.exit(main())
