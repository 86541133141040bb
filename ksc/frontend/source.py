"""From a function object to its syntax tree, with places that refer to the user's file."""

from __future__ import annotations
import __future__

import ast
import linecache
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, lru_cache, reduce
from operator import or_
from types import CodeType, FunctionType
from typing import NoReturn

from ksc.frontend.plain import plain_function as plain_function
from ksc.frontend.refuse import refuse
from ksc.ir.nodes import Span

FunctionNode = ast.FunctionDef | ast.Lambda

_FUTURES = reduce(or_, (getattr(__future__, name).compiler_flag for name in __future__.all_feature_names))

ORDINARY_REMEDY = "define it with `def` in a file or a notebook cell"


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """One parsed file."""

    file: str
    lines: tuple[str, ...]
    tree: ast.Module

    def span(self, node: ast.AST, *, head: bool = False) -> Span:
        """The place of ``node``; with ``head`` only its first line."""
        line: int = node.lineno  # type: ignore[attr-defined]
        end_line: int = node.end_lineno  # type: ignore[attr-defined]
        col = self._column(line, node.col_offset)  # type: ignore[attr-defined]
        end_col = self._column(end_line, node.end_col_offset)  # type: ignore[attr-defined]
        if head and end_line != line:
            end_line, end_col = line, len(self.lines[line - 1].rstrip())
        return Span(self.file, line, col, end_line, end_col, self.lines[line - 1].strip())

    def _column(self, line: int, offset: int) -> int:
        text = self.lines[line - 1]
        return offset if text.isascii() else len(text.encode()[:offset].decode(errors="ignore"))


_KEPT = 64
"""The number of files whose syntax trees are kept."""

_parsed: dict[str, tuple[list[str], Source]] = {}


def _parse(file: str, lines: list[str]) -> Source:
    """The syntax tree of a file; ``linecache`` gives the same list as long as the file is the same."""
    known = _parsed.get(file)
    if known is not None and known[0] is lines:
        return known[1]
    source = _parse_text(file, tuple(lines))
    if len(_parsed) >= _KEPT:
        _parsed.clear()
    _parsed[file] = lines, source
    return source


@lru_cache(maxsize=_KEPT)
def _parse_text(file: str, lines: tuple[str, ...]) -> Source:
    return Source(file, lines, ast.parse("".join(lines), file))


def function_source(fn: FunctionType) -> tuple[Source, FunctionNode]:
    """The file and the syntax tree of ``fn``.

    Raises UnsupportedError (KS109) where there is no source, or where it cannot be told which lambda ``fn`` is.
    """
    code = fn.__code__
    if code.co_filename == "<string>" and sys.argv[:1] == ["-c"]:
        _enter_command_line()
    linecache.checkcache(code.co_filename)
    lines = linecache.getlines(code.co_filename, fn.__globals__)
    if not lines:
        _refuse_without_source(fn)
    try:
        source = _parse(code.co_filename, lines)
    except SyntaxError as error:
        refuse(None, f"the source of {fn.__qualname__!r} cannot be parsed: {error}", ORDINARY_REMEDY, code="KS109")
    written = _functions(source).get((code.co_name, code.co_firstlineno), ())
    candidates = [node for node in written if _has_parameters(node, code)]
    if len(candidates) > 1:
        wanted = _positions(code)
        candidates = [node for node in candidates if _positions(_compiled(node, source.file)) == wanted]
    if len(candidates) != 1:
        reason = "is ambiguous"
        if not candidates:
            made = code.co_filename == "<string>"
            reason = "cannot be found" if made else "does not match the function; was the file edited?"
        refuse(None, f"the source of {fn.__qualname__!r} {reason}", ORDINARY_REMEDY, code="KS109")
    (node,) = candidates
    if not _is_what_runs(source, code):
        reason = f"the source of {fn.__qualname__!r} is not what runs; was the file edited after it was imported?"
        refuse(source.span(node, head=True), reason, "import the module anew", code="KS109")
    if isinstance(node, ast.AsyncFunctionDef):
        where = source.span(node, head=True)
        refuse(where, "a coroutine cannot be compiled", "call the kernel from the coroutine", code="KS102")
    return source, node


def _refuse_without_source(fn: FunctionType) -> NoReturn:
    file, reason = fn.__code__.co_filename, f"the source of {fn.__qualname__!r} cannot be found"
    if file.endswith(".py"):
        remedy = "let the .py file go along with the package, in a zip too; or export the kernel, and ship that"
        refuse(None, f"{reason}: {file} is not there", remedy, code="KS109")
    refuse(None, reason, ORDINARY_REMEDY, code="KS109")


@cache
def _enter_command_line() -> None:
    """Put what ``python -c`` runs into ``linecache``, as Python itself does from 3.13 on."""
    given = sys.orig_argv[-len(sys.argv)]
    for text in (given, given.partition("c")[2]):
        with suppress(SyntaxError, ValueError):
            ast.parse(text)
            linecache.cache.setdefault("<string>", (len(text), None, text.splitlines(keepends=True), "<string>"))


@lru_cache(maxsize=_KEPT)
def _code_of(source: Source, futures: int) -> dict[tuple[str, int], list[CodeType]]:
    """The code of all functions of a file, by name and first line, under these flags of ``__future__``."""
    found: dict[tuple[str, int], list[CodeType]] = {}
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | futures
    pending = [compile(source.tree, source.file, "exec", flags, dont_inherit=True)]
    while pending:
        for const in pending.pop().co_consts:
            if isinstance(const, CodeType):
                found.setdefault((const.co_name, const.co_firstlineno), []).append(const)
                pending.append(const)
    return found


@lru_cache(maxsize=1024)
def _is_what_runs(source: Source, code: CodeType) -> bool:
    """Whether the file still holds what ``code`` was compiled from."""
    # What exec compiles inherits the future statements of its caller.
    found = _code_of(source, code.co_flags & _FUTURES)
    return any(_same(code, other) for other in found.get((code.co_name, code.co_firstlineno), ()))


def _same(a: object, b: object) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, CodeType) and isinstance(b, CodeType):
        # Under pytest, functions that assert run a rewritten form.
        if any(name.startswith("@py") for name in a.co_varnames):
            return True
        parts = ("co_code", "co_names", "co_varnames", "co_freevars", "co_cellvars", "co_consts")
        return all(_same(getattr(a, part), getattr(b, part)) for part in parts)
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    return a == b if isinstance(a, frozenset) else repr(a) == repr(b)


@lru_cache(maxsize=_KEPT)
def _functions(source: Source) -> dict[tuple[str, int], list[FunctionNode | ast.AsyncFunctionDef]]:
    """The functions of a file by what their code says of them: the name, and the first line."""
    found: dict[tuple[str, int], list[FunctionNode | ast.AsyncFunctionDef]] = {}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Lambda):
            found.setdefault(("<lambda>", node.lineno), []).append(node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            found.setdefault((node.name, first), []).append(node)
    return found


def _has_parameters(node: FunctionNode | ast.AsyncFunctionDef, code: CodeType) -> bool:
    names = [arg.arg for arg in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    declared = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    return len(names) == len(declared) and all(a == b or b.endswith(a) for a, b in zip(names, declared, strict=True))


def _positions(code: CodeType) -> set[tuple[int | None, ...]]:
    """The places that the instructions of ``code`` come from; those of set-up code have no column."""
    return {position for position in code.co_positions() if position[3]}


def _compiled(node: ast.AST, file: str) -> CodeType:
    """The code of a lambda, compiled by itself."""
    assert isinstance(node, ast.Lambda)
    outer = compile(ast.Expression(node), file, "eval")
    return next(const for const in outer.co_consts if isinstance(const, CodeType))
