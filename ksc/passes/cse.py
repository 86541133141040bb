"""Common subexpressions: what was computed before, in this block or around it, is not computed again.

Scalar primitives and reads of tensors, tuples and boxes count, and calls without effects. Structured ops do not. What
was asserted is not asserted again, and of two integers that the outermost block asserts to be equal the later one is
the first from there on: a constant, or the one that was bound before, so sizes that must agree have one name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from ksc.ir.nodes import Atom, Block, Eqn, Function, Program, Var, const
from ksc.ir.rewrite import Env, assemble, effectful_functions, replace
from ksc.ir.types import Integer
from ksc.ops import PRIMITIVES

_READS = frozenset({"index", "size", "get", "unbox", "tuple", "box"})

_TRUE = const(True)

_MIRRORED = {"gt": "lt", "gte": "lte"}

Key = tuple[str, tuple[Atom, ...], tuple[tuple[str, object], ...]]


def eliminate_common_subexpressions(program: Program) -> Program:
    """Compute each value once."""
    effectful = effectful_functions(program.functions)
    functions = {name: share_values(function, effectful) for name, function in program.functions.items()}
    return assemble(functions, program.entry, program.boxes, renew=False)


def share_values(function: Function, effectful: Collection[str]) -> Function:
    """Do so in one function; ``effectful`` names those of which each call counts."""
    return Function(
        function.name,
        _block(function.body, {}, {_assertion((_TRUE,)): ()}, effectful, _Equal(function.body.params), inside=False),
        function.span,
    )


def value_key(eqn: Eqn, effectful: Collection[str]) -> Key | None:
    """What equations of one value have in common; None where it cannot be told, or the equation has an effect."""
    pure = eqn.op in PRIMITIVES or eqn.op in _READS or (eqn.op == "call" and eqn.params["callee"] not in effectful)
    if not pure:
        return None
    args = eqn.args
    if eqn.op in _MIRRORED:
        return _MIRRORED[eqn.op], (args[1], args[0]), ()
    if eqn.op in PRIMITIVES and PRIMITIVES[eqn.op].commutative:
        args = tuple(sorted(args, key=id if all(isinstance(a, Var) for a in args) else repr))
    return eqn.op, args, tuple(sorted(eqn.params.items()))


def _assertion(args: tuple[Atom, ...]) -> Key:
    return "assert", args, ()


def _block(
    block: Block,
    env: Env,
    known: dict[Key, tuple[Var, ...]],
    effectful: Collection[str],
    equal: _Equal,
    *,
    inside: bool = True,
) -> Block:
    eqns = []
    for eqn in block.eqns:
        args = tuple(equal.first(replace(arg, env)) for arg in eqn.args)
        blocks = tuple(_block(inner, env, dict(known), effectful, equal) for inner in eqn.blocks)
        new = Eqn(eqn.outs, eqn.op, args, eqn.params, blocks, eqn.span)
        if new.op == "eq" and args[0].type == Integer and args[0] == args[1]:
            env[new.outs[0]] = _TRUE
            continue
        key = _assertion(new.args) if new.op == "assert" else value_key(new, effectful)
        if key is not None and key in known:
            env.update(zip(new.outs, known[key], strict=True))
            continue
        if key is not None:
            known[key] = new.outs
        if not inside:
            equal.enter(new)
        eqns.append(new)
    results = tuple(equal.first(replace(result, env)) for result in block.results)
    return Block(block.params, tuple(eqns), results, block.span)


class _Equal:
    """The integers that the outermost block has asserted to be equal so far, each with the first of them.

    Attributes:
        order: the integers of that block in the order in which they are bound.
        pairs: for a condition the integers that are equal where it holds.
        firsts: for an integer that is equal to one before it that one.
    """

    def __init__(self, params: Iterable[Var]) -> None:
        self.order: dict[Atom, int] = {}
        self.pairs: dict[Atom, tuple[Sequence[Atom], ...]] = {}
        self.firsts: dict[Atom, Atom] = {}
        self.bind(params)

    def first(self, atom: Atom) -> Atom:
        """The atom, or what it is equal to."""
        return self.firsts.get(atom, atom)

    def bind(self, variables: Iterable[Var]) -> None:
        """Note that variables are bound now."""
        self.order.update((var, len(self.order)) for var in variables if var.type == Integer)

    def enter(self, eqn: Eqn) -> None:
        """Note what an equation binds, or asserts."""
        self.bind(eqn.outs)
        if eqn.op == "eq" and eqn.args[0].type == Integer:
            self.pairs[eqn.outs[0]] = (eqn.args,)
        elif eqn.op == "and":
            self.pairs[eqn.outs[0]] = tuple(pair for arg in eqn.args for pair in self.pairs.get(arg, ()))
        elif eqn.op == "assert":
            for pair in self.pairs.get(eqn.args[0], ()):
                self.equate(pair)

    def equate(self, pair: Sequence[Atom]) -> None:
        """Note that two integers are equal from here on."""
        first, later = sorted(map(self.first, pair), key=lambda atom: self.order.get(atom, -1))
        if isinstance(later, Var) and first is not later:
            self.firsts |= {atom: first for atom, known in self.firsts.items() if known is later}
            self.firsts[later] = first
