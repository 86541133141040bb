"""``ksc cache``: the kernels that have been built."""

from __future__ import annotations

import argparse
import json
from datetime import datetime


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = commands.add_parser("cache", help="list or remove built kernels")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="every built kernel, where it lies and how big it is")
    listing.add_argument("--json", action="store_true", help="for a program to read")
    listing.set_defaults(run=run_list)
    clearing = actions.add_parser("clear", help="remove built kernels; they are built again when needed")
    clearing.add_argument("name", nargs="?", help="only kernels of this name")
    clearing.set_defaults(run=run_clear)


def run_list(args: argparse.Namespace) -> int:
    """Print one line for each kernel."""
    from ksc.compiler import list_kernels

    kernels = list(list_kernels())
    if args.json:
        report = [
            {
                "name": kernel.name,
                "dtype": kernel.dtype,
                "size": kernel.size,
                "built_at": datetime.fromtimestamp(kernel.built_at).astimezone().isoformat(timespec="seconds"),
                "path": str(kernel.path),
                "read_only": kernel.read_only,
            }
            for kernel in kernels
        ]
        print(json.dumps(report, indent=2))
        return 0
    for kernel in kernels:
        built_at = datetime.fromtimestamp(kernel.built_at).strftime("%Y-%m-%d %H:%M")
        note = "  (read-only)" if kernel.read_only else ""
        print(f"{kernel.name:<20} {kernel.dtype:<8} {kernel.size / 1024:8.1f} KiB  {built_at}  {kernel.path}{note}")
    print(f"{_count(len(kernels))}, {sum(kernel.size for kernel in kernels) / 1024:.1f} KiB")
    return 0


def run_clear(args: argparse.Namespace) -> int:
    """Remove kernels and say how many there were."""
    from ksc.compiler import clear

    print(f"{_count(clear(args.name))} removed")
    return 0


def _count(kernels: int) -> str:
    return "1 kernel" if kernels == 1 else f"{kernels} kernels"
