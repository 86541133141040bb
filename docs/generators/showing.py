"""Kernels of the examples on a page: their Python, IR and C++, made when the page is."""

from __future__ import annotations

import argparse
import ast
import re
import textwrap
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from docs.generators.markdown import fence
from ksc.cli import parser
from ksc.cli.target import load_kernel
from ksc.ops import exponential, special, trigonometric

ROOT = Path(__file__).resolve().parents[2]
EXTRA = ROOT / "build" / "doc" / "extra"
"""Files that the site has as they are."""

MODULES = (exponential, special, trigonometric)


def part(file: str, name: str) -> str:
    """What stands between ``# NAME`` and ``# ENDNAME`` in a file of the repository."""
    text = (ROOT / file).read_text(encoding="utf-8")
    found = re.search(rf"^# {name}\n(.*?)\n+# END{name}$", text, re.MULTILINE | re.DOTALL)
    if found is None:
        raise LookupError(f"{file} has no part {name}")
    return fence("python", found[1], caption=file)


def definition(file: str, name: str) -> str:
    """A function of a file of the repository."""
    text = (ROOT / file).read_text(encoding="utf-8")
    node = next(node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef) and node.name == name)
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    return fence("python", "\n".join(text.splitlines()[first - 1 : node.end_lineno]), caption=file)


def cpp(target: str, function: str = "", args: str | None = None) -> str:
    """The C++ of ``FILE.py:KERNEL``, or of one of its functions alone, specialised to ``args``, Python as text."""
    text = str(_kernel(target, args).cpp)
    return fence("cpp", functions_of(text)[function] if function else text)


def ir(target: str, stage: str = "ir", args: str | None = None) -> str:
    """The IR of ``FILE.py:KERNEL``, or of a derivative: ``vjp``, ``jvp``."""
    kernel = _kernel(target, args)
    stages: dict[str, Callable[[Any], str]] = {
        "ir": lambda found: found.ir,
        "vjp": lambda found: found.vjp_ir,
        "jvp": lambda found: found.jvp_ir,
    }
    return fence("ks", stages[stage](kernel))


def explored(target: str, args: str | None = None) -> str:
    """The explorer's page about ``FILE.py:KERNEL``, part of the site, in a frame and behind a link."""
    from ksc.cli.target import evaluated_args

    kernel = _kernel(target, args)
    inputs = evaluated_args(args, kernel.__wrapped__) if args is not None else None
    place = f"explore/{kernel.__name__}.html"
    kernel.explore(inputs, path=EXTRA / place)
    frame = f'<iframe class="explored" src="{place}" title="{kernel.__name__} in the explorer" loading="lazy"></iframe>'
    return f'```{{raw}} html\n{frame}\n<p><a href="{place}">The page by itself</a></p>\n```'


def functions_of(text: str) -> dict[str, str]:
    """The inner functions of a generated file by name, each with the comment over it."""
    pattern = re.compile(r"^((?://[^\n]*\n)*static inline [^\n(]*?(\w+)\(.*?^\}$)", re.MULTILINE | re.DOTALL)
    return {name: body for body, name in pattern.findall(text)}


def _kernel(target: str, args: str | None) -> Any:
    return load_kernel(str(ROOT / target), args)


def record(name: str) -> str:
    """The record of a primitive as it is written."""
    for path in sorted({Path(module.__file__ or "") for module in MODULES}):
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and name in _named(node):
                found = textwrap.dedent(" " * node.col_offset + (ast.get_source_segment(text, node) or ""))
                return fence("python", found, caption=str(path.relative_to(ROOT)))
    raise LookupError(f"there is no record of {name}")


def _named(call: ast.Call) -> list[object]:
    """The name that a call gives to a record, as its first argument or by keyword."""
    given = [*call.args[:1], *(each.value for each in call.keywords if each.arg == "name")]
    return [node.value for node in given if isinstance(node, ast.Constant)]


def commands() -> str:
    """The commands of ``ksc``, with their help."""
    parts = []
    for action in parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                parts.append(f"### ksc {name}\n\n{fence('text', _help(command))}")
    return "\n\n".join(parts)


def _help(command: argparse.ArgumentParser) -> str:
    command.formatter_class = partial(argparse.HelpFormatter, width=84, max_help_position=24)
    return command.format_help()
