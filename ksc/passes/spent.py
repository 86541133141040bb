"""What loops read of a tensor before they change it is read of what they start from.

    u = (for n ((t x)) (lam (i t)                                       (for n (lam (i) (acc_add i a (index i x))))
      (let (e (index i t)) (acc_add i a e) (update i t 0.0))))  ⟶   u = (for n ((t x)) (lam (i t) (update i t 0.0)))

That is the reverse of ``t[i] = …``: a cotangent is taken and made zero, and no other iteration asks for it. Without the
carry the loop only adds, in any order. Where nobody reads the tensor afterwards, nothing is made zero.
"""

from __future__ import annotations

from collections.abc import Sequence

from ksc.ir.nodes import Atom, Block, Const, Eqn, Function, Program, Var, walk
from ksc.ir.rewrite import clone_block, free_in, with_blocks, with_body, with_eqns, with_functions
from ksc.ir.types import TensorType
from ksc.ops import PRIMITIVES
from ksc.passes.fuse.facts import Facts
from ksc.passes.fuse.reading import distinct_indices
from ksc.passes.fuse.sizes import Place


def read_spent_from_start(program: Program) -> Program:
    """Do so in all functions; the carries are left to dce. The same program where there is nothing to do."""
    return with_functions(program, _function)


def _function(function: Function) -> Function:
    if not any(eqn.op == "for" and any(_is_tensor(out) for out in eqn.outs) for eqn in walk(function.body)):
        return function
    spent = _Spent(*Facts.of(function))
    spent.visit(function.body, spent.top)
    return with_body(function, spent.block(function.body)) if spent.starts else function


def _is_tensor(atom: Atom) -> bool:
    return isinstance(atom.type, TensorType)


class _Spent:
    """Reads of elements of one function, with the tensors that they are of instead."""

    def __init__(self, facts: Facts, top: Place) -> None:
        self.facts = facts
        self.top = top
        self.starts: dict[Eqn, Atom] = {}
        self.parted: set[Eqn] = set()

    def visit(self, block: Block, place: Place) -> None:
        for eqn in block.eqns:
            if eqn.op == "for":
                for k, out in enumerate(eqn.outs[: eqn.params["carries"]]):
                    reads = self.reads(eqn, k, (), place) if _is_tensor(out) else None
                    if not reads or not self.starts.keys().isdisjoint(reads):
                        continue
                    if not self.facts.reads.get(out) or self.is_alone(eqn):
                        self.starts.update(dict.fromkeys(reads, eqn.args[k + 1]))
                        if self.facts.reads.get(out):
                            self.parted.add(eqn)
            for inner in eqn.blocks:
                self.visit(inner, self.facts.inside(inner, eqn, place))

    def reads(self, loop: Eqn, k: int, around: Sequence[Var], outside: Place) -> list[Eqn] | None:
        """The reads of a carry in a nest of loops that changes each element once, after that; None if it does not."""
        (body,) = loop.blocks
        carry, result = body.params[k + 1], body.results[k]
        indices = (*around, body.params[0])
        users = [eqn for eqn in body.eqns if carry in free_in(eqn)]
        if not users or users[-1].outs.count(result) != 1 or carry in body.results:
            return None
        *before, last = users
        assert isinstance(result, Var)
        if len(self.facts.reads[result]) != 1:
            return None
        if last.op == "for" and not before:
            inner = last.outs.index(result)
            own = last.args.count(carry) == 1 and inner < last.params["carries"] and last.args[inner + 1] is carry
            hidden = any(carry in free_in(eqn) for block in last.blocks for eqn in block.eqns)
            return self.reads(last, inner, indices, outside) if own and not hidden else None
        at = last.args[1:-1]
        if (
            last.op != "update"
            or last.args[0] is not carry
            or carry in last.args[1:]
            or not self.apart(carry, at, indices, outside)
        ):
            return None
        return before if all(eqn.op == "index" and eqn.args == (carry, *at) for eqn in before) else None

    def apart(self, tensor: Var, at: Sequence[Atom], indices: Sequence[Var], outside: Place) -> bool:
        """Whether iterations with other indices have another element."""
        assert isinstance(tensor.type, TensorType)
        symbols = {symbol for index in at for symbol in self.facts.polynomial(index).symbols()}
        known = all(s in indices or not isinstance(s, Var) or self.facts.is_visible(s, outside) for s in symbols)
        return len(at) == tensor.type.rank and known and distinct_indices(at, self.facts).issuperset(indices)

    def is_alone(self, loop: Eqn) -> bool:
        """Whether a loop carries nothing else, and what it stores is none of what it reads and adds."""
        inside = list(walk(loop.blocks[0]))
        stored = [eqn.args[-1] for eqn in inside if eqn.op == "update"]
        plain = all(eqn.op in ("index", "size", "acc_add", "update", "for") or eqn.op in PRIMITIVES for eqn in inside)
        return plain and len(loop.outs) == 1 and all(isinstance(value, Const) for value in stored)

    def block(self, block: Block) -> Block:
        eqns: list[Eqn] = []
        for eqn in block.eqns:
            if eqn in self.starts:
                eqn = Eqn(eqn.outs, eqn.op, (self.starts[eqn], *eqn.args[1:]), eqn.params, eqn.blocks, eqn.span)
            new = with_blocks(eqn, [self.block(inner) for inner in eqn.blocks])
            if eqn in self.parted:
                adds = clone_block(Block((), (new,), ()), {})
                eqns += adds.eqns
                new = _without_additions(new)
            eqns.append(new)
        return with_eqns(block, eqns)


def _without_additions(loop: Eqn) -> Eqn:
    """The loop with what it stores alone."""
    blocks = []
    for block in loop.blocks:
        eqns = [_without_additions(eqn) for eqn in block.eqns if eqn.op != "acc_add"]
        blocks.append(with_eqns(block, eqns))
    return with_blocks(loop, blocks)
