"""The type rule of every op, in one table.

``result_types(eqn, program)`` gives the types of the results of an equation from its arguments, static params and
blocks, and raises InvalidIRError with the rule that is broken. The verifier, the reader and builders all ask here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ksc.errors import InvalidIRError, TypeMismatchError
from ksc.ir import host
from ksc.ir.builder import stack_type
from ksc.ir.nodes import MONOIDS, Block, Eqn, Function, Program
from ksc.ir.types import (
    AccType,
    Bool,
    BoolType,
    BoxType,
    Float,
    FloatType,
    Integer,
    IntegerType,
    String,
    TensorType,
    TupleType,
    Type,
    compatible,
    is_differentiable,
    join,
)
from ksc.ops import PRIMITIVES

Types = tuple[Type, ...]
Rule = Callable[[Eqn, Types, Program | None], Types]


def result_types(eqn: Eqn, program: Program | None = None) -> Types:
    """The types of the results of ``eqn``; its ``outs`` are not looked at.

    ``program`` is needed for ``call``, ``box`` and ``unbox``. Raises InvalidIRError.
    """
    types = tuple(arg.type for arg in eqn.args)
    rule = RULES.get(eqn.op)
    if rule is not None:
        return rule(eqn, types, program)
    record = PRIMITIVES.get(eqn.op)
    if record is None:
        raise InvalidIRError(f"there is no op {eqn.op!r}", span=eqn.span)
    _blocks(eqn, 0)
    try:
        return record.result_types(types)
    except TypeMismatchError as mismatch:
        raise InvalidIRError(mismatch.message, span=eqn.span) from None


def agree(have: Sequence[Type], want: Sequence[Type]) -> bool:
    """Whether two lists of types are equally long and compatible one by one."""
    return len(have) == len(want) and all(compatible(a, b) for a, b in zip(have, want, strict=True))


def show(types: Sequence[Type]) -> str:
    """A list of types for a message."""
    return f"({', '.join(map(str, types))})"


def _require(holds: bool, rule: str) -> None:
    if not holds:
        raise InvalidIRError(rule)


def _blocks(eqn: Eqn, count: int) -> tuple[Block, ...]:
    _require(len(eqn.blocks) == count, f"{eqn.op} has {count} blocks, not {len(eqn.blocks)}")
    return eqn.blocks


def _param(eqn: Eqn, key: str, kind: type) -> object:
    _require(key in eqn.params, f"{eqn.op} needs the param {key}")
    value = eqn.params[key]
    fits = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    _require(fits, f"the param {key} of {eqn.op} must be of type {kind.__name__}, not {value!r}")
    return value


def _arity(eqn: Eqn, count: int) -> None:
    _require(len(eqn.args) == count, f"{eqn.op} takes {count} arguments, not {len(eqn.args)}")


def _integers(eqn: Eqn, types: Sequence[Type], what: str) -> None:
    _require(all(type_ == Integer for type_ in types), f"{what} of {eqn.op} must be Integer, not {show(types)}")


def _params(eqn: Eqn, block: Block, want: Sequence[Type], what: str) -> None:
    have = [param.type for param in block.params]
    _require(agree(have, want), f"the parameters of the {what} of {eqn.op} must be {show(want)}, not {show(have)}")


def _types(block: Block) -> Types:
    return tuple(result.type for result in block.results)


def _if(eqn: Eqn, types: Types, program: Program | None) -> Types:
    _arity(eqn, 1)
    _require(types[0] == Bool, f"the condition of if must be Bool, not {types[0]}")
    then, else_ = _blocks(eqn, 2)
    _params(eqn, then, (), "then block")
    _params(eqn, else_, (), "else block")
    _require(
        agree(_types(then), _types(else_)),
        f"both sides of if must give the same types, not {show(_types(then))} and {show(_types(else_))}",
    )
    return tuple(join(a, b) for a, b in zip(_types(then), _types(else_), strict=True))


def _carried(eqn: Eqn, inits: Types, body: Block) -> Types:
    """The types that a loop gives: its carries, then its stacked results."""
    carries = _param(eqn, "carries", int)
    _require(carries == len(inits), f"{eqn.op} says {carries} carries but has {len(inits)} initial values")
    results = _types(body)
    _require(
        agree(results[: len(inits)], inits),
        f"the body of {eqn.op} must give the carries {show(inits)} first, not {show(results)}",
    )
    carried = tuple(join(a, b) for a, b in zip(inits, results, strict=False))
    return carried + _stacked(eqn, 1, results[len(inits) :])


def _checkpoint(eqn: Eqn, least: int) -> None:
    """Check the param ``checkpoint``, at ``least`` so large, of a loop that has one."""
    if "checkpoint" not in eqn.params:
        return
    length = _param(eqn, "checkpoint", int)
    _require(isinstance(length, int) and length >= least, f"the checkpoints of {eqn.op} cannot be {length} apart")
    stacks = len(eqn.blocks[-1].results) > _param(eqn, "carries", int)  # type: ignore[operator]
    _require(length == 1 or not stacks, f"a {eqn.op} with checkpoints cannot stack results")


def _stacked(eqn: Eqn, rank: int, elems: Types) -> Types:
    _require(
        not any(holds_acc(elem) for elem in elems), f"an accumulator cannot be an element of the result of {eqn.op}"
    )
    if "nested" in eqn.params and _param(eqn, "nested", bool):
        return tuple(TensorType(rank, elem) for elem in elems)
    return tuple(stack_type(rank, elem) for elem in elems)


def holds_acc(type_: Type) -> bool:
    """Whether a value of this type is, or contains, an accumulator."""
    match type_:
        case AccType():
            return True
        case TensorType(elem=elem):
            return holds_acc(elem)
        case TupleType(elems=elems):
            return any(map(holds_acc, elems))
        case _:
            return False


def _for(eqn: Eqn, types: Types, program: Program | None) -> Types:
    (body,) = _blocks(eqn, 1)
    _require(len(types) >= 1, "for needs a count")
    _integers(eqn, types[:1], "the count")
    _param(eqn, "reverse", bool)
    _params(eqn, body, (Integer, *types[1:]), "body")
    _checkpoint(eqn, 0)
    return _carried(eqn, types[1:], body)


def _while(eqn: Eqn, types: Types, program: Program | None) -> Types:
    cond, body = _blocks(eqn, 2)
    _params(eqn, cond, types, "condition")
    _params(eqn, body, types, "body")
    _require(_types(cond) == (Bool,), f"the condition of while must give one Bool, not {show(_types(cond))}")
    _checkpoint(eqn, 1)
    return _carried(eqn, types, body)


def _index_block(eqn: Eqn, types: Types) -> Types:
    """Check sizes and body of ``build`` and ``reduce``; the types that the body gives."""
    (body,) = _blocks(eqn, 1)
    _require(len(types) >= 1, f"{eqn.op} needs a size")
    _integers(eqn, types, "the sizes")
    _params(eqn, body, types, "body")
    return _types(body)


def _build(eqn: Eqn, types: Types, program: Program | None) -> Types:
    return _stacked(eqn, len(types), _index_block(eqn, types))


def _reduce(eqn: Eqn, types: Types, program: Program | None) -> Types:
    elems = _index_block(eqn, types)
    monoid = _param(eqn, "monoid", str)
    _require(monoid in MONOIDS, f"the monoid of reduce is one of {', '.join(MONOIDS)}, not {monoid}")
    scalars = (BoolType,) if monoid in ("and", "or") else (FloatType, IntegerType)
    for elem in elems:
        _require(_made_of(elem, scalars), f"reduce cannot combine values of type {elem} by {monoid}")
    return elems


def _made_of(type_: Type, scalars: tuple[type[Type], ...]) -> bool:
    match type_:
        case TensorType(elem=elem):
            return _made_of(elem, scalars)
        case TupleType(elems=elems):
            return all(_made_of(elem, scalars) for elem in elems)
        case _:
            return isinstance(type_, scalars)


def _withacc(eqn: Eqn, types: Types, program: Program | None) -> Types:
    (body,) = _blocks(eqn, 1)
    for type_ in types:
        _require(
            _made_of(type_, (FloatType, IntegerType)), f"withacc accumulates Float and Integer, not values of {type_}"
        )
    _params(eqn, body, tuple(AccType(type_) for type_ in types), "body")
    results = _types(body)
    _require(not any(map(holds_acc, results)), "an accumulator cannot leave the body of its withacc")
    return types + results


def _element(eqn: Eqn, tensor: Type, at: Types) -> Type:
    """The type of the part of a tensor that stands at some leading indices."""
    _integers(eqn, at, "the indices")
    if not at:
        return tensor
    if not isinstance(tensor, TensorType):
        raise InvalidIRError(f"{eqn.op} with indices needs a tensor, not {tensor}")
    _require(len(at) <= tensor.rank, f"{eqn.op} with {len(at)} indices of a tensor of rank {tensor.rank}")
    if len(at) == tensor.rank:
        return tensor.elem
    return TensorType(tensor.rank - len(at), tensor.elem, tensor.sizes[len(at) :])


def _index(eqn: Eqn, types: Types, program: Program | None) -> Types:
    _blocks(eqn, 0)
    _require(len(types) >= 2, "index takes a tensor and at least one index")
    return (_element(eqn, types[0], types[1:]),)


def _update(eqn: Eqn, types: Types, program: Program | None) -> Types:
    _blocks(eqn, 0)
    _require(len(types) >= 3, "update takes a tensor, at least one index and a value")
    want = _element(eqn, types[0], types[1:-1])
    _require(compatible(types[-1], want), f"update needs a value of type {want}, not {types[-1]}")
    return (types[0],)


def _size(eqn: Eqn, types: Types, program: Program | None) -> Types:
    _blocks(eqn, 0)
    _arity(eqn, 1)
    dim = _param(eqn, "dim", int)
    (tensor,) = types
    if not isinstance(tensor, TensorType):
        raise InvalidIRError(f"size needs a tensor, not {tensor}")
    _require(isinstance(dim, int) and 0 <= dim < tensor.rank, f"a tensor of rank {tensor.rank} has no dimension {dim}")
    return (Integer,)


def _acc_add(eqn: Eqn, types: Types, program: Program | None) -> Types:
    _blocks(eqn, 0)
    _require(len(types) >= 2, "acc_add takes an accumulator, indices and a value")
    acc = types[0]
    if not isinstance(acc, AccType):
        raise InvalidIRError(f"acc_add needs an accumulator, not {acc}")
    want = _element(eqn, acc.value, types[1:-1])
    _require(compatible(types[-1], want), f"acc_add needs a value of type {want}, not {types[-1]}")
    return ()


def _call(eqn: Eqn, types: Types, program: Program | None) -> Types:
    _blocks(eqn, 0)
    name = _param(eqn, "callee", str)
    callee = program.functions.get(str(name)) if program is not None else None
    if callee is None:
        raise InvalidIRError(f"there is no function {name}")
    want = [param.type for param in callee.params]
    _require(agree(types, want), f"{name} takes {show(want)}, not {show(types)}")
    for role in ("rev", "fwd"):
        if role in eqn.params and program is not None:
            _derivative(role, _param(eqn, role, str), callee, program)
    return callee.result_types


def _derivative(role: str, name: object, callee: Function, program: Program) -> None:
    """Check the derivative by hand of a function: it takes and gives what docs/design/0001 says of its kind."""
    derivative = program.functions.get(str(name))
    if derivative is None:
        raise InvalidIRError(f"there is no function {name}")
    params = [param.type for param in callee.params]
    inner = [type_ for type_ in params if is_differentiable(type_)]
    outer = [type_ for type_ in callee.result_types if is_differentiable(type_)]
    given, made = (outer, inner) if role == "rev" else (inner, outer)
    have = [param.type for param in derivative.params]
    _require(
        agree(have, [*params, *given]) and agree(derivative.result_types, made),
        f"{name} is no {role} of {callee.name}: it must take {show([*params, *given])} and give {show(made)}",
    )


def _callback(eqn: Eqn, types: Types, program: Program | None) -> Types:
    _blocks(eqn, 0)
    _param(eqn, "name", str)
    operands = _param(eqn, "operands", int)
    assert isinstance(operands, int)
    _integers(eqn, types[operands:], "the sizes")
    try:
        return host.result_types(str(_param(eqn, "results", str)), eqn.args[operands:])
    except ValueError as broken:
        raise InvalidIRError(f"callback: {broken}") from None


def _tuple(eqn: Eqn, types: Types, program: Program | None) -> Types:
    _blocks(eqn, 0)
    _require(not any(map(holds_acc, types)), "an accumulator cannot be an element of a tuple")
    return (TupleType(types),)


def _get(eqn: Eqn, types: Types, program: Program | None) -> Types:
    _blocks(eqn, 0)
    _arity(eqn, 1)
    n = _param(eqn, "n", int)
    (type_,) = types
    if not isinstance(type_, TupleType):
        raise InvalidIRError(f"get needs a tuple, not {type_}")
    if not isinstance(n, int) or not 0 <= n < len(type_.elems):
        raise InvalidIRError(f"{type_} has no element {n}")
    return (type_.elems[n],)


def _fields(name: object, program: Program | None) -> Types:
    fields = program.boxes.get(str(name)) if program is not None else None
    if fields is None:
        raise InvalidIRError(f"there is no box {name}")
    return tuple(fields)


def _box(eqn: Eqn, types: Types, program: Program | None) -> Types:
    _blocks(eqn, 0)
    name = _param(eqn, "name", str)
    want = _fields(name, program)
    _require(agree(types, want), f"the box {name} holds {show(want)}, not {show(types)}")
    return (BoxType(str(name)),)


def _unbox(eqn: Eqn, types: Types, program: Program | None) -> Types:
    _blocks(eqn, 0)
    _arity(eqn, 1)
    (box,) = types
    if not isinstance(box, BoxType):
        raise InvalidIRError(f"unbox needs a box, not {box}")
    return _fields(box.name, program)


def _assert(eqn: Eqn, types: Types, program: Program | None) -> Types:
    _blocks(eqn, 0)
    _param(eqn, "message", str)
    _, dims = eqn.params.get("index", ("", ()))
    _arity(eqn, 1 + 2 * len(dims))
    _integers(eqn, types[1:], "indices and sizes")
    _require(types[0] == Bool, f"the condition of assert must be Bool, not {types[0]}")
    return ()


def _print(eqn: Eqn, types: Types, program: Program | None) -> Types:
    _blocks(eqn, 0)
    _require(not any(map(holds_acc, types)), "an accumulator cannot be printed")
    return ()


RULES: Mapping[str, Rule] = {
    "if": _if,
    "for": _for,
    "while": _while,
    "build": _build,
    "reduce": _reduce,
    "withacc": _withacc,
    "index": _index,
    "update": _update,
    "size": _size,
    "acc_add": _acc_add,
    "call": _call,
    "callback": _callback,
    "tuple": _tuple,
    "get": _get,
    "box": _box,
    "unbox": _unbox,
    "assert": _assert,
    "print": _print,
}
"""The rule of every op that is not a scalar primitive."""

CONSTANT_KINDS: Mapping[Type, type] = {Float: float, Integer: int, Bool: bool, String: str}
"""The Python type of a constant of each type that has constants."""
