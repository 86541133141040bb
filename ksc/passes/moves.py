"""What loops compute again in each iteration, moved in front of them: what such passes have in common.

An element that depends on the indices of some loops is computed by a ``build`` over these, and read where it was.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from ksc.ir.builder import stack_type
from ksc.ir.nodes import Atom, Block, Const, Eqn, Function, Span, Var
from ksc.ir.rewrite import Env, clone_block, free_in, substitute_block
from ksc.ir.types import Float
from ksc.passes.fuse.cost import fails
from ksc.passes.fuse.facts import Facts
from ksc.passes.fuse.sizes import Place


@dataclass(frozen=True, slots=True)
class Around:
    """A loop, the block that it is in, and the indices of its iterations."""

    loop: Eqn
    place: Place
    indices: tuple[Var, ...]


class Moves:
    """Goes through one function, and puts equations before others and in the place of others.

    Variables in ``env`` are to be read no more: others take their place.
    """

    loops: Collection[str] = ("build", "for")
    """The loops in front of which something is put."""

    longest: int
    """The number of equations up to which an element is computed in a loop of its own."""

    def __init__(self, function: Function, effectful: Collection[str]) -> None:
        self.function = function
        self.effectful = effectful
        self.facts, self.top = Facts.of(function)
        self.before: dict[Eqn, list[Eqn]] = {}
        self.instead: dict[Eqn, Eqn | None] = {}
        self.env: Env = {}
        self.branch: Eqn | None = None

    def run(self) -> Function:
        """The function with what was moved; itself where nothing was."""
        self.visit(self.function.body, self.top, ())
        if not self.instead:
            return self.function
        body = substitute_block(self.block(self.function.body), self.env)
        return Function(self.function.name, body, self.function.span)

    def visit(self, block: Block, place: Place, nest: Sequence[Around]) -> None:
        """Look at a block that each iteration of the loops around runs, the outermost first.

        ``branch`` is what else the block is in the innermost, which may run it never, or again.
        """
        for eqn in block.eqns:
            if self.moves(eqn, place, nest):
                continue
            branch = self.branch
            self.branch = branch if eqn.op in self.loops or eqn.op == "withacc" else eqn
            for inner in eqn.blocks:
                around: Sequence[Around] = nest if eqn.op == "withacc" else ()
                if eqn.op in self.loops:
                    params = eqn.blocks[0].params
                    around = (*nest, Around(eqn, place, params[:1] if eqn.op == "for" else params))
                self.visit(inner, self.facts.inside(inner, eqn, place), around)
            self.branch = branch

    def moves(self, eqn: Eqn, place: Place, nest: Sequence[Around]) -> bool:
        """Move an equation, or something for it; whether nothing inside of it is to be looked at any more."""
        raise NotImplementedError

    def is_part(self, eqn: Eqn) -> bool:
        """Whether an equation can be computed apart, for an element that needs it."""
        raise NotImplementedError

    def maker(self, var: Var) -> Eqn | None:
        """The equation that an element which needs ``var`` needs."""
        return self.facts.definition(var)

    def block(self, block: Block) -> Block:
        eqns: list[Eqn] = []
        for eqn in block.eqns:
            eqns += self.before.get(eqn, ())
            new = self.instead.get(eqn, eqn)
            if new is not None:
                eqns.append(replace(new, blocks=tuple(map(self.block, new.blocks))) if new.blocks else new)
        return Block(block.params, tuple(eqns), block.results, block.span)

    def is_outside(self, atom: Atom, place: Place) -> bool:
        return isinstance(atom, Const) or (isinstance(atom, Var) and self.facts.is_visible(atom, place))

    def slice(
        self, needed: Sequence[Var], outside: Place, loops: Sequence[Var], longest: int
    ) -> tuple[Sequence[Eqn], Sequence[Var]] | None:
        """What computes variables from what is seen ``outside``, in order, and the indices of ``loops`` that it needs.

        None where that takes more than ``longest`` equations, or one that cannot be computed apart.
        """
        entered: set[Eqn] = set()
        ordered: list[Eqn] = []
        used: set[Var] = set()

        def visit(given: Var) -> bool:
            var = self.env.get(given, given)
            if not isinstance(var, Var) or self.facts.is_visible(var, outside):
                return True
            if var in loops:
                used.add(var)
                return True
            made = self.maker(var)
            if made is None or len(made.outs) != 1 or not self.is_part(made):
                return False
            if made not in entered:
                if len(entered) >= longest:
                    return False
                entered.add(made)
                if not all(map(visit, free_in(made))):
                    return False
                ordered.append(made)
            return True

        if not all(map(visit, needed)):
            return None
        return ordered, [index for index in loops if index in used]

    def table(
        self,
        name: str,
        element: Block,
        indices: Sequence[Var],
        counts: Sequence[Atom],
        place: Place,
        span: Span | None,
    ) -> Eqn | None:
        """A ``build`` of what ``element`` gives for all ``indices``, unless that may stop the kernel."""
        params = tuple(Var(index.name, index.type) for index in indices)
        env: Env = dict(zip(indices, params, strict=True))
        copy = clone_block(substitute_block(element, self.env), env)
        block = Block(params, copy.eqns, copy.results)
        made = Eqn((Var(name, stack_type(len(indices), Float)),), "build", tuple(counts), {}, (block,), span)
        self.facts.adopt([made], place)
        inside = Place(made, place)
        return None if any(fails(part, inside, self.facts) for part in block.eqns) else made
