"""A sum and the loop that adds up its derivative become one, where the derivative computes the terms again.

    s = (reduce add n (lam i … (mul r r)))  …  a_bar = (withacc (a) (build n (lam i … (acc_add j a (mul s_bar r)))))
      ⟶      a_bar s = (withacc (a 0.0) (build n (lam i … (acc_add j a (mul s_bar r)) (acc_add s (mul r r)))))

So a value and its gradient go through the points once. It is done only where every loop in the terms of the sum is one
that the derivative has too: then nothing is left in the sum that would rather be a loop by itself. What reads the sum
comes after both. Asserts in it that ask for the same of all iterations are made before.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cached_property

from ksc.ir.builder import Builder
from ksc.ir.liveness import adds, has_effect, prune_block
from ksc.ir.nodes import Atom, Block, Eqn, Function, Program, Var, const, walk
from ksc.ir.rewrite import (
    bound_vars,
    clone_block,
    effectful_functions,
    free_vars,
    read_vars,
    substitute_block,
    with_blocks,
    with_body,
    with_eqns,
    with_functions,
)
from ksc.ir.types import AccType, Float
from ksc.ops import PRIMITIVES
from ksc.passes.fuse.changes import changed_tensors
from ksc.passes.fuse.cost import fails
from ksc.passes.fuse.facts import Facts
from ksc.passes.fuse.sizes import Place
from ksc.passes.share import share_in


def join_sums(program: Program) -> Program:
    """Join what can be, in the outermost block of each function; the same program where there is nothing to do."""
    effectful = effectful_functions(program.functions)
    return with_functions(program, lambda function: _Joint(function, effectful).run())


class _Joint:
    def __init__(self, function: Function, effectful: Collection[str]) -> None:
        self.function = function
        self.effectful = effectful

    @cached_property
    def facts(self) -> tuple[Facts, Place]:
        """What is known of the function as it was; few programs ask."""
        return Facts.of(self.function)

    def run(self) -> Function:
        block = self.function.body
        sums = [eqn for eqn in block.eqns if _is_sum(eqn)]
        for total in sums:
            block = self.joined(block, total)
        return with_body(self.function, block)

    def joined(self, block: Block, total: Eqn) -> Block:
        """The block with a sum in it joined with the first loop after it that has the same loops inside."""
        first = block.eqns.index(total)
        reading = set(total.outs)
        later: list[Eqn] = []
        between: list[Eqn] = []
        for number, eqn in enumerate(block.eqns[first + 1 :], first + 1):
            if not reading.isdisjoint(read_vars([eqn])):
                reading.update(eqn.outs)
                later.append(eqn)
                continue
            found = self.together(total, eqn) if eqn.op == "withacc" else None
            if found is not None and self.moves(total, [*between, eqn], later):
                lifted, joint = found
                eqns = (*block.eqns[:first], *lifted, *between, joint, *later, *block.eqns[number + 1 :])
                return Block(block.params, eqns, block.results, block.span)
            between.append(eqn)
        return block

    def moves(self, total: Eqn, between: Sequence[Eqn], later: Sequence[Eqn]) -> bool:
        """Whether a sum and what reads it can come after the equations in ``between``."""
        read = read_vars([total, *later])
        if any(tensor in read for eqn in between for tensor in changed_tensors(eqn)):
            return False
        if any(has_effect(eqn, self.effectful, ()) or adds(eqn) for eqn in later):
            return False
        facts, place = self.facts
        return not any(fails(eqn, place, facts, asserts=False) for eqn in (total, *later))

    def together(self, total: Eqn, derivative: Eqn) -> tuple[Sequence[Eqn], Eqn] | None:
        """What is asserted first, and the loop that does both; None where there is none, or it does not pay."""
        (around,) = derivative.blocks
        loop = next((eqn for eqn in around.eqns if eqn.op == "build" and eqn.args == total.args), None)
        if loop is None:
            return None
        (terms,), (body,) = total.blocks, loop.blocks
        found = _without_asserts(terms, total, bound_vars(terms))
        if found is None or any(has_effect(eqn, self.effectful, ()) or adds(eqn) for eqn in found[1].eqns):
            return None
        lifted, terms = found
        terms = substitute_block(terms, dict(zip(terms.params, body.params, strict=True)))
        accs = tuple(Var(out.name, AccType(Float)) for out in total.outs)
        added = tuple(
            Eqn((), "acc_add", (acc, term), span=total.span) for acc, term in zip(accs, terms.results, strict=True)
        )
        both = Block(body.params, (*terms.eqns, *body.eqns, *added), body.results, body.span)
        shared = share_in(both, self.effectful)
        if _loops(shared) > _loops(share_in(body, self.effectful)):
            return None
        joint = Eqn(loop.outs, loop.op, loop.args, loop.params, (shared,), loop.span)
        n = len(derivative.args)
        eqns = tuple(joint if eqn is loop else eqn for eqn in around.eqns)
        inside = Block((*around.params, *accs), eqns, around.results, around.span)
        outs = (*derivative.outs[:n], *total.outs, *derivative.outs[n:])
        args = (*derivative.args, *(const(0.0) for _ in accs))
        return lifted, Eqn(outs, derivative.op, args, derivative.params, (inside,), derivative.span)


def _is_sum(eqn: Eqn) -> bool:
    """Whether this is a sum of numbers that have loops in them."""
    return (
        eqn.op == "reduce"
        and eqn.params["monoid"] == "add"
        and all(out.type == Float for out in eqn.outs)
        and _loops(eqn.blocks[0]) > 0
    )


def _loops(block: Block) -> int:
    return sum(1 for eqn in walk(block) if eqn.op in ("build", "reduce", "for", "while"))


def _without_asserts(block: Block, owner: Eqn, own: Collection[Var]) -> tuple[list[Eqn], Block] | None:
    """What a loop asserts, as asserts before it, and its body without them; None where iterations may differ in it."""
    builder = Builder(owner.span)
    lifted = _lift(block, (owner,), (), own, builder)
    return None if lifted is None else (builder.eqns, prune_block(lifted, ()))


def _lift(
    block: Block, loops: Sequence[Eqn], before: Sequence[Eqn], own: Collection[Var], builder: Builder
) -> Block | None:
    eqns: list[Eqn] = []
    for eqn in block.eqns:
        if eqn.op == "assert":
            cond = _outside(eqn.args[0], [*before, *eqns], own, builder)
            sizes = [size for loop in loops for size in loop.args]
            if cond is None or eqn.params.get("index") or any(size in own for size in sizes):
                return None
            for size in sizes:
                cond = builder.apply("or", builder.apply("lte", size, const(0)), cond)
            builder.emit("assert", [cond], (), params=eqn.params, span=eqn.span)
        elif eqn.blocks and any(inner.op == "assert" for part in eqn.blocks for inner in walk(part)):
            if eqn.op not in ("build", "reduce"):
                return None
            inside = _lift(eqn.blocks[0], (*loops, eqn), [*before, *eqns], own, builder)
            if inside is None:
                return None
            eqns.append(with_blocks(eqn, [inside]))
        else:
            eqns.append(eqn)
    return with_eqns(block, eqns)


def _outside(cond: Atom, before: Sequence[Eqn], own: Collection[Var], builder: Builder) -> Atom | None:
    """A condition computed again before the loops, of sizes and numbers from there; None where it takes more."""
    needed = prune_block(Block((), tuple(before), (cond,)), ())
    for eqn in needed.eqns:
        record = PRIMITIVES.get(eqn.op)
        if eqn.op != "size" and (record is None or record.can_fail):
            return None
    if any(var in own for var in free_vars(needed)):
        return None
    copy = clone_block(needed, {})
    builder.eqns += copy.eqns
    return copy.results[0]
