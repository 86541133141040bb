"""A tensor to whose elements each iteration of a loop adds, and which it reads for nothing else, is an accumulator.

    (for n t0 (lam (k t)
      (build 3 (lam i (add (index i t) (index (tuple k i) x))))))
        ⟶
    (withacc t0 (lam acc
      (for n (lam k
        (build 3 (lam i (acc_add i acc (index (tuple k i) x))))))))

So nothing is made anew in each iteration, and what is known to be zero need not be added. Done to what the compiler of
a processor is given: threads of a GPU would have to add atomically.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ksc.ir.nodes import Atom, Block, Eqn, Function, Program, Var, walk
from ksc.ir.rewrite import read_vars, with_blocks, with_body, with_eqns, with_functions
from ksc.ir.types import AccType, Float, TensorType
from ksc.passes.fuse.facts import Facts


def accumulate_carries(program: Program) -> Program:
    """Do so in all functions; the same program where there is no such tensor."""
    return with_functions(program, _function)


def _function(function: Function) -> Function:
    if not any(_carries_tensors(eqn) for eqn in walk(function.body)):
        return function
    facts, _ = Facts.of(function)
    return with_body(function, _block(function.body, facts))


def _carries_tensors(eqn: Eqn) -> bool:
    return eqn.op == "for" and any(_is_tensor(atom) for atom in eqn.args[1:])


def _is_tensor(atom: Atom) -> bool:
    return isinstance(atom.type, TensorType) and atom.type.elem == Float


def _block(block: Block, facts: Facts) -> Block:
    eqns = []
    for eqn in block.eqns:
        inner = with_blocks(eqn, [_block(one, facts) for one in eqn.blocks])
        eqns.append(_accumulated(inner, facts) if _carries_tensors(eqn) else inner)
    return with_eqns(block, eqns)


def _accumulated(loop: Eqn, facts: Facts) -> Eqn:
    """The loop, in a ``withacc`` if it carries such tensors."""
    n = loop.params["carries"]
    (body,) = loop.blocks
    eqns = list(body.eqns)
    accs: dict[int, Var] = {}
    if loop.params.get("nested") or loop.params.get("checkpoint", 1) != 1:
        return loop
    for k in range(n):
        param, result = body.params[1 + k], body.results[k]
        if not _is_tensor(param) or not isinstance(result, Var):
            continue
        acc = Var(param.name, AccType(param.type))
        adding = _Adding(param, acc, facts)
        reads = read_vars(eqns, body.results)
        maker = next((number for number, eqn in enumerate(eqns) if result in eqn.outs), None)
        if maker is None or reads.get(param) != 1 or reads[result] != 1:
            continue
        added = adding.nest(eqns[maker], result, ())
        if added is not None:
            eqns[maker] = added
            accs[k] = acc
    if not accs:
        return loop
    kept = [k for k in range(len(loop.outs)) if k not in accs]
    carried = [k for k in kept if k < n]
    inside = Block(
        (body.params[0], *(body.params[1 + k] for k in carried)),
        tuple(eqns),
        tuple(body.results[k] for k in kept),
        body.span,
    )
    outs = tuple(Var(loop.outs[k].name, loop.outs[k].type) for k in kept)
    args = (loop.args[0], *(loop.args[1 + k] for k in carried))
    inner = Eqn(outs, "for", args, {**loop.params, "carries": len(carried)}, (inside,), loop.span)
    around = Block(tuple(accs.values()), (inner,), outs, body.span)
    return Eqn(
        (*(loop.outs[k] for k in accs), *(loop.outs[k] for k in kept)),
        "withacc",
        tuple(loop.args[1 + k] for k in accs),
        {},
        (around,),
        loop.span,
    )


class _Adding:
    """Turns the loops that make a carried tensor anew into loops that add to it."""

    def __init__(self, carry: Var, acc: Var, facts: Facts) -> None:
        assert isinstance(carry.type, TensorType)
        self.carry = carry
        self.rank = carry.type.rank
        self.acc = acc
        self.facts = facts

    def nest(self, loop: Eqn, out: Var, indices: Sequence[Var]) -> Eqn | None:
        """The loop without a result, a part of the tensor at these indices; None where it is more than a sum."""
        if loop.op != "build" or loop.params.get("nested"):
            return None
        (body,) = loop.blocks
        at = (*indices, *body.params)
        if len(at) > self.rank or not self.covers(loop.args, len(indices)):
            return None
        k = loop.outs.index(out)
        result = body.results[k]
        reads = read_vars(body.eqns, body.results)
        makers = {made: eqn for eqn in body.eqns for made in eqn.outs}
        maker = makers.get(result) if isinstance(result, Var) else None
        if not isinstance(result, Var) or maker is None or reads[result] != 1:
            return None
        eqns: list[Eqn] | None = None
        if len(at) < self.rank:
            inner = self.nest(maker, result, at)
            eqns = None if inner is None else [inner if eqn is maker else eqn for eqn in body.eqns]
        else:
            eqns = self.added(body.eqns, maker, at, makers, reads)
        if eqns is None:
            return None
        results = (*body.results[:k], *body.results[k + 1 :])
        inside = Block(body.params, tuple(eqns), results, body.span)
        return Eqn((*loop.outs[:k], *loop.outs[k + 1 :]), loop.op, loop.args, loop.params, (inside,), loop.span)

    def covers(self, sizes: Sequence[Atom], first: int) -> bool:
        """Whether a loop runs through all of the tensor in these dimensions."""
        facts = self.facts
        return all(
            facts.equal(facts.resolve(size), facts.size(self.carry, first + dim)) for dim, size in enumerate(sizes)
        )

    def added(
        self,
        eqns: Sequence[Eqn],
        total: Eqn,
        at: Sequence[Var],
        makers: Mapping[Var, Eqn],
        reads: Mapping[Var, int],
    ) -> list[Eqn] | None:
        """The equations that add what is added to the element at these indices."""
        if total.op not in ("add", "sub"):
            return None
        for k, own in enumerate(total.args if total.op == "add" else total.args[:1]):
            read = makers.get(own) if isinstance(own, Var) else None
            if read is None or read.op != "index" or read.args != (self.carry, *at) or reads[read.outs[0]] != 1:
                continue
            term = total.args[1 - k]
            rest = [eqn for eqn in eqns if eqn is not read and eqn is not total]
            if total.op == "sub":
                rest.append(Eqn(total.outs, "neg", (term,), span=total.span))
                term = total.outs[0]
            return [*rest, Eqn((), "acc_add", (self.acc, *at, term), span=total.span)]
        return None
