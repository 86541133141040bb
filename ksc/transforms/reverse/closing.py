"""Which values of a block code outside of it can compute again, and how.

Taking an iteration back needs the indices it wrote at and the conditions it met. Those that follow by scalar operations
from what is at hand, the number of the iteration and variables from outside, are computed again; others are recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping

from ksc.ir.builder import Builder
from ksc.ir.nodes import Atom, Block, Const, Eqn, Var, const
from ksc.ir.rewrite import Env, bound_vars, clone_block, free_vars
from ksc.ir.types import Integer, TensorType
from ksc.ops import PRIMITIVES

Leaf = Callable[[Builder], Atom]


def counter_step(body: Block, param: Var, result: Atom) -> Const | None:
    """The constant by which an integer carry grows in each iteration, if there is one: it needs no tape."""
    if param.type != Integer:
        return None
    for eqn in body.eqns:
        if eqn.op == "add" and eqn.outs[0] is result:
            for a, b in (eqn.args, eqn.args[::-1]):
                if a is param and isinstance(b, Const):
                    return b
    return None


def definitions(eqns: Iterable[Eqn]) -> dict[Var, Eqn]:
    """Which equation binds which variable."""
    return {out: eqn for eqn in eqns for out in eqn.outs}


class Closing:
    """The values of one block as code outside of it sees them.

    Attributes:
        changing: the variables that a loop binds; a tensor among them is not at hand later.
        leaves: parameters of the block that are at hand, with what gives each.
        same_size: for a tensor bound in the block one from outside of the same sizes, or None.
    """

    def __init__(
        self,
        block: Block,
        changing: Container[Var],
        leaves: Mapping[Var, Leaf] | None = None,
        same_size: Callable[[Var], Atom | None] = lambda var: None,
    ) -> None:
        self.changing = changing
        self.leaves = leaves or {}
        self.same_size = same_size
        self._defs = definitions(block.eqns)
        self._params = set(block.params)
        self._deep = bound_vars(block)
        self._repeatable: dict[Var, bool] = {}

    def bound(self, var: Var) -> bool:
        """Whether the block binds the variable, in itself or in a block inside it."""
        return var in self._deep

    def _args(self, eqn: Eqn) -> list[Atom]:
        """What is needed to compute the equation again."""
        if eqn.op == "size" and isinstance(eqn.args[0], Var):
            like = self.same_size(eqn.args[0])
            return [eqn.args[0] if like is None else like]
        return list(eqn.args)

    def repeatable(self, atom: Atom) -> bool:
        """Whether an atom can be computed again from leaves and from what is outside of the block."""
        if not isinstance(atom, Var) or atom in self.leaves:
            return True
        if isinstance(atom.type, TensorType):
            return atom not in self.changing and atom not in self._deep
        if atom not in self._deep:
            return True
        if atom not in self._repeatable:
            eqn = self._defs.get(atom)
            known = eqn is not None and (eqn.op in PRIMITIVES or eqn.op in ("index", "size"))
            self._repeatable[atom] = known and all(map(self.repeatable, self._args(eqn)))  # type: ignore[arg-type]
        return self._repeatable[atom]

    def invariant(self, atom: Atom) -> bool:
        """Whether an atom is the same in each iteration of the loop that the block is the body of."""
        if not isinstance(atom, Var) or atom not in self._deep:
            return True
        eqn = self._defs.get(atom)
        known = eqn is not None and (eqn.op in PRIMITIVES or eqn.op == "size")
        return known and all(map(self.invariant, self._args(eqn)))  # type: ignore[arg-type]

    def repeat(self, atom: Atom, env: Env, builder: Builder) -> Atom:
        """Compute a repeatable atom again; ``env`` holds what was."""
        if not isinstance(atom, Var) or atom not in self._deep:
            return atom
        if atom not in env:
            if atom in self.leaves:
                env[atom] = self.leaves[atom](builder)
            else:
                eqn = self._defs[atom]
                args = tuple(self.repeat(arg, env, builder) for arg in self._args(eqn))
                out = Var(atom.name, atom.type)
                builder.eqns.append(Eqn((out,), eqn.op, args, eqn.params, (), eqn.span))
                env[atom] = out
        return env[atom]

    def close(self, params: tuple[Var, ...], code: Block, opened: Callable[[Var, Builder], Atom]) -> Block:
        """``code`` without variables of the block: they are computed again, or what ``opened`` gives for them."""
        head = Builder()
        env: Env = {}
        for var in free_vars(code):
            if not self.bound(var):
                continue
            if self.repeatable(var):
                self.repeat(var, env, head)
            else:
                env[var] = opened(var, head)
        copy = clone_block(Block((), code.eqns, code.results, code.span), env)
        return Block(params, (*head.eqns, *copy.eqns), copy.results, copy.span)


def counted(init: Atom, index: Var, step: Const) -> Leaf:
    """A counter in iteration ``index``, that starts with ``init`` and grows by ``step``."""

    def value(builder: Builder) -> Atom:
        if step == const(1) and init == const(0):
            return index
        return builder.apply("add", init, builder.apply("mul", index, step), name="k")

    return value
