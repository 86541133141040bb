"""One loop over points, and what computes elements of tensors for all of its iterations."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass, field

from ksc.ir.builder import Builder, stack_type
from ksc.ir.nodes import Atom, Block, Const, Eqn, Var, walk_inside
from ksc.ir.rewrite import clone_block, clone_eqn, free_in
from ksc.ir.types import Float, Integer, TensorType, is_scalar
from ksc.ops import PRIMITIVES
from ksc.passes.fuse.facts import Facts
from ksc.passes.fuse.sizes import Place

LONGEST = 60
"""The number of equations up to which an element is computed apart."""


@dataclass(slots=True)
class Element:
    """What computes one element: equations that read indices of loops, tensors from outside and those of the lanes."""

    result: Atom
    eqns: list[Eqn] = field(default_factory=list)
    used: set[Var] = field(default_factory=set)
    cut: bool = False

    def key(self, indices: Sequence[Var]) -> Hashable:
        """What elements have in common that are the same at the same ``indices``."""
        names: dict[Atom, Hashable] = {index: k for k, index in enumerate(indices)}
        return _described(self.eqns, (self.result,), names)


def _described(eqns: Sequence[Eqn], results: Sequence[Atom], names: dict[Atom, Hashable]) -> Hashable:
    """Equations up to what they call their variables; ``names`` learns of those they bind."""
    parts: list[Hashable] = []
    for eqn in eqns:
        args = tuple(names.get(arg, arg) for arg in eqn.args)
        blocks = []
        for block in eqn.blocks:
            names.update((param, len(names) + k) for k, param in enumerate(block.params))
            blocks.append(_described(block.eqns, block.results, names))
        parts.append((eqn.op, args, *sorted(eqn.params.items()), *blocks))
        names.update((out, len(names) + k) for k, out in enumerate(eqn.outs))
    return *parts, *(names.get(result, result) for result in results)


@dataclass(frozen=True, slots=True)
class Added:
    """What lanes add to the elements of a tensor of their own: in each iteration of ``nest``, ``value`` at ``at``.

    Attributes:
        bounds: how many values each index of the nest takes.
    """

    at: tuple[Atom, ...]
    nest: tuple[Var, ...]
    bounds: tuple[Atom, ...]
    value: tuple[Eqn, ...] | Atom


class Lanes:
    """A loop whose iterations, the lanes, are independent, but for what they add up.

    Attributes:
        local: the number of a lane in its piece, as ``base`` is that of the piece's first one.
        stacks: the tensors that hold, for all lanes of a piece, what a lane computed before.
        made: tensors that are made in front of the lanes.
        instead: what is to be read in the place of something that is no longer computed in a lane.
        added: what is known to be added to an accumulator of a lane.
    """

    def __init__(self, loop: Eqn, home: Place, facts: Facts) -> None:
        self.loop = loop
        self.home = home
        self.facts = facts
        (self.body,) = loop.blocks
        (self.index,) = self.body.params
        self.inside = facts.inside(self.body, loop, home)
        self.local = Var(self.index.name, Integer)
        self.base = Var("base", Integer)
        self.stacks: dict[Var, Var] = {}
        self.made: set[Var] = set()
        self.instead: dict[Eqn, Sequence[Eqn]] = {}
        self.added: dict[Var, list[Added]] = {}
        self._cheap: dict[Var, bool] = {}

    def replace(self, eqn: Eqn, eqns: Sequence[Eqn]) -> None:
        """Have other equations in the place of one; the last one binds what it bound."""
        self.instead[eqn] = eqns
        if eqn.outs:
            self.facts.adopt(eqns[:-1], self.facts.places[eqn.outs[0]])

    def is_outside(self, atom: Atom) -> bool:
        """Whether the value is there before the loop."""
        return isinstance(atom, Const) or atom in self.made or self.facts.is_visible(atom, self.home)

    def is_cheap(self, var: Atom) -> bool:
        """Whether a lane's value is computed again from what is outside rather than kept for all lanes."""
        if not isinstance(var, Var) or var is self.index or self.is_outside(var):
            return True
        if var not in self._cheap:
            eqn = self.facts.definition(var)
            self._cheap[var] = eqn is not None and self._is_cheap(eqn)
        return self._cheap[var]

    def _is_cheap(self, eqn: Eqn) -> bool:
        for part in (eqn, *walk_inside(eqn)):
            record = PRIMITIVES.get(part.op)
            plain = record is not None and record.speculatable and record.cost != "expensive"
            if not plain and part.op not in ("index", "size", "build"):
                return False
        return all(map(self.is_cheap, free_in(eqn)))

    def stack(self, var: Var) -> Var | None:
        """The tensor of a value of all lanes of a piece, if they are of one size."""
        if var not in self.stacks:
            rank = var.type.rank if isinstance(var.type, TensorType) else 0
            of_numbers = is_scalar(var.type) or (isinstance(var.type, TensorType) and is_scalar(var.type.elem))
            if not of_numbers or not all(
                self.facts.is_visible(self.facts.size(var, dim), self.home) for dim in range(rank)
            ):
                return None
            self.stacks[var] = Var(var.name, stack_type(1, var.type))
            self.learn(self.stacks[var], (self.loop.args[0],), var)
        return self.stacks[var]

    def learn(self, tensor: Var, counts: Sequence[Atom], elem: Atom) -> None:
        """Let the facts know the sizes of a tensor of the pieces, as if one piece had all lanes."""
        params = tuple(Var("", Integer) for _ in counts)
        build = Eqn((tensor,), "build", tuple(counts), {}, (Block(params, (), (elem,)),))
        self.facts.extend(build, self.home)

    def element(self, atom: Atom, indices: Collection[Var]) -> Element | None:
        """What computes a number that a lane computes in loops with these indices; None where that takes too much."""
        found = Element(atom)
        result = _Copy(self, found, frozenset(indices)).atom(atom, {})
        if result is None or len(found.eqns) > LONGEST:
            return None
        found.result = result
        return found


class _Copy:
    """Copies into an element what it needs."""

    def __init__(self, lanes: Lanes, element: Element, indices: frozenset[Var]) -> None:
        self.lanes = lanes
        self.element = element
        self.indices = indices

    def atom(self, atom: Atom, env: dict[Var, Atom]) -> Atom | None:
        lanes = self.lanes
        if not isinstance(atom, Var) or atom in env:
            return env.get(atom, atom) if isinstance(atom, Var) else atom
        if atom in self.indices or atom is lanes.local:
            self.element.used.add(atom)
            return atom
        if atom is lanes.index:
            self.element.used.add(lanes.local)
            env[atom] = self.emit(Eqn((Var(atom.name, Integer),), "add", (lanes.base, lanes.local)))
            return env[atom]
        if lanes.is_outside(atom):
            return atom
        if lanes.facts.places.get(atom) is lanes.inside and not lanes.is_cheap(atom):
            return self.kept(atom, (), env)
        eqn = lanes.facts.definition(atom)
        eqn = lanes.instead[eqn][-1] if eqn is not None and eqn in lanes.instead else eqn
        if eqn is None or len(self.element.eqns) > LONGEST:
            return None
        if eqn.op == "index" and not lanes.is_outside(eqn.args[0]):
            env_or_none = self.of_row(eqn, env)
            if env_or_none is not None:
                env[atom] = env_or_none
            return env_or_none
        if eqn.op == "if":
            return self.chosen(eqn, env)
        record = PRIMITIVES.get(eqn.op)
        if len(eqn.outs) != 1 or not (eqn.op in ("index", "size") or record is not None):
            return None
        args = [self.atom(arg, env) for arg in eqn.args]
        if any(arg is None for arg in args):
            return None
        out = Var(atom.name, atom.type)
        env[atom] = self.emit(
            Eqn((out,), eqn.op, tuple(arg for arg in args if arg is not None), eqn.params, (), eqn.span)
        )
        return out

    def chosen(self, eqn: Eqn, env: dict[Var, Atom]) -> Atom | None:
        """An element of a product of which it is asked whether it is a number."""
        if not any(eqn in eqns for eqns in self.lanes.instead.values()):
            return None
        known = self.needed([eqn], env)
        if known is None:
            return None
        env[eqn.outs[0]] = self.emit(clone_eqn(eqn, known))
        return env[eqn.outs[0]]

    def needed(self, eqns: Sequence[Eqn], env: dict[Var, Atom]) -> dict[Var, Atom] | None:
        """What the variables are that equations need; None where one of them cannot be computed."""
        found = {var: self.atom(var, env) for var in free_in(*eqns)}
        known = {var: atom for var, atom in found.items() if atom is not None}
        return known if len(known) == len(found) else None

    def emit(self, eqn: Eqn) -> Var:
        self.element.eqns.append(eqn)
        return eqn.outs[0]

    def kept(self, var: Var, at: Sequence[Atom], env: dict[Var, Atom]) -> Atom | None:
        """An element of what each lane computed before."""
        stack = self.lanes.stack(var)
        if stack is None:
            return None
        self.element.cut = True
        self.element.used.add(self.lanes.local)
        elem = var.type.elem if isinstance(var.type, TensorType) else var.type
        out = self.emit(Eqn((Var(var.name, elem),), "index", (stack, self.lanes.local, *at)))
        if not at:
            env[var] = out
        return out

    def of_row(self, read: Eqn, env: dict[Var, Atom]) -> Atom | None:
        """An element of a tensor that a lane makes."""
        row, *at = read.args
        assert isinstance(row, Var)
        lanes = self.lanes
        places = [self.atom(index, env) for index in at]
        if any(place is None for place in places) or not isinstance(row.type, TensorType) or row.type.rank != len(at):
            return None
        known = [place for place in places if place is not None]
        if lanes.facts.places.get(row) is lanes.inside and not lanes.is_cheap(row):
            return self.kept(row, known, env)
        return self.of_made(row, known, env)

    def of_made(self, row: Atom, known: Sequence[Atom], env: dict[Var, Atom]) -> Atom | None:
        """An element of a tensor that is made here, or was added to."""
        made = self.lanes.facts.definitions.get(row) if isinstance(row, Var) else None
        if made is not None and made[0].op == "withacc":
            return self.of_sums(*made, known, env)
        if made is None or made[0].op != "build" or made[0].params.get("nested"):
            return None
        (body,) = made[0].blocks
        inner = {**env, **dict(zip(body.params, known, strict=True))}
        return self.atom(body.results[made[1]], inner)

    def of_sums(self, made: Eqn, which: int, known: Sequence[Atom], env: dict[Var, Atom]) -> Atom | None:
        """An element of what a tensor is after additions, of which each goes to the element of its own indices."""
        (body,) = made.blocks
        if which >= len(body.params):
            return None
        acc = body.params[which]
        added = self.lanes.added.get(acc, ())
        if sum(eqn.op == "acc_add" and eqn.args[0] is acc for eqn in walk_inside(made)) != len(added):
            return None
        total = self.of_made(made.args[which], known, env)
        for one in added:
            term = self.of_sum(one, made.args[which], known, env) if total is not None else None
            if total is None or term is None:
                return None
            zero = isinstance(total, Const) and total.value == 0.0
            total = term if zero else self.emit(Eqn((Var(acc.name, Float),), "add", (total, term)))
        return total

    def of_sum(self, one: Added, row: Atom, known: Sequence[Atom], env: dict[Var, Atom]) -> Atom | None:
        facts, place = self.lanes.facts, self.lanes.inside
        if set(one.at) != {*one.nest} or not len(one.at) == len(one.nest) == len(known) or not isinstance(row, Var):
            return None
        for dim, index in enumerate(one.at):
            bound = one.bounds[one.nest.index(index)] if isinstance(index, Var) else None
            size = facts.polynomial(facts.size(row, dim))
            # All elements are added to.
            if bound is None or not facts.never_negative(facts.polynomial(bound) - size, place):
                return None
        inner = {**env, **{index: at for index, at in zip(one.at, known, strict=True) if isinstance(index, Var)}}
        if not isinstance(one.value, tuple):
            return self.atom(one.value, inner)
        needed = self.needed(one.value, inner)
        if needed is None:
            return None
        block = clone_block(Block((), one.value, one.value[-1].outs), needed)
        self.element.eqns += block.eqns
        return block.results[0]


def table(
    name: str,
    element: Element,
    indices: Sequence[Var],
    counts: Sequence[Atom],
    *,
    base: tuple[Var, Atom] | None = None,
    within: tuple[Var, Var] | None = None,
) -> Eqn:
    """A tensor of an element for all indices; ``within`` are two of which the first one must be less, else it is 0."""
    params = tuple(Var(index.name, Integer) for index in indices)
    env: dict[Var, Atom] = dict(zip(indices, params, strict=True))
    if base is not None:
        env[base[0]] = base[1]
    block = clone_block(Block((), tuple(element.eqns), (element.result,)), env)
    builder = Builder(element.eqns[-1].span if element.eqns else None)
    result = block.results[0]
    if within is None:
        builder.eqns += block.eqns
    else:
        first, second = (env[index] for index in within)
        inside = builder.apply("lt", first, second)
        zero = Block((), (), (Const(0.0, result.type),))
        (result,) = builder.emit("if", [inside], [result.type], blocks=[block, zero])
    made = Var(name, stack_type(len(params), result.type))
    return Eqn((made,), "build", tuple(counts), {}, (builder.block(params, (result,)),), builder.span)
