"""``ksc explore``: a page that shows a kernel at every stage."""

from __future__ import annotations

import argparse
import gc
from pathlib import Path

from ksc.cli.target import add_target, load_kernel


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = commands.add_parser("explore", help="write a page: source, IR after each pass, derivatives, C++, plot")
    add_target(parser)
    parser.add_argument("-o", "--output", type=Path, metavar="PAGE.html", help="where to write it (default: NAME.html)")
    parser.add_argument("--open", action="store_true", help="show it in the browser")
    parser.add_argument(
        "--range",
        nargs=2,
        type=float,
        metavar=("LO", "HI"),
        default=(-3.0, 3.0),
        help="over which arguments a function of one number is drawn (default: -3 3)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the page, and print where it is."""
    from ksc.cli.target import evaluated_args

    kernel = load_kernel(args.target)
    inputs = evaluated_args(args.args, kernel.__wrapped__) if args.args is not None else None
    path = args.output or Path(f"{kernel.__name__}.html")
    # Collections would walk torch's objects again and again while the many versions of a program come and go.
    gc.freeze()
    try:
        page = kernel.explore(inputs, path=path, plot_range=tuple(args.range))
    finally:
        gc.unfreeze()
    if args.open:
        page.open()
    print(path)
    return 0
