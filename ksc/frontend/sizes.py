"""Whether the body of a loop changes the sizes of a tensor that it carries.

A loop of the IR may, but its reverse cannot stack such tensors; a short one is unrolled instead. What is not seen here
is taken not to change.
"""

from __future__ import annotations

from collections.abc import Sequence

from ksc.frontend.values import Sizes
from ksc.ir.nodes import Atom, Const, Eqn, Var


def changes_sizes(before: Sizes, after: Sizes, atom: Atom | None, eqns: Sequence[Eqn]) -> bool:
    """Whether a tensor has certainly other sizes after ``eqns``, or some that they make by arithmetic.

    ``atom`` is the tensor afterwards, of whose sizes None may be known in ``after``.
    """
    for a, b in zip(before, after, strict=False):
        if isinstance(a, Const) and isinstance(b, Const) and a != b:
            return True
        if isinstance(b, Var) and a != b and _is_computed(b, eqns):
            return True
    return None in after and _built_anew(atom, eqns)


def _built_anew(atom: Atom | None, eqns: Sequence[Eqn]) -> bool:
    """Whether a tensor is built, on one side of an ``if`` at least, with a size that was computed."""
    made = next((eqn for eqn in eqns if atom in eqn.outs), None)
    if made is None:
        return False
    if made.op == "build":
        return any(_is_computed(size, eqns) for size in made.args)
    if made.op == "if":
        k = made.outs.index(atom)
        return any(_built_anew(block.results[k], [*eqns, *block.eqns]) for block in made.blocks)
    return False


def _is_computed(size: Atom, eqns: Sequence[Eqn]) -> bool:
    made = next((eqn for eqn in eqns if size in eqn.outs), None)
    return made is not None and made.op not in ("size", "call")
