"""Which variables of a block depend on some others, the directions of a derivative."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ksc.ir.nodes import Atom, Eqn, Var
from ksc.ir.rewrite import read_vars


class Varying:
    """The variables that may have another value for each direction; it grows as equations are entered.

    Attributes:
        varying: the variables, the directions among them.
    """

    def __init__(self, directions: Iterable[Var]) -> None:
        self.varying: set[Var] = set(directions)

    def varies(self, atom: Atom) -> bool:
        """Whether the value depends on the direction."""
        return isinstance(atom, Var) and atom in self.varying

    def mark(self, eqns: Sequence[Eqn]) -> None:
        """Enter the variables bound by ``eqns``, blocks inside included, that depend on the direction."""
        for eqn in eqns:
            match eqn.op:
                case "if":
                    for block in eqn.blocks:
                        self.mark(block.eqns)
                        self._flow(block.results, eqn.outs)
                    self._all_if(eqn, eqn.args)
                case "for" | "while":
                    self._mark_loop(eqn)
                case "build" | "reduce":
                    (body,) = eqn.blocks
                    self.mark(body.eqns)
                    self._flow(body.results, eqn.outs)
                    self._all_if(eqn, eqn.args)
                case "withacc":
                    (body,) = eqn.blocks
                    self.mark(body.eqns)
                    self._all_if(eqn, read_vars([eqn]))
                    self._flow(eqn.outs, body.params)
                case _:
                    self._all_if(eqn, eqn.args)

    def _all_if(self, eqn: Eqn, atoms: Iterable[Atom]) -> None:
        if any(map(self.varies, atoms)):
            self.varying.update(eqn.outs)

    def _flow(self, sources: Iterable[Atom], targets: Iterable[Var]) -> None:
        self.varying.update(out for source, out in zip(sources, targets, strict=False) if self.varies(source))

    def _mark_loop(self, eqn: Eqn) -> None:
        *conds, body = eqn.blocks
        n = eqn.params["carries"]
        skip = len(body.params) - n
        self._flow(eqn.args[skip:], body.params[skip:])
        before = -1
        while before != len(self.varying):
            before = len(self.varying)
            for cond in conds:
                self._flow(body.params[skip:], cond.params)
                self.mark(cond.eqns)
            self.mark(body.eqns)
            self._flow(body.results[:n], body.params[skip:])
        self._flow(body.params[skip:], eqn.outs)
        self._flow(body.results, eqn.outs)
        self._all_if(eqn, [*eqn.args[:skip], *(cond.results[0] for cond in conds)])
