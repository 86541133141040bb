"""Small tensors of known sizes live in scalars, and the loops that go through them are written out.

    a = (build 3 (lam i (div (index i y) s)))            a0 = (div (index 0 y) s), a1 = …, a2 = …
    d = (reduce add 3 (lam i                      ⟶      d = (add (add (mul a0 a0) (mul a1 a1)) (mul a2 a2))
          (mul (index i a) (index i a))))

So a cross product, the product of two rotations or the gradient with respect to a point is the arithmetic that a
person would write, in registers, with nothing allocated, no loop and no index checked. An ``if`` or loop gives and
carries the elements one by one, an accumulator is one for each element. Where a tensor is needed in one piece, as the
row of a larger one or as a result, it is put together there (``literal.py``). What is held is decided by ``plan.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from math import prod
from typing import Any

from ksc.ir.nodes import Atom, Block, Const, Eqn, Function, Program, Var, const
from ksc.ir.rewrite import Env, assemble, replace
from ksc.ir.types import AccType, BoolType, IntegerType, TensorType, Type
from ksc.ops import PRIMITIVES
from ksc.passes.simplify.scalar import fold
from ksc.passes.small.literal import elements_of, known_sizes, literal
from ksc.passes.small.plan import Plan, plan, small_sizes

_Value = Atom | tuple[Atom, ...]
"""A tensor in pieces, or what a variable is called."""


def hold_small_tensors(program: Program) -> Program:
    """Hold what can be held in scalars, in all functions; what is not read any more is left to dce."""
    functions = dict(program.functions)
    for name, function in program.functions.items():
        planned = plan(function)
        if planned.held or planned.loops:
            functions[name] = Function(name, _Rewriter(planned).outermost(function.body), function.span)
    return assemble(functions, program.entry, program.boxes, renew=False)


class _Rewriter:
    """One function.

    ``pieces`` are the elements of tensors, in row-major order, ``made`` the tensors put together of them that are
    seen from where the text is.
    """

    def __init__(self, planned: Plan) -> None:
        self.plan = planned
        self.env: Env = {}
        self.pieces: dict[Atom, tuple[Atom, ...]] = {}
        self.made: dict[tuple[Type, tuple[Atom, ...]], Var] = {}
        self.out: list[Eqn] = []
        self.copies = 0

    def outermost(self, block: Block) -> Block:
        self.eqns(block.eqns)
        results = tuple(map(self.whole, block.results))
        return Block(block.params, tuple(self.out), results, block.span)

    # Atoms.

    def bound(self, var: Var) -> Var:
        """What the variable is called here: each copy of a loop's body has variables of its own."""
        self.pieces.pop(var, None)
        if self.copies == 0:
            return var
        new = Var(var.name, var.type)
        self.env[var] = new
        return new

    def elements(self, atom: Atom, sizes: Sequence[int]) -> tuple[Atom, ...]:
        """The elements of a tensor of these sizes, which its type may not tell."""
        if atom in self.pieces:
            return self.pieces[atom]
        assert isinstance(atom.type, TensorType) and isinstance(atom, Var)
        tensor = replace(atom, self.env)
        outs = []
        for place in product(*map(range, sizes)):
            outs.append(Var(atom.name, atom.type.elem))
            self.out.append(Eqn((outs[-1],), "index", (tensor, *map(const, place))))
        return tuple(outs)

    def parts(self, value: Atom, sizes: Sequence[int]) -> tuple[Atom, ...]:
        """The elements of what is put in the place of a part of these sizes, which may be one element."""
        return self.elements(value, sizes) if isinstance(value.type, TensorType) else (self.whole(value),)

    def whole(self, atom: Atom) -> Atom:
        """The atom, a tensor that is held being put together."""
        elements = self.pieces.get(atom)
        if elements is None or not isinstance(atom, Var):
            return replace(atom, self.env)
        key = atom.type, elements
        if key not in self.made:
            self.made[key] = tensor = Var(atom.name, atom.type)
            self.out.append(literal(tensor, small_sizes(atom.type) or (), elements))
        return self.made[key]

    def spread(self, atoms: Iterable[Atom], likes: Iterable[Var | None]) -> list[Atom]:
        """The atoms, the elements of one where what it goes to is held."""
        new: list[Atom] = []
        for atom, like in zip(atoms, likes, strict=True):
            held = small_sizes(like.type) if like is not None and like in self.plan.held else None
            new.extend((self.whole(atom),) if held is None else self.elements(atom, held))
        return new

    def bind(self, out: Var, sizes: Sequence[int], elements: Sequence[Atom], like: Eqn) -> None:
        """``out`` is the tensor of these elements."""
        if out in self.plan.held:
            self.pieces[out] = tuple(elements)
        else:
            self.out.append(literal(self.bound(out), sizes, elements, like))

    def variables(self, variables: Iterable[Var]) -> list[Var]:
        """What is bound in the place of variables, scalars where they are held."""
        new: list[Var] = []
        for var in variables:
            if var in self.plan.held:
                scalars = _scalars(var)
                self.pieces[var] = scalars
                new.extend(scalars)
            else:
                new.append(self.bound(var))
        return new

    # Equations.

    def eqns(self, eqns: Sequence[Eqn]) -> None:
        for eqn in eqns:
            if not self.taken_apart(eqn):
                self.keep(eqn)

    def taken_apart(self, eqn: Eqn) -> bool:
        """Emit what stands in the place of an equation, if anything does."""
        args = [replace(arg, self.env) for arg in eqn.args]
        match eqn.op:
            case "index":
                return self.index(eqn, args[1:])
            case "update":
                return self.update(eqn, args[1:-1])
            case "acc_add" if eqn.args[0] in self.pieces:
                self.add(eqn, args[1:-1])
                return True
            case "size" if eqn.args[0] in self.pieces:
                sizes = small_sizes(eqn.args[0].type) or ()
                self.env[eqn.outs[0]] = const(sizes[eqn.params["dim"]])
                return True
            case "if" if isinstance(args[0], Const):
                self.inline(eqn.blocks[0 if args[0].value else 1], eqn.outs)
                return True
            case "build" if any(out in self.plan.held for out in eqn.outs) and eqn not in self.plan.loops:
                return self.chosen(eqn)
            case "build" | "reduce" | "for" if eqn in self.plan.loops:
                self.written_out(eqn)
                return True
        if eqn.op in PRIMITIVES and isinstance(eqn.outs[0].type, IntegerType | BoolType):
            value = fold(Eqn(eqn.outs, eqn.op, tuple(args)))
            if value is not None:
                self.env[eqn.outs[0]] = value
                return True
        return False

    def index(self, eqn: Eqn, at: Sequence[Atom]) -> bool:
        tensor, (out,) = eqn.args[0], eqn.outs
        span = _span(tensor, at) if tensor in self.pieces else None
        if span is None:
            return False
        elements = self.pieces[tensor][span]
        if isinstance(out.type, TensorType):
            self.bind(out, (small_sizes(tensor.type) or ())[len(at) :], elements, eqn)
        else:
            self.env[out] = elements[0]
        return True

    def update(self, eqn: Eqn, at: Sequence[Atom]) -> bool:
        tensor, *_, value = eqn.args
        if eqn.outs[0] not in self.plan.held:
            return False
        (out,) = eqn.outs
        sizes = small_sizes(out.type) or ()
        elements = list(self.elements(tensor, sizes))
        span = _span(out, at)
        new = self.parts(value, sizes[len(at) :])
        if span is None or len(new) != span.stop - span.start:
            self._fail(eqn)
        else:
            elements[span] = new
        self.pieces[out] = tuple(elements)
        return True

    def add(self, eqn: Eqn, at: Sequence[Atom]) -> None:
        acc, *_, value = eqn.args
        span = _span(acc, at)
        new = self.parts(value, (small_sizes(acc.type) or ())[len(at) :])
        if span is None or len(new) != span.stop - span.start:
            self._fail(eqn)
            return
        for target, amount in zip(self.pieces[acc][span], new, strict=True):
            self.out.append(Eqn((), "acc_add", (target, amount), span=eqn.span))

    def _fail(self, eqn: Eqn) -> None:
        message = "an index is out of range"
        self.out.append(Eqn((), "assert", (const(False),), {"message": message}, (), eqn.span))

    def inline(self, block: Block, outs: Sequence[Var]) -> None:
        """Emit the equations of a block, whose results are ``outs``."""
        self.eqns(block.eqns)
        values = [self._value(result, out) for result, out in zip(block.results, outs, strict=True)]
        for out, value in zip(outs, values, strict=True):
            self._let(out, value)

    def chosen(self, eqn: Eqn) -> bool:
        """A tensor whose elements are written out."""
        elements = elements_of(eqn)
        assert elements is not None
        for out, row in zip(eqn.outs, elements, strict=True):
            self.bind(out, known_sizes(eqn) or (), [replace(element, self.env) for element in row], eqn)
        return True

    def written_out(self, eqn: Eqn) -> None:
        """A loop, all iterations one after the other."""
        (body,) = eqn.blocks
        n = eqn.params.get("carries", 0)
        counts = eqn.args[: len(eqn.args) - n] if eqn.op == "for" else eqn.args
        places = list(product(*(range(int(size.value)) for size in counts if isinstance(size, Const))))
        carries = body.params[len(body.params) - n :] if n else ()
        inits = eqn.args[len(eqn.args) - n :] if n else ()
        carried = [self._value(init, carry) for init, carry in zip(inits, carries, strict=True)]
        rows: list[list[_Value]] = []
        reverse = eqn.params.get("reverse", False)
        self.copies += 1
        for place in reversed(places) if reverse else places:
            self.env.update(zip(body.params, map(const, place), strict=False))
            for carry, value in zip(carries, carried, strict=True):
                self._let(carry, value)
            self.eqns(body.eqns)
            carried = [self._value(a, carry) for a, carry in zip(body.results, carries, strict=False)]
            rows.append([self._value(a, a) for a in body.results[n:]])
        self.copies -= 1
        if reverse:
            rows.reverse()
        for out, carry in zip(eqn.outs, carries, strict=False):
            self._let(carry, carried[carries.index(carry)])
            self._let(out, self._value(carry, out))
        for out, column in zip(eqn.outs[n:], zip(*rows, strict=True), strict=True):
            part = small_sizes(body.results[eqn.outs.index(out)].type) or ()
            elements = [element for value in column for element in self._flat(value, part)]
            if eqn.op == "reduce":
                self.env[out] = self._combined(eqn, elements)
            else:
                counted = [int(count.value) for count in counts if isinstance(count, Const)]
                self.bind(out, (*counted, *part), elements, eqn)

    def _value(self, atom: Atom, target: Atom) -> _Value:
        """What ``target`` is to be: the elements of a tensor in pieces, where its type tells the sizes, or an atom."""
        if atom in self.pieces and small_sizes(target.type) == small_sizes(atom.type):
            return self.pieces[atom]
        return self.whole(atom)

    def _flat(self, value: _Value, sizes: Sequence[int]) -> tuple[Atom, ...]:
        if isinstance(value, tuple):
            return value
        return self.elements(value, sizes) if isinstance(value.type, TensorType) else (value,)

    def _let(self, var: Var, value: _Value) -> None:
        if var in self.plan.held:
            value = self._flat(value, small_sizes(var.type) or ())
        if isinstance(value, tuple):
            self.pieces[var] = value
        else:
            self.pieces.pop(var, None)
            self.env[var] = value

    def _combined(self, eqn: Eqn, values: Sequence[Atom]) -> Atom:
        total, *rest = values
        for value in rest:
            out = Var(eqn.outs[0].name, total.type)
            self.out.append(Eqn((out,), eqn.params["monoid"], (total, value), span=eqn.span))
            total = out
        return total

    def keep(self, eqn: Eqn) -> None:
        """Emit the equation, with what is held spread over its arguments, blocks and results."""
        outs: list[Var] | None = None
        params: Mapping[str, Any] = eqn.params
        match eqn.op:
            case "for" | "while":
                n = eqn.params["carries"]
                skip = len(eqn.args) - n
                carries = eqn.outs[:n]
                args = [*map(self.whole, eqn.args[:skip]), *self.spread(eqn.args[skip:], carries)]
                blocks = [
                    self.block(block, [None] * len(block.results) if k < len(eqn.blocks) - 1 else [*eqn.outs])
                    for k, block in enumerate(eqn.blocks)
                ]
                params = {**eqn.params, "carries": len(args) - skip}
            case "withacc":
                args = self.spread(eqn.args, eqn.outs[: len(eqn.args)])
                blocks = [self.block(eqn.blocks[0], eqn.outs[len(eqn.args) :])]
            case "if":
                args = list(map(self.whole, eqn.args))
                blocks = [self.block(block, eqn.outs) for block in eqn.blocks]
            case _:
                args = list(map(self.whole, eqn.args))
                blocks = [self.block(block, [None] * len(block.results)) for block in eqn.blocks]
                outs = list(map(self.bound, eqn.outs))
        if outs is None:
            outs = self.variables(eqn.outs)
        self.out.append(Eqn(tuple(outs), eqn.op, tuple(args), params, tuple(blocks), eqn.span))

    def block(self, block: Block, likes: Sequence[Var | None]) -> Block:
        """A block inside; ``likes`` are what its results go to."""
        around, self.out = self.out, []
        made = dict(self.made)
        params = self.variables(block.params)
        self.eqns(block.eqns)
        results = self.spread(block.results, likes)
        eqns, self.out, self.made = self.out, around, made
        return Block(tuple(params), tuple(eqns), tuple(results))


def _scalars(var: Var) -> tuple[Var, ...]:
    """A variable for each element."""
    elem: Type
    match var.type:
        case AccType(value=TensorType(elem=inner)):
            elem = AccType(inner)
        case TensorType(elem=inner):
            elem = inner
        case _:
            raise AssertionError(f"{var!r} is no tensor")
    return tuple(Var(var.name, elem) for _ in range(prod(small_sizes(var.type) or ())))


def _span(tensor: Atom, at: Sequence[Atom]) -> slice | None:
    """Where the element or part at some indices lies among all; None where they are not known or out of range."""
    sizes = small_sizes(tensor.type) or ()
    first, width = 0, prod(sizes)
    for index, size in zip(at, sizes, strict=False):
        if not isinstance(index, Const) or not 0 <= int(index.value) < size:
            return None
        width //= size
        first += int(index.value) * width
    return slice(first, first + width)
