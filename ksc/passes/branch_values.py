"""What a side of an ``if`` has computed is known to the same side of a later ``if`` of that condition.

    y = (if c (sin x) 0.0)                                  y s = (if c (tuple (sin x) (sin x)) (tuple 0.0 0.0))
    x_bar = (if c (mul y_bar (cos (sin x))) 0.0)    ⟶       x_bar = (if c (mul y_bar (cos s)) 0.0)

So the reverse of a branch reads what the branch computed, as the reverse of straight code does. Roots, quotients and
functions that are dearer come out of the first ``if`` as results; what is cheap is computed again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ksc.ir.nodes import Atom, Block, Eqn, Function, Program, Var, default_value, walk
from ksc.ir.rewrite import Env, assemble, replace
from ksc.ir.types import Float
from ksc.ops import PRIMITIVES
from ksc.passes.cse import Key, value_key

_DEAR = frozenset({"div", "sqrt"})


def reuse_branch_values(program: Program) -> Program:
    """Take dear values from an earlier ``if`` of the same condition, in all functions."""
    functions = dict(program.functions)
    for name, function in program.functions.items():
        if _repeats_a_condition(function.body):
            functions[name] = Function(name, _Reuse().block(function.body, {}, ()), function.span)
    return assemble(functions, program.entry, program.boxes, renew=False)


def _repeats_a_condition(block: Block) -> bool:
    conditions = [eqn.args for eqn in walk(block) if eqn.op == "if"]
    return len(set(conditions)) < len(conditions)


@dataclass(slots=True)
class _Branch:
    """An ``if``: what its sides compute, by what it is, and which of that its later results are."""

    sides: tuple[Mapping[Key, Var], Mapping[Key, Var]]
    exports: tuple[dict[Var, Var], dict[Var, Var]] = field(default_factory=lambda: ({}, {}))


class _Reuse:
    def __init__(self) -> None:
        self.env: Env = {}
        # What a variable is called in the side where it was computed first.
        self.first: dict[Atom, Atom] = {}

    def block(
        self, block: Block, branches: Mapping[Atom, Sequence[_Branch]], known: Sequence[tuple[_Branch, int]]
    ) -> Block:
        """The block, where ``known`` holds the sides whose conditions are known to hold."""
        branches = dict(branches)
        eqns: list[tuple[Eqn, _Branch | None]] = []
        for eqn in block.eqns:
            args = tuple(replace(arg, self.env) for arg in eqn.args)
            if not eqn.blocks:
                new = Eqn(eqn.outs, eqn.op, args, eqn.params, (), eqn.span)
                if not self.taken(new, known):
                    eqns.append((new, None))
                continue
            earlier = branches.get(args[0], ()) if eqn.op == "if" else ()
            blocks = tuple(
                self.block(inner, branches, (*known, *((branch, side) for branch in earlier)))
                for side, inner in enumerate(eqn.blocks)
            )
            branch = None
            if eqn.op == "if":
                branch = _Branch((self.table(blocks[0]), self.table(blocks[1])))
                branches[args[0]] = (*earlier, branch)
            eqns.append((Eqn(eqn.outs, eqn.op, args, eqn.params, blocks, eqn.span), branch))
        results = tuple(replace(result, self.env) for result in block.results)
        return Block(
            block.params, tuple(eqn if of is None else _exporting(eqn, of) for eqn, of in eqns), results, block.span
        )

    def key(self, eqn: Eqn) -> Key | None:
        if eqn.op not in PRIMITIVES and eqn.op != "index":
            return None
        args = tuple(self.first.get(arg, arg) for arg in eqn.args)
        return value_key(Eqn(eqn.outs, eqn.op, args, eqn.params), ())

    def table(self, side: Block) -> dict[Key, Var]:
        found: dict[Key, Var] = {}
        for eqn in side.eqns:
            key = self.key(eqn)
            if key is not None:
                found.setdefault(key, eqn.outs[0])
        return found

    def taken(self, eqn: Eqn, known: Sequence[tuple[_Branch, int]]) -> bool:
        """Whether the value of an equation is that of an earlier one, and is taken from there."""
        key = self.key(eqn) if known else None
        for branch, side in known:
            value = branch.sides[side].get(key) if key is not None else None
            if value is None:
                continue
            (out,) = eqn.outs
            self.first[out] = self.first.get(value, value)
            if out.type != Float or not (eqn.op in _DEAR or _is_expensive(eqn)):
                return False
            exports = branch.exports[side]
            if value not in exports:
                exports[value] = Var(value.name, value.type)
                self.first[exports[value]] = self.first[out]
            self.env[out] = exports[value]
            return True
        return False


def _is_expensive(eqn: Eqn) -> bool:
    return eqn.op in PRIMITIVES and PRIMITIVES[eqn.op].cost == "expensive"


def _exporting(eqn: Eqn, branch: _Branch) -> Eqn:
    """The ``if`` with what later ones read as further results, which the other side does not have."""
    outs, results = list(eqn.outs), [list(block.results) for block in eqn.blocks]
    for side, exports in enumerate(branch.exports):
        for value, out in exports.items():
            nothing = default_value(value.type)
            assert nothing is not None
            outs.append(out)
            results[side].append(value)
            results[1 - side].append(nothing)
    blocks = tuple(
        Block((), block.eqns, tuple(row), block.span) for block, row in zip(eqn.blocks, results, strict=True)
    )
    return Eqn(tuple(outs), eqn.op, eqn.args, eqn.params, blocks, eqn.span)
