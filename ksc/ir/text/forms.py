"""The forms of the text that spell the ops of the IR, and those of the notation that are not calls."""

from __future__ import annotations

from collections.abc import Mapping

from ksc.ir.nodes import Const, Var
from ksc.ir.text import syntax
from ksc.ir.text.elaborate import Closure, Elaborator, Form, Result, Scope, Values, attributes
from ksc.ir.text.names import getter, is_integer
from ksc.ir.text.notation import is_param, read_name, read_param, read_params, read_string, read_variable
from ksc.ir.text.syntax import Group, Node, Word, misread
from ksc.ir.types import AccType, BoxType, Integer, TensorType, TupleType, Type, compatible


def parts(node: Group, *counts: int) -> tuple[Node, ...]:
    """The operands of a form, of which there must be one of these numbers."""
    items = node.items[1:]
    if len(items) not in counts:
        expected = " or ".join(map(str, counts))
        raise misread(f"{node.head} takes {expected} operands, not {len(items)}", node.at)
    return items


def _if(e: Elaborator, node: Group, scope: Scope) -> Result:
    cond, then, else_ = parts(node, 3)
    return e.if_(e.value(cond, scope), lambda: e.values(then, scope), lambda: e.values(else_, scope), node.at)


def _lam(e: Elaborator, node: Group, scope: Scope) -> Result:
    params, body = parts(node, 2)
    return Closure(read_params(params), body, dict(scope), node.at)


def _tuple(e: Elaborator, node: Group, scope: Scope) -> Result:
    return (e.tupled([e.value(item, scope) for item in node.items[1:]], node.at),)


def _values(e: Elaborator, node: Group, scope: Scope) -> Result:
    return tuple(e.value(item, scope) for item in node.items[1:])


def _get(e: Elaborator, node: Group, scope: Scope) -> Result:
    (operand,) = parts(node, 1)
    found = getter(node.head or "")
    if found is None:
        raise misread(f"expected get$i$n with 1 <= i <= n, not {node.head}", node.at)
    i, n = found
    atom = e.value(operand, scope)
    if not isinstance(atom.type, TupleType) or len(atom.type.elems) != n or not 1 <= i <= n:
        raise misread(f"{node.head} does not fit a value of type {atom.type}", node.at)
    return (e.one("get", [atom], node.at, n=i - 1),)


def _assert(e: Elaborator, node: Group, scope: Scope) -> Result:
    cond, body = parts(node, 2)
    e.emit("assert", [e.value(cond, scope)], node.at, message=f"assertion failed: {syntax.show(cond)}")
    return e.result(body, scope)


def _require(e: Elaborator, node: Group, scope: Scope) -> Result:
    cond, message, *of = node.items[1:] if len(node.items) > 3 else parts(node, 2)
    if not of:
        return e.emit("assert", [e.value(cond, scope)], node.at, message=read_string(message))
    name, *places = of
    if len(places) % 3:
        raise misread("expected a dimension, an index and a size of each index", node.at)
    dims = []
    for dim in places[::3]:
        if not isinstance(dim, Word) or not is_integer(dim.text):
            raise misread(f"expected a dimension, not {syntax.show(dim)}", dim.at)
        dims.append(int(dim.text))
    values = [e.value(place, scope) for k, place in enumerate(places) if k % 3]
    index = (read_string(name), tuple(dims))
    return e.emit("assert", [e.value(cond, scope), *values], node.at, message=read_string(message), index=index)


def _print(e: Elaborator, node: Group, scope: Scope) -> Result:
    e.emit("print", e.arguments(node, scope), node.at)
    return (Const(0, Integer),)


def _box(e: Elaborator, node: Group, scope: Scope) -> Result:
    if len(node.items) < 2:
        raise misread("expected the name of a box", node.at)
    fields = tuple(e.value(item, scope) for item in node.items[2:])
    return e.emit("box", fields, node.at, name=str(read_name(node.items[1])))


def _null(e: Elaborator, node: Group, scope: Scope) -> Result:
    (name,) = parts(node, 1)
    box = str(read_name(name))
    if box not in e.boxes:
        raise misread(f"there is no box {box}", name.at)
    return (Const(None, BoxType(box)),)  # type: ignore[arg-type]


# Tensors.


def _build(e: Elaborator, node: Group, scope: Scope) -> Result:
    node, given = attributes(node)
    size, body = parts(node, 2)
    nested = given.pop("nested", True)
    sizes = e.components(size, scope)
    function = e.function(body, scope)
    params = [param.name for param in function.params] if isinstance(function, Closure) else []
    names = params if len(params) == len(sizes) else []
    values = e.build(sizes, lambda indices: e.apply(function, indices, body.at), node.at, nested=nested, names=names)
    e.amend(given)
    return values


def _reduce(e: Elaborator, node: Group, scope: Scope) -> Result:
    monoid, size, body = parts(node, 3)
    if not isinstance(monoid, Word):
        raise misread(f"expected a monoid, not {syntax.show(monoid)}", monoid.at)
    sizes = e.components(size, scope)
    function = e.function(body, scope)
    params = [param.name for param in function.params] if isinstance(function, Closure) else []
    names = params if len(params) == len(sizes) else []
    return e.reduce(monoid.text, sizes, lambda indices: e.apply(function, indices, body.at), node.at, names=names)


def _index(e: Elaborator, node: Group, scope: Scope) -> Result:
    at, tensor = parts(node, 2)
    indices = e.components(at, scope)
    return (e.one("index", [e.value(tensor, scope), *indices], node.at),)


def _update(e: Elaborator, node: Group, scope: Scope) -> Result:
    at, tensor, value = parts(node, 3)
    indices = e.components(at, scope)
    return (e.one("update", [e.value(tensor, scope), *indices, e.value(value, scope)], node.at),)


def _size(e: Elaborator, node: Group, scope: Scope) -> Result:
    operands = parts(node, 1, 2)
    tensor = e.value(operands[0], scope)
    if not isinstance(tensor.type, TensorType):
        raise misread(f"size takes a tensor, not a value of type {tensor.type}", node.at)
    if len(operands) == 2:
        dim = operands[1]
        if not isinstance(dim, Word) or not is_integer(dim.text):
            raise misread(f"expected the number of a dimension, not {syntax.show(dim)}", dim.at)
        return (e.one("size", [tensor], node.at, dim=int(dim.text)),)
    sizes = e.sizes(tensor, node.at)
    return sizes if len(sizes) == 1 else (e.tupled(sizes, node.at),)


# Loops and accumulators.


def _for(e: Elaborator, node: Group, scope: Scope) -> Result:
    node, given = attributes(node)
    counter, carries, body = parts(node, 3)
    items = counter.items if isinstance(counter, Group) else ()
    if len(items) not in (2, 3) or (len(items) == 3 and (not isinstance(items[2], Word) or items[2].text != "down")):
        raise misread(f"expected (i count) or (i count down), not {syntax.show(counter)}", counter.at)
    index = Var(read_variable(items[0]), Integer)
    count = e.integer(items[1], scope)
    inner = {**scope, index.name: index}
    inits, params = _carries(e, carries, scope, inner)
    block = e.block((index, *params), lambda: e.values(body, inner))
    return e.emit("for", [count, *inits], node.at, blocks=[block], **given, carries=len(inits), reverse=len(items) == 3)


def _while(e: Elaborator, node: Group, scope: Scope) -> Result:
    node, given = attributes(node)
    carries, cond, body = parts(node, 3)
    inner = dict(scope)
    inits, params = _carries(e, carries, scope, inner)
    block = e.block(params, lambda: e.values(body, inner))
    seen = tuple(Var(param.name, param.type) for param in params)
    around = {**scope, **{var.name: var for var in seen}}
    test = e.block(seen, lambda: e.values(cond, around))
    return e.emit("while", inits, node.at, blocks=[test, block], **given, carries=len(inits))


def _carries(e: Elaborator, node: Node, scope: Scope, inner: Scope) -> tuple[Values, tuple[Var, ...]]:
    """The initial values of ``((x init) …)``, evaluated in ``scope``, and the variables, bound in ``inner``."""
    if not isinstance(node, Group) or node.square:
        raise misread(f"expected ((x expr) …), not {syntax.show(node)}", node.at)
    inits, params = [], []
    for item in node.items:
        if not isinstance(item, Group) or len(item.items) != 2:
            raise misread(f"expected (x expr), not {syntax.show(item)}", item.at)
        target, init = item.items
        atom = e.value(init, scope)
        var = _target(target, atom.type)
        inits.append(atom)
        params.append(var)
    inner.update({param.name: param for param in params})
    return tuple(inits), tuple(params)


def _target(node: Node, type_: Type) -> Var:
    """The variable ``x`` or ``(x : type)`` for a value of a type."""
    if not is_param(node):
        return Var(read_variable(node), type_)
    param = read_param(node)
    if not compatible(param.type, type_):
        raise misread(f"{param.name} is to be of type {param.type}, but its value is of type {type_}", node.at)
    return Var(param.name, param.type)


def _withacc(e: Elaborator, node: Group, scope: Scope) -> Result:
    cells, body = parts(node, 2)
    inner = dict(scope)
    inits, params = _carries(e, cells, scope, {})
    accs = tuple(Var(param.name, AccType(param.type)) for param in params)
    inner.update({acc.name: acc for acc in accs})
    block = e.block(accs, lambda: e.values(body, inner))
    return e.emit("withacc", inits, node.at, blocks=[block])


def _acc_add(e: Elaborator, node: Group, scope: Scope) -> Result:
    operands = parts(node, 2, 3)
    indices = e.components(operands[0], scope) if len(operands) == 3 else ()
    acc, value = (e.value(operand, scope) for operand in operands[-2:])
    return e.emit("acc_add", [acc, *indices, value], node.at)


def _unbox(e: Elaborator, node: Group, scope: Scope) -> Result:
    (box,) = parts(node, 1)
    return e.emit("unbox", [e.value(box, scope)], node.at)


def _give(e: Elaborator, node: Group, scope: Scope) -> Result:
    (operand,) = parts(node, 1)
    return e.result(operand, scope)


FORMS: Mapping[str, Form] = {
    "if": _if,
    "lam": _lam,
    "tuple": _tuple,
    "values": _values,
    "get$": _get,
    "assert": _assert,
    "require": _require,
    "print": _print,
    "box": _box,
    "null": _null,
    "unbox": _unbox,
    "build": _build,
    "reduce": _reduce,
    "index": _index,
    "update": _update,
    "size": _size,
    "for": _for,
    "while": _while,
    "withacc": _withacc,
    "acc_add": _acc_add,
    "trace": _give,
    "$inline": _give,
    "$copydown": _give,
}
"""The forms by their heads."""
