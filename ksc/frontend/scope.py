"""What a piece of syntax reads, binds and leaves by, found without running it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

Names = frozenset[str]
EMPTY: Names = frozenset()
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)

_KEPT = 4096
"""Of how many pieces of syntax, which nobody changes, it is remembered what was found: loops are traced repeatedly."""


@dataclass(frozen=True, slots=True)
class After:
    """What follows a block: the names read after it, after a ``break``, and after a ``continue`` of its loop.

    ``tail`` says what its end is: that of a loop's body (``"loop"``), of a function's (``"function"``), or neither.
    """

    live: Names
    live_break: Names = EMPTY
    live_continue: Names = EMPTY
    tail: str = ""

    def inner(self, live: Names) -> After:
        """The same where ``live`` is read next, inside the block."""
        return replace(self, live=live, tail="")


def bound_names(nodes: Iterable[ast.AST]) -> Names:
    """The names that ``nodes`` bind in the scope they stand in."""
    return EMPTY.union(*map(_bound_by, nodes))


@lru_cache(maxsize=_KEPT)
def _bound_by(node: ast.AST) -> Names:
    names: set[str] = set()
    _collect_bound(node, names)
    return frozenset(names)


def _collect_bound(node: ast.AST, names: set[str]) -> None:
    match node:
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
            names.add(name)
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.AsyncFunctionDef(name=name):
            names.add(name)
            return
        case ast.Lambda():
            return
        case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
            for inner in ast.walk(node):
                if isinstance(inner, ast.NamedExpr) and isinstance(inner.target, ast.Name):
                    names.add(inner.target.id)
            return
        case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
            names.update((alias.asname or alias.name).partition(".")[0] for alias in aliases)
            return
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            names.add(name)
    for child in ast.iter_child_nodes(node):
        _collect_bound(child, names)


@lru_cache(maxsize=_KEPT)
def read_names(node: ast.AST) -> Names:
    """Every name read anywhere in ``node``, nested functions included."""
    found = set()
    for inner in ast.walk(node):
        match inner:
            case ast.Name(id=name, ctx=ast.Load()) | ast.AugAssign(target=ast.Name(id=name)):
                found.add(name)
    return frozenset(found)


def captured_names(body: Iterable[ast.AST]) -> Names:
    """The names that functions nested in ``body`` read: they may be read whenever such a function is called."""
    return EMPTY.union(*map(_captured_by, body))


@lru_cache(maxsize=_KEPT)
def _captured_by(node: ast.AST) -> Names:
    functions = (n for n in ast.walk(node) if isinstance(n, ast.FunctionDef | ast.Lambda | ast.GeneratorExp))
    return EMPTY.union(*map(read_names, functions))


@lru_cache(maxsize=_KEPT)
def changed_names(loop: ast.For | ast.While) -> tuple[Names, Names]:
    """The names that a loop binds anew (``x = …``), and those that it only writes into (``x[i] = …``, ``x += …``)."""
    written: set[str] = set()
    bound: set[str] = set()
    in_place: set[ast.expr] = set()
    for node in ast.walk(loop):
        match node:
            case ast.AugAssign(target=ast.Name(id=name) as target):
                written.add(name)
                in_place.add(target)
            case ast.Subscript(ctx=ast.Store(), value=value):
                while isinstance(value, ast.Subscript):
                    value = value.value
                if isinstance(value, ast.Name):
                    written.add(value.id)
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()) if node not in in_place:
                bound.add(name)
    return frozenset(bound), frozenset(written - bound)


def live_before(stmts: Sequence[ast.stmt], after: After) -> Names:
    """The names that may be read before they are bound again, by ``stmts`` or by what follows them."""
    live = after.live
    for stmt in reversed(stmts):
        live = _live_statement(stmt, replace(after, live=live))
    return live


def live_after_each(stmts: Sequence[ast.stmt], after: After) -> list[Names]:
    """For each of ``stmts``, what ``live_before`` says of those behind it; one walk for all."""
    live = after.live
    found = []
    for stmt in reversed(stmts):
        found.append(live)
        live = _live_statement(stmt, replace(after, live=live))
    return found[::-1]


def _live_statement(stmt: ast.stmt, after: After) -> Names:
    live = after.live
    match stmt:
        case ast.Return(value=value):
            return read_names(value) if value else EMPTY
        case ast.Break():
            return after.live_break
        case ast.Continue():
            return after.live_continue
        case ast.If(test=test, body=body, orelse=orelse):
            sides = live_before(body, after) | live_before(orelse, after)
            return read_names(test) | (sides - _certainly_walrus(test))
        case ast.While(test=test):
            return live_at_loop(stmt, after)
        case ast.For(iter=iterable):
            return read_names(iterable) | (live_at_loop(stmt, after))
        case ast.FunctionDef(name=name):
            return (live - {name}) | read_names(stmt)
        case ast.Assign(targets=targets, value=value):
            return (live - _certainly_bound(targets)) | read_names(stmt)
        case ast.AnnAssign(target=target, value=ast.expr() as value):
            return (live - _certainly_bound([target])) | read_names(value)
        case ast.Expr(value=value):
            return (live - _certainly_walrus(value)) | read_names(value)
        case _:
            return live | read_names(stmt)


@lru_cache(maxsize=_KEPT)
def live_at_loop(loop: ast.For | ast.While, after: After) -> Names:
    """The names that are live at the head of a loop, where its next iteration begins or it ends."""
    ending = live_before(loop.orelse, after) if loop.orelse else after.live
    head = ending | (read_names(loop.test) if isinstance(loop, ast.While) else EMPTY)
    while True:
        body = live_before(loop.body, After(head, after.live, head))
        if isinstance(loop, ast.For):
            body -= _certainly_bound([loop.target])
        if body <= head:
            return head
        head |= body


def kept_through(loop: ast.For | ast.While, names: Names) -> Names:
    """Those of ``names`` whose value before an iteration is read in it, or may still be there at its end."""
    kept = live_before(loop.body, After(names, names, names))
    if isinstance(loop, ast.For):
        return kept - _certainly_bound([loop.target])
    return kept | read_names(loop.test)


def _certainly_bound(targets: Iterable[ast.expr]) -> Names:
    names: set[str] = set()
    for target in targets:
        match target:
            case ast.Name(id=name):
                names.add(name)
            case ast.Tuple(elts=elts) | ast.List(elts=elts):
                names |= _certainly_bound(elts)
            case ast.Starred(value=inner):
                names |= _certainly_bound([inner])
    return frozenset(names)


def _certainly_walrus(node: ast.expr) -> Names:
    """The names that ``:=`` binds wherever ``node`` is evaluated."""
    match node:
        case ast.NamedExpr(target=ast.Name(id=name), value=value):
            return _certainly_walrus(value) | {name}
        case ast.UnaryOp(operand=inner) | ast.BoolOp(values=[inner, *_]) | ast.IfExp(test=inner):
            return _certainly_walrus(inner)
        case ast.BinOp(left=left, right=right) | ast.Compare(left=left, comparators=[right, *_]):
            return _certainly_walrus(left) | _certainly_walrus(right)
        case ast.Call(args=args):
            return EMPTY.union(*map(_certainly_walrus, args))
        case _:
            return EMPTY


def may_leave(stmts: Sequence[ast.stmt]) -> bool:
    """Whether ``stmts`` contain a ``return``, or a ``break`` or ``continue`` of a loop around them."""
    return any(_leaves(stmt, in_loop=False) for stmt in stmts)


def may_exit_loop(body: Sequence[ast.stmt]) -> bool:
    """Whether the body of a loop contains a ``return`` or a ``break`` of this loop."""
    return any(_leaves(stmt, in_loop=False, kinds=(ast.Return, ast.Break)) for stmt in body)


def may_break(body: Sequence[ast.stmt]) -> bool:
    """Whether the body of a loop contains a ``break`` of this loop."""
    return any(_leaves(stmt, in_loop=False, kinds=(ast.Break,)) for stmt in body)


def _leaves(
    stmt: ast.AST, *, in_loop: bool, kinds: tuple[type[ast.stmt], ...] = (ast.Return, ast.Break, ast.Continue)
) -> bool:
    if isinstance(stmt, ast.Return):
        return ast.Return in kinds
    if isinstance(stmt, ast.Break | ast.Continue):
        return not in_loop and isinstance(stmt, kinds)
    if isinstance(stmt, ast.For | ast.While):
        return any(_leaves(inner, in_loop=True, kinds=kinds) for inner in stmt.body) or any(
            _leaves(inner, in_loop=in_loop, kinds=kinds) for inner in stmt.orelse
        )
    if isinstance(stmt, ast.If):
        return any(_leaves(inner, in_loop=in_loop, kinds=kinds) for inner in (*stmt.body, *stmt.orelse))
    return False


def always_leaves(stmts: Sequence[ast.stmt]) -> bool:
    """Whether control certainly does not reach the end of ``stmts``."""
    return any(
        isinstance(stmt, ast.Return | ast.Break | ast.Continue)
        or (isinstance(stmt, ast.If) and always_leaves(stmt.body) and always_leaves(stmt.orelse))
        for stmt in stmts
    )


def local_names(node: ast.FunctionDef | ast.Lambda) -> Names:
    """The names that are local to a function: its parameters and what it binds."""
    args = node.args
    parameters = [*args.posonlyargs, *args.args, *args.kwonlyargs, *filter(None, (args.vararg, args.kwarg))]
    body = node.body if isinstance(node, ast.FunctionDef) else [node.body]
    return bound_names(body) | {arg.arg for arg in parameters}
