"""``ksc completion``: what a shell needs to complete commands, options and files."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from ksc.cli import fish
from ksc.errors import MissingExtraError

SHELLS = ("bash", "zsh", "tcsh", "fish")


def add_parser(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], grammar: Callable[[], argparse.ArgumentParser]
) -> None:
    """Register the command; ``grammar`` gives the whole command line."""
    parser = commands.add_parser(
        "completion",
        help="print a script with which a shell completes ksc",
        description="Put the script where the shell finds it; bash: ksc completion bash > "
        "~/.local/share/bash-completion/completions/ksc; zsh: ksc completion zsh > a folder of $fpath, as _ksc; "
        "fish: ksc completion fish > ~/.config/fish/completions/ksc.fish",
    )
    parser.add_argument("shell", choices=SHELLS)
    parser.set_defaults(run=lambda args: run(args, grammar()))


def run(args: argparse.Namespace, grammar: argparse.ArgumentParser) -> int:
    """Print the script. Raises MissingExtraError where shtab, which writes all but that of fish, is not installed."""
    if args.shell == "fish":
        print(fish.complete(grammar))
        return 0
    try:
        import shtab
    except ImportError as error:
        raise MissingExtraError("completion needs shtab", remedy="pip install 'ksc[completion]'") from error
    print(shtab.complete(grammar, args.shell))
    return 0
