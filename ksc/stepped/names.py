"""Python names for the variables of a function of the IR: the user's, used again where that misleads nobody."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable

from ksc.ir.nodes import Atom, Block, Eqn, Function, Var


def python_names(function: Function) -> dict[Var, str]:
    """A name for each variable. Two share one only where the first is not read once the second is bound."""
    lives = _Lives(function)
    names: dict[Var, str] = {}
    held: dict[str, list[Var]] = {}
    for var in sorted(lives.first, key=lives.first.__getitem__):
        base = _identifier(var.name)
        name, k = base, 1
        while any(lives.overlap(var, other) for other in held.get(name, ())):
            k += 1
            name = f"{base}_{k}"
        names[var] = name
        held.setdefault(name, []).append(var)
    return names


def _identifier(name: str) -> str:
    text = re.sub(r"\W", "_", name) or "t"
    if text[0].isdigit() or text.startswith("_ks_"):
        text = f"t{text}"
    return f"{text}_" if keyword.iskeyword(text) else text


class _Lives:
    """From where to where each variable is needed, in the order of the text; in a loop, to its end."""

    def __init__(self, function: Function) -> None:
        self.first: dict[Var, int] = {}
        self.last: dict[Var, int] = {}
        self._loops: dict[Var, tuple[int, ...]] = {}
        self._ends: dict[int, list[Var]] = {}
        self._open: tuple[int, ...] = ()
        self._time = 0
        for param in function.params:
            self._bind(param)
        self._block(function.body)

    def overlap(self, a: Var, b: Var) -> bool:
        """Whether both are needed at some time."""
        return self.first[a] < self.last[b] and self.first[b] < self.last[a]

    def _bind(self, var: Var) -> None:
        self._time += 1
        self.first[var] = self._time
        # What is never read is there for a while, to be looked at.
        self.last[var] = self._time + 1
        self._loops[var] = self._open

    def _read(self, atom: Atom) -> None:
        if not isinstance(atom, Var) or atom not in self.first:
            return
        self._time += 1
        self.last[atom] = max(self.last[atom], self._time)
        inner = self._open[len(self._loops[atom]) :]
        if inner:
            # It is read again in the next iteration of the outermost loop that it comes from outside of.
            self._ends.setdefault(inner[0], []).append(atom)

    def _keep(self, variables: Iterable[Var]) -> None:
        """Note that these are needed until now."""
        self._time += 1
        for var in variables:
            self.last[var] = max(self.last[var], self._time)

    def _block(self, block: Block) -> None:
        for eqn in block.eqns:
            self._eqn(eqn)
        for result in block.results:
            self._read(result)

    def _eqn(self, eqn: Eqn) -> None:
        for arg in eqn.args:
            self._read(arg)
        loops = eqn.op in ("for", "while", "build", "reduce")
        number = self._time
        before = self._open
        if loops:
            self._open = (*before, number)
        params = [param for block in eqn.blocks for param in block.params]
        for param in params:
            self._bind(param)
        for block in eqn.blocks:
            self._block(block)
            if eqn.op == "while":
                # The carries are what is left when the condition fails.
                self._keep(params)
        self._open = before
        if loops:
            self._keep(self._ends.pop(number, ()))
        if eqn.op in ("for", "withacc"):
            # The index says where to stack what an iteration gives; an accumulator is read at the end.
            self._keep(eqn.blocks[0].params[:1] if eqn.op == "for" else params)
        for out in eqn.outs:
            if out not in self.first:
                self._bind(out)
