"""``--dtype``: what the floats of a kernel are, for the commands that build."""

from __future__ import annotations

import argparse

DTYPES = ("float16", "bfloat16", "float32", "float64")
DEFAULT_DTYPE = "float32"


def add_dtypes(parser: argparse.ArgumentParser) -> None:
    """The option, which may be given several times."""
    parser.add_argument(
        "--dtype",
        action="append",
        choices=DTYPES,
        help=f"what the floats are; may be given several times (default: {DEFAULT_DTYPE})",
    )


def chosen_dtypes(args: argparse.Namespace) -> list[str]:
    """The dtypes that were asked for, each once, or the default one."""
    return list(dict.fromkeys(args.dtype or [DEFAULT_DTYPE]))
