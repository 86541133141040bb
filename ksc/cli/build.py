"""``ksc build``: compile a kernel ahead of time."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ksc.cli.dtypes import add_dtypes, chosen_dtypes
from ksc.cli.target import add_target, load_kernel

if TYPE_CHECKING:
    import torch


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = commands.add_parser("build", help="compile a kernel and its derivative ahead of time")
    add_target(parser)
    parser.add_argument(
        "--all",
        action="store_true",
        help="build every kernel of a module, FILE.py or its dotted name, so that no process that imports it compiles; "
        "where annotations do not tell the dimensions of tensors, for what NAME_bench_configs of the module yields",
    )
    add_dtypes(parser)
    parser.add_argument("--cuda", action="store_true", help="for GPUs as well, with nvcc or NVRTC; no GPU is needed")
    parser.add_argument(
        "--timings",
        action="store_true",
        help="make the kernel anew, and show how long each step took: imports, trace, transforms, passes, C++",
    )
    parser.add_argument("--json", action="store_true", help="for a program to read")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compile for each dtype, for ``--args`` or what the annotations say, and print where the sources lie."""
    if args.all:
        from ksc.cli.build_all import run_all

        return run_all(args.target, chosen_dtypes(args), as_json=args.json, device="cuda" if args.cuda else None)
    if args.timings:
        return _run_with_timings(args)
    kernel = load_kernel(args.target, args.args)
    report = []
    for dtype in chosen_dtypes(args):
        start = time.perf_counter()
        with _default_dtype(dtype) as floats:
            kernel.compile(device="cuda" if args.cuda else None)
            special, _ = kernel.example(None)
            sources = [special.built("", floats, device).source_path for device in ("cpu", "cuda")[: 1 + args.cuda]]
        places = dict(zip(("source", "cuda"), map(str, sources), strict=False))
        report.append({"dtype": dtype, **places, "seconds": round(time.perf_counter() - start, 3)})
    if args.json:
        print(json.dumps(report, indent=2))
    else:
        for built in report:
            print(f"{built['dtype']:<9} {built['seconds']:6.2f} s  {built['source']}")
            if args.cuda:
                print(f"{'':<20}{built['cuda']}")
    return 0


def _run_with_timings(args: argparse.Namespace) -> int:
    """Build and load the value and the vjp, and print a row for each step."""
    from ksc.timings import recorded

    with recorded() as timings:
        with timings.step("import torch"):
            import torch
        with timings.step("import ksc"):
            import ksc.codegen.cpp
            import ksc.derive
            import ksc.lowering  # noqa: F401
        began = time.perf_counter()
        with timings.step("import the file"):
            kernel = load_kernel(args.target)
        with timings.step("other"):
            if args.args is not None:
                kernel = load_kernel(args.target, args.args)
            for dtype in chosen_dtypes(args):
                with _default_dtype(dtype):
                    kernel.load(getattr(torch, dtype))
        total = time.perf_counter() - began
    rows = [{"step": step, "ms": round(1e3 * seconds, 3)} for step, seconds in timings.seconds.items()]
    rows.append({"step": "total without imports of torch and ksc", "ms": round(1e3 * total, 3)})
    if args.json:
        print(json.dumps(rows, indent=2))
    else:
        for row in rows:
            print(f"{row['step']:<40} {row['ms']:10.1f} ms")
    return 0


@contextmanager
def _default_dtype(name: str) -> Iterator[torch.dtype]:
    """Set the dtype of Floats that nothing says more of, and set it back."""
    import torch

    before = torch.get_default_dtype()
    chosen: torch.dtype = getattr(torch, name)
    torch.set_default_dtype(chosen)
    try:
        yield chosen
    finally:
        torch.set_default_dtype(before)
