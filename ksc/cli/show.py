"""``ksc show``: what a kernel looks like at one stage of the compiler."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from operator import methodcaller
from typing import TYPE_CHECKING

from ksc.cli.target import add_target, load_kernel

if TYPE_CHECKING:
    from ksc.kernel import Kernel

DERIVED = {"vjp": "v", "jvp": "j", "backward": "backward"}

STAGES: dict[str, Callable[[Kernel], object]] = {
    "ir": lambda kernel: kernel.ir,
    "vjp": lambda kernel: kernel.vjp_ir,
    "jvp": lambda kernel: kernel.jvp_ir,
    "backward": lambda kernel: kernel.backward_ir,
    "cpp": lambda kernel: kernel.cpp,
    **{f"{name}-cpp": methodcaller("cpp_of", derivation) for name, derivation in DERIVED.items()},
    "cuda": lambda kernel: kernel.cuda,
    **{f"{name}-cuda": methodcaller("cuda_of", derivation) for name, derivation in DERIVED.items()},
}

DERIVATIONS = {stage: DERIVED.get(stage.partition("-")[0], "") for stage in STAGES}
"""The derivation whose passes lead to a stage, see ``ksc.derive``."""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = commands.add_parser("show", help="print a kernel's IR, the IR of a derivative, its C++ or its CUDA")
    add_target(parser)
    parser.add_argument(
        "--stage",
        choices=tuple(STAGES),
        default="ir",
        help="ir: as traced; vjp, jvp: its derivatives; backward: what autograd runs; cpp, cuda: the generated source; "
        "vjp-cpp and so on: that of a derivative (default: ir)",
    )
    parser.add_argument(
        "--passes", action="store_true", help="print the IR after each pass on the way to the stage, and what it is for"
    )
    parser.add_argument("--json", action="store_true", help="for a program to read")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print one stage, or all that leads to it."""
    kernel = load_kernel(args.target, args.args)
    if args.json:
        print(json.dumps(_report(kernel, args.stage, passes=args.passes), indent=2))
    elif args.passes:
        _print_passes(kernel, DERIVATIONS[args.stage])
    else:
        print(str(STAGES[args.stage](kernel)).rstrip("\n"))
    return 0


def _report(kernel: Kernel, stage: str, *, passes: bool) -> dict[str, object]:
    """The text of a stage, or of the program after each pass on the way, with what it is of."""
    report: dict[str, object] = {"kernel": kernel.__name__}
    if code := getattr(kernel.__wrapped__, "__code__", None):
        report |= {"file": code.co_filename, "line": code.co_firstlineno}
    if passes:
        steps = [{"title": title, "text": text} for title, text in kernel.stages(DERIVATIONS[stage])]
        return {**report, "stage": stage, "passes": steps}
    return {**report, "stage": stage, "text": str(STAGES[stage](kernel))}


def _print_passes(kernel: Kernel, derivation: str) -> None:
    """Print the program after each step; one that changed nothing says so."""
    before = None
    for title, text in kernel.stages(derivation):
        print(f";; {title}{' (nothing to do)' if text == before else ''}")
        if text != before:
            print(f"{text.rstrip()}\n")
        before = text
