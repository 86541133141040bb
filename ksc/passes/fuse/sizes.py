"""What is known of the variables of one function: where they are bound and read, sizes of tensors, equal integers.

Two sizes are compared as polynomials over sizes of parameters, so that it does not matter how a size was come by.
Sizes are taken not to overflow: a tensor whose number of elements does is refused when it is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from ksc.ir.nodes import Atom, Block, Const, Eqn, Var, const
from ksc.ir.types import Integer, TensorType, is_scalar
from ksc.passes.fuse.equalities import Rules
from ksc.passes.fuse.polynomial import MOST_TERMS, Polynomial, Symbol

Size = Const | Var | tuple[Var, int]
"""A size: a constant, an Integer variable, or the size of a dimension of a tensor of which no more is known."""

_STEPS = 16


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """A block: the equation that it belongs to, and the block around that."""

    owner: Eqn | None
    parent: Place | None

    def around(self) -> Iterator[Place]:
        """This block and those around it."""
        place: Place | None = self
        while place is not None:
            yield place
            place = place.parent

    def up_to(self, outer: Place) -> Iterator[Place]:
        """This block and those around it, as far as ``outer``, which is left out."""
        return takewhile(lambda place: place is not outer, self.around())

    def is_inside(self, outer: Place) -> bool:
        """Whether this block is ``outer`` or lies in it."""
        return any(place is outer for place in self.around())


@dataclass(frozen=True, slots=True)
class Read:
    """A place where a variable is read: by an equation, or as a result of a block (``eqn`` is then None)."""

    eqn: Eqn | None
    place: Place


@dataclass(slots=True)
class Sizes:
    """Bindings and sizes of one function.

    Attributes:
        definitions: the equation that binds a variable, and which of its outs it is.
        places: the block that a variable is bound in.
        reads: where a variable is read.
        counts: for the index of a loop how often that runs.
        carries: for a carried parameter the loop and the number of the carry.
        is_extended: whether something was learnt that is not in the function.
    """

    definitions: dict[Var, tuple[Eqn, int]] = field(default_factory=dict)
    places: dict[Var, Place] = field(default_factory=dict)
    reads: dict[Var, list[Read]] = field(default_factory=dict)
    counts: dict[Var, Atom] = field(default_factory=dict)
    carries: dict[Var, tuple[Eqn, int]] = field(default_factory=dict)
    is_extended: bool = False
    _equal: dict[Place, Rules] = field(default_factory=dict)
    _sizes: dict[tuple[Var, int], Size] = field(default_factory=dict)
    _polynomials: dict[Var, Polynomial] = field(default_factory=dict)
    _choices: dict[Var, tuple[Polynomial, ...]] = field(default_factory=dict)
    _bounded: dict[Var, bool] = field(default_factory=dict)
    _naturals: dict[Var, bool] = field(default_factory=dict)
    _top: Rules = field(default_factory=Rules)
    _asked: list[tuple[Var, int]] = field(default_factory=list)
    _blocks: dict[int, Place] = field(default_factory=dict)
    _starts: dict[Var, Atom] = field(default_factory=dict)

    def inside(self, block: Block, owner: Eqn, place: Place) -> Place:
        """The place of a block of an equation that stands at ``place``."""
        known = self._blocks.get(id(block))
        return known if known is not None and known.owner is owner else Place(owner, place)

    def _visit(self, block: Block, place: Place) -> None:
        self._blocks[id(block)] = place
        for param in block.params:
            self.places[param] = place
        for eqn in block.eqns:
            self.enter(eqn, place)
            for var in {arg for arg in eqn.args if isinstance(arg, Var)}:
                self.reads.setdefault(var, []).append(Read(eqn, place))
            for inner in eqn.blocks:
                self._visit(inner, Place(eqn, place))
        for result in block.results:
            if isinstance(result, Var):
                self.reads.setdefault(result, []).append(Read(None, place))

    def _equate_all(self, checks: Iterable[tuple[Var, Place]]) -> None:
        for cond, place in checks:
            rules = self._equal.setdefault(place, Rules())
            for pair in self.equalities(cond):
                self._equate(rules, *(self.polynomial(self.resolve(arg)) for arg in pair))

    def equalities(self, cond: Atom) -> Iterator[tuple[Atom, Atom]]:
        """The pairs of integers that are equal where ``cond`` holds."""
        eqn = self.definition(cond)
        if eqn is not None and eqn.op == "and":
            for part in eqn.args:
                yield from self.equalities(part)
        elif eqn is not None and eqn.op == "eq" and eqn.args[0].type == Integer:
            yield eqn.args[0], eqn.args[1]

    @staticmethod
    def _equate(rules: Rules, a: Polynomial, b: Polynomial) -> None:
        a, b = map(rules.rewritten, (a, b))
        for left, right in ((b, a), (a, b)):
            if len(left.terms) == 1 and left != right:
                ((monomial, factor),) = left.terms.items()
                if monomial and factor == 1 and not set(monomial) & set(right.symbols()):
                    rules.add(monomial, right)
                    return
        difference = a - b
        for monomial, factor in difference.terms.items():
            rest = difference - Polynomial({monomial: factor})
            if len(monomial) == 1 and abs(factor) == 1 and monomial[0] not in rest.symbols():
                rules.add(monomial, -rest if factor == 1 else rest)
                return

    def enter(self, eqn: Eqn, place: Place) -> None:
        """Learn what an equation binds."""
        for k, out in enumerate(eqn.outs):
            self.definitions[out] = (eqn, k)
            self.places[out] = place
        match eqn.op:
            case "build" | "reduce":
                self.counts.update(zip(eqn.blocks[0].params, eqn.args, strict=True))
            case "for":
                self.counts[eqn.blocks[0].params[0]] = eqn.args[0]
            case "withacc":
                self._starts.update(zip(eqn.blocks[0].params, eqn.args, strict=True))
        if eqn.op in ("for", "while"):
            body = eqn.blocks[-1]
            skip = len(body.params) - eqn.params["carries"]
            for k, param in enumerate(body.params[skip:]):
                self.carries[param] = (eqn, k)

    def extend(self, eqn: Eqn, place: Place) -> None:
        """Learn of an equation that the function did not have."""
        self.is_extended = True
        self.enter(eqn, place)

    def adopt(self, eqns: Sequence[Eqn], place: Place) -> None:
        """Learn of equations that were copied to ``place``."""
        self.is_extended = True
        for eqn in eqns:
            self.enter(eqn, place)
            for block in eqn.blocks:
                inner = Place(eqn, place)
                for param in block.params:
                    self.places[param] = inner
                self.adopt(block.eqns, inner)

    def definition(self, atom: Atom) -> Eqn | None:
        """The equation that binds a variable, None for parameters and constants."""
        found = self.definitions.get(atom) if isinstance(atom, Var) else None
        return found[0] if found is not None else None

    def is_visible(self, size: Size, place: Place) -> bool:
        """Whether a size can be read at a place, if it was computed before."""
        if isinstance(size, Const):
            return True
        var = size if isinstance(size, Var) else size[0]
        return var in self.places and place.is_inside(self.places[var])

    # Sizes.

    def size(self, tensor: Var, dim: int) -> Size:
        """The size of a dimension of a tensor, as simple as it is known."""
        known = self._sizes.get((tensor, dim))
        if known is None:
            known = self._find_size(tensor, dim)
            self._remember(tensor, dim, known)
        return known

    def sizes(self, tensor: Var) -> list[Size]:
        """The sizes of all dimensions."""
        assert isinstance(tensor.type, TensorType)
        return [self.size(tensor, dim) for dim in range(tensor.type.rank)]

    def _remember(self, tensor: Var, dim: int, size: Size) -> None:
        self._sizes[tensor, dim] = size
        self._asked.append((tensor, dim))

    def _size_of_atom(self, atom: Atom, dim: int) -> Size | None:
        return self.size(atom, dim) if isinstance(atom, Var) else None

    def resolve(self, atom: Atom) -> Size:
        """What an Integer is that may be the size of a tensor."""
        atom = self.untupled(atom)
        eqn = self.definition(atom)
        if eqn is not None and eqn.op == "size" and isinstance(eqn.args[0], Var):
            return self.size(eqn.args[0], eqn.params["dim"])
        return atom

    def untupled(self, atom: Atom) -> Atom:
        """What a ``get`` takes out of a ``tuple`` in the same function; any other atom as it is."""
        eqn = self.definition(atom)
        while eqn is not None and eqn.op == "get":
            source = self.definition(self.untupled(eqn.args[0]))
            if source is None or source.op != "tuple":
                break
            atom = source.args[eqn.params["n"]]
            eqn = self.definition(atom)
        return atom

    def _find_size(self, tensor: Var, dim: int) -> Size:
        source = self.untupled(tensor)
        eqn = self.definition(source)
        while eqn is not None and eqn.op == "update":
            source = self.untupled(eqn.args[0])
            eqn = self.definition(source)
        if not isinstance(source, Var):
            return (tensor, dim)
        tensor = source
        itself = (tensor, dim)
        if isinstance(tensor.type, TensorType) and tensor.type.sizes[dim] is not None:
            return const(int(tensor.type.sizes[dim] or 0))
        if tensor in self._starts:
            return self._size_of_atom(self._starts[tensor], dim) or itself
        if tensor in self.carries:
            eqn, k = self.carries[tensor]
            init = eqn.args[len(eqn.args) - eqn.params["carries"] + k]
            return self._carried_size(eqn, k, init, dim) or itself
        if tensor not in self.definitions:
            return itself
        eqn, k = self.definitions[tensor]
        found = self._defined_size(eqn, k, dim)
        return found if found is not None and self.is_visible(found, self.places[tensor]) else itself

    def _defined_size(self, eqn: Eqn, k: int, dim: int) -> Size | None:
        match eqn.op:
            case "build" if dim < len(eqn.args):
                return self.resolve(eqn.args[dim])
            case "build":
                return self._size_of_atom(eqn.blocks[0].results[k], dim - len(eqn.args))
            case "index":
                return self._part_size(eqn, dim)
            case "withacc" if k < len(eqn.args):
                return self._size_of_atom(eqn.args[k], dim)
            case "withacc":
                return self._size_of_atom(eqn.blocks[0].results[k - len(eqn.args)], dim)
            case "if":
                sizes = [self._size_of_atom(block.results[k], dim) for block in eqn.blocks]
                return sizes[0] if sizes[0] is not None and self.equal(sizes[0], sizes[1]) else None
            case "for" | "while" if k < eqn.params["carries"]:
                return self._carried_size(eqn, k, eqn.args[len(eqn.args) - eqn.params["carries"] + k], dim)
            case "for" if dim == 0:
                count = self.resolve(eqn.args[0])
                return count if self._is_natural(count) else None
            case "for" | "while" if dim > 0 and not eqn.params.get("nested"):
                return self._size_of_atom(eqn.blocks[-1].results[k], dim - 1)
            case _:
                return None

    def _is_natural(self, count: Size) -> bool:
        """Whether a count is a size, an index, or a part of a size."""
        match count:
            case Const(value=value):
                return int(value) >= 0
            case tuple():
                return True
        eqn = self.definition(count)
        if eqn is not None and eqn.op == "idiv":
            dividend, divisor = eqn.args
            return isinstance(divisor, Const) and int(divisor.value) > 0 and isinstance(self.resolve(dividend), tuple)
        return count in self.counts

    def _part_size(self, eqn: Eqn, dim: int) -> Size | None:
        tensor, *at = eqn.args
        assert isinstance(tensor.type, TensorType)
        inside = len(at) < tensor.type.rank and is_scalar(tensor.type.elem)
        return self._size_of_atom(tensor, dim + len(at)) if inside else None

    def _carried_size(self, eqn: Eqn, k: int, init: Atom, dim: int) -> Size | None:
        """The size of a carry, where each iteration keeps it: assumed first, then seen in what the body gives."""
        body = eqn.blocks[-1]
        param = body.params[len(body.params) - eqn.params["carries"] + k]
        start = self._size_of_atom(init, dim)
        if start is None:
            return None
        known = self._sizes.get((param, dim))
        if known is not None:
            return start if self.equal(known, start) else None
        before = len(self._asked)
        self._remember(param, dim, start)
        result = self._size_of_atom(body.results[k], dim)
        if result is not None and self.equal_after(body, result, start):
            return start
        while len(self._asked) > before:
            self._sizes.pop(self._asked.pop(), None)
        self._forget_polynomials()
        self._remember(param, dim, (param, dim))
        return None

    def equal_after(self, body: Block, a: Size, b: Size) -> bool:
        """Whether two sizes are known to be the same once what the body of a loop asserts has held."""
        if self.equal(a, b):
            return True
        rules = Rules()
        for eqn in body.eqns:
            if eqn.op == "assert":
                for pair in self.equalities(eqn.args[0]):
                    self._equate(rules, *(self.polynomial(self.resolve(arg)) for arg in pair))
        return rules.rewritten(self.polynomial(a)) == rules.rewritten(self.polynomial(b))

    def equal(self, a: Size | None, b: Size | None) -> bool:
        """Whether two sizes are known to be the same."""
        return a is not None and b is not None and self.polynomial(a) == self.polynomial(b)

    # Integers as polynomials.

    def polynomial(self, size: Size) -> Polynomial:
        """An integer in terms of parameters, loop indices and sizes."""
        match size:
            case Const(value=value):
                return Polynomial.constant(int(value))
            case tuple():
                return self._top.rewritten(Polynomial.symbol(size))
        known = self._polynomials.get(size)
        if known is None:
            known = self._top.rewritten(self._find_polynomial(size))
            self._polynomials[size] = known
        return known

    def _find_polynomial(self, var: Var) -> Polynomial:
        eqn = self.definition(var)
        if eqn is None or var.type != Integer:
            return Polynomial.symbol(var)
        if eqn.op in ("size", "get"):
            size = self.resolve(var)
            return Polynomial.symbol(var) if size is var else self.polynomial(size)
        if eqn.op in ("add", "sub", "mul", "neg"):
            parts = [self.polynomial(arg) for arg in eqn.args]
            if len(parts) == 1:
                return -parts[0]
            a, b = parts
            if eqn.op != "mul":
                given = a + b if eqn.op == "add" else a - b
            else:
                given = a * b if len(a.terms) * len(b.terms) <= MOST_TERMS else Polynomial.symbol(var)
            if given.is_small:
                return given
        return Polynomial.symbol(var)

    def sides(self, symbol: Symbol | None) -> tuple[Polynomial, ...]:
        """The two integers of which a ``min`` or ``max`` is one; none for any other symbol."""
        eqn = self.definition(symbol) if isinstance(symbol, Var) else None
        if not isinstance(symbol, Var) or eqn is None or eqn.op not in ("min", "max"):
            return ()
        known = self._choices.get(symbol)
        if known is None:
            sides = tuple(self.polynomial(self.resolve(arg)) for arg in eqn.args)
            known = self._choices[symbol] = () if any(symbol in side.symbols() for side in sides) else sides
        return known

    def _forget_polynomials(self) -> None:
        """Forget what was found of integers; what is asked next may be known to be equal to something else."""
        self._polynomials.clear()
        self._choices.clear()
        self._bounded.clear()
        self._naturals.clear()
