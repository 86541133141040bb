"""``ksc build``: compile a kernel ahead of time."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ksc.cli.target import add_target, load_kernel

DTYPES = ("float16", "bfloat16", "float32", "float64")
DEFAULT_DTYPE = "float32"


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = commands.add_parser("build", help="compile a kernel and its derivative ahead of time")
    add_target(parser)
    parser.add_argument(
        "--dtype",
        action="append",
        choices=DTYPES,
        help=f"what the floats are; may be given several times (default: {DEFAULT_DTYPE})",
    )
    parser.add_argument("--json", action="store_true", help="for a program to read")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compile for each dtype, for ``--args`` or what the annotations say, and print where the source lies."""
    kernel = load_kernel(args.target, args.args)
    report = []
    for dtype in dict.fromkeys(args.dtype or [DEFAULT_DTYPE]):
        start = time.perf_counter()
        with _default_dtype(dtype):
            source = kernel.compile().source_path
        report.append({"dtype": dtype, "source": str(source), "seconds": round(time.perf_counter() - start, 3)})
    if args.json:
        print(json.dumps(report, indent=2))
    else:
        for built in report:
            print(f"{built['dtype']:<9} {built['seconds']:6.2f} s  {built['source']}")
    return 0


@contextmanager
def _default_dtype(name: str) -> Iterator[None]:
    """Set the dtype for which a kernel's source path is, and set it back."""
    import torch

    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, name))
    try:
        yield
    finally:
        torch.set_default_dtype(before)
