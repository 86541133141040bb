"""Which elements of results depend on which elements of arguments, for all floats at given sizes.

An abstract interpretation: a Float is the set of the argument elements that its derivative may not be zero by, and an
Integer or a Bool is its value where that follows from sizes and from Integer and Bool arguments, else unknown.

    value            set, as bits           of what is unknown
    x[i]             {i}                    if c a b      both sides, joined
    x[i] + x[i+1]    {i, i+1}               index i t     the sets of all of t
    floor(x[i])      {}                     while c       a state that the body adds nothing to

Sets only grow where something is unknown, so the pattern holds for all values. This is the propagation of bit vectors
of Griewank and Walther, Evaluating Derivatives, section 7.1, over control flow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np

from ksc.errors import DifferentiationError
from ksc.ir.nodes import Block, Const, Eqn, Function, Program, Span, Var
from ksc.ir.types import BoolType, BoxType, FloatType, IntegerType, TensorType, TupleType, Type
from ksc.ir.values import Representation
from ksc.ops import PRIMITIVES
from ksc.ops.record import zero
from ksc.transforms.dependence_values import (
    Cell,
    Join,
    NotFollowedError,
    Value,
    bottom,
    combined,
    everything_in,
    indexed,
    join,
    stacked,
    updated,
)

MAX_STEPS = 8_000_000
"""How many equations and elements are looked at before a pattern is asked for instead."""

MAX_BITS = 1 << 31
"""How many bits the sets of the arguments may have."""

MAX_CALLS = 40
"""How many calls may be open at once: deeper ones are taken to read all of their arguments."""

MAX_UNSURE_STEPS = 1_000_000
"""For how long a loop that may end at any time is followed before its states are joined."""

REMEDY = "declare the pattern: sparse=pattern, a tensor of bools with a row per element of the result"

Environment = dict[Var, Value]
Arguments = Sequence[tuple[Var | None, Value]]
Instruction = tuple[Callable[["_Analysis", Eqn, list[Value], Environment], Sequence[Value]], Eqn, Arguments]


def dependence(program: Program, args: Sequence[Value], wrt: Sequence[int]) -> tuple[Value, ...]:
    """The sets of argument elements that the results depend on.

    Args:
        program: any valid program.
        args: for each parameter of the entry: the sizes of one that is a tensor of Floats, anything for a Float; the
            value of an Integer or Bool, or None where it is unknown, and for a tensor of these a numpy array.
        wrt: the parameters whose elements count, Floats and tensors of Floats; they are numbered from 0, those of each
            parameter in row-major order.

    Returns:
        For each result a set as an int, bit j standing for element j; for a tensor an array of such. What stands for
        an Integer or Bool is of no use.

    Raises:
        DifferentiationError: a size depends on floats, or the program is too long to be followed.
    """
    params = program.main.params
    counts = {k: prod(args[k]) if isinstance(params[k].type, TensorType) else 1 for k in wrt}
    total = sum(counts.values())
    if total * total > MAX_BITS:
        raise _refusal(f"arguments of {total} elements are too many to find a pattern", program.main.span)
    first = 0
    values: list[Value] = []
    starts = {}
    for k in wrt:
        starts[k] = first
        first += counts[k]
    for k, (param, arg) in enumerate(zip(params, args, strict=True)):
        match param.type:
            case FloatType():
                values.append(1 << starts[k] if k in starts else 0)
            case TensorType(elem=FloatType()):
                array = np.zeros(prod(arg), dtype=object)
                if k in starts:
                    array[:] = [1 << j for j in range(starts[k], starts[k] + counts[k])]
                values.append(array.reshape(tuple(arg)))
            case TensorType():
                values.append(arg.astype(object))
            case _:
                values.append(arg)
    analysis = _Analysis(program)
    try:
        return analysis.call(program.main, values)
    except NotFollowedError as differ:
        raise _refusal(str(differ), analysis.where) from None
    except RecursionError:
        raise _refusal("the function nests too deep to find a pattern", program.main.span) from None


def _refusal(why: str, span: Span | None) -> DifferentiationError:
    return DifferentiationError(f"the pattern of the Jacobian is not found: {why}", remedy=REMEDY, span=span)


@dataclass(slots=True)
class _Analysis:
    """One run. ``unsure`` counts the enclosing blocks that may not be run at all."""

    program: Program
    steps: int = 0
    unsure: int = 0
    where: Span | None = None
    plans: dict[Block, list[Instruction]] = field(default_factory=dict)
    open: list[tuple[str, int]] = field(default_factory=list)
    represent: Representation = field(default_factory=lambda: Representation("f64"))

    def call(self, function: Function, args: Sequence[Value]) -> tuple[Value, ...]:
        """The results of a function; one that may call itself without end reads all of its arguments."""
        without_end = any(name == function.name and self.unsure > unsure for name, unsure in self.open)
        if without_end or len(self.open) >= MAX_CALLS:
            return self.unknown(function.result_types, everything_in([p.type for p in function.params], args))
        self.open.append((function.name, self.unsure))
        results = self.block(function.body, args, {})
        self.open.pop()
        return results

    def unknown(self, types: Sequence[Type], mask: int) -> tuple[Value, ...]:
        """Values of these types that may depend on all of ``mask``, and of which else nothing is known."""
        return tuple(self._unknown(type_, mask) for type_ in types)

    def _unknown(self, type_: Type, mask: int) -> Value:
        match type_:
            case FloatType():
                return mask
            case TensorType() | BoxType():
                raise NotFollowedError("the sizes of the tensors that a recursive function gives are unknown")
            case TupleType(elems=elems):
                return self.unknown(elems, mask)
            case _:
                return None

    def block(self, block: Block, args: Sequence[Value], env: Environment) -> tuple[Value, ...]:
        """The results of a block in the environment of the function that it is part of."""
        for param, value in zip(block.params, args, strict=True):
            env[param] = value
        plan = self.plans.get(block)
        if plan is None:
            plan = self.plans[block] = [_instruction(eqn) for eqn in block.eqns]
        self.spend(len(plan) + 1)
        for run, eqn, atoms in plan:
            values = [value if var is None else env[var] for var, value in atoms]
            for out, result in zip(eqn.outs, run(self, eqn, values, env), strict=True):
                env[out] = result
        return tuple(_constant(atom) if isinstance(atom, Const) else env[atom] for atom in block.results)

    def spend(self, steps: int) -> None:
        """Count steps. Raises DifferentiationError where there have been too many."""
        self.steps += steps
        if self.steps > MAX_STEPS:
            raise _refusal("it takes too long at these sizes", self.program.main.span)

    def joined(self, a: Sequence[Value], b: Sequence[Value], types: Sequence[Type]) -> tuple[Value, ...]:
        """The join of two lists of values."""
        self.spend(sum(x.size for x in a if isinstance(x, np.ndarray)) // 16)
        return tuple(join(x, y, type_) for x, y, type_ in zip(a, b, types, strict=True))

    def fixpoint(
        self, state: Sequence[Value], types: Sequence[Type], step: Callable[[tuple[Value, ...]], Sequence[Value]]
    ) -> tuple[Value, ...]:
        """The least state above ``state`` to which ``step`` adds nothing."""
        current = tuple(state)
        while True:
            following = self.joined(current, step(current), types)
            if _same(current, following):
                return current
            current = following


def _constant(atom: Const) -> Value:
    match atom.type:
        case FloatType():
            return 0
        case BoxType():
            return None
        case _:
            return atom.value


def _instruction(eqn: Eqn) -> Instruction:
    atoms = [(None, _constant(arg)) if isinstance(arg, Const) else (arg, None) for arg in eqn.args]
    return _RULES.get(eqn.op) or _primitive(eqn), eqn, atoms


def _same(a: Sequence[Value], b: Sequence[Value]) -> bool:
    return all(
        x is y
        or (np.array_equal(x, y) if isinstance(x, np.ndarray) else _same(x, y) if isinstance(x, tuple) else x == y)
        for x, y in zip(a, b, strict=True)
    )


def _primitive(eqn: Eqn) -> Callable[[_Analysis, Eqn, list[Value], Environment], Sequence[Value]]:
    record = PRIMITIVES[eqn.op]
    types = [arg.type for arg in eqn.args]
    overload = record.overload(types)
    if isinstance(overload.result, FloatType):
        passing = [
            k for k, type_ in enumerate(types) if isinstance(type_, FloatType) and record.partials[k] is not zero
        ]

        def spread(analysis: _Analysis, eqn: Eqn, values: list[Value], env: Environment) -> Sequence[Value]:
            mask = 0
            for k in passing:
                mask |= values[k]
            return (mask,)

        return spread
    if any(isinstance(type_, FloatType) for type_ in types):
        return lambda analysis, eqn, values, env: (None,)
    fails = record.failure.fails if record.failure is not None else None

    def evaluate(analysis: _Analysis, eqn: Eqn, values: list[Value], env: Environment) -> Sequence[Value]:
        if None in values or (fails is not None and fails(*values)):
            return (None,)
        return (analysis.represent.scalar(overload.evaluate(*values), overload.result),)

    return evaluate


def _select(analysis: _Analysis, eqn: Eqn, values: list[Value], env: Environment) -> Sequence[Value]:
    condition, a, b = values
    if condition is None:
        return (join(a, b, eqn.outs[0].type),)
    return (a if condition else b,)


def _logical(decided: bool) -> Callable[[_Analysis, Eqn, list[Value], Environment], Sequence[Value]]:
    def rule(analysis: _Analysis, eqn: Eqn, values: list[Value], env: Environment) -> Sequence[Value]:
        if decided in values:
            return (decided,)
        return (None if None in values else not decided,)

    return rule


def _if(analysis: _Analysis, eqn: Eqn, values: list[Value], env: Environment) -> Sequence[Value]:
    if values[0] is not None:
        return analysis.block(eqn.blocks[0 if values[0] else 1], (), env)
    analysis.unsure += 1
    then, other = (analysis.block(block, (), env) for block in eqn.blocks)
    analysis.unsure -= 1
    analysis.where = eqn.span
    return analysis.joined(then, other, [out.type for out in eqn.outs])


def _for(analysis: _Analysis, eqn: Eqn, values: list[Value], env: Environment) -> Sequence[Value]:
    (body,) = eqn.blocks
    count, carried = values[0], tuple(values[1:])
    n = len(carried)
    elems = [result.type for result in body.results[n:]]
    if count is None:
        analysis.where = eqn.span
        if elems:
            raise NotFollowedError("the number of the iterations that are kept is unknown")
        analysis.unsure += 1
        types = [out.type for out in eqn.outs]
        carried = analysis.fixpoint(carried, types, lambda state: analysis.block(body, (None, *state), env))
        analysis.unsure -= 1
        return carried
    count = max(count, 0)
    rows: list[Sequence[Value]] = [()] * count
    for i in reversed(range(count)) if eqn.params["reverse"] else range(count):
        results = analysis.block(body, (i, *carried), env)
        carried, rows[i] = results[:n], results[n:]
    return (*carried, *_stack(analysis, eqn, rows, [count], elems))


def _while(analysis: _Analysis, eqn: Eqn, values: list[Value], env: Environment) -> Sequence[Value]:
    cond, body = eqn.blocks
    n = len(values)
    types = [out.type for out in eqn.outs[:n]]
    elems = [result.type for result in body.results[n:]]
    state = tuple(values)
    left: tuple[Value, ...] | None = None
    rows: list[Sequence[Value]] = []
    unsure, latest = analysis.unsure, analysis.steps + MAX_UNSURE_STEPS
    while True:
        (goes_on,) = analysis.block(cond, state, env)
        if goes_on is False:
            break
        if goes_on is None:
            analysis.where = eqn.span
            if elems:
                raise NotFollowedError("the number of the iterations that are kept is unknown")
            analysis.unsure = unsure + 1
            left = state if left is None else analysis.joined(left, state, types)
        results = analysis.block(body, state, env)
        rows.append(results[n:])
        counts = not _same_numbers(state, results, types)
        state = results[:n]
        # Where nothing counts up to an end that is known, one iteration is as good as another.
        if goes_on is None and (not counts or analysis.steps > latest):
            state = analysis.fixpoint(state, types, lambda at: analysis.block(body, at, env))
            break
    analysis.unsure = unsure
    final = state if left is None else analysis.joined(left, state, types)
    return (*final, *_stack(analysis, eqn, rows, [len(rows)], elems))


def _same_numbers(a: Sequence[Value], b: Sequence[Value], types: Sequence[Type]) -> bool:
    """Whether the Integers and Bools of two states are the same."""
    return all(x == y for x, y, type_ in zip(a, b, types, strict=False) if isinstance(type_, IntegerType | BoolType))


def _build(analysis: _Analysis, eqn: Eqn, values: list[Value], env: Environment) -> Sequence[Value]:
    (body,) = eqn.blocks
    sizes = _known(analysis, eqn, values)
    rows = [analysis.block(body, at, env) for at in np.ndindex(*sizes)]
    return _stack(analysis, eqn, rows, sizes, [result.type for result in body.results])


def _reduce(analysis: _Analysis, eqn: Eqn, values: list[Value], env: Environment) -> Sequence[Value]:
    (body,) = eqn.blocks
    types = [result.type for result in body.results]
    total: Sequence[Value] | None = None
    for at in np.ndindex(*_known(analysis, eqn, values)):
        term = analysis.block(body, at, env)
        if total is None:
            total = term
        else:
            total = [combined(eqn.params["monoid"], *part) for part in zip(total, term, types, strict=True)]
    if total is None:
        return [bottom(type_, analysis.represent, eqn.params["monoid"]) for type_ in types]
    return total


def _withacc(analysis: _Analysis, eqn: Eqn, values: list[Value], env: Environment) -> Sequence[Value]:
    (body,) = eqn.blocks
    cells = [Cell(value.copy() if isinstance(value, np.ndarray) else value, analysis.unsure) for value in values]
    results = analysis.block(body, cells, env)
    return (*(cell.value for cell in cells), *results)


def _acc_add(analysis: _Analysis, eqn: Eqn, values: list[Value], env: Environment) -> Sequence[Value]:
    cell, *at, value = values
    surely = analysis.unsure == cell.unsure

    def add(old: Value, new: Value, type_: Type) -> Value:
        total = combined("add", old, new, type_)
        return total if surely else join(old, total, type_)

    type_ = eqn.args[-1].type
    cell.value = updated(cell.value, at, value, type_, add) if at else add(cell.value, value, type_)
    return ()


def _index(analysis: _Analysis, eqn: Eqn, values: list[Value], env: Environment) -> Sequence[Value]:
    array, *at = values
    if None in at:
        analysis.spend(array.size // 16)
    return (indexed(array, at, eqn.outs[0].type),)


def _update(analysis: _Analysis, eqn: Eqn, values: list[Value], env: Environment) -> Sequence[Value]:
    array, *at, value = values
    analysis.spend(array.size // 64)
    replace: Join = join if None in at else lambda old, new, type_: new
    return (updated(array.copy(), at, value, eqn.args[-1].type, replace),)


def _size(analysis: _Analysis, eqn: Eqn, values: list[Value], env: Environment) -> Sequence[Value]:
    return (int(values[0].shape[eqn.params["dim"]]),)


def _call(analysis: _Analysis, eqn: Eqn, values: list[Value], env: Environment) -> Sequence[Value]:
    results = analysis.call(analysis.program.functions[eqn.params["callee"]], values)
    if "rev" not in eqn.params and "fwd" not in eqn.params:
        return results
    # A rule by hand may tell of a derivative that the function itself does not show.
    mask = everything_in([arg.type for arg in eqn.args], values)
    return [_over(result, out.type, mask) for result, out in zip(results, eqn.outs, strict=True)]


def _over(value: Value, type_: Type, mask: int) -> Value:
    match type_:
        case FloatType():
            return mask
        case TensorType(elem=FloatType()):
            return np.full(value.shape, mask, dtype=object)
        case TupleType(elems=elems):
            return tuple(_over(part, elem, mask) for part, elem in zip(value, elems, strict=True))
        case _:
            return value


def _callback(analysis: _Analysis, eqn: Eqn, values: list[Value], env: Environment) -> Sequence[Value]:
    count = eqn.params["operands"]
    mask = everything_in([arg.type for arg in eqn.args[:count]], values[:count])
    sizes = iter(_known(analysis, eqn, values[count:]))
    results = []
    for out in eqn.outs:
        shape = tuple(next(sizes) for _ in range(out.type.rank)) if isinstance(out.type, TensorType) else None
        elem = out.type.elem if isinstance(out.type, TensorType) else out.type
        value = mask if isinstance(elem, FloatType) else None
        results.append(value if shape is None else np.full(shape, value, dtype=object))
    return results


def _unbox(analysis: _Analysis, eqn: Eqn, values: list[Value], env: Environment) -> Sequence[Value]:
    if values[0] is None:
        raise NotFollowedError("what the reverse of a recursion keeps is unknown")
    return tuple(values[0])


def _known(analysis: _Analysis, eqn: Eqn, sizes: Sequence[Value]) -> list[int]:
    if None in sizes:
        analysis.where = eqn.span
        raise NotFollowedError("a size depends on floats")
    return [max(size, 0) for size in sizes]


def _stack(
    analysis: _Analysis, eqn: Eqn, rows: Sequence[Sequence[Value]], sizes: Sequence[int], elems: Sequence[Type]
) -> list[Value]:
    analysis.where = eqn.span
    nested = bool(eqn.params.get("nested", False))
    return [stacked([row[k] for row in rows], sizes, elem, nested) for k, elem in enumerate(elems)]


_RULES: Mapping[str, Callable[[_Analysis, Eqn, list[Value], Environment], Sequence[Value]]] = {
    "if": _if,
    "for": _for,
    "while": _while,
    "build": _build,
    "reduce": _reduce,
    "withacc": _withacc,
    "acc_add": _acc_add,
    "index": _index,
    "update": _update,
    "size": _size,
    "call": _call,
    "callback": _callback,
    "select": _select,
    "and": _logical(False),
    "or": _logical(True),
    "tuple": lambda analysis, eqn, values, env: (tuple(values),),
    "get": lambda analysis, eqn, values, env: (values[0][eqn.params["n"]],),
    "box": lambda analysis, eqn, values, env: (tuple(values),),
    "unbox": _unbox,
    "assert": lambda analysis, eqn, values, env: (),
    "print": lambda analysis, eqn, values, env: (),
}
