"""Which indices cannot be out of range, so that no check is written for them."""

from __future__ import annotations

from collections.abc import Sequence

from ksc.ir.nodes import Atom, Const, Var


class InRange:
    """Remembers sizes of tensors and bounds of loop variables while a function is printed.

    An index is safe where it runs over a loop with the very count that sized the tensor: how a tape is read back.
    """

    def __init__(self) -> None:
        self._sizes: dict[Var, tuple[Atom | None, ...]] = {}
        self._bounds: dict[Var, Atom] = {}
        self._size_of: dict[Var, tuple[Var, int]] = {}
        self._equal: dict[Atom, Atom] = {}

    def tensor(self, var: Var, sizes: Sequence[Atom | None]) -> None:
        """The leading dimensions of ``var`` have these sizes."""
        self._sizes[var] = tuple(sizes)

    def loop(self, index: Var, count: Atom) -> None:
        """The loop variable is at least 0 and below ``count``."""
        self._bounds[index] = count

    def size(self, out: Var, tensor: Var, dim: int) -> None:
        """``out`` is the size of a dimension of a tensor."""
        self._size_of[out] = (tensor, dim)

    def equal(self, var: Var, other: Atom) -> None:
        """The two integers are the same number."""
        self._equal[var] = self._equal.get(other, other)

    def same(self, var: Var, source: Atom, skipped: int = 0) -> None:
        """``var`` has the sizes of ``source`` without its first ``skipped`` dimensions."""
        if isinstance(source, Var) and source in self._sizes:
            self._sizes[var] = self._sizes[source][skipped:]

    def is_safe(self, tensor: Atom, dim: int, index: Atom) -> bool:
        """Whether ``index`` is known to be in range for the dimension."""
        if not isinstance(tensor, Var):
            return False
        sizes = self._sizes.get(tensor, ())
        size = sizes[dim] if dim < len(sizes) else None
        if isinstance(index, Const):
            return isinstance(size, Const) and 0 <= int(index.value) < int(size.value)
        bound = self._bounds.get(index)
        if isinstance(bound, Var):
            known = size is not None and self._equal.get(size, size) is self._equal.get(bound, bound)
            return known or self._size_of.get(bound) == (tensor, dim)
        return isinstance(bound, Const) and isinstance(size, Const) and int(bound.value) <= int(size.value)
