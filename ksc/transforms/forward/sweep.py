"""Forward mode over one function: the primal, with the tangent of each value computed next to it.

    y = (sin x)      ⟶      y = (sin x),  y_dot = (mul x_dot (cos x))

A tangent that is zero is not there at all. Structured ops gain results for the tangents; which carries of a loop
have one is found by trying, from those whose initial value has one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ksc.errors import DifferentiationError
from ksc.ir.builder import Builder, Expr
from ksc.ir.nodes import Atom, Block, Eqn, Var
from ksc.ir.types import FloatType, is_differentiable
from ksc.ops import PRIMITIVES, primitive
from ksc.transforms.tangents import FLATTEN, add, emit_box, rename, tangent_box, zero

if TYPE_CHECKING:
    from ksc.transforms.forward.functions import Derivatives


class Sweep:
    """The tangents of the variables of one function."""

    def __init__(self, derivatives: Derivatives) -> None:
        self.derivatives = derivatives
        self.module = derivatives.module
        self.dots: dict[Var, Atom] = {}
        self.boxed: dict[Var, Eqn] = {}

    def dot(self, atom: Atom) -> Atom | None:
        """The tangent of an atom; None where it is zero."""
        return self.dots.get(atom) if isinstance(atom, Var) else None

    def set(self, var: Var, dot: Atom | None) -> None:
        """Say what the tangent of a variable is; a None from an earlier try overwrites."""
        if dot is None:
            self.dots.pop(var, None)
        else:
            self.dots[var] = dot

    def dot_or_zero(self, atom: Atom, builder: Builder) -> Atom:
        """The tangent of an atom, made up where it is zero."""
        known = self.dot(atom)
        return self.zero(atom, builder) if known is None else known

    def zero(self, atom: Atom, builder: Builder) -> Atom:
        """The zero tangent of an atom: of a record that was made here one of zeros, which may be opened."""
        made = self.boxed.get(atom) if isinstance(atom, Var) else None
        if made is None:
            return zero(builder, atom, "_dot")
        self.module.need_tangent(made.outs[0].type)
        dots = [self.dot_or_zero(arg, builder) for arg in made.args if is_differentiable(arg.type)]
        return emit_box(builder, tangent_box(made.params["name"]), dots)

    def run(self, eqns: Sequence[Eqn], builder: Builder) -> None:
        """Emit equations and their tangents."""
        from ksc.transforms.forward.rules import RULES

        for eqn in eqns:
            builder.span = eqn.span
            try:
                rule = RULES.get(eqn.op)
                if rule is not None:
                    rule(self, eqn, builder)
                    continue
                builder.eqns.append(eqn)
                if eqn.op in PRIMITIVES:
                    self._primitive(eqn, builder)
                elif any(self.dot(arg) is not None for arg in eqn.args):
                    raise DifferentiationError(f"{eqn.op} cannot be differentiated", remedy=FLATTEN)
            except DifferentiationError as error:
                if error.span is None:
                    error.span = eqn.span
                raise

    def _primitive(self, eqn: Eqn, builder: Builder) -> None:
        (out,) = eqn.outs
        total: Atom | None = None
        if isinstance(out.type, FloatType):
            record = primitive(eqn.op)
            args = [Expr(builder, arg) for arg in eqn.args]
            for k, arg in enumerate(eqn.args):
                dot = self.dot(arg)
                if dot is None:
                    continue
                term = record.apply_partial(k, args, Expr(builder, out), Expr(builder, dot))
                if term is not None:
                    part = rename(term.atom, f"{out.name}_dot", builder)
                    total = part if total is None else add(builder, total, part, f"{out.name}_dot")
        self.set(out, total)

    def block(self, block: Block, builder: Builder) -> list[Atom | None]:
        """Emit the equations of a block and return the tangents of its results."""
        self.run(block.eqns, builder)
        return [self.dot(result) for result in block.results]
