"""The map of the source: a line for each file, which is the first one of its docstring or its opening comment."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from docs.generators.markdown import table
from ksc.passes import GRID, PIPELINE, PREPARE, PROCESSOR, Pass

ROOT = Path(__file__).resolve().parents[2]
SUFFIXES = (".py", ".h", ".cpp", ".hpp", ".cu", ".cuh", ".jinja", ".js", ".css", ".html")


def files() -> str:
    """A section for each folder of the source, with a table of its files and the first line of each."""
    parts = []
    for folder in folders():
        rows = [(f"`{path.name}`", summary(path)) for path in listed(ROOT / folder)]
        parts.append(f"### {folder}\n\n{table(('file', 'what is in it'), rows)}")
    return "\n\n".join(parts)


def folders() -> list[str]:
    """All folders of the source that have files, from the repository's root."""
    found = {path.parent for top in ("ksc", "prelude") for path in (ROOT / top).rglob("*") if _is_source(path)}
    return sorted(str(path.relative_to(ROOT)) for path in found)


def listed(folder: Path) -> Iterator[Path]:
    """The files of a folder that have a line in the map."""
    yield from sorted(path for path in folder.iterdir() if _is_source(path))


def summary(path: Path) -> str:
    """What a file says of itself first. Raises LookupError where it says nothing."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        doc = ast.get_docstring(ast.parse(text)) or ""
    else:
        comment = _COMMENT.match(text)
        doc = _MARKS.sub("", comment[0]) if comment and "{{" not in comment[0] else _without_comment(path)
    sentence = _SENTENCE.match(" ".join(doc.strip().split("\n\n")[0].split()))
    if sentence is None:
        raise LookupError(f"{path.relative_to(ROOT)} does not say in its first line what is in it")
    return sentence[0].replace("``", "`")


_COMMENT = re.compile(r"(?://[^\n]*\n)+|/\*.*?\*/|\{#.*?#\}|<!--.*?-->", re.DOTALL)
_MARKS = re.compile(r"^\s*(?://|/\*+|\*/|\*|\{#-?|<!--)\s?|(?:\*/|-?#\}|-->)\s*$", re.MULTILINE)
_SENTENCE = re.compile(r".+?\.(?=\s|$)|.+")


def _without_comment(path: Path) -> str:
    """What a template or the second half of a header is, which need not say it."""
    if path.suffix == ".jinja":
        return f"The template of ``{path.stem}``."
    header = path.with_suffix(".h")
    return f"What ``{header.name}`` declares." if header.is_file() else ""


def passes() -> str:
    """The pipeline, a pass a line."""
    parts = (("before a derivative", PREPARE), ("", PIPELINE), ("for a processor", PROCESSOR), ("for a GPU", GRID))
    rows = [(f"{when}{_of(step)}", f"`{step.name}`", step.why) for when, steps in parts for step in steps]
    return table(("", "pass", "why it stands here"), rows)


def _of(step: Pass) -> str:
    return {"": "", "tensors": ", of tensors"}.get(step.only, f", in {step.only}")


def _is_source(path: Path) -> bool:
    return path.is_file() and path.suffix in SUFFIXES and "__pycache__" not in path.parts
