"""Whether a pass has left a program as it was, found without printing it."""

from __future__ import annotations

from collections.abc import Sequence

from ksc.ir.nodes import Atom, Block, Eqn, Program, Var


def unchanged(before: Program, after: Program) -> bool:
    """Whether two programs have the same text and the same spans; only the identity of variables may differ."""
    if before is after:
        return True
    if before.entry != after.entry or dict(before.boxes) != dict(after.boxes):
        return False
    if list(before.functions) != list(after.functions):
        return False
    return all(
        function.span == after.functions[name].span
        and (function is after.functions[name] or _blocks(function.body, after.functions[name].body, {}))
        for name, function in before.functions.items()
    )


def _blocks(a: Block, b: Block, renamed: dict[Var, Var]) -> bool:
    if len(a.eqns) != len(b.eqns) or a.span != b.span or not _bound(a.params, b.params, renamed):
        return False
    return all(_eqns(x, y, renamed) for x, y in zip(a.eqns, b.eqns, strict=True)) and _read(
        a.results, b.results, renamed
    )


def _eqns(a: Eqn, b: Eqn, renamed: dict[Var, Var]) -> bool:
    return (
        a.op == b.op
        and a.span == b.span
        and len(a.blocks) == len(b.blocks)
        and _read(a.args, b.args, renamed)
        and dict(a.params) == dict(b.params)
        and all(_blocks(x, y, renamed) for x, y in zip(a.blocks, b.blocks, strict=True))
        and _bound(a.outs, b.outs, renamed)
    )


def _read(a: Sequence[Atom], b: Sequence[Atom], renamed: dict[Var, Var]) -> bool:
    return len(a) == len(b) and all(
        renamed.get(x, x) is y if isinstance(x, Var) else x == y for x, y in zip(a, b, strict=True)
    )


def _bound(a: Sequence[Var], b: Sequence[Var], renamed: dict[Var, Var]) -> bool:
    if len(a) != len(b) or any(x.name != y.name or x.type != y.type for x, y in zip(a, b, strict=True)):
        return False
    renamed.update(zip(a, b, strict=True))
    return True
