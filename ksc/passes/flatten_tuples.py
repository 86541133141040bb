"""Take tuples, and tensors inside tensors, apart: what is left has scalars, tensors of scalars and boxes only.

    (def f (Tuple Float Float) ((p : (Tuple Float Integer)))
      (tuple (get$1$2 p) 1.0))
                            ⟶
    (def f (Values Float Float) ((p_0 : Float) (p_1 : Integer))
      (values p_0 1.0))

A tensor of tuples becomes a tensor for each element; a tensor of tensors, one tensor of higher rank. Where its elements
differ in size, the program now stops with the error of a ``build`` of unequal elements. A tensor of empty tuples has a
size and nothing else: it becomes a tensor of Bool.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ksc.errors import InvalidIRError
from ksc.ir.builder import stack_type
from ksc.ir.nodes import Atom, Block, Const, Eqn, Function, Program, Var, const
from ksc.ir.types import AccType, Bool, String, TensorType, TupleType, Type

Parts = tuple[Atom, ...]


def flatten_tuples(program: Program) -> Program:
    """The program without tuples; a parameter or result that was one is now as many. Raises InvalidIRError."""
    functions = {name: _FunctionFlattener().function(f) for name, f in program.functions.items()}
    boxes = {
        name: tuple(part for field in fields for part in flat_types(field)) for name, fields in program.boxes.items()
    }
    return Program(functions, program.entry, boxes)


def flat_types(type_: Type) -> tuple[Type, ...]:
    """The types of the parts that a value of this type is taken apart into."""
    match type_:
        case TupleType(elems=elems):
            return tuple(part for elem in elems for part in flat_types(elem))
        case TensorType(rank=rank, elem=elem, sizes=sizes):
            parts = element_types(elem)
            return tuple(_with_leading(rank, sizes, part) for part in parts)
        case AccType(value=value):
            return tuple(AccType(part) for part in flat_types(value))
        case _:
            return (type_,)


def element_types(type_: Type) -> tuple[Type, ...]:
    """The types of the parts of an element of a tensor, of which there is at least one."""
    return flat_types(type_) or (Bool,)


def _with_leading(rank: int, sizes: tuple[int | None, ...], part: Type) -> Type:
    stacked = stack_type(rank, part)
    assert isinstance(stacked, TensorType)
    return TensorType(stacked.rank, stacked.elem, sizes + stacked.sizes[rank:])


class _FunctionFlattener:
    def __init__(self) -> None:
        self.parts: dict[Var, Parts] = {}

    def function(self, function: Function) -> Function:
        return Function(function.name, self.block(function.body), function.span)

    def block(self, block: Block, *, stacked_from: int | None = None) -> Block:
        """The block over parts; its results from ``stacked_from`` on are elements of tensors."""
        params = self.bind_all(block.params)
        eqns = tuple(new for eqn in block.eqns for new in self.eqn(eqn))
        results: list[Atom] = []
        for k, result in enumerate(block.results):
            is_element = stacked_from is not None and k >= stacked_from
            results += self.element(result) if is_element else self.atom(result)
        return Block(params, eqns, tuple(results))

    def bind(self, var: Var) -> tuple[Var, ...]:
        """New variables for the parts of a variable."""
        types = flat_types(var.type)
        names = [var.name] if len(types) == 1 else [f"{var.name}_{k}" for k in range(len(types))]
        made = tuple(Var(name, type_) for name, type_ in zip(names, types, strict=True))
        self.parts[var] = made
        return made

    def bind_all(self, variables: Sequence[Var]) -> tuple[Var, ...]:
        return tuple(part for var in variables for part in self.bind(var))

    def atom(self, atom: Atom) -> Parts:
        return self.parts[atom] if isinstance(atom, Var) else (atom,)

    def atoms(self, atoms: Sequence[Atom]) -> Parts:
        return tuple(part for atom in atoms for part in self.atom(atom))

    def element(self, atom: Atom) -> Parts:
        """The parts of an element of a tensor."""
        return self.atom(atom) or (const(False),)

    def eqn(self, eqn: Eqn) -> list[Eqn]:
        """The equations over parts that stand for one equation."""
        match eqn.op:
            case "tuple":
                self.parts[eqn.outs[0]] = self.atoms(eqn.args)
                return []
            case "get":
                self.get(eqn)
                return []
            case "index":
                return self.index(eqn)
            case "update":
                return self.update(eqn)
            case "acc_add":
                return self.acc_add(eqn)
            case "size":
                tensor = self.atom(eqn.args[0])[0]
                return [self.like(eqn, self.bind_all(eqn.outs), (tensor,))]
            case "print":
                return [self.like(eqn, (), tuple(part for arg in eqn.args for part in self.printed(arg, eqn)))]
            case "for" | "while":
                return [self.loop(eqn)]
            case "build":
                (body,) = eqn.blocks
                params = {key: value for key, value in eqn.params.items() if key != "nested"}
                return [self.like(eqn, None, self.atoms(eqn.args), params, (self.block(body, stacked_from=0),))]
            case _:
                blocks = tuple(self.block(block) for block in eqn.blocks)
                return [self.like(eqn, None, self.atoms(eqn.args), eqn.params, blocks)]

    def like(
        self,
        eqn: Eqn,
        outs: tuple[Var, ...] | None,
        args: Parts,
        params: Mapping[str, Any] | None = None,
        blocks: tuple[Block, ...] = (),
    ) -> Eqn:
        """The equation with other operands; the parts of its own outs where ``outs`` is None."""
        bound = self.bind_all(eqn.outs) if outs is None else outs
        return Eqn(bound, eqn.op, args, eqn.params if params is None else params, blocks, eqn.span)

    def get(self, eqn: Eqn) -> None:
        (arg,) = eqn.args
        assert isinstance(arg.type, TupleType)
        n = eqn.params["n"]
        start = sum(len(flat_types(elem)) for elem in arg.type.elems[:n])
        width = len(flat_types(arg.type.elems[n]))
        self.parts[eqn.outs[0]] = self.atom(arg)[start : start + width]

    def index(self, eqn: Eqn) -> list[Eqn]:
        tensor, *at = eqn.args
        (out,) = eqn.outs
        outs = self.bind(out) or (Var(out.name, Bool),)
        return [
            Eqn((new,), "index", (part, *self.atoms(at)), eqn.params, (), eqn.span)
            for new, part in zip(outs, self.atom(tensor), strict=True)
        ]

    def update(self, eqn: Eqn) -> list[Eqn]:
        tensor, *at, value = eqn.args
        outs, at_parts = self.bind(eqn.outs[0]), self.atoms(at)
        return [
            Eqn((new,), "update", (part, *at_parts, element), eqn.params, (), eqn.span)
            for new, part, element in zip(outs, self.atom(tensor), self.element(value), strict=True)
        ]

    def acc_add(self, eqn: Eqn) -> list[Eqn]:
        acc, *at, value = eqn.args
        at_parts = self.atoms(at)
        return [
            Eqn((), "acc_add", (part, *at_parts, term), eqn.params, (), eqn.span)
            for part, term in zip(self.atom(acc), self.atom(value), strict=True)
        ]

    def loop(self, eqn: Eqn) -> Eqn:
        carries = eqn.params["carries"]
        inits = eqn.args[-carries:] if carries else ()
        params = {key: value for key, value in eqn.params.items() if key != "nested"}
        params["carries"] = len(self.atoms(inits))
        *conds, body = eqn.blocks
        blocks = (*(self.block(cond) for cond in conds), self.block(body, stacked_from=carries))
        return self.like(eqn, None, self.atoms(eqn.args), params, blocks)

    def printed(self, arg: Atom, eqn: Eqn) -> Parts:
        """What prints as the value would."""
        if isinstance(arg.type, TensorType) and flat_types(arg.type) != (arg.type,):
            raise InvalidIRError(f"a value of type {arg.type} cannot be printed once it is taken apart", span=eqn.span)
        if not isinstance(arg.type, TupleType):
            return self.atom(arg)
        shown: list[Atom] = [Const("(", String)]
        rest = list(self.atom(arg))
        for k, elem in enumerate(arg.type.elems):
            width = len(flat_types(elem))
            var = Var("part", elem)
            self.parts[var], rest = tuple(rest[:width]), rest[width:]
            shown += [Const(", ", String)] if k else []
            shown += self.printed(var, eqn)
        return (*shown, Const(")", String))
