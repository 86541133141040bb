"""The reference interpreter: what every op of the IR means.

It is written to be believed, not to be fast. Calls do not use Python's stack: a function body is a generator that
yields the calls it makes to a loop holding the suspended callers, so recursion is limited by ``max_depth`` alone.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ksc.errors import ArgumentError, InvalidIRError, KernelRuntimeError
from ksc.ir.host import host_function
from ksc.ir.nodes import Atom, Block, Const, Eqn, Function, Program, Span, Var
from ksc.ir.types import BoxType, TensorType, Type
from ksc.ir.values import Representation, Value, copied, element
from ksc.ops import PRIMITIVES
from ksc.ops.record import Width

Values = tuple[Value, ...]
Call = tuple[Function, Values]
Steps = Generator[Call, Values, Values]
Environment = dict[Var, Value]

MAX_DEPTH = 100_000


def interpret(
    program: Program,
    args: Sequence[Value],
    *,
    width: Width = "f64",
    max_depth: int = MAX_DEPTH,
    output: Callable[[str], object] | None = None,
) -> Values:
    """Run the entry function on Python values and return its results.

    Args:
        program: a valid program; an invalid one raises InvalidIRError or whatever comes of it.
        args: a number for each scalar parameter, anything numpy makes an array of for each tensor of scalars, and
            sequences for tuples and for tensors of other things.
        width: the width of Float. With ``"f32"`` every Float result is rounded to float32.
        max_depth: how many calls may be open at once.
        output: receives the text of ``print``; the standard output where it is None.

    Returns:
        The results as ``float``, ``int``, ``bool``, ``str``, numpy arrays and tuples.

    Raises:
        ArgumentError: the arguments do not fit the parameters.
        KernelRuntimeError: an assert failed, an index or a size was out of range, an integer was divided by zero, or
            the recursion was too deep.
    """
    machine = Machine(program, Representation(width), max_depth, output or sys.stdout.write)
    params = program.main.params
    if len(args) != len(params):
        raise ArgumentError(f"{program.entry} takes {len(params)} arguments, not {len(args)}")
    values = tuple(
        machine.represent.from_argument(arg, param.type, param.name) for arg, param in zip(args, params, strict=True)
    )
    return machine.run(program.main, values)


@dataclass(slots=True)
class Cell:
    """An accumulator."""

    value: Value


@dataclass(slots=True)
class Machine:
    """A program being run: how its values are held, and what its ops mean."""

    program: Program
    represent: Representation
    max_depth: int
    output: Callable[[str], object]
    evaluators: dict[Eqn, Callable[..., Value]] = field(default_factory=dict)

    def run(self, function: Function, args: Values) -> Values:
        """Run a function, and all that it calls, on an explicit stack."""
        callers: list[Steps] = []
        current = self.block(function.body, args, {})
        answer: Values | None = None
        while True:
            try:
                callee, args = current.send(answer) if answer is not None else next(current)
            except StopIteration as finished:
                results: Values = finished.value
                if not callers:
                    return results
                answer = results
                current = callers.pop()
            else:
                if len(callers) >= self.max_depth:
                    raise KernelRuntimeError(
                        f"recursion is deeper than {self.max_depth} calls in {callee.name}", span=callee.span
                    )
                callers.append(current)
                current = self.block(callee.body, args, {})
                answer = None

    def block(self, block: Block, args: Sequence[Value], env: Environment) -> Steps:
        """Run a block in the environment of the function that it is part of."""
        for param, value in zip(block.params, args, strict=True):
            env[param] = value
        for eqn in block.eqns:
            values = tuple([env[arg] if type(arg) is Var else self.atom(arg, env) for arg in eqn.args])
            evaluate = self.evaluators.get(eqn)
            if evaluate is not None:
                # A scalar that was computed before, as most are.
                env[eqn.outs[0]] = evaluate(*values)
                continue
            if eqn.op in STRUCTURED_OPS:
                results = yield from STRUCTURED_OPS[eqn.op](self, eqn, values, env)
            elif eqn.op == "call":
                results = yield self.program.functions[eqn.params["callee"]], values
            elif eqn.op in PLAIN_OPS:
                results = PLAIN_OPS[eqn.op](self, eqn, values)
            else:
                results = (self.scalar(eqn, values),)
            for out, result in zip(eqn.outs, results, strict=True):
                env[out] = result
        return tuple([env[result] if type(result) is Var else self.atom(result, env) for result in block.results])

    def atom(self, atom: Atom, env: Environment) -> Value:
        if isinstance(atom, Const):
            return None if isinstance(atom.type, BoxType) else self.represent.scalar(atom.value, atom.type)
        return env[atom]

    def scalar(self, eqn: Eqn, values: Values) -> Value:
        """Evaluate a scalar primitive."""
        evaluate = self.evaluators.get(eqn)
        if evaluate is None:
            evaluate = self.evaluators[eqn] = self.evaluator(eqn)
        return evaluate(*values)

    def evaluator(self, eqn: Eqn) -> Callable[..., Value]:
        """The function of Python numbers that a scalar equation applies."""
        record = PRIMITIVES.get(eqn.op)
        if record is None:
            raise InvalidIRError(f"there is no op {eqn.op}", span=eqn.span)
        overload = record.overload([arg.type for arg in eqn.args])
        options: Mapping[str, Any] = {"width": self.represent.width} if overload.by_width else {}
        fails = record.failure.fails if record.failure is not None else None
        message = record.failure.message if record.failure is not None else ""
        apply, result, held = overload.evaluate, overload.result, self.represent.scalar
        if fails is None and not options:
            return lambda *values: held(apply(*values), result)

        def evaluate(*values: Value) -> Value:
            if fails is not None and fails(*values):
                raise KernelRuntimeError(message, span=eqn.span)
            return held(apply(*values, **options), result)

        return evaluate

    def stack(
        self, eqn: Eqn, rows: Sequence[Values], sizes: Sequence[int], results: Sequence[Atom], env: Environment
    ) -> Values:
        """One tensor for each of ``results`` of a body, from those of all its iterations."""
        nested = bool(eqn.params.get("nested", False))
        types = [result.type if rows or nested else self.known_type(result, eqn, env) for result in results]
        try:
            return tuple(
                self.represent.stack([row[k] for row in rows], sizes, type_, nested=nested)
                for k, type_ in enumerate(types)
            )
        except ValueError as mismatch:
            raise KernelRuntimeError(
                f"the elements of the tensor made by {eqn.op} differ in size: {mismatch}", span=eqn.span
            ) from None

    def known_type(self, result: Atom, eqn: Eqn, env: Environment, unknown: frozenset[Var] = frozenset()) -> Type:
        """The type of a result of a loop that was never run, with the sizes that are known all the same.

        Those are the sizes of what was there before, of parts of it, and of a ``build`` whose sizes were; ``unknown``
        are the variables of loops around ``eqn`` that were never run either.
        """
        type_, body = result.type, eqn.blocks[-1]
        if not isinstance(type_, TensorType) or not isinstance(result, Var):
            return type_
        inner = unknown.union(body.params, (out for one in body.eqns for out in one.outs))
        if result not in inner:
            return replace(type_, sizes=tuple(env[result].shape))
        maker = next((one for one in body.eqns if result in one.outs), None)
        if maker is None:
            return type_
        if maker.op == "update":
            return self.known_type(maker.args[0], eqn, env, unknown)
        if maker.op == "index":
            source = self.known_type(maker.args[0], eqn, env, unknown)
            assert isinstance(source, TensorType)
            return replace(type_, sizes=source.sizes[len(maker.args) - 1 :])
        if maker.op != "build" or any(size in inner for size in maker.args):
            return type_
        sizes = tuple(self.atom(size, env) for size in maker.args)
        if len(sizes) == type_.rank:
            return replace(type_, sizes=sizes)
        element = self.known_type(maker.blocks[0].results[maker.outs.index(result)], maker, env, inner)
        assert isinstance(element, TensorType)
        return replace(type_, sizes=(*sizes, *element.sizes))


def _if(machine: Machine, eqn: Eqn, values: Values, env: Environment) -> Steps:
    return (yield from machine.block(eqn.blocks[0 if values[0] else 1], (), env))


def _for(machine: Machine, eqn: Eqn, values: Values, env: Environment) -> Steps:
    (body,) = eqn.blocks
    count, carried = max(values[0], 0), values[1:]
    rows: list[Values] = [()] * count
    for i in reversed(range(count)) if eqn.params["reverse"] else range(count):
        results = yield from machine.block(body, (i, *carried), env)
        carried, rows[i] = results[: len(carried)], results[len(carried) :]
    return carried + machine.stack(eqn, rows, [count], body.results[len(carried) :], env)


def _while(machine: Machine, eqn: Eqn, values: Values, env: Environment) -> Steps:
    cond, body = eqn.blocks
    carried = values
    rows: list[Values] = []
    while (yield from machine.block(cond, carried, env))[0]:
        results = yield from machine.block(body, carried, env)
        carried = results[: len(carried)]
        rows.append(results[len(carried) :])
    return carried + machine.stack(eqn, rows, [len(rows)], body.results[len(carried) :], env)


def _build(machine: Machine, eqn: Eqn, values: Values, env: Environment) -> Steps:
    (body,) = eqn.blocks
    sizes = _sizes(values, eqn.span)
    rows = []
    for at in np.ndindex(*sizes):
        rows.append((yield from machine.block(body, at, env)))
    return machine.stack(eqn, rows, sizes, body.results, env)


def _reduce(machine: Machine, eqn: Eqn, values: Values, env: Environment) -> Steps:
    (body,) = eqn.blocks
    monoid = eqn.params["monoid"]
    types = [result.type for result in body.results]
    total: Values | None = None
    for at in np.ndindex(*_sizes(values, eqn.span)):
        term = yield from machine.block(body, at, env)
        if total is None:
            total = term
        else:
            total = tuple(_combined(machine, eqn, monoid, *part) for part in zip(total, term, types, strict=True))
    if total is None:
        known = [machine.known_type(result, eqn, env) for result in body.results]
        return tuple(machine.represent.identity(monoid, type_) for type_ in known)
    return total


def _withacc(machine: Machine, eqn: Eqn, values: Values, env: Environment) -> Steps:
    (body,) = eqn.blocks
    cells = tuple(Cell(copied(value)) for value in values)
    results = yield from machine.block(body, cells, env)
    return tuple(cell.value for cell in cells) + results


def _index(machine: Machine, eqn: Eqn, values: Values) -> Values:
    array, *at = values
    return (element(array, _in_range(array, at, eqn.span)),)


def _update(machine: Machine, eqn: Eqn, values: Values) -> Values:
    array, *at, value = values
    where = _in_range(array, at, eqn.span)
    fresh = array.copy()
    if len(at) < array.ndim and array[where].shape != value.shape:
        raise KernelRuntimeError(
            f"update of a part of sizes {list(array[where].shape)} by one of sizes {list(value.shape)}", span=eqn.span
        )
    fresh[where] = value
    return (fresh,)


def _size(machine: Machine, eqn: Eqn, values: Values) -> Values:
    return (int(values[0].shape[eqn.params["dim"]]),)


def _acc_add(machine: Machine, eqn: Eqn, values: Values) -> Values:
    cell, *at, value = values
    if not at:
        cell.value = _combined(machine, eqn, "add", cell.value, value, eqn.args[-1].type)
        return ()
    where = _in_range(cell.value, at, eqn.span)
    cell.value[where] = _combined(machine, eqn, "add", element(cell.value, where), value, eqn.args[-1].type)
    return ()


def _callback(machine: Machine, eqn: Eqn, values: Values) -> Values:
    # Host functions take tensors of torch, which programs without callbacks can do without.
    import torch

    count = eqn.params["operands"]
    sizes = iter(values[count:])
    given = [torch.from_numpy(_as_array(machine, v, a.type)) for v, a in zip(values, eqn.args[:count], strict=False)]
    places = []
    for out in eqn.outs:
        shape = [next(sizes) for _ in range(out.type.rank)] if isinstance(out.type, TensorType) else []
        elem = out.type.elem if isinstance(out.type, TensorType) else out.type
        places.append(np.zeros(shape, machine.represent.dtype(elem)))
    host_function(eqn.params["name"])(given, [torch.from_numpy(place) for place in places])
    return tuple(place if place.ndim else place.item() for place in places)


def _as_array(machine: Machine, value: Value, type_: Type) -> np.ndarray[Any, Any]:
    elem = type_.elem if isinstance(type_, TensorType) else type_
    return np.array(value, machine.represent.dtype(elem))


def _tuple(machine: Machine, eqn: Eqn, values: Values) -> Values:
    return (values,)


def _get(machine: Machine, eqn: Eqn, values: Values) -> Values:
    return (values[0][eqn.params["n"]],)


def _box(machine: Machine, eqn: Eqn, values: Values) -> Values:
    return (values,)


def _unbox(machine: Machine, eqn: Eqn, values: Values) -> Values:
    (box,) = values
    if box is None:
        raise KernelRuntimeError("a null box was opened", span=eqn.span)
    return tuple(box)


def _assert(machine: Machine, eqn: Eqn, values: Values) -> Values:
    if not values[0]:
        _, dims = eqn.params.get("index", ("", ()))
        for dim, i, size in zip(dims, values[1::2], values[2::2], strict=True):
            _in_dimension(i, dim, size, eqn.span)
        raise KernelRuntimeError(eqn.params["message"] or "assertion failed", span=eqn.span)
    return ()


def _print(machine: Machine, eqn: Eqn, values: Values) -> Values:
    machine.output("".join(format_value(value) for value in values))
    return ()


def format_value(value: Value) -> str:
    """A value as ``print`` writes it: numbers shortest, truth values as in KS text, tensors in brackets."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case tuple():
            return f"({', '.join(map(format_value, value))})"
        case np.ndarray():
            return f"[{', '.join(format_value(element(value, (k,))) for k in range(len(value)))}]"
        case None:
            return "null"
        case _:
            return str(value)


def _sizes(values: Values, span: Span | None) -> Values:
    for size in values:
        if size < 0:
            raise KernelRuntimeError(f"a tensor cannot have size {size}", span=span)
    return values


def _in_range(array: np.ndarray[Any, Any], at: Sequence[int], span: Span | None) -> tuple[int, ...]:
    for k, (i, size) in enumerate(zip(at, array.shape, strict=False)):
        _in_dimension(i, k, size, span)
    return tuple(at)


def _in_dimension(i: int, dim: int, size: int, span: Span | None) -> None:
    if not 0 <= i < size:
        raise KernelRuntimeError(f"index {i} is out of range for dimension {dim} of size {size}", span=span)


SCALAR_MONOIDS: Mapping[str, Callable[[Value, Value], Value]] = {
    "add": operator.add,
    "mul": operator.mul,
    "min": lambda a, b: a if a != a or a <= b else b,
    "max": lambda a, b: a if a != a or a >= b else b,
    "and": operator.and_,
    "or": operator.or_,
}
"""How a monoid combines two scalars; a NaN stays."""


def _combined(machine: Machine, eqn: Eqn, monoid: str, a: Value, b: Value, type_: Type) -> Value:
    try:
        return machine.represent.combine(SCALAR_MONOIDS[monoid], a, b, type_)
    except ValueError as mismatch:
        raise KernelRuntimeError(f"{eqn.op} of tensors of different sizes: {mismatch}", span=eqn.span) from None


STRUCTURED_OPS: Mapping[str, Callable[[Machine, Eqn, Values, Environment], Steps]] = {
    "if": _if,
    "for": _for,
    "while": _while,
    "build": _build,
    "reduce": _reduce,
    "withacc": _withacc,
}

PLAIN_OPS: Mapping[str, Callable[[Machine, Eqn, Values], Values]] = {
    "index": _index,
    "update": _update,
    "size": _size,
    "acc_add": _acc_add,
    "callback": _callback,
    "tuple": _tuple,
    "get": _get,
    "box": _box,
    "unbox": _unbox,
    "assert": _assert,
    "print": _print,
}
