"""What is said where a check before a loop fails: the same as the check of the first iteration that fails.

    (require ok "…")      ⟶      (if ok (values) (checks n d))   (require ok "…")
    (def checks (Values) (n d) (for (i n) () (for (j i) () (require (in range …) "…" "lower" 0 (add …) …))))

The function runs through the loops, without anything else that they do, and stops where they would have. It sees
integers alone, so nothing that is known of tensors elsewhere makes its checks true.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ksc.ir.builder import Builder
from ksc.ir.nodes import Atom, Block, Const, Eqn, Function, Var, const
from ksc.ir.rewrite import Env
from ksc.ir.types import Bool, Integer
from ksc.ops import PRIMITIVES
from ksc.passes.fuse.facts import Facts
from ksc.passes.fuse.sizes import Place, Size

MESSAGE = "index out of range"
"""What an assert says of indices of which it cannot tell more."""


@dataclass(slots=True)
class _Scope:
    """Where code is collected, and what has been computed there or around it."""

    builder: Builder
    env: Env

    def inside(self) -> _Scope:
        return _Scope(Builder(self.builder.span), dict(self.env))


@dataclass(slots=True)
class Explanation:
    """Collects the checks of one loop, as far as they ask for integers only.

    Attributes:
        params: the integers from before the loop that the function takes, and what each stands for.
    """

    facts: Facts
    outside: Place
    params: dict[Size, Var] = field(default_factory=dict)

    def function(self, loop: Eqn, name: str) -> Function:
        """The function for a loop that stands at ``outside``."""
        top = _Scope(Builder(loop.span), {})
        self.loop(loop, self.outside, top)
        return Function(name, top.builder.block(self.params.values(), ()), loop.span)

    def covers(self, cond: Atom, indices: Sequence[Var]) -> bool:
        """Whether a condition can be computed from integers from before the loop and these indices of loops."""
        return self.value(cond, _Scope(Builder(), {index: index for index in indices})) is not None

    def loop(self, eqn: Eqn, place: Place, scope: _Scope) -> None:
        """The nest of a loop as loops without results."""
        (body,) = eqn.blocks
        indices = body.params[:1] if eqn.op == "for" else body.params
        self.nest(eqn, list(zip(indices, eqn.args, strict=False)), self.facts.inside(body, eqn, place), scope)

    def nest(self, eqn: Eqn, left: Sequence[tuple[Var, Atom]], inside: Place, scope: _Scope) -> None:
        if not left:
            self.block(eqn.blocks[0], inside, scope)
            return
        (index, count), *rest = left
        limit = self.value(count, scope)
        if limit is None:
            return
        inner = scope.inside()
        own = Var(index.name, Integer)
        inner.env[index] = own
        self.nest(eqn, rest, inside, inner)
        if inner.builder.eqns:
            block = inner.builder.block((own,), ())
            params = {"carries": 0, "reverse": bool(eqn.params.get("reverse", False))}
            scope.builder.emit("for", [limit], (), params=params, blocks=[block], span=eqn.span)

    def block(self, block: Block, place: Place, scope: _Scope) -> None:
        """What every iteration checks, in order."""
        for eqn in block.eqns:
            if eqn.op in ("build", "reduce", "for"):
                self.loop(eqn, place, scope)
            elif eqn.op == "withacc":
                self.block(eqn.blocks[0], self.facts.inside(eqn.blocks[0], eqn, place), scope)
            elif eqn.op == "assert":
                cond = self.value(eqn.args[0], scope)
                if cond is not None:
                    scope.builder.emit("assert", [cond], (), params=eqn.params, span=eqn.span)
            elif eqn.op in ("index", "update", "acc_add"):
                self.check(eqn, place, scope)

    def check(self, eqn: Eqn, place: Place, scope: _Scope) -> None:
        """The check of one access, of those indices that are not known to be in range."""
        tensor, *at = eqn.args if eqn.op == "index" else eqn.args[:-1]
        if not isinstance(tensor, Var):
            return
        dims: list[int] = []
        places: list[Atom] = []
        holds: Atom | None = None
        for dim, index in enumerate(at):
            length = self.facts.size(tensor, dim)
            if self.facts.in_range(index, length, place):
                continue
            i, size = self.value(index, scope), self.size(length, scope)
            if i is None or size is None:
                continue
            apply = scope.builder.apply
            fits = apply("and", apply("lte", const(0), i), apply("lt", i, size))
            holds = fits if holds is None else apply("and", holds, fits)
            dims.append(dim)
            places += [i, size]
        if holds is not None:
            params = {"message": MESSAGE, "index": (tensor.name, tuple(dims))}
            scope.builder.emit("assert", [holds, *places], (), params=params, span=eqn.span)

    def size(self, size: Size, scope: _Scope) -> Atom | None:
        """A size as a parameter of the function."""
        if isinstance(size, tuple):
            return self.param(size, f"{size[0].name}_size") if self.facts.is_visible(size, self.outside) else None
        return self.value(size, scope)

    def value(self, atom: Atom, scope: _Scope) -> Atom | None:
        """An integer or truth value, computed from parameters and indices; None where it takes more than that."""
        if isinstance(atom, Const) or atom in scope.env:
            return atom if isinstance(atom, Const) else scope.env[atom]
        if atom.type not in (Integer, Bool):
            return None
        if self.facts.is_visible(atom, self.outside):
            return self.param(atom, atom.name)
        eqn = self.facts.definition(atom)
        if eqn is not None and eqn.op in ("size", "get"):
            size = self.facts.resolve(atom)
            return None if size is atom else self.size(size, scope)
        record = PRIMITIVES.get(eqn.op) if eqn is not None else None
        if eqn is None or record is None:
            return None
        args = [self.value(arg, scope) for arg in eqn.args]
        known = [arg for arg in args if arg is not None]
        if len(known) < len(args):
            return None
        scope.env[atom] = scope.builder.apply(eqn.op, *known, name=atom.name)
        return scope.env[atom]

    def param(self, size: Size, name: str) -> Var:
        if size not in self.params:
            self.params[size] = Var(name, size.type if isinstance(size, Var) else Integer)
        return self.params[size]
