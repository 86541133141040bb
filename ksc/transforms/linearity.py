"""Whether a function is linear in some of its parameters: shown by the form of its code, never assumed.

A value is ZERO, LINEAR in the parameters, CONSTANT (does not depend on them), or OTHER. A sum of a LINEAR and a
CONSTANT value is OTHER: what is affine is not linear.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum

from ksc.ir.nodes import Atom, Block, Const, Eqn, Function, Var


class Kind(IntEnum):
    """How a value depends on the parameters."""

    ZERO = 0
    LINEAR = 1
    CONSTANT = 2
    OTHER = 3


ZERO, LINEAR, CONSTANT, OTHER = Kind
_PASSES = frozenset({"neg", "identity"})
_SUMS = frozenset({"add", "sub"})


def is_linear(functions: Mapping[str, Function], name: str, params: Iterable[int]) -> bool:
    """Whether every result of a function is linear in the parameters at these positions, taken together."""
    chosen = set(params)
    kinds = [LINEAR if k in chosen else CONSTANT for k in range(len(functions[name].params))]
    return all(kind <= LINEAR for kind in _Analysis(functions).function(name, kinds))


def _join(kinds: Iterable[Kind]) -> Kind:
    """The kind of a value that is one of several, or of a tensor that they are the elements of."""
    found = set(kinds) - {ZERO}
    if not found:
        return ZERO
    return found.pop() if len(found) == 1 else OTHER


def _fixed(kind: Kind) -> Kind:
    """The kind of what is made of a value that must not depend on the parameters."""
    return CONSTANT if kind in (ZERO, CONSTANT) else OTHER


def _product(kinds: Sequence[Kind]) -> Kind:
    if ZERO in kinds and OTHER not in kinds:
        return ZERO
    if all(kind == CONSTANT for kind in kinds):
        return CONSTANT
    return LINEAR if sorted(kinds) == [LINEAR, CONSTANT] else OTHER


class _Analysis:
    def __init__(self, functions: Mapping[str, Function]) -> None:
        self.functions = functions
        self.known: dict[tuple[str, tuple[Kind, ...]], list[Kind]] = {}

    def function(self, name: str, params: Sequence[Kind]) -> list[Kind]:
        """The kinds of the results; for a recursive function the least fixpoint from ZERO."""
        key = name, tuple(params)
        if key not in self.known:
            body = self.functions[name].body
            self.known[key] = [ZERO] * len(body.results)
            while True:
                env: dict[Var, Kind] = dict(zip(body.params, params, strict=True))
                found = self.block(body, env)
                if found == self.known[key]:
                    break
                self.known[key] = found
        return self.known[key]

    def block(self, block: Block, env: dict[Var, Kind]) -> list[Kind]:
        for eqn in block.eqns:
            for out, kind in zip(eqn.outs, self.eqn(eqn, env), strict=True):
                env[out] = kind
        return [_atom(result, env) for result in block.results]

    def eqn(self, eqn: Eqn, env: dict[Var, Kind]) -> Sequence[Kind]:
        kinds = [_atom(arg, env) for arg in eqn.args]
        fixed = all(kind in (ZERO, CONSTANT) for kind in kinds)
        match eqn.op:
            case "if":
                sides = [self.block(block, env) for block in eqn.blocks]
                if not fixed:
                    return [OTHER] * len(eqn.outs)
                return [_join(pair) for pair in zip(*sides, strict=True)]
            case "for":
                return self.loop(eqn, kinds, env) if kinds[0] == CONSTANT else [OTHER] * len(eqn.outs)
            case "while":
                return self.loop(eqn, kinds, env)
            case "build" | "reduce":
                (body,) = eqn.blocks
                env.update(dict.fromkeys(body.params, CONSTANT))
                found = self.block(body, env)
                if not fixed:
                    return [OTHER] * len(eqn.outs)
                additive = eqn.op == "build" or eqn.params["monoid"] == "add"
                return [kind if additive else _fixed(kind) for kind in found]
            case "withacc":
                return self.withacc(eqn, kinds, env)
            case "acc_add":
                return self.acc_add(eqn, kinds, env)
            case "index":
                return [kinds[0] if all(kind == CONSTANT for kind in kinds[1:]) else OTHER]
            case "update":
                at = all(kind == CONSTANT for kind in kinds[1:-1])
                return [_join((kinds[0], kinds[-1])) if at else OTHER]
            case "size":
                return [CONSTANT]
            case "call":
                return self.function(eqn.params["callee"], kinds)
            case "select":
                return [_join(kinds[1:]) if kinds[0] == CONSTANT else OTHER]
            case "mul":
                return [_product(kinds)]
            case "div" | "div_by" | "ldexp":
                return [kinds[0] if kinds[1] == CONSTANT else OTHER if kinds[1] != ZERO else _fixed(kinds[0])]
            case op if op in _SUMS or op in _PASSES:
                return [_join(kinds)]
            case _:
                return [CONSTANT if fixed else OTHER] * len(eqn.outs)

    def loop(self, eqn: Eqn, kinds: Sequence[Kind], env: dict[Var, Kind]) -> Sequence[Kind]:
        n = eqn.params["carries"]
        carried = list(kinds[len(kinds) - n :])
        while True:
            decided = True
            for block in eqn.blocks:
                env.update(dict.fromkeys(block.params, CONSTANT))
                env.update(zip(block.params[len(block.params) - n :], carried, strict=True))
                found = self.block(block, env)
                if block is not eqn.blocks[-1]:
                    decided = found == [CONSTANT]
            joined = [_join(pair) for pair in zip(carried, found[:n], strict=True)]
            if joined == carried:
                return [*joined, *found[n:]] if decided else [OTHER] * len(eqn.outs)
            carried = joined

    def withacc(self, eqn: Eqn, kinds: Sequence[Kind], env: dict[Var, Kind]) -> Sequence[Kind]:
        (body,) = eqn.blocks
        env.update(zip(body.params, kinds, strict=True))
        found = self.block(body, env)
        return [*(env[param] for param in body.params), *found]

    def acc_add(self, eqn: Eqn, kinds: Sequence[Kind], env: dict[Var, Kind]) -> Sequence[Kind]:
        acc = eqn.args[0]
        assert isinstance(acc, Var)
        at = all(kind == CONSTANT for kind in kinds[1:-1])
        env[acc] = _join((kinds[0], kinds[-1])) if at else OTHER
        return []


def _atom(atom: Atom, env: Mapping[Var, Kind]) -> Kind:
    if isinstance(atom, Const):
        return ZERO if isinstance(atom.value, float) and atom.value == 0.0 else CONSTANT
    return env[atom]
