"""The built-in functions of the notation: those of values, by overload, and those that take a lambda."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from ksc.errors import TypeMismatchError
from ksc.ir.nodes import Atom, Var, const
from ksc.ir.text import tangents
from ksc.ir.text.elaborate import Builtin, Elaborator, Form, Result, Scope, Values
from ksc.ir.text.forms import parts
from ksc.ir.text.syntax import Group, Node, Position, misread
from ksc.ir.types import Float, Integer, TensorType, TupleType, Type
from ksc.ops import PRIMITIVES


def _primitive(name: str, e: Elaborator, args: Values, at: Position) -> Values | None:
    try:
        PRIMITIVES[name].overload([arg.type for arg in args])
    except TypeMismatchError:
        return None
    return e.emit(name, args, at)


def _types(args: Values) -> tuple[Type, ...]:
    return tuple(arg.type for arg in args)


def _divide(e: Elaborator, args: Values, at: Position) -> Values | None:
    """Division; that of Integers rounds towards 0."""
    if _types(args) != (Integer, Integer):
        return _primitive("div", e, args, at)
    a, b = args
    down, rest = e.one("idiv", args, at), e.one("imod", args, at)
    inexact = e.one("ne", [rest, const(0)], at)
    signs_differ = e.one("ne", [e.one("lt", [a, const(0)], at), e.one("lt", [b, const(0)], at)], at)
    up = e.one("bool_to_int", [e.one("and", [inexact, signs_differ], at)], at)
    return e.emit("add", [down, up], at)


def _power(e: Elaborator, args: Values, at: Position) -> Values | None:
    for op in ("pow", "powi", "ipow"):
        given = _primitive(op, e, args, at)
        if given is not None:
            return given
    return None


def _equal(e: Elaborator, args: Values, at: Position) -> Values | None:
    if len(args) != 2 or args[0].type != args[1].type:
        return _primitive("eq", e, args, at)
    return (tangents.equal(e, *args, at),)


def _unequal(e: Elaborator, args: Values, at: Position) -> Values | None:
    if len(args) == 2 and isinstance(args[0].type, TensorType | TupleType):
        return e.emit("not", [tangents.equal(e, *args, at)], at)
    return _primitive("ne", e, args, at)


def _largest(op: str, e: Elaborator, args: Values, at: Position) -> Values | None:
    """The largest or smallest of two numbers or of a tensor."""
    match args:
        case (Var(type=TensorType(elem=elem)) as tensor,) if elem in (Float, Integer):
            return e.reduce(op, e.sizes(tensor, at), lambda i: (e.one("index", [tensor, *i], at),), at)
        case _:
            return _primitive(op, e, args, at)


def _imax(e: Elaborator, args: Values, at: Position) -> Values | None:
    """The index of the first largest element of a vector; of two Integers the larger one."""
    if _types(args) == (Integer, Integer):
        return e.emit("max", args, at)
    match args:
        case (Var(type=TensorType(rank=1, elem=elem)) as vector,) if elem in (Float, Integer):
            i, best = Var("i", Integer), Var("best", Integer)

            def better() -> Values:
                here, there = (e.one("index", [vector, k], at) for k in (i, best))
                return (e.one("select", [e.one("gt", [here, there], at), i, best], at),)

            body = e.block((i, best), better)
            count = e.sizes(vector, at)
            return e.emit("for", [*count, const(0)], at, blocks=[body], carries=1, reverse=False)
        case _:
            return None


def _sum(e: Elaborator, args: Values, at: Position) -> Values | None:
    match args:
        case (Var(type=TensorType()) as tensor,):
            return e.reduce("add", e.sizes(tensor, at), lambda i: (e.one("index", [tensor, *i], at),), at)
        case _:
            return None


def _unzip(e: Elaborator, args: Values, at: Position) -> Values | None:
    """A tensor of tuples as a tuple of tensors."""
    match args:
        case (Var(type=TensorType(elem=TupleType())) as tensor,):

            def element(indices: Values) -> Values:
                return e.elements(e.one("index", [tensor, *indices], at), at)

            return (e.tupled(e.build(e.sizes(tensor, at), element, at), at),)
        case _:
            return None


def _vec_init(e: Elaborator, args: Values, at: Position) -> Values | None:
    """The vector of the arguments."""
    if not args or any(arg.type != args[0].type for arg in args):
        return None
    (vector,) = e.build([const(len(args))], lambda _: (args[0],), at)
    for k, arg in enumerate(args[1:], start=1):
        vector = e.one("update", [vector, const(k), arg], at)
    return (vector,)


def _ts_add(e: Elaborator, args: Values, at: Position) -> Values | None:
    return (tangents.add(e, *args, at),) if len(args) == 2 else None


def _ts_scale(e: Elaborator, args: Values, at: Position) -> Values | None:
    return (tangents.scale(e, *args, at),) if len(args) == 2 and args[0].type == Float else None


def _ts_neg(e: Elaborator, args: Values, at: Position) -> Values | None:
    return (tangents.negative(e, args[0], at),) if len(args) == 1 else None


def _ts_dot(e: Elaborator, args: Values, at: Position) -> Values | None:
    return (tangents.dot(e, *args, at),) if len(args) == 2 else None


def _delta(e: Elaborator, args: Values, at: Position) -> Values | None:
    if len(args) != 3 or args[0].type != args[1].type:
        return None
    i, j, value = args
    same = tangents.equal(e, i, j, at)
    return e.if_(same, lambda: (value,), lambda: (tangents.zero(e, value, at),), at)


def _pseudo_random(e: Elaborator, args: Values, at: Position) -> Values | None:
    """A Float in [0, 1) from an Integer: two rounds of xorshift, multiplied between (Marsaglia 2003)."""
    if _types(args) != (Integer,):
        return None

    def op(name: str, a: Atom, b: int) -> Atom:
        return e.one(name, [a, const(b)], at)

    def shift_right(a: Atom, count: int) -> Atom:
        """The bits moved right, zeros following."""
        return op("bitand", op("shr", a, count), (1 << (64 - count)) - 1)

    bits = op("add", op("mul", args[0], 3935559000370003845), 2691343689449507681)
    for right, left, last in ((21, 37, 4), (41, 20, 5)):
        bits = e.one("bitxor", [bits, shift_right(bits, right)], at)
        bits = e.one("bitxor", [bits, op("shl", bits, left)], at)
        bits = e.one("bitxor", [bits, shift_right(bits, last)], at)
        bits = op("mul", bits, 4768777513237032717)
    fraction = e.one("to_float", [shift_right(bits, 11)], at)
    return e.emit("mul", [fraction, const(2.0**-53)], at)


BUILTINS: Mapping[str, Builtin] = {
    **{name: partial(_primitive, name) for name in PRIMITIVES},
    "div": _divide,
    "pow": _power,
    "eq": _equal,
    "ne": _unequal,
    "max": partial(_largest, "max"),
    "min": partial(_largest, "min"),
    "imax": _imax,
    "sum": _sum,
    "unzip": _unzip,
    "Vec_init": _vec_init,
    "ts_add": _ts_add,
    "ts_scale": _ts_scale,
    "ts_neg": _ts_neg,
    "ts_dot": _ts_dot,
    "dot": _ts_dot,
    "delta": _delta,
    "$ranhashdoub": _pseudo_random,
}
"""The built-in functions whose arguments are all values."""


# Forms with sizes, which may be tuples, and lambdas.


def _const_vec(e: Elaborator, node: Group, scope: Scope) -> Result:
    size, value = parts(node, 2)
    sizes, atom = e.components(size, scope), e.value(value, scope)
    return e.build(sizes, lambda _: (atom,), node.at)


def _delta_vec(e: Elaborator, node: Group, scope: Scope) -> Result:
    size, index, value = parts(node, 3)
    sizes, wanted, atom = e.components(size, scope), e.components(index, scope), e.value(value, scope)
    if len(sizes) != len(wanted):
        raise misread(f"deltaVec of rank {len(sizes)} with {len(wanted)} indices", node.at)
    return e.build(sizes, lambda indices: _where(e, indices, wanted, atom, node.at), node.at)


def _where(e: Elaborator, a: Values, b: Values, value: Atom, at: Position) -> Values:
    """The value where all of ``a`` equal all of ``b``, else a zero like it."""
    same: Atom = const(True)
    for mine, theirs in zip(a, b, strict=True):
        here = e.one("eq", [mine, theirs], at)
        same = here if same == const(True) else e.one("and", [same, here], at)
    return e.if_(same, lambda: (value,), lambda: (tangents.zero(e, value, at),), at)


def _diagonal(e: Elaborator, node: Group, scope: Scope) -> Result:
    rows, columns, body = parts(node, 3)
    n, m = e.integer(rows, scope), e.integer(columns, scope)
    function = e.function(body, scope)

    def row(i: Values) -> Values:
        (value,) = e.apply(function, i, body.at)
        return e.build([m], lambda j: _where(e, i, j, value, node.at), node.at)

    return e.build([n], row, node.at)


def _map(e: Elaborator, node: Group, scope: Scope) -> Result:
    body, operand = parts(node, 2)
    function, tensor = e.function(body, scope), _tensor(e, operand, scope)
    return e.build(
        e.sizes(tensor, node.at),
        lambda i: e.apply(function, (e.one("index", [tensor, *i], node.at),), body.at),
        node.at,
    )


def _tensor(e: Elaborator, node: Node, scope: Scope) -> Atom:
    atom = e.value(node, scope)
    if not isinstance(atom.type, TensorType):
        raise misread(f"expected a tensor, not a value of type {atom.type}", node.at)
    return atom


def _map2(e: Elaborator, node: Group, scope: Scope) -> Result:
    body, operands = parts(node, 2)
    function, pair = e.function(body, scope), e.components(operands, scope)
    if len(pair) != 2 or not all(isinstance(atom.type, TensorType) for atom in pair):
        raise misread("map2 takes a function and a tuple of two tensors", node.at)
    s, t = pair
    tangents.same_sizes(e, [s, t], node.at)

    def element(indices: Values) -> Values:
        elements = tuple(e.one("index", [tensor, *indices], node.at) for tensor in pair)
        return e.apply(function, elements, body.at)

    return e.build(e.sizes(s, node.at), element, node.at)


def _sumbuild(e: Elaborator, node: Group, scope: Scope) -> Result:
    size, body = parts(node, 2)
    sizes, function = e.components(size, scope), e.function(body, scope)
    return e.reduce("add", sizes, lambda i: e.apply(function, i, body.at), node.at)


def _fold(e: Elaborator, node: Group, scope: Scope) -> Result:
    body, init, operand = parts(node, 3)
    function, first, tensor = e.function(body, scope), e.value(init, scope), _tensor(e, operand, scope)
    count = e.sizes(tensor, node.at)
    if len(count) != 1:
        raise misread("fold takes a tensor of rank 1", operand.at)
    i, acc = Var("i", Integer), Var("acc", first.type)
    block = e.block((i, acc), lambda: e.apply(function, (acc, e.one("index", [tensor, i], node.at)), body.at))
    return e.emit("for", [*count, first], node.at, blocks=[block], carries=1, reverse=False)


def _build_from_sparse(e: Elaborator, node: Group, scope: Scope) -> Result:
    size, number, body = parts(node, 3)
    sizes, count, function = e.components(size, scope), e.integer(number, scope), e.function(body, scope)
    k = Var("k", Integer)
    pair: list[Atom] = []

    def probe() -> Values:
        pair.extend(e.apply(function, (k,), body.at))
        return ()

    e.block((k,), probe)
    kind = pair[0].type if len(pair) == 1 else None
    if not isinstance(kind, TupleType) or len(kind.elems) != 2:
        raise misread("the lambda of buildFromSparse gives a tuple of an index and a value", body.at)
    start = e.build(sizes, lambda _: (_scalar_zero(e, kind.elems[1], node.at),), node.at)[0]
    n, total = Var("k", Integer), Var("total", start.type)

    def add() -> Values:
        where, value = e.elements(e.apply(function, (n,), body.at)[0], node.at)
        index = e.elements(where, node.at) if isinstance(where.type, TupleType) else (where,)
        old = e.one("index", [total, *index], node.at)
        return e.emit("update", [total, *index, tangents.add(e, old, value, node.at)], node.at)

    block = e.block((n, total), add)
    return e.emit("for", [count, start], node.at, blocks=[block], carries=1, reverse=False)


def _scalar_zero(e: Elaborator, type_: Type, at: Position) -> Atom:
    if any(isinstance(leaf, TensorType) for leaf in _leaves(type_)):
        raise misread("buildFromSparse of tensors: the sizes of its elements are not known", at)
    return tangents.zero_of(e, type_, at)


def _leaves(type_: Type) -> tuple[Type, ...]:
    if isinstance(type_, TupleType):
        return tuple(leaf for elem in type_.elems for leaf in _leaves(elem))
    return (type_,)


def _check(e: Elaborator, node: Group, scope: Scope) -> Result:
    """How far a reverse derivative is from a difference of the function: 0 where they agree."""
    f_node, rev_node, *operands = parts(node, 5)
    f, rev = e.function(f_node, scope), e.function(rev_node, scope)
    s, ds, dt = (e.value(operand, scope) for operand in operands)
    at = node.at
    (before,) = e.apply(f, (s,), f_node.at)
    (after,) = e.apply(f, (tangents.add(e, s, ds, at),), f_node.at)
    (pulled,) = e.apply(rev, (s, dt), rev_node.at)
    d1 = e.one("sub", [tangents.dot(e, dt, after, at), tangents.dot(e, dt, before, at)], at)
    d2 = tangents.dot(e, ds, pulled, at)
    return (tangents.relative_error(e, d1, d2, at),)


BUILTIN_FORMS: Mapping[str, Form] = {
    "constVec": _const_vec,
    "deltaVec": _delta_vec,
    "diag": _diagonal,
    "map": _map,
    "map2": _map2,
    "sumbuild": _sumbuild,
    "fold": _fold,
    "buildFromSparse": _build_from_sparse,
    "$check": _check,
}
"""The built-in functions that take a lambda, or a size that may be a tuple."""
