"""Where loops change tensors in each iteration.

    (for n t0 (lam (i t)
      (let ((row (build m (lam j (index (tuple i j) t)))) (u (update i t v)))
        (… (index k row) …))))

Computed where it is read, ``row`` would be read from t, of which only u is left by then, or else a copy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ksc.ir.nodes import Atom, Eqn, Function, Var, walk
from ksc.ir.types import TensorType


class Changes:
    """The changes of one function, by the order in which its equations stand; false where there are none."""

    def __init__(self, function: Function) -> None:
        eqns = list(walk(function.body))
        inside = {inner for eqn in eqns if eqn.op in ("for", "while") for block in eqn.blocks for inner in walk(block)}
        self._number = {eqn: number for number, eqn in enumerate(eqns)}
        self._made = {out: number for eqn, number in self._number.items() for out in eqn.outs}
        self._changed: dict[Var, list[int]] = {}
        for eqn, number in self._number.items():
            for tensor in changed_tensors(eqn) if eqn in inside else ():
                self._changed.setdefault(tensor, []).append(number)

    def __bool__(self) -> bool:
        return bool(self._changed)

    def between(self, tensor: Var, readers: Iterable[Eqn], needs: Iterable[Var]) -> bool:
        """Whether something in ``needs`` is changed after ``tensor`` was made and before one of its readers."""
        start = self._made.get(tensor)
        ends = [self._number[reader] for reader in readers if reader in self._number]
        if start is None or not ends:
            return False
        return any(start < number < max(ends) for var in needs for number in self._changed.get(var, ()))


def changed_tensors(eqn: Eqn) -> list[Var]:
    """The tensors whose memory an equation takes over to change it."""
    taken: Sequence[Atom]
    match eqn.op:
        case "update":
            taken = eqn.args[:1]
        case "withacc":
            taken = eqn.args
        case "for" | "while":
            body = eqn.blocks[-1]
            carries = eqn.params["carries"]
            params = body.params[len(body.params) - carries :]
            inits = zip(eqn.args[len(eqn.args) - carries :], params, body.results, strict=False)
            taken = [init for init, param, result in inits if result is not param]
        case _:
            taken = ()
    return [atom for atom in taken if isinstance(atom, Var) and isinstance(atom.type, TensorType)]
