"""What ``storage`` decides of a function, as the printer asks for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ksc.codegen.cpp.names import is_temporary
from ksc.ir.nodes import Var


@dataclass(frozen=True, slots=True)
class Summary:
    """What callers need to know of a function.

    Attributes:
        written: the parameters that it changes in place.
        frozen: the parameters whose memory it keeps.
        shares: for each result the parameters that it may share memory with.
        pairs: results that may share memory with each other.
        kept: results whose memory is kept elsewhere.
    """

    written: frozenset[int] = frozenset()
    frozen: frozenset[int] = frozenset()
    shares: tuple[frozenset[int], ...] = ()
    pairs: frozenset[tuple[int, int]] = frozenset()
    kept: frozenset[int] = frozenset()

    def joined(self, other: Summary) -> Summary:
        """What holds of either; recursive functions are followed until this no longer grows."""
        return Summary(
            self.written | other.written,
            self.frozen | other.frozen,
            tuple(a | b for a, b in zip(self.shares, other.shares, strict=True)) if self.shares else other.shares,
            self.pairs | other.pairs,
            self.kept | other.kept,
        )


@dataclass(slots=True)
class Storage:
    """The decisions for one function, by the ``id`` of an equation and the number of an argument or carry.

    Attributes:
        copied: the tensors that are copied before they are changed, and the parts that are copied when they are taken,
            each with the reason.
        changed: the loops' carries that are changed in place.
        steady: the loops' carries that stay the same C++ variable in all iterations.
        roots: the variable whose memory, and C++ variable, another one has taken over.
        writes: the places in the text where memory is changed, with the variables that see it.
        summary: what callers need to know.
        frozen: the variables whose memory is kept in records or belongs to the caller.
        names: what to call roots without a name of their own, once that was asked for.
    """

    copied: dict[tuple[int, int], str] = field(default_factory=dict)
    changed: set[tuple[int, int]] = field(default_factory=set)
    steady: set[tuple[int, int]] = field(default_factory=set)
    roots: dict[Var, Var] = field(default_factory=dict)
    writes: dict[int, frozenset[Var]] = field(default_factory=dict)
    summary: Summary = field(default_factory=Summary)
    frozen: frozenset[Var] = frozenset()
    names: dict[Var, str] | None = None

    def root(self, var: Var) -> Var:
        """The variable that first had the memory of ``var`` under its name."""
        return self.roots.get(var, var)

    def name(self, var: Var) -> str:
        """What to call the C++ variable of a root: the first name of the user's that its memory goes by."""
        if self.names is None:
            self.names = {}
            for heir, root in self.roots.items():
                if not is_temporary(heir.name):
                    self.names.setdefault(root, heir.name)
        return self.names.get(var, var.name) if is_temporary(var.name) else var.name

    def unchanged(self, tensors: Iterable[Var], after: int, before: int) -> bool:
        """Whether no element of the tensors is changed between two places of the text."""
        return not any(after < place < before and not seen.isdisjoint(tensors) for place, seen in self.writes.items())
