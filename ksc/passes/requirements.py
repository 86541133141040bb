"""What the iterations of a loop have required holds in later loops over the same count, and is required there again.

    (for n … (require c …) …)  (for n …)      ⟶      (for n … (require c …) …)  (for n … (require c …) …)

The reverse of a loop runs as often as the loop does, if ever, and reads tensors of the same sizes; so what was asserted
of sizes is known there too, and its elements need no checks. Only comparisons of integers from outside the loop are
repeated, in loops with carries that have loops inside: they cannot fail there and cost nothing, and what they compute
leaves the loop in the end.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from ksc.ir.nodes import Atom, Block, Const, Eqn, Function, Program, Var, walk
from ksc.ir.rewrite import Env, assemble, clone_eqn
from ksc.ir.types import Bool, Integer
from ksc.ops import PRIMITIVES
from ksc.passes.fuse.facts import Facts
from ksc.passes.fuse.polynomial import Polynomial

_LONGEST = 16
"""The number of equations up to which a condition is computed again."""

_COUNTED = frozenset({"for", "build", "reduce"})


def repeat_requirements(program: Program) -> Program:
    """Repeat comparisons of sizes at the start of later loops, in all functions."""
    functions = {}
    for name, function in program.functions.items():
        if any(eqn.op == "assert" for eqn in walk(function.body)):
            block, _ = _Repeater(Facts.of(function)[0]).block(function.body, (), frozenset())
            function = Function(name, block, function.span)
        functions[name] = function
    return assemble(functions, program.entry, program.boxes, renew=False)


Count = frozenset[tuple[Hashable, int]]


@dataclass(frozen=True, slots=True)
class _Requirement:
    """What holds where loops of certain counts have an iteration.

    Attributes:
        counts: the counts, none of which is then 0.
        eqns: what computes the condition from variables that are at hand.
        check: the assert.
        key: tells conditions apart.
    """

    counts: frozenset[Count]
    eqns: tuple[Eqn, ...]
    check: Eqn
    key: Hashable


class _Repeater:
    def __init__(self, facts: Facts) -> None:
        self.facts = facts

    def count(self, atom: Atom) -> Count:
        polynomial: Polynomial = self.facts.polynomial(self.facts.resolve(atom))
        return frozenset(polynomial.terms.items())

    def block(
        self, block: Block, known: tuple[_Requirement, ...], around: frozenset[Count]
    ) -> tuple[Block, list[_Requirement]]:
        """The block, and what it requires of variables that are bound before it.

        ``known`` is what loops before it required, ``around`` the counts of the loops that it is in.
        """
        found: list[_Requirement] = []
        eqns: list[Eqn] = []
        for eqn in block.eqns:
            counts: frozenset[Count] = frozenset()
            if eqn.op in _COUNTED:
                counts = frozenset(map(self.count, eqn.args[:1] if eqn.op == "for" else eqn.args))
            inside = around | counts
            new = [req for req in known if req.counts <= inside and not req.counts <= around]
            blocks = []
            for inner in eqn.blocks:
                changed, required = self.block(inner, known, inside)
                reads = eqn.op == "for" and any(one.blocks for one in inner.eqns)
                blocks.append(_with_requirements(changed, new) if reads else changed)
                if eqn.op in _COUNTED or eqn.op == "withacc":
                    lifted = [_Requirement(req.counts | counts, req.eqns, req.check, req.key) for req in required]
                    found += lifted
                    known += tuple(req for req in lifted if req.counts)
            if eqn.op == "assert":
                found.append(_Requirement(frozenset(), (), eqn, eqn.args[0]))
            eqns.append(Eqn(eqn.outs, eqn.op, eqn.args, eqn.params, tuple(blocks), eqn.span))
        closed = (_closed(req, block) for req in found)
        return Block(block.params, tuple(eqns), block.results, block.span), [req for req in closed if req is not None]


def _closed(requirement: _Requirement, block: Block) -> _Requirement | None:
    """The requirement in terms of variables from outside of ``block``; None where it is of others, or too long."""
    bound = {out: eqn for eqn in block.eqns for out in eqn.outs}
    own = {out for eqn in requirement.eqns for out in eqn.outs}
    needed: dict[Eqn, None] = {}
    keys: dict[Atom, Hashable] = {}
    pending: list[Atom] = [requirement.check.args[0], *(arg for eqn in requirement.eqns for arg in eqn.args)]
    while pending:
        atom = pending.pop()
        if not isinstance(atom, Var) or atom in own:
            continue
        if atom in block.params:
            return None
        eqn = bound.get(atom)
        if eqn is not None and eqn not in needed:
            if not _is_total(eqn) or len(needed) + len(requirement.eqns) >= _LONGEST:
                return None
            needed[eqn] = None
            pending += eqn.args
    first = tuple(eqn for eqn in block.eqns if eqn in needed)
    eqns = (*first, *requirement.eqns)
    for eqn in eqns:
        keys[eqn.outs[0]] = eqn.op, tuple(eqn.params.items()), tuple(keys.get(arg, arg) for arg in eqn.args)
    cond = requirement.check.args[0]
    return _Requirement(requirement.counts, eqns, requirement.check, keys.get(cond, cond))


def _is_total(eqn: Eqn) -> bool:
    """Whether an equation gives an Integer or Bool from others and from sizes, and cannot fail."""
    if len(eqn.outs) != 1 or eqn.outs[0].type not in (Integer, Bool):
        return False
    if eqn.op in ("idiv", "imod"):
        return isinstance(eqn.args[1], Const) and int(eqn.args[1].value) > 0
    record = PRIMITIVES.get(eqn.op)
    integers = all(arg.type in (Integer, Bool) for arg in eqn.args)
    return eqn.op == "size" or (record is not None and record.speculatable and integers)


def _with_requirements(block: Block, requirements: Sequence[_Requirement]) -> Block:
    eqns: list[Eqn] = []
    seen: set[Hashable] = set()
    for requirement in requirements:
        if requirement.key not in seen:
            seen.add(requirement.key)
            env: Env = {}
            eqns += [clone_eqn(eqn, env) for eqn in (*requirement.eqns, requirement.check)]
    return Block(block.params, (*eqns, *block.eqns), block.results, block.span)
