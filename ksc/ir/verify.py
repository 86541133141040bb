"""The verifier: re-derives every type and scope of a program.

Rules, beside the type rules of ``ksc.ir.rules``:

* the entry is a function of the program, and every function is listed under its own name;
* a variable is bound once in a function, before it is used, in the block of its use or one around it;
* the type of an out is the one that its rule gives, or has the same shape with other knowledge of sizes;
* an accumulator is a parameter of a ``withacc`` body, used by ``acc_add`` and by nothing else, and is no result;
* a constant has a value of its type: a Float a ``float``, an Integer an ``int`` of 64 bits, a Bool a ``bool``.
"""

from __future__ import annotations

from ksc.errors import InvalidIRError
from ksc.ir.nodes import Atom, Block, Const, Eqn, Function, Program, Span, Var
from ksc.ir.rules import CONSTANT_KINDS, holds_acc, result_types, show
from ksc.ir.types import AccType, BoxType, Integer, TensorType, TupleType, Type, compatible


def verify(program: Program) -> None:
    """Check every rule of the IR. Raises InvalidIRError with the function, the equation and the rule it breaks."""
    if program.entry not in program.functions:
        raise InvalidIRError(f"the entry {program.entry} is not a function of the program")
    for name, fields in program.boxes.items():
        for type_ in fields:
            _check_type(type_, program, f"box {name}")
    for name, function in program.functions.items():
        if function.name != name:
            raise InvalidIRError(f"function {function.name} is listed under the name {name}", span=function.span)
        _FunctionVerifier(program, function).run()


class _FunctionVerifier:
    def __init__(self, program: Program, function: Function) -> None:
        self.program = program
        self.function = function
        self.bound: set[Var] = set()
        self.where: Eqn | None = None

    def run(self) -> None:
        scope: set[Var] = set()
        for param in self.function.params:
            self.bind(param, scope)
            if holds_acc(param.type):
                self.fail("an accumulator cannot be a parameter of a function")
        self.body(self.function.body, scope)

    def body(self, block: Block, scope: set[Var], owner: Eqn | None = None) -> None:
        """Check the equations and results of a block of ``owner`` whose parameters are bound in ``scope``."""
        for eqn in block.eqns:
            self.eqn(eqn, scope)
        self.where = owner
        for result in block.results:
            self.use(result, scope)
            if isinstance(result.type, AccType):
                self.fail("an accumulator cannot be a result")

    def eqn(self, eqn: Eqn, scope: set[Var]) -> None:
        self.where = eqn
        for k, arg in enumerate(eqn.args):
            self.use(arg, scope)
            if isinstance(arg.type, AccType) and not (eqn.op == "acc_add" and k == 0):
                self.fail("an accumulator is used by acc_add only")
        for block in eqn.blocks:
            inner = set(scope)
            for param in block.params:
                self.bind(param, inner)
                if isinstance(param.type, AccType) and eqn.op != "withacc":
                    self.fail(f"an accumulator cannot be a parameter of a block of {eqn.op}")
            self.body(block, inner, eqn)
        try:
            types = result_types(eqn, self.program)
        except InvalidIRError as broken:
            self.fail(broken.message)
        if len(types) != len(eqn.outs):
            self.fail(f"{eqn.op} gives {len(types)} results {show(types)}, not {len(eqn.outs)}")
        for out, type_ in zip(eqn.outs, types, strict=True):
            self.bind(out, scope)
            if not compatible(out.type, type_):
                self.fail(f"{out.name} has type {out.type} but {eqn.op} gives {type_}")

    def bind(self, var: Var, scope: set[Var]) -> None:
        if not isinstance(var, Var):
            self.fail(f"{var!r} stands where a variable is bound")
        if var in self.bound:
            self.fail(f"{var.name} is bound twice")
        try:
            _check_type(var.type, self.program, var.name)
        except InvalidIRError as broken:
            self.fail(broken.message)
        self.bound.add(var)
        scope.add(var)

    def use(self, atom: Atom, scope: set[Var]) -> None:
        match atom:
            case Var():
                if atom not in scope:
                    why = "is not in scope" if atom in self.bound else "is not bound"
                    self.fail(f"{atom.name} {why}")
            case Const():
                self.constant(atom)
            case _:
                self.fail(f"{atom!r} is neither a variable nor a constant")

    def constant(self, atom: Const) -> None:
        if isinstance(atom.type, BoxType):
            if atom.value is not None:
                self.fail("the only constant of a box type is null")
            return
        kind = CONSTANT_KINDS.get(atom.type)
        if kind is None:
            self.fail(f"there are no constants of type {atom.type}")
        if type(atom.value) is not kind:
            self.fail(f"the constant {atom.value!r} is not a value of type {atom.type}")
        if atom.type == Integer and not -(2**63) <= int(atom.value) < 2**63:
            self.fail(f"the constant {atom.value} does not fit 64 bits")

    def fail(self, rule: str) -> None:
        """Raise InvalidIRError that names the function, the equation and the rule."""
        span: Span | None = self.function.span
        place = f"in {self.function.name}"
        if self.where is not None:
            span = self.where.span or span
            place += f", {describe(self.where)}"
        raise InvalidIRError(f"{place}: {rule}", span=span)


def describe(eqn: Eqn) -> str:
    """An equation on one line, its blocks left out."""
    outs = f"{', '.join(out.name for out in eqn.outs)} = " if eqn.outs else ""
    args = "".join(f" {arg.name if isinstance(arg, Var) else getattr(arg, 'value', arg)!s}" for arg in eqn.args)
    params = "".join(f" {key}={value}" for key, value in eqn.params.items())
    return f"{outs}({eqn.op}{params}{args}{' …' if eqn.blocks else ''})"


def _check_type(type_: Type, program: Program, what: str) -> None:
    match type_:
        case TensorType(elem=elem):
            _check_type(elem, program, what)
        case TupleType(elems=elems):
            for elem in elems:
                _check_type(elem, program, what)
        case AccType(value=value):
            if holds_acc(value):
                raise InvalidIRError(f"{what} has type {type_}: an accumulator holds no accumulator")
            _check_type(value, program, what)
        case BoxType(name=name) if name not in program.boxes:
            raise InvalidIRError(f"{what} has type {type_}, but the program declares no box {name}")
        case _:
            return
