"""``ksc completion``: what a shell needs to complete commands, options and files."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from ksc.errors import MissingExtraError

SHELLS = ("bash", "zsh", "tcsh")


def add_parser(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], grammar: Callable[[], argparse.ArgumentParser]
) -> None:
    """Register the command; ``grammar`` gives the whole command line."""
    parser = commands.add_parser(
        "completion",
        help="print a script with which a shell completes ksc",
        description="Put the script where the shell finds it; for bash: ksc completion bash > "
        "~/.local/share/bash-completion/completions/ksc",
    )
    parser.add_argument("shell", choices=SHELLS)
    parser.set_defaults(run=lambda args: run(args, grammar()))


def run(args: argparse.Namespace, grammar: argparse.ArgumentParser) -> int:
    """Print the script. Raises MissingExtraError where shtab, which writes it, is not installed."""
    try:
        import shtab
    except ImportError as error:
        raise MissingExtraError("completion needs shtab", remedy="pip install 'ksc[completion]'") from error
    print(shtab.complete(grammar, args.shell))
    return 0
