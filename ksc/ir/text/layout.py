"""Indented text of printed s-expressions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

WIDTH = 100

_ON_FIRST_LINE = {"def": 4, "lam": 2, "if": 2, "for": 3, "while": 2, "withacc": 2, "build": 2, "reduce": 3}
_BODY_INDENT = 2


@dataclass(frozen=True, slots=True)
class Remark:
    """A tree with a comment on the line before it."""

    comment: str
    tree: Tree


@dataclass(frozen=True, slots=True)
class Marked:
    """A tree whose text begins with a mark, a character that is none of a program's and is taken out again."""

    mark: str
    tree: Tree


Tree: TypeAlias = "str | list[Tree] | Remark | Marked"


def layout(tree: Tree, indent: int = 0) -> str:
    """The tree as text whose first line is to stand at column ``indent``."""
    if isinstance(tree, str):
        return tree
    if isinstance(tree, Remark):
        return f"; {tree.comment}\n{' ' * indent}{layout(tree.tree, indent)}"
    if isinstance(tree, Marked):
        return tree.mark + layout(tree.tree, indent)
    flat = _flat(tree)
    if flat is not None and (indent + len(flat) <= WIDTH or tree[1:2] == [":"]):
        return flat
    if tree and tree[0] == "let":
        return _let(tree, indent)
    return _broken(tree, indent)


def _flat(tree: Tree) -> str | None:
    """The tree on one line, None where it holds a ``let`` or a remark, or is surely too long."""
    if isinstance(tree, str):
        return tree
    if isinstance(tree, Marked):
        inner = _flat(tree.tree)
        return None if inner is None else tree.mark + inner
    if isinstance(tree, Remark) or (tree and tree[0] == "let"):
        return None
    parts: list[str] = []
    total = 0
    for item in tree:
        part = _flat(item)
        if part is None:
            return None
        total += len(part) + 1
        if total > WIDTH:
            return None
        parts.append(part)
    return f"({' '.join(parts)})"


def _let(tree: list[Tree], indent: int) -> str:
    bindings, body = tree[1], tree[2]
    assert isinstance(bindings, list)
    pad = " " * (indent + len("(let ("))
    lines = f"\n{pad}".join(layout(binding, len(pad)) for binding in bindings)
    inner = " " * (indent + _BODY_INDENT)
    return f"(let ({lines})\n{inner}{layout(body, len(inner))})"


def _broken(tree: list[Tree], indent: int) -> str:
    """The head and some arguments on the first line, each further item on a line of its own."""
    head = tree[0] if tree and isinstance(tree[0], str) else ""
    kept = _ON_FIRST_LINE.get(head, 1)
    if head == "def" and len(_flat(tree[:4]) or "") + indent > WIDTH:
        kept = 3
    text = "("
    column = indent + 1
    for k, item in enumerate(tree[:kept]):
        if k:
            text += " "
            column += 1
        part = layout(item, column)
        text += part
        column = len(part) - part.rfind("\n") - 1 if "\n" in part else column + len(part)
    pad = indent + (_BODY_INDENT if head in _ON_FIRST_LINE else 1)
    for item in tree[kept:]:
        text += f"\n{' ' * pad}{layout(item, pad)}"
    return text + ")"
