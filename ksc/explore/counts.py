"""What a program costs, as formulas of the sizes of its arguments: found from the IR alone, without running it.

Loops count as often as they may run; of an ``if`` the dearer side counts. A loop inside another whose count depends on
the outer one (``for j in range(i)``) counts as at its last iteration, and a ``while`` has a symbol for its iterations:
so these are bounds from above. Memory inside a loop is used again in each iteration.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ksc.explore.model import Count
from ksc.ir.nodes import PLACEHOLDER, Atom, Block, Const, Eqn, Program, Var, walk
from ksc.ir.types import BoolType, FloatType, Integer, IntegerType, TensorType, Type
from ksc.ops import PRIMITIVES
from ksc.passes.fuse.polynomial import Polynomial, Symbol

_MOST_TERMS = 4
_FREE = frozenset({"bool_to_float", "kronecker", "to_float", "select", "not", "and", "or"})
_LOOPS = frozenset({"for", "build", "reduce", "while"})
_ZERO, _ONE = Polynomial.constant(0), Polynomial.constant(1)

Dims = tuple[Polynomial, ...]
Sizes = Mapping[Symbol, int]


@dataclass(frozen=True, slots=True)
class _Cost:
    """Additions and the like; functions such as ``exp``; bytes of tensors."""

    plain: Polynomial = _ZERO
    special: Polynomial = _ZERO
    bytes: Polynomial = _ZERO

    def __add__(self, other: _Cost) -> _Cost:
        return _Cost(self.plain + other.plain, self.special + other.special, self.bytes + other.bytes)

    def repeated(self, times: Polynomial) -> _Cost:
        return _Cost(self.plain * times, self.special * times, self.bytes)


def count(program: Program, float_bytes: int, sizes: Sequence[Sequence[int] | int | None] = ()) -> dict[str, Count]:
    """How many equations there are, how many operations run, and how much memory they fill.

    Args:
        program: any program.
        float_bytes: the size of a Float.
        sizes: what is known of the first parameters: the sizes of a tensor, or the value of an integer.
    """
    known: dict[Symbol, int] = {}
    for param, size in zip(program.main.params, sizes, strict=False):
        if isinstance(size, int):
            known[param] = size
        elif size is not None:
            known.update({(param, dim): value for dim, value in enumerate(size)})
    counter = _Counter(program, float_bytes)
    cost = counter.function(program.entry, [counter.parameter(param) for param in program.main.params])
    names = counter.names()
    equations = sum(1 for function in program.functions.values() for _ in walk(function.body))
    return {
        "equations": Count(str(equations), equations),
        "operations": _shown(cost.plain, known, names),
        "functions": _shown(cost.special, known, names),
        "bytes": _shown(cost.bytes, known, names),
    }


class _Counter:
    def __init__(self, program: Program, float_bytes: int) -> None:
        self.program = program
        self.float_bytes = float_bytes
        self.integers: dict[Var, Polynomial] = {}
        self.dims: dict[Var, Dims] = {}
        self.open: list[str] = []

    def parameter(self, param: Var) -> Atom:
        if isinstance(param.type, TensorType):
            self.dims[param] = tuple(
                Polynomial.symbol((param, dim)) if size is None else Polynomial.constant(size)
                for dim, size in enumerate(param.type.sizes)
            )
        return param

    def names(self) -> dict[Symbol, str]:
        """What to call sizes: as the user does, where he does."""
        found: dict[Symbol, str] = {}
        for function in self.program.functions.values():
            for eqn in walk(function.body):
                if eqn.op == "size" and isinstance(eqn.args[0], Var) and eqn.outs[0].name != PLACEHOLDER:
                    found.setdefault((eqn.args[0], eqn.params["dim"]), eqn.outs[0].name)
        return found

    def integer(self, atom: Atom) -> Polynomial:
        if isinstance(atom, Const):
            return Polynomial.constant(int(atom.value))
        return self.integers.get(atom) or Polynomial.symbol(atom)

    def sizes_of(self, atom: Atom) -> Dims:
        if isinstance(atom, Var) and atom in self.dims:
            return self.dims[atom]
        if not isinstance(atom.type, TensorType):
            return ()
        return tuple(
            Polynomial.symbol((atom, k)) if size is None and isinstance(atom, Var) else Polynomial.constant(size or 0)
            for k, size in enumerate(atom.type.sizes)
        )

    def like(self, target: Atom, source: Atom) -> None:
        """Note that ``target`` has the sizes, or is the integer, that ``source`` is."""
        if not isinstance(target, Var):
            return
        if isinstance(target.type, TensorType):
            self.dims[target] = self.sizes_of(source)
        elif target.type == Integer:
            self.integers[target] = self.integer(source)

    def function(self, name: str, args: Sequence[Atom]) -> _Cost:
        function = self.program.functions[name]
        if name in self.open:
            return _Cost()
        for param, arg in zip(function.params, args, strict=True):
            self.like(param, arg)
        self.open.append(name)
        cost = self.block(function.body)
        self.open.pop()
        return cost

    def block(self, block: Block) -> _Cost:
        cost = _Cost()
        for eqn in block.eqns:
            cost += self.eqn(eqn)
        return cost

    def eqn(self, eqn: Eqn) -> _Cost:
        if eqn.op in _LOOPS:
            return self.loop(eqn)
        match eqn.op:
            case "if":
                then, other = (self.block(block) for block in eqn.blocks)
                for k, out in enumerate(eqn.outs):
                    self.like(out, eqn.blocks[0].results[k])
                return _dearer(then, other)
            case "withacc":
                for k, init in enumerate(eqn.args):
                    self.like(eqn.blocks[0].params[k], init)
                    self.like(eqn.outs[k], init)
                return self.block(eqn.blocks[0])
            case "call":
                cost = self.function(eqn.params["callee"], eqn.args)
                results = self.program.functions[eqn.params["callee"]].body.results
                for out, result in zip(eqn.outs, results, strict=True):
                    self.like(out, result)
                return cost
            case "size":
                self.integers[eqn.outs[0]] = self.sizes_of(eqn.args[0])[eqn.params["dim"]]
                return _Cost()
            case "index":
                self.dims[eqn.outs[0]] = self.sizes_of(eqn.args[0])[len(eqn.args) - 1 :]
                return _Cost()
            case "update":
                self.like(eqn.outs[0], eqn.args[0])
                return _Cost()
            case "acc_add":
                return _Cost(plain=_product(self.sizes_of(eqn.args[-1])))
            case _:
                return self.plain(eqn)

    def plain(self, eqn: Eqn) -> _Cost:
        record = PRIMITIVES.get(eqn.op)
        if record is None or eqn.op in _FREE:
            return _Cost()
        if any(arg.type == Integer for arg in eqn.args) and eqn.outs[0].type == Integer:
            a, *rest = map(self.integer, eqn.args)
            if eqn.op in ("add", "sub", "mul") and rest:
                made = {"add": a + rest[0], "sub": a - rest[0], "mul": a * rest[0]}[eqn.op]
                if made.is_small:
                    self.integers[eqn.outs[0]] = made
            elif eqn.op in ("min", "max") and rest:
                # A bound from above: one side of a minimum; of a maximum the one that is no constant.
                self.integers[eqn.outs[0]] = rest[0] if eqn.op == "max" and a.value is not None else a
            return _Cost()
        if not any(isinstance(arg.type, FloatType) for arg in eqn.args):
            return _Cost()
        return _Cost(special=_ONE) if record.cost == "expensive" else _Cost(plain=_ONE)

    def loop(self, eqn: Eqn) -> _Cost:
        body = eqn.blocks[-1]
        carries = eqn.params.get("carries", 0)
        if eqn.op == "while":
            counts: Dims = (Polynomial.symbol(Var("iterations", Integer)),)
        else:
            counts = tuple(map(self.integer, eqn.args[: len(eqn.args) - carries]))
        for k, init in enumerate(eqn.args[len(eqn.args) - carries :] if carries else ()):
            for block in eqn.blocks:
                target = block.params[len(block.params) - carries + k]
                if isinstance(target.type, TensorType):
                    self.like(target, init)
        indices = body.params[: len(body.params) - carries]
        for index, size in zip(indices, counts, strict=False):
            self.integers[index] = size.plus(-1)
        cost = _Cost()
        for block in eqn.blocks:
            cost += self.block(block)
        if eqn.op == "reduce":
            for result in body.results:
                cost += _Cost(plain=_product(self.sizes_of(result)))
        times = _product(counts)
        cost = cost.repeated(times)
        for k, (out, result) in enumerate(zip(eqn.outs, body.results, strict=True)):
            if k < carries or eqn.op == "reduce":
                if isinstance(out.type, TensorType):
                    self.like(out, result)
                continue
            self.dims[out] = (*counts, *self.sizes_of(result))
            cost += _Cost(bytes=_product(self.dims[out]) * Polynomial.constant(self.width(out.type)))
        return cost

    def width(self, type_: Type) -> int:
        match type_:
            case TensorType(elem=elem):
                return self.width(elem)
            case BoolType():
                return 1
            case IntegerType():
                return 8
            case _:
                return self.float_bytes


def _product(dims: Sequence[Polynomial]) -> Polynomial:
    total = _ONE
    for dim in dims:
        total = total * dim
    return total


def _dearer(a: _Cost, b: _Cost) -> _Cost:
    return _Cost(_most(a.plain, b.plain), _most(a.special, b.special), _most(a.bytes, b.bytes))


def _most(a: Polynomial, b: Polynomial) -> Polynomial:
    return Polynomial({term: max(a.terms.get(term, 0), b.terms.get(term, 0)) for term in {*a.terms, *b.terms}})


def _shown(cost: Polynomial, known: Sizes, names: Mapping[Symbol, str]) -> Count:
    terms = []
    for monomial, factor in sorted(cost.terms.items(), key=lambda term: (-len(term[0]), -abs(term[1]))):
        powers: dict[str, int] = {}
        for symbol in monomial:
            name = _name(symbol, names)
            powers[name] = powers.get(name, 0) + 1
        factors = [f"{name}{_power(power)}" for name, power in sorted(powers.items())]
        number = [str(abs(factor))] if abs(factor) != 1 or not factors else []
        terms.append(("- " if factor < 0 else "+ ") + "·".join([*number, *factors]))
    if len(terms) > _MOST_TERMS:
        terms = [*terms[:_MOST_TERMS], "+ …"]
    formula = " ".join(terms).removeprefix("+ ") or "0"
    value: int | None = 0
    for monomial, factor in cost.terms.items():
        for symbol in monomial:
            factor *= known.get(symbol, 0)
        if any(symbol not in known for symbol in monomial):
            value = None
            break
        value = (value or 0) + factor
    return Count(formula, value)


def _power(power: int) -> str:
    return "" if power == 1 else "".join("⁰¹²³⁴⁵⁶⁷⁸⁹"[int(digit)] for digit in str(power))


def _name(symbol: Symbol, names: Mapping[Symbol, str]) -> str:
    if symbol in names:
        return names[symbol]
    if isinstance(symbol, Var):
        return symbol.name or "?"
    var, dim = symbol
    return f"{var.name or '?'}.shape[{dim}]"
