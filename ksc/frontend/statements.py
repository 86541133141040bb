"""Statements: one handler per kind in STATEMENTS; any other kind is refused."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from functools import partial

from ksc.frontend.assign import assign
from ksc.frontend.chains import chain_of, run_chain
from ksc.frontend.expressions import evaluate, truth
from ksc.frontend.flow import BREAK, CONTINUE, GO_ON, Flow, branch, end_of, return_flow, sequence
from ksc.frontend.frame import Frame
from ksc.frontend.functions import define
from ksc.frontend.loops import run_for, run_while
from ksc.frontend.refuse import describe_node
from ksc.frontend.scope import After, Names, always_leaves, live_after_each, may_leave
from ksc.frontend.subscripts import augment_subscript, augment_value
from ksc.frontend.values import NONE, Static


def run_block(frame: Frame, stmts: Sequence[ast.stmt], after: After) -> Flow:
    """Trace statements one after another, and tell how control leaves them."""
    for k, (stmt, live) in enumerate(zip(stmts, live_after_each(stmts, after), strict=True)):
        rest = stmts[k + 1 :]
        if isinstance(stmt, ast.If):
            flow, complete = _run_if(frame, stmt, rest, after, live)
            if complete:
                return flow
        elif isinstance(stmt, ast.Continue) and after.tail == "loop":
            return GO_ON
        else:
            flow = _run(frame, stmt, after.inner(live))
        if not flow.plain:
            return sequence(frame, flow, partial(run_block, frame, rest, after), after, stmt)
    return end_of(after, frame.span(stmts[-1]) if stmts else None)


def _run(frame: Frame, stmt: ast.stmt, after: After) -> Flow:
    handler = STATEMENTS.get(type(stmt))
    if handler is None:
        reason, instead, code = REFUSED.get(type(stmt), ("it has no meaning here", "rewrite it", "KS100"))
        frame.refuse(stmt, f"{describe_node(stmt)} cannot be compiled: {reason}", instead, code=code)
    return handler(frame, stmt, after)


def _run_if(frame: Frame, stmt: ast.If, rest: Sequence[ast.stmt], after: After, live: Names) -> tuple[Flow, bool]:
    """Trace an ``if``, and what follows it where only one side gets there: then the flow is that of all of it.

    The names that are ``live`` may be read by what follows.
    """
    inner = after.inner(live) if rest else after
    chain = chain_of(stmt, rest)
    if chain is not None:
        inner = after if chain.leaves else inner
        return run_chain(frame, chain, inner, lambda body: run_block(frame, body, inner)), inner is after
    cond = truth(frame, stmt.test)
    if isinstance(cond, Static):
        chosen = stmt.body if cond.value else stmt.orelse
        if may_leave(chosen):
            return run_block(frame, [*chosen, *rest], after), True
        return run_block(frame, chosen, inner), inner is after
    body, orelse = stmt.body, stmt.orelse
    if always_leaves(body):
        orelse, inner = [*orelse, *rest], after
    elif always_leaves(orelse):
        body, inner = [*body, *rest], after
    flow = branch(
        frame,
        frame.atom(cond, stmt.test),
        lambda: run_block(frame, body, inner),
        lambda: run_block(frame, orelse, inner),
        inner,
        stmt,
    )
    return flow, inner is after


def _return(frame: Frame, stmt: ast.Return, after: After) -> Flow:
    value = evaluate(frame, stmt.value) if stmt.value else NONE
    return return_flow(value, frame.source.span(stmt, head=True))


def _expr(frame: Frame, stmt: ast.Expr, after: After) -> Flow:
    if not isinstance(stmt.value, ast.Constant):
        evaluate(frame, stmt.value)
    return GO_ON


def _assign(frame: Frame, stmt: ast.Assign, after: After) -> Flow:
    value = evaluate(frame, stmt.value)
    for target in stmt.targets:
        assign(frame, target, value)
    return GO_ON


def _ann_assign(frame: Frame, stmt: ast.AnnAssign, after: After) -> Flow:
    if stmt.value is not None:
        assign(frame, stmt.target, evaluate(frame, stmt.value))
    return GO_ON


def _aug_assign(frame: Frame, stmt: ast.AugAssign, after: After) -> Flow:
    if isinstance(stmt.target, ast.Subscript):
        augment_subscript(frame, stmt.target, stmt.op, lambda: evaluate(frame, stmt.value), stmt)
        return GO_ON
    if not isinstance(stmt.target, ast.Name):
        frame.refuse(stmt, "an attribute is written", "build a new value and bind it", code="KS107")
    current = frame.lookup(stmt.target.id, stmt.target)
    value = evaluate(frame, stmt.value)
    assign(frame, stmt.target, augment_value(frame, stmt.op, current, value, stmt))
    return GO_ON


def _assert(frame: Frame, stmt: ast.Assert, after: After) -> Flow:
    cond = truth(frame, stmt.test)
    message = ast.unparse(stmt.test)
    if stmt.msg is not None:
        instead = "use a plain string; what depends on the arguments cannot be part of it"
        if isinstance(stmt.msg, ast.JoinedStr):
            message = _with_sources(frame, stmt.msg)
        else:
            text = frame.require_static(evaluate(frame, stmt.msg), stmt.msg, "the message of an assert", instead)
            message = str(text)
    if not (isinstance(cond, Static) and cond.value):
        frame.emit(stmt, "assert", [frame.atom(cond, stmt.test)], [], params={"message": message})
    return GO_ON


def _with_sources(frame: Frame, message: ast.JoinedStr) -> str:
    """The text of an f-string where what depends on the arguments stands as it is written, in braces."""
    text = ""
    for part in message.values:
        if isinstance(part, ast.FormattedValue) and not isinstance(evaluate(frame, part.value), Static):
            text += f"{{{ast.unparse(part.value)}}}"
        else:
            found = evaluate(frame, ast.copy_location(ast.JoinedStr([part]), message))
            assert isinstance(found, Static)
            text += str(found.value)
    return text


def _pass(frame: Frame, stmt: ast.stmt, after: After) -> Flow:
    return GO_ON


def _function(frame: Frame, stmt: ast.FunctionDef, after: After) -> Flow:
    frame.bind(stmt.name, define(frame, stmt), stmt)
    return GO_ON


STATEMENTS: dict[type[ast.stmt], Callable[..., Flow]] = {
    ast.Return: _return,
    ast.Expr: _expr,
    ast.Assign: _assign,
    ast.AnnAssign: _ann_assign,
    ast.AugAssign: _aug_assign,
    ast.Assert: _assert,
    ast.Pass: _pass,
    ast.FunctionDef: _function,
    ast.For: run_for,
    ast.While: run_while,
    ast.Break: lambda frame, stmt, after: BREAK,
    ast.Continue: lambda frame, stmt, after: CONTINUE,
}

_EXCEPTIONS = ("kernels raise no Python exceptions", "state the condition with `assert`, or return a value", "KS101")
_COROUTINE = ("a kernel runs from call to return", "call the kernel from the coroutine", "KS102")
REFUSED: dict[type[ast.stmt], tuple[str, str, str]] = {
    ast.Try: ("kernels catch no exceptions", "test for the bad case with `if` before it happens", "KS101"),
    ast.Raise: _EXCEPTIONS,
    ast.With: ("a kernel manages no resources", "put the `with` around the call of the kernel", "KS102"),
    ast.AsyncWith: _COROUTINE,
    ast.AsyncFor: _COROUTINE,
    ast.AsyncFunctionDef: _COROUTINE,
    ast.Global: ("a kernel changes nothing outside itself", "return the new value", "KS103"),
    ast.Nonlocal: ("a local function cannot write variables around it", "return the new value", "KS103"),
    ast.ClassDef: ("classes cannot be made inside a kernel", "define the class outside", "KS108"),
    ast.Delete: ("variables cannot be unbound", "leave it out", "KS107"),
    ast.Match: ("patterns are not known", "use `if` and `elif`", "KS100"),
    ast.Import: ("imports run when the file is loaded", "import at the top of the file", "KS108"),
    ast.ImportFrom: ("imports run when the file is loaded", "import at the top of the file", "KS108"),
}
