"""Which tensors may share memory, as far as a function has been followed."""

from __future__ import annotations

from collections.abc import Iterable

from ksc.ir.nodes import Var
from ksc.ir.types import Float

FROZEN = Var("frozen", Float)
"""Stands for all that is read outside of the function: what shares memory with it is never changed."""


class Aliases:
    """A symmetric relation between variables; binding one anew forgets what held of it."""

    def __init__(self) -> None:
        self._others: dict[Var, set[Var]] = {}

    def of(self, var: Var) -> set[Var]:
        """The variable and all that may share memory with it."""
        return {var} | self._others.get(var, set())

    def bind(self, var: Var, others: Iterable[Var]) -> None:
        """``var`` may share memory with just these."""
        for other in self._others.get(var, ()):
            if other is not FROZEN:
                self._others[other].discard(var)
        self._others[var] = set()
        for other in others:
            self.relate(var, other)

    def all_frozen(self) -> frozenset[Var]:
        """Every variable whose memory must stay as it is."""
        return frozenset(var for var in self._others if self.frozen(var))

    def relate(self, var: Var, other: Var) -> None:
        """The two may share memory; ``other`` may be FROZEN."""
        if var is other:
            return
        self._others.setdefault(var, set()).add(other)
        if other is not FROZEN:
            self._others.setdefault(other, set()).add(var)

    def freeze(self, var: Var) -> None:
        """From now on the memory of ``var`` must stay as it is."""
        for one in self.of(var) - {FROZEN}:
            self.relate(one, FROZEN)

    def frozen(self, var: Var) -> bool:
        """Whether the memory of ``var`` must stay as it is."""
        return FROZEN in self._others.get(var, ())
