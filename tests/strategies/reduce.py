"""Makes a failing random program small: drops statements and puts parts of expressions in the place of the whole.

Hypothesis shrinks the choices behind a program, which for programs of this size takes minutes; working on the syntax tree
takes seconds. ``cases.check`` does it for every failure.
"""

from __future__ import annotations

import ast
import copy
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from random import Random
from types import FrameType
from typing import Any

from tests.strategies.modules import SourceModule
from tests.strategies.programs import Number, RandomProgram

LINE_LIMIT = 100_000

Edit = Callable[[ast.Module], None]


def reduce(program: RandomProgram, fails: Callable[[RandomProgram], bool], seconds: float = 20.0) -> RandomProgram:
    """A smaller program for which ``fails`` still holds, as small as can be found in the time given."""
    deadline = time.monotonic() + seconds
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        return _reduce(program, fails, deadline)


def _reduce(program: RandomProgram, fails: Callable[[RandomProgram], bool], deadline: float) -> RandomProgram:
    for point in program.points:
        smaller = replace(program, points=(point,))
        if fails(smaller):
            program = smaller
            break
    progress = True
    while progress and time.monotonic() < deadline:
        progress = False
        for source in candidates(program.source, ("x", "0.3", "1", "True", "x > 0.3")):
            if time.monotonic() > deadline:
                break
            candidate = replace(program, source=source)
            if _runs(candidate) and fails(candidate):
                program, progress = candidate, True
                break
    return program


def _runs(program: RandomProgram) -> bool:
    """Whether Python runs the program to an end, at its points and at others: a path must not lose what it reads."""
    lines = 0

    def count(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal lines
        lines += 1
        if lines > LINE_LIMIT:
            raise TimeoutError
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        with SourceModule(program.source) as module:
            for point in (*program.points, *_elsewhere(program.kinds)):
                getattr(module, program.entry)(*point)
    except Exception:
        return False
    finally:
        sys.settrace(before)
    return True


def _elsewhere(kinds: Sequence[str]) -> list[tuple[Number, ...]]:
    """Some points, the same ones each time."""
    random = Random(0)
    make = {
        "float": lambda: random.uniform(-3.0, 3.0),
        "int": lambda: random.randint(-3, 6),
        "bool": lambda: random.random() < 0.5,
    }
    return [tuple(make[kind]() for kind in kinds) for _ in range(30)]


def candidates(source: str, atoms: Sequence[str]) -> Iterator[str]:
    """Smaller programs, those that lose most first; ``atoms`` are what may stand in the place of an expression."""
    tree = ast.parse(source)
    size = len(source)
    edits = sorted(_edits(tree, atoms), key=lambda pair: -pair[0])
    for _, edit in edits:
        changed = copy.deepcopy(tree)
        edit(changed)
        try:
            text = ast.unparse(ast.fix_missing_locations(changed)) + "\n"
        except ValueError:
            continue
        if len(text) < size:
            yield text


def _edits(tree: ast.Module, atoms: Sequence[str]) -> Iterator[tuple[int, Edit]]:
    """Each edit with the number of nodes it may save; nodes are found again in a copy by their position in a walk."""
    for at, node in enumerate(ast.walk(tree)):
        for name in ("body", "orelse"):
            body = getattr(node, name, None)
            if isinstance(body, list):
                for k, stmt in enumerate(body):
                    yield _size(stmt), _drop(at, name, k)
                    if isinstance(stmt, ast.If | ast.For | ast.While):
                        yield _size(stmt) // 2, _unwrap(at, name, k, "body")
                        yield _size(stmt) // 2, _unwrap(at, name, k, "orelse")
        for name, value in ast.iter_fields(node):
            if isinstance(value, ast.expr) and not isinstance(value, ast.Name | ast.Constant) and name != "annotation":
                yield from _expression_edits(at, name, None, value, atoms)
            elif isinstance(value, list):
                for k, item in enumerate(value):
                    if isinstance(item, ast.expr) and not isinstance(item, ast.Name | ast.Constant):
                        yield from _expression_edits(at, name, k, item, atoms)


def _expression_edits(
    at: int, name: str, k: int | None, value: ast.expr, atoms: Sequence[str]
) -> Iterator[tuple[int, Edit]]:
    size = _size(value)
    truth = isinstance(value, ast.Compare | ast.BoolOp) or (
        isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.Not)
    )
    for part in () if isinstance(value, ast.Compare) else ast.iter_child_nodes(value):
        if isinstance(part, ast.expr) and not (isinstance(value, ast.Call) and part is value.func):
            yield size - _size(part), _put(at, name, k, part)
    for text in [atom for atom in atoms if not truth or atom == "True" or ">" in atom]:
        yield size - 1, _put(at, name, k, ast.parse(text, mode="eval").body)


def _size(node: ast.AST) -> int:
    return sum(1 for _ in ast.walk(node))


def _nth(tree: ast.Module, at: int) -> ast.AST:
    return next(node for k, node in enumerate(ast.walk(tree)) if k == at)


def _drop(at: int, name: str, k: int) -> Edit:
    def edit(tree: ast.Module) -> None:
        node = _nth(tree, at)
        body = getattr(node, name)
        del body[k]
        if not body and name == "body" and not isinstance(node, ast.Module):
            body.append(ast.Pass())

    return edit


def _unwrap(at: int, name: str, k: int, inner: str) -> Edit:
    def edit(tree: ast.Module) -> None:
        body = getattr(_nth(tree, at), name)
        body[k : k + 1] = getattr(body[k], inner)

    return edit


def _put(at: int, name: str, k: int | None, value: ast.expr) -> Edit:
    def edit(tree: ast.Module) -> None:
        node = _nth(tree, at)
        if k is None:
            setattr(node, name, copy.deepcopy(value))
        else:
            getattr(node, name)[k] = copy.deepcopy(value)

    return edit
