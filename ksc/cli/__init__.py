"""The command line ``ksc``.

Exit codes: 0 done; 1 the request was understood and failed (a function the compiler refuses, a build that breaks, a
``doctor`` that misses something needed); 2 the request itself is wrong (bad option, no such file or name);
130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from ksc import __version__
from ksc.cli import build, cache, completion, demo, doctor, explore, export, show
from ksc.cli.target import TargetError
from ksc.errors import KnossosError

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


def parser() -> argparse.ArgumentParser:
    """The grammar of the command line."""
    top = argparse.ArgumentParser(
        prog="ksc",
        description="Knossos: ahead-of-time, source-to-source automatic differentiation for PyTorch.",
        epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.",
    )
    top.add_argument("--version", action="version", version=f"ksc {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (show, explore, build, export, doctor, cache, demo):
        command.add_parser(commands)
    completion.add_parser(commands, parser)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code."""
    args = parser().parse_args(argv)
    try:
        code: int = args.run(args)
        sys.stdout.flush()
    except KnossosError as error:
        print(error, file=sys.stderr)
        return EXIT_USAGE if isinstance(error, TargetError) else EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader (such as `head`) has seen enough; without this, Python would complain at exit.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        return 0
    return code
