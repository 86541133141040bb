"""Completion for fish, which shtab does not write."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator, Sequence


def complete(grammar: argparse.ArgumentParser) -> str:
    """The script with which fish completes the commands and options of ``grammar``."""
    program = shlex.quote(grammar.prog)
    return "\n".join([f"complete -c {program} -f", *_lines(program, grammar, ())])


def _lines(program: str, grammar: argparse.ArgumentParser, within: Sequence[str]) -> Iterator[str]:
    nested = [action for action in grammar._actions if isinstance(action, argparse._SubParsersAction)]
    names = " ".join(name for action in nested for name in action.choices)
    tests = [f"__fish_seen_subcommand_from {name}" for name in within]
    condition = "; and ".join([*tests, f"not __fish_seen_subcommand_from {names}"] if nested else tests)
    for action in grammar._actions:
        if isinstance(action, argparse._SubParsersAction):
            for choice in action._choices_actions:
                yield _line(program, condition, f"-a {choice.dest}", choice.help)
        elif action.option_strings or action.choices is not None or hasattr(action, "complete"):
            # A positional argument without choices is a file, or nothing that a shell knows.
            yield _line(program, condition, " ".join([*_names(action), *_values(action)]), action.help)
    for action in nested:
        for name, command in action.choices.items():
            yield from _lines(program, command, (*within, name))


def _names(action: argparse.Action) -> Iterator[str]:
    for name in action.option_strings:
        yield f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"


def _values(action: argparse.Action) -> Iterator[str]:
    if action.choices is not None:
        yield f"{'-x ' if action.option_strings else ''}-a {shlex.quote(' '.join(map(str, action.choices)))}"
    elif action.nargs != 0:
        yield "-r -F" if action.option_strings else "-F"


def _line(program: str, condition: str, what: str, about: str | None) -> str:
    start = f"complete -c {program} -n {shlex.quote(condition)}" if condition else f"complete -c {program}"
    first = (about or "").partition(";")[0]
    return f"{start} {what} -d {_quoted(first)}" if first else f"{start} {what}"


def _quoted(text: str) -> str:
    """Text in single quotes of fish, in which only these two are escaped."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("%%", "%") + "'"
