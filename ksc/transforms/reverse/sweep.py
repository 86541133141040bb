"""Reverse mode over one function: the forward sweep, the reverse sweep, and what the first keeps for the second.

The forward sweep keeps every value that the reverse sweep could ask for: a tape of each carry of a loop, a copy of what
a recursive call inside an ``if`` or loop gives. The reverse sweep is then built as if all of that were at hand, and
whatever it does not read is removed, in both. Values inside an ``if`` or loop are otherwise computed again where
they are read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as with_fields
from typing import TYPE_CHECKING

from ksc.errors import DifferentiationError
from ksc.ir.builder import Builder, Expr
from ksc.ir.nodes import Atom, Block, Eqn, Function, Var, walk_inside
from ksc.ir.rewrite import Env, clone_eqn, clone_function, replace, without_effects
from ksc.ir.types import FloatType, TensorType
from ksc.ops import PRIMITIVES, primitive
from ksc.transforms.activity import varied_vars
from ksc.transforms.module import Mask
from ksc.transforms.reverse.finite import finite_vars
from ksc.transforms.reverse.keeping import Keeping, read_kept
from ksc.transforms.reverse.order import readers_before_changes
from ksc.transforms.reverse.presence import Presence
from ksc.transforms.reverse.reads import read_through_updates
from ksc.transforms.reverse.scope import Scope
from ksc.transforms.reverse.segments import cut_into_segments
from ksc.transforms.reverse.undo import Recorder, Undo
from ksc.transforms.tangents import FLATTEN, atom_name, emit_box, emit_unbox, rename

if TYPE_CHECKING:
    from ksc.transforms.reverse.pair import Pair, Pairs


@dataclass(frozen=True, slots=True)
class Kept:
    """What the forward sweep added to an equation.

    Attributes:
        results: how many results the equation had.
        tapes: how many of the added results are tapes of carries; they come first.
        saved: for each block the number of results added to save values of it; they come last.
        pair: for a call, the derivative pair of its callee.
        undos: for a loop, by the number of a carry, how an iteration is taken back; such a carry needs no tape.
        logged: the positions among the results of a loop of the values of its body that it stacks for that.
        trails: the numbers of those carries that are taken back change by change, as a loop inside is kept.
    """

    results: int
    tapes: int = 0
    saved: tuple[int, ...] = ()
    pair: Pair | None = None
    undos: Mapping[int, Undo] = field(default_factory=dict)
    logged: Mapping[Var, int] = field(default_factory=dict)
    trails: Sequence[int] = ()


Augment = Callable[["Sweep", Eqn], Eqn]
Rule = Callable[["Sweep", Eqn, Scope], None]


class Sweep:
    """The two sweeps over one function.

    Attributes:
        function: a private copy of the function, so that its variables can be used as they are.
        active: for each parameter whether it gets a cotangent.
        varied: the variables that a cotangent is kept for; copies made on the way are entered too.
        finite: those that are finite where the arguments are, see ``finite``; copies likewise.
        kept: what was added to which equation.
        undos: for the loops of the function what they record of tensors.
        steps: for the results of equations that change a tensor how it is turned into what it was.
        saved: the equations that are not run again, since they contain a call that is not.
        carried: what was found of the cotangents of a loop's carries, see ``reverse_carries``.
        acc_bars: for an accumulator of the primal the cotangent of its final value, and whether that is there.
        given: the variables whose values are at hand: of results that the derivative is handed, of what loops keep;
            copies likewise.
        keeping: what loops keep besides what they overwrite.
        partly: for an equation the results that are kept, where others of them are computed again.
        whole: the loops whose iterations are taken back as a whole, although a loop inside is kept.
    """

    def __init__(self, pairs: Pairs, function: Function, active: Mask) -> None:
        self.pairs = pairs
        self.boxes = pairs.module.boxes
        copy = clone_function(function)
        recorder = Recorder(pairs.module, function.name)
        body = recorder.record(cut_into_segments(copy.body))
        self.function = Function(copy.name, body, copy.span)
        self.undos = recorder.undos
        self.steps = recorder.steps
        self.logged = recorder.logged
        self.keeping = Keeping.of(self.function, recorder)
        self.partly: dict[Eqn, Sequence[Var]] = {}
        self.whole: set[Eqn] = set()
        self.active = active
        params = [param for param, on in zip(self.function.params, active, strict=True) if on]
        for param in params:
            pairs.module.need_tangent(param.type)
        self.varied = varied_vars(params, self.function.body.eqns, pairs.module.flows)
        self.finite = finite_vars(self.function.params, self.function.body)
        self.kept: dict[Eqn, Kept] = {}
        self.saved: set[Eqn] = set()
        self._origins: dict[Eqn, Eqn] = {}
        self.carried: dict[tuple[Eqn, tuple[int, ...]], tuple[list[int], set[int], list[list[int]]]] = {}
        self.acc_bars: dict[Var, tuple[Atom | None, Presence]] = {}
        self.given: set[Var] = set()

    def augment(self, eqns: Sequence[Eqn]) -> list[Eqn]:
        """The forward sweep over a block."""
        return [self.augment_eqn(eqn) for eqn in eqns]

    def augment_eqn(self, eqn: Eqn) -> Eqn:
        from ksc.transforms.reverse.rules import AUGMENTS

        augment = AUGMENTS.get(eqn.op)
        return eqn if augment is None else augment(self, eqn)

    def reverse(self, eqns: Sequence[Eqn], scope: Scope) -> None:
        """The reverse sweep over the equations of a block, whose values are at hand in the scope."""
        from ksc.transforms.reverse.guard import close_guard, reverse_guarded

        changed = {out: self.steps[out].root for eqn in eqns for out in eqn.outs if out in self.steps}
        for eqn in reversed(readers_before_changes(eqns, changed)):
            scope.builder.span = eqn.span
            if eqn.op in ("update", "if"):
                self._take_back(eqn, scope)
            try:
                reverse_guarded(self, eqn, scope)
            except DifferentiationError as error:
                if error.span is None:
                    error.span = eqn.span
                raise
            if eqn.op in ("for", "while"):
                self._take_back(eqn, scope)
        close_guard(self, scope)

    def reverse_eqn(self, eqn: Eqn, scope: Scope) -> None:
        """The reverse of one equation, whatever it gives."""
        from ksc.transforms.reverse.rules import RULES

        if eqn.op in PRIMITIVES:
            self._reverse_primitive(eqn, scope)
        elif eqn.op in RULES:
            RULES[eqn.op](self, eqn, scope)
        elif any(out in scope.bars for out in eqn.outs):
            raise DifferentiationError(f"{eqn.op} cannot be differentiated", remedy=FLATTEN)

    def _take_back(self, eqn: Eqn, scope: Scope) -> None:
        """Turn the tensors that an equation changed into what they were, for what is reversed after it.

        A loop that was reversed has done so.
        """
        from ksc.transforms.reverse.guard import close_guard

        for out in eqn.outs:
            step = self.steps.get(out)
            if step is not None and scope.kind != "function" and not scope.restores(out):
                close_guard(self, scope)
                scope.restore(step.root, out, step.emit(scope.builder, out))

    def _reverse_primitive(self, eqn: Eqn, scope: Scope) -> None:
        present = scope.presence(eqn.outs[0])
        bar = scope.take(eqn.outs[0])
        if bar is None:
            return
        builder = scope.builder
        args = [Expr(builder, arg) for arg in eqn.args]
        for k, arg in enumerate(eqn.args):
            if scope.wants(arg) and isinstance(arg.type, FloatType):
                record = primitive(eqn.op)
                term = record.apply_partial(k, args, Expr(builder, eqn.outs[0]), Expr(builder, bar))
                if term is not None:
                    scope.add(arg, rename(term.atom, f"{atom_name(arg)}_bar", builder), present)

    def accumulates(self, eqn: Eqn) -> bool:
        """Whether a block of the equation adds to an accumulator around it whose final value has a cotangent."""
        return any(self.accumulated(eqn))

    def accumulated(self, eqn: Eqn) -> list[Var]:
        """The accumulators whose final value has a cotangent that the equation, or one in its blocks, adds to."""
        inside = walk_inside(eqn)
        accs = {inner.args[0]: None for inner in (eqn, *inside) if inner.op == "acc_add"}
        return [acc for acc in accs if isinstance(acc, Var) and self.acc_bars.get(acc, (None, None))[0] is not None]

    # Values of the primal inside a block of the reverse sweep.

    def origin(self, eqn: Eqn) -> Eqn:
        """The equation that this one is a copy of."""
        return self._origins.get(eqn, eqn)

    def copies(self, eqns: Sequence[Eqn], env: Env) -> list[Eqn]:
        """Copies of equations, see ``clone_eqn``, of which the same is known as of their originals."""

        def track(old: Eqn, new: Eqn) -> None:
            self._origins[new] = self.origin(old)
            kept = self.kept.get(old)
            if kept is not None:
                self.kept[new] = with_fields(
                    kept,
                    undos={k: undo.renamed(env) for k, undo in kept.undos.items()},
                    logged={_image(var, env): position for var, position in kept.logged.items()},
                )
            if old in self.saved:
                self.saved.add(new)
            for out, image in zip(old.outs, new.outs, strict=True):
                if out in self.steps:
                    self.steps[image] = self.steps[out].renamed(env)

        return [clone_eqn(eqn, env, track) for eqn in eqns]

    def recompute(self, block: Block, env: Env, scope: Scope) -> tuple[list[Eqn], list[Atom]]:
        """Compute the values of a block again in ``scope``, and return its equations and results in these terms.

        ``env`` gives the parameters and the values that were saved. Effects and saved equations are not run again.
        """
        from ksc.transforms.reverse.given import without_given

        before = list(env.items())
        eqns = self.copies(block.eqns, env)
        self.copy_knowledge(env)
        scope.own(eqns, [image for _, image in before if isinstance(image, Var)])
        reread = (self._with_kept_read(eqn) for eqn in eqns if eqn not in self.saved)
        again = without_effects(without_given(self, reread))
        scope.builder.eqns.extend(read_through_updates(again))
        return eqns, [replace(result, env) for result in block.results]

    def _with_kept_read(self, eqn: Eqn) -> Eqn:
        kept = [out for out in eqn.outs if out in self.given]
        return read_kept(eqn, kept) if eqn.op == "build" and kept and eqn in self.kept else eqn

    def copy_knowledge(self, env: Mapping[Var, Atom]) -> None:
        """Enter the images of varied and of finite variables among them."""
        for known in (self.varied, self.finite):
            known.update(new for old, new in env.items() if isinstance(new, Var) and old in known)

    # Saving values out of blocks.

    def to_save(self, eqns: Sequence[Eqn]) -> list[Var]:
        """The values of a block that are not computed again in the reverse sweep."""
        found: dict[Var, None] = {}
        for eqn in eqns:
            found |= dict.fromkeys(eqn.outs if eqn in self.saved else self.partly.get(eqn, ()))
            found |= dict.fromkeys(out for out in eqn.outs if out in self.keeping.values)
        return list(found)

    def packed(self, values: Sequence[Var], builder: Builder, body: Block | None = None) -> list[Var]:
        """The values in a form that a block can give as a result: tensors, whose sizes may differ, in boxes.

        Those of sizes that are known to be the same in each iteration of a loop with this ``body`` stay as they are.
        """
        packed = []
        for value in values:
            steady = body is not None and self.keeping.is_steady(value, body)
            if isinstance(value.type, TensorType) and not steady:
                name = self.pairs.module.new_box(f"{self.function.name}.{value.name}", [value.type])
                packed.append(emit_box(builder, name, [value]))
            else:
                packed.append(value)
        return packed

    def unpack(self, block: Block, position: int, image: Atom, env: Env, scope: Scope) -> None:
        """Enter in ``env`` that the value given as result ``position`` of the block is ``image``, unpacked."""
        inner = block.results[position]
        assert isinstance(inner, Var)
        boxing = next((eqn for eqn in block.eqns if eqn.op == "box" and eqn.outs[0] is inner), None)
        if boxing is not None and isinstance(boxing.args[0].type, TensorType) and len(boxing.args) == 1:
            value = boxing.args[0]
            assert isinstance(value, Var)
            opened = emit_unbox(scope.builder, image, self.boxes, [value.name])[0]
            env[value] = opened
            self.given.add(opened)
        else:
            env[inner] = image
            if isinstance(image, Var):
                self.given.add(image)


def _image(var: Var, env: Env) -> Var:
    image = env.get(var, var)
    assert isinstance(image, Var)
    return image
