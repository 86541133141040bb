"""Which indices cannot be out of range, so that no check is written for them."""

from __future__ import annotations

from collections.abc import Sequence

from ksc.ir.nodes import Atom, Const, Var


class InRange:
    """Remembers sizes of tensors and bounds of loop variables while a function is printed.

    An index is safe where it runs over a loop with the very count that sized the tensor: how a tape is read back.
    """

    def __init__(self) -> None:
        self._sizes: dict[Var, tuple[Atom, ...]] = {}
        self._bounds: dict[Var, Atom] = {}
        self._size_of: dict[Var, tuple[Var, int]] = {}

    def tensor(self, var: Var, sizes: Sequence[Atom]) -> None:
        """The leading dimensions of ``var`` have these sizes."""
        self._sizes[var] = tuple(sizes)

    def loop(self, index: Var, count: Atom) -> None:
        """The loop variable is at least 0 and below ``count``."""
        self._bounds[index] = count

    def size(self, out: Var, tensor: Var, dim: int) -> None:
        """``out`` is the size of a dimension of a tensor."""
        self._size_of[out] = (tensor, dim)

    def is_safe(self, tensor: Atom, dim: int, index: Atom) -> bool:
        """Whether ``index`` is known to be in range for the dimension."""
        if not isinstance(tensor, Var) or not isinstance(index, Var) or index not in self._bounds:
            return False
        bound = self._bounds[index]
        if isinstance(bound, Var) and self._size_of.get(bound) == (tensor, dim):
            return True
        sizes = self._sizes.get(tensor, ())
        if dim >= len(sizes):
            return False
        size = sizes[dim]
        if isinstance(size, Const) and isinstance(bound, Const):
            return int(bound.value) <= int(size.value)
        return size is bound
