"""What a loop records of the tensors that it overwrites: the elements, never the tensor.

    t = (for n t0 (lam (i t)                  t old = (for n t0 (lam (i t)
          (update t i (f (index i t)))))  ⟶             (tuple (update t i (f (index i t))) (index i t))))

and one iteration is taken back by

    (lam (i t old) (update t i old))

A tensor that a loop carries and changes by ``update`` alone, also in an ``if`` or in a loop inside, needs no tape: the
reversed loop carries the tensor itself, and takes one iteration back before it reverses it. What taking back reads is
computed again where that takes scalar operations on what is at hand, and stacked by the loop otherwise. A tensor
that is bound anew has a tape of its own.

This is the trail of reversible execution, and the record of overwritten values that the to-be-recorded analysis of
Tapenade allows (Hascoët, Naumann, Pascual 2005); here liveness removes the record where nothing reads it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ksc.ir.builder import Builder, stack_type
from ksc.ir.nodes import Atom, Block, Eqn, Var
from ksc.ir.rewrite import Env, bound_vars, clone_block, replace, substitute_block
from ksc.ir.types import BoxType, Integer, TensorType, is_scalar
from ksc.transforms.module import Module
from ksc.transforms.reverse.closing import Closing, Leaf, counted, counter_step, definitions
from ksc.transforms.reverse.segments import WHOLE
from ksc.transforms.tangents import default, emit_box, emit_unbox


@dataclass(frozen=True, slots=True)
class Undo:
    """How one iteration is taken back for one carry.

    Attributes:
        code: from the number of the iteration, the tensor after it and an element of each log, the tensor before it.
        logs: the positions among the results of the loop of the values stacked for it.
    """

    code: Block
    logs: tuple[int, ...]

    def renamed(self, env: Env) -> Undo:
        """The same for a copy of the loop, ``env`` being what the copy calls the variables from outside."""
        return Undo(substitute_block(self.code, env), self.logs)

    def shifted(self, first: int, by: int) -> Undo:
        """The same for the loop with ``by`` further results put at position ``first``."""
        return Undo(self.code, tuple(log + by if log >= first else log for log in self.logs))


@dataclass(frozen=True, slots=True)
class Step:
    """How what an equation did to a tensor is taken back: ``code`` turns its result into ``root`` again."""

    root: Atom
    code: Block

    def renamed(self, env: Env) -> Step:
        """The same for a copy of the equation, ``env`` being what the copy calls variables."""
        return Step(replace(self.root, env), substitute_block(self.code, env))

    def emit(self, builder: Builder, after: Atom) -> Atom:
        """Emit what turns ``after`` into the tensor that was before."""
        copy = clone_block(self.code, {self.code.params[0]: after})
        builder.eqns.extend(copy.eqns)
        (before,) = copy.results
        return before


_Link = Eqn | Step


class Recorder:
    """Adds to the loops of a function what they record, and knows how to take their iterations back.

    Attributes:
        undos: for each loop, by the number of a carry, how an iteration is taken back.
        steps: for a tensor that an equation in a loop made of another, how it is turned into that one again.
        logged: for each loop the positions among its results of the values of its body that it stacks for that.
    """

    def __init__(self, module: Module, name: str) -> None:
        self.module = module
        self.name = name
        self.undos: dict[Eqn, dict[int, Undo]] = {}
        self._changing: set[Var] = set()
        self.steps: dict[Var, Step] = {}
        self.logged: dict[Eqn, dict[Var, int]] = {}
        self._olds: dict[Eqn, Var] = {}
        self._extents: dict[Var, tuple[Atom, ...] | None] = {}

    def record(self, block: Block, *, inside: bool = False) -> Block:
        """The block with logs added to the loops in it; ``inside`` says that it is part of a loop."""
        eqns = []
        for eqn in block.eqns:
            loop = eqn.op in ("for", "while")
            if loop and not inside:
                self._changing = set().union(*map(bound_vars, eqn.blocks))
            blocks = tuple(self.record(inner, inside=inside or loop) for inner in eqn.blocks)
            new = Eqn(eqn.outs, eqn.op, eqn.args, eqn.params, blocks, eqn.span) if blocks else eqn
            if loop and new.params.get("checkpoint") != WHOLE:
                new = self._loop(new)
            elif eqn.op == "if" and inside:
                new = self._choice(new)
            eqns.append(new)
        return Block(block.params, tuple(eqns), block.results, block.span)

    # The changes of a tensor inside one block.

    def _trace(self, eqns: Iterable[Eqn], atom: Atom) -> tuple[Atom, list[_Link]]:
        """The variable that an atom is a changed form of, and the changes, the last one first."""
        defs = definitions(eqns)
        links: list[_Link] = []
        while isinstance(atom, Var) and atom in defs:
            eqn = defs[atom]
            if eqn.op == "update":
                links.append(eqn)
                atom = eqn.args[0]
            elif atom in self.steps:
                links.append(self.steps[atom])
                atom = self.steps[atom].root
            else:
                break
        return atom, links

    def _take_back(self, links: Sequence[_Link], after: Var) -> Block:
        """The code that takes changes back, in terms of variables of the block that makes them."""
        builder = Builder()
        tensor: Atom = after
        for link in links:
            step = self._overwriting(link) if isinstance(link, Eqn) else link
            tensor = step.emit(builder, tensor)
        return builder.block([after], [tensor])

    def _overwriting(self, eqn: Eqn) -> Step:
        """How an ``update`` is taken back."""
        (out,) = eqn.outs
        if out not in self.steps:
            old = self._olds[eqn] = Var("old", eqn.args[-1].type)
            after, before = Var(out.name, out.type), Var(out.name, out.type)
            undo = Eqn((before,), "update", (after, *eqn.args[1:-1], old), {}, (), eqn.span)
            self.steps[out] = Step(eqn.args[0], Block((after,), (undo,), (before,)))
        return self.steps[out]

    def _with_olds(self, block: Block) -> Block:
        """The block, with what an ``update`` overwrites read before it where that is asked for."""
        found: list[Eqn] = []
        for eqn in block.eqns:
            old = self._olds.get(eqn)
            if old is not None:
                found += _read(old, eqn)
            found.append(eqn)
        return Block(block.params, tuple(found), block.results, block.span)

    def _boxed(self, value: Var, builder: Builder) -> Var:
        name = self.module.new_box(f"{self.name}.{value.name}", [value.type])
        return emit_box(builder, name, [value])

    def _opened(self, value: Var, like: Var, builder: Builder) -> Var:
        """The value recorded for ``like``, out of its box if it is in one."""
        if isinstance(value.type, BoxType) and not isinstance(like.type, BoxType):
            return emit_unbox(builder, value, self.module.boxes, [like.name])[0]
        return value

    # ``if``.

    def _choice(self, eqn: Eqn) -> Eqn:
        """An ``if`` gives what each side overwrites; the other side gives any value for it."""
        plans: dict[int, tuple[Var, list[Block]]] = {}
        for k, out in enumerate(eqn.outs):
            if not isinstance(out.type, TensorType):
                continue
            traced = [self._trace(block.eqns, block.results[k]) for block in eqn.blocks]
            root = traced[0][0]
            outside = not any(root in definitions(block.eqns) for block in eqn.blocks)
            if isinstance(root, Var) and outside and all(other is root for other, _ in traced):
                after = Var(out.name, out.type)
                plans[k] = root, [self._take_back(links, after) for _, links in traced]
        if not plans:
            return eqn
        blocks = [self._with_olds(block) for block in eqn.blocks]
        tails = [Builder(eqn.span) for _ in blocks]
        given: list[dict[Var, tuple[Var, Var]]] = [{} for _ in blocks]
        for k, (root, codes) in plans.items():
            closed = []
            for block, code, tail, mine in zip(blocks, codes, tails, given, strict=True):

                def opened(
                    var: Var, head: Builder, tail: Builder = tail, mine: dict[Var, tuple[Var, Var]] = mine
                ) -> Atom:
                    if var not in mine:
                        value = self._boxed(var, tail) if isinstance(var.type, TensorType) else var
                        mine[var] = value, Var(var.name, value.type)
                    return self._opened(mine[var][1], var, head)

                closed.append(Closing(block, self._changing).close(code.params, code, opened))
            self.steps[eqn.outs[k]] = _either(eqn, root, closed)
        extra = [pair for mine in given for pair in mine.values()]
        sides = []
        for block, tail, mine in zip(blocks, tails, given, strict=True):
            own = {value for value, _ in mine.values()}
            results = (value if value in own else default(value.type) for value, _ in extra)
            sides.append(Block((), (*block.eqns, *tail.eqns), (*block.results, *results), block.span))
        outs = (*eqn.outs, *(out for _, out in extra))
        return Eqn(outs, "if", eqn.args, eqn.params, tuple(sides), eqn.span)

    # ``for`` and ``while``.

    def _loop(self, eqn: Eqn) -> Eqn:
        """A loop stacks what each iteration overwrites."""
        *conds, body = eqn.blocks
        n = eqn.params["carries"]
        skip = len(body.params) - n
        inits = eqn.args[skip:]
        index = Var("i", Integer)
        codes: dict[int, Block] = {}
        for k, param in enumerate(body.params[skip:]):
            root, links = self._trace(body.eqns, body.results[k])
            if root is param and isinstance(param.type, TensorType):
                codes[k] = self._take_back(links, Var(param.name, param.type))
        if not codes:
            return eqn
        body = self._with_olds(body)
        closing = self._closing(eqn, body, index, codes)
        tail = Builder(eqn.span)
        stacked: dict[Var, int] = {}
        extra: list[tuple[Var, Var]] = []
        undos: dict[int, Undo] = {}
        for k, code in codes.items():
            elements: dict[int, Var] = {}

            def opened(var: Var, head: Builder, elements: dict[int, Var] = elements) -> Atom:
                if var not in stacked:
                    stacked[var] = len(eqn.outs) + len(extra)
                    extra.append(self._log(eqn, closing, var, tail))
                value = extra[stacked[var] - len(eqn.outs)][0]
                element = elements.setdefault(stacked[var], Var(value.name, value.type))
                return self._opened(element, var, head)

            closed = closing.close((), code, opened)
            params = (index, code.params[0], *elements.values())
            undos[k] = Undo(clone_block(Block(params, closed.eqns, closed.results, closed.span), {}), tuple(elements))
        outs = (*eqn.outs, *(out for _, out in extra))
        results = (*body.results, *(value for value, _ in extra))
        blocks = (*conds, Block(body.params, (*body.eqns, *tail.eqns), results, body.span))
        new = Eqn(outs, eqn.op, eqn.args, eqn.params, blocks, eqn.span)
        self.undos[new] = undos
        self.logged[new] = stacked
        for k, undo in undos.items():
            self.steps[eqn.outs[k]] = _all_of(new, undo, inits[k])
        return new

    def _closing(self, eqn: Eqn, body: Block, index: Var, codes: dict[int, Block]) -> Closing:
        n = eqn.params["carries"]
        skip = len(body.params) - n
        inits = eqn.args[skip:]
        leaves: dict[Var, Leaf] = {param: lambda builder: index for param in body.params[:skip]}
        if not eqn.params.get("reverse", False):
            for param, init, result in zip(body.params[skip:], inits, body.results, strict=False):
                step = counter_step(body, param, result)
                if step is not None:
                    leaves[param] = counted(init, index, step)
        sizes = {body.params[skip + k]: inits[k] for k in codes}

        def same_size(var: Var) -> Atom | None:
            root, _ = self._trace(body.eqns, var)
            return sizes.get(root) if isinstance(root, Var) else None

        return Closing(body, self._changing, leaves, same_size)

    def _log(self, eqn: Eqn, closing: Closing, var: Var, tail: Builder) -> tuple[Var, Var]:
        """What the body gives for a value to be stacked, and the stacked values; sizes that may differ are boxed."""
        extents = self._extents.get(var, ())
        value = var
        if isinstance(var.type, TensorType) and (extents is None or not all(map(closing.invariant, extents))):
            value, extents = self._boxed(var, tail), ()
        out = Var(f"{var.name}_log", stack_type(1, value.type))
        self._extents[out] = None if extents is None or eqn.op == "while" else (eqn.args[0], *extents)
        return value, out


def _read(old: Var, update: Eqn) -> Sequence[Eqn]:
    """What an ``update`` overwrites: an element, or a copy of a part.

    The part itself would have the ``update`` copy the whole tensor, since it is kept beyond it.
    """
    tensor, *at = update.args[:-1]
    if not isinstance(old.type, TensorType) or not is_scalar(old.type.elem):
        return [Eqn((old,), "index", update.args[:-1], {}, (), update.span)]
    sizes = [Var("n", Integer) for _ in range(old.type.rank)]
    eqns = [Eqn((size,), "size", (tensor,), {"dim": len(at) + dim}, (), update.span) for dim, size in enumerate(sizes)]
    inside = [Var("i", Integer) for _ in sizes]
    element = Var(old.name, old.type.elem)
    read = Eqn((element,), "index", (tensor, *at, *inside), {}, (), update.span)
    body = Block(tuple(inside), (read,), (element,), update.span)
    return [*eqns, Eqn((old,), "build", tuple(sizes), {}, (body,), update.span)]


def _either(eqn: Eqn, root: Var, codes: Sequence[Block]) -> Step:
    """Take back what the side taken did."""
    after = Var(codes[0].params[0].name, codes[0].params[0].type)
    sides = []
    for code in codes:
        copy = clone_block(code, {code.params[0]: after})
        sides.append(Block((), copy.eqns, copy.results, copy.span))
    if not any(side.eqns for side in sides):
        return Step(root, Block((after,), (), (after,)))
    before = Var(after.name, after.type)
    undo = Eqn((before,), "if", eqn.args, {}, tuple(sides), eqn.span)
    return Step(root, Block((after,), (undo,), (before,)))


def _all_of(eqn: Eqn, undo: Undo, init: Atom) -> Step:
    """Take back all iterations of a loop, the last one first."""
    type_ = undo.code.params[1].type
    after = Var(undo.code.params[1].name, type_)
    if not undo.code.eqns:
        return Step(init, Block((after,), (), (after,)))
    builder = Builder(eqn.span)
    if eqn.op == "for":
        count = eqn.args[0]
    else:
        (count,) = builder.emit("size", [eqn.outs[undo.logs[0]]], [Integer], names=["n"], params={"dim": 0})

    def body(inner: Builder, i: Var, carries: tuple[Var, ...]) -> Sequence[Atom]:
        return take_back(inner, undo, i, carries[0], eqn.outs)

    reverse = not eqn.params.get("reverse", False)
    (before,) = builder.for_(count, [after], body, reverse=reverse, names=[after.name])
    return Step(init, builder.block([after], [before]))


def take_back(builder: Builder, undo: Undo, i: Var, after: Var, outs: Sequence[Var]) -> Sequence[Atom]:
    """Emit what takes iteration ``i`` of the loop with results ``outs`` back; the tensor before it, alone."""
    index, tensor, *elements = undo.code.params
    env: Env = {index: i, tensor: after}
    for position, element in zip(undo.logs, elements, strict=True):
        log = outs[position]
        env[element] = builder.emit("index", [log, i], [element.type], names=[element.name])[0]
    copy = clone_block(Block((), undo.code.eqns, undo.code.results, undo.code.span), env)
    builder.eqns.extend(copy.eqns)
    return copy.results
