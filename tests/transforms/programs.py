"""Programs of every construct, each with arguments where it is smooth."""

import numpy as np

from ksc.ir.builder import Builder, stack_type
from ksc.ir.nodes import Function, Program, Var, const
from ksc.ir.text import parse
from ksc.ir.types import AccType, Float, Integer, TensorType
from ksc.transforms import vmap

VEC = TensorType(1, Float)
MAT = TensorType(2, Float)


def function(name, params, body):
    """A function from the types of its parameters by name, and its body as a function of a builder and these."""
    builder = Builder()
    variables = [Var(param, type_) for param, type_ in params.items()]
    return Function(name, builder.block(variables, body(builder, *variables)))


def program(*functions):
    return Program({f.name: f for f in functions}, functions[-1].name)


def one(params, body):
    return program(function("f", params, body))


def size_of(b, tensor, dim=0):
    return b.emit("size", [tensor], [Integer], names=["n"], params={"dim": dim})[0]


def at(b, tensor, *indices):
    rank = tensor.type.rank - len(indices)
    return b.emit("index", [tensor, *indices], [TensorType(rank, Float) if rank else Float])[0]


def build(b, sizes, body):
    inner = Builder()
    indices = [Var("ijk"[k], Integer) for k in range(len(sizes))]
    element = body(inner, *indices)
    type_ = stack_type(len(sizes), element.type)
    return b.emit("build", sizes, [type_], blocks=[inner.block(indices, [element])])[0]


def reduce(b, monoid, sizes, body):
    inner = Builder()
    indices = [Var("ijk"[k], Integer) for k in range(len(sizes))]
    term = body(inner, *indices)
    block = inner.block(indices, [term])
    return b.emit("reduce", sizes, [term.type], params={"monoid": monoid}, blocks=[block])[0]


def while_(b, inits, cond, body):
    head, inner = Builder(), Builder()
    outer = [Var("v", init.type) for init in inits]
    carried = [Var("v", init.type) for init in inits]
    heads = head.block(outer, [cond(head, *outer)])
    results = body(inner, *carried)
    types = [init.type for init in inits] + [stack_type(1, r.type) for r in results[len(inits) :]]
    return b.emit("while", inits, types, params={"carries": len(inits)}, blocks=[heads, inner.block(carried, results)])


def call(b, name, *args):
    return b.emit("call", args, [Float], params={"callee": name})[0]


# Scalars.


def _running_product(b, x, n):
    return b.for_(n, [const(1.0)], lambda b, i, c: [b.apply("mul", c[0], x)], names=["p"])


def _linear_loop(b, x, n):
    def body(b, i, c):
        return [b.apply("add", c[0], b.apply("mul", x, b.apply("to_float", i)))]

    return b.for_(n, [const(0.0)], body, names=["s"])


def _nested_loops(b, x, n):
    def body(b, i, c):
        (q,) = b.for_(i, [c[0]], lambda b, j, d: [b.apply("sin", b.apply("mul", d[0], x))], names=["q"])
        low = b.apply("lt", q, const(0.5))
        (r,) = b.if_(low, lambda b: [b.apply("mul", q, x)], lambda b: [b.apply("cos", q)])
        return [r, b.apply("mul", r, x)]

    s, ys = b.for_(n, [x], body, names=["s"])
    (total,) = b.for_(n, [const(0.0)], lambda b, i, c: [b.apply("add", c[0], at(b, ys, i))])
    return [b.apply("add", s, total)]


def _backward_loop(b, x, n):
    def body(b, i, c):
        scaled = b.apply("mul", c[0], b.apply("to_float", i))
        return [b.apply("sin", b.apply("add", scaled, x)), scaled]

    s, ys = b.for_(n, [x], body, reverse=True)
    return [b.apply("mul", s, at(b, ys, const(0))), at(b, ys, const(1))]


def _squaring(b, x):
    return while_(b, [x], lambda b, v: b.apply("lt", v, const(10.0)), lambda b, v: [b.apply("mul", v, v)])


def _stacking_while(b, x):
    def body(b, v, k):
        return [b.apply("mul", b.apply("exp", v), x), b.apply("add", k, const(1)), b.apply("sin", v)]

    _, k, ys = while_(b, [x, const(0)], lambda b, v, k: b.apply("lt", v, const(9.0)), body)
    (total,) = b.for_(k, [x], lambda b, i, c: [b.apply("mul", c[0], at(b, ys, i))])
    return [total]


def _swapped_carries(b, x, y, n):
    def body(b, i, c):
        return [c[1], b.apply("add", c[0], b.apply("mul", c[1], x))]

    return b.for_(n, [x, y], body)


def _accumulator(b, x, n):
    inner = Builder()
    acc = Var("a", AccType(Float))
    inner.emit("acc_add", [acc, inner.apply("mul", x, x)], [])

    def body(b, i, c):
        b.emit("acc_add", [acc, b.apply("sin", c[0])], [])
        return [b.apply("mul", c[0], x)]

    (last,) = inner.for_(n, [x], body)
    block = inner.block([acc], [last])
    total, last = b.emit("withacc", [b.apply("cos", x)], [Float, Float], blocks=[block])
    return [b.apply("mul", total, last)]


RECURSIVE = parse("(def f Float ((x : Float) (n : Integer)) (if (lte n 0) x (mul x (f (sin x) (sub n 1)))))")
TREE = parse(
    """(def f Float ((x : Float) (n : Integer))
      (if (lte n 0) (mul x x)
        (let ((a (f (sin x) (sub n 1))) (b (f (mul a x) (sub n 2)))) (add (mul a b) (if (lt a b) (f a 0) (cos b))))))"""
)
MUTUAL = parse(
    """(def f Float ((x : Float) (n : Integer)) (if (lte n 0) x (mul x (g (sin x) (sub n 1)))))
    (def g Float ((x : Float) (n : Integer)) (if (lte n 0) (cos x) (add x (f (mul x x) (sub n 1)))))
    (def h Float ((x : Float) (n : Integer)) (f (mul 2.0 x) n))"""
)


def _recursion_in_loop(b, x, n):
    def body(b, i, c):
        return [b.apply("add", call(b, "f", c[0], i), b.apply("mul", x, c[0]))]

    return b.for_(n, [x], body)


def _recursion_in_if_in_while(b, x, n):
    def body(b, v, k):
        odd = b.apply("eq", b.apply("imod", k, const(2)), const(1))
        (r,) = b.if_(
            odd,
            lambda b: [b.apply("mul", call(b, "f", v, k), call(b, "f", x, const(1)))],
            lambda b: [b.apply("add", v, x)],
        )
        return [r, b.apply("add", k, const(1))]

    v, _ = while_(b, [x, const(0)], lambda b, v, k: b.apply("lt", k, n), body)
    return [v]


# Tensors.


def _dot(b, x, a):
    return [reduce(b, "add", [size_of(b, x)], lambda b, i: b.apply("mul", b.apply("sin", at(b, x, i)), a))]


def _scaled(b, x, a):
    return [build(b, [size_of(b, x)], lambda b, i: b.apply("mul", b.apply("sin", at(b, x, i)), a))]


def _product_and_maximum(b, x):
    n = size_of(b, x)
    return [reduce(b, "mul", [n], lambda b, i: at(b, x, i)), reduce(b, "max", [n], lambda b, i: at(b, x, i))]


def _product_of_matrix(b, x):
    return [reduce(b, "mul", [size_of(b, x), size_of(b, x, 1)], lambda b, i, j: b.apply("sin", at(b, x, i, j)))]


def _prefix_norms(b, x):
    n = size_of(b, x)

    def body(b, i, c):
        s = b.apply("add", c[0], b.apply("mul", at(b, x, i), at(b, x, i)))
        return [s, b.emit("update", [c[1], i, b.apply("sqrt", s)], [VEC])[0]]

    return [b.for_(n, [const(0.0), build(b, [n], lambda b, i: const(0.0))], body, names=["s", "out"])[1]]


def _rows(b, x):
    def body(b, i, c):
        row = at(b, x, i)
        s = reduce(b, "add", [size_of(b, row)], lambda b, j: at(b, row, j))
        (q,) = b.if_(
            b.apply("lt", s, const(0.0)),
            lambda b: [b.apply("mul", s, const(-3.0))],
            lambda b: [b.apply("mul", s, at(b, row, const(0)))],
        )
        return [b.apply("add", c[0], q)]

    return b.for_(size_of(b, x), [const(0.0)], body)


def _update(b, x):
    value = b.apply("mul", at(b, x, const(0)), at(b, x, const(2)))
    y = b.emit("update", [x, const(1), value], [VEC])[0]
    total = reduce(b, "add", [size_of(b, y)], lambda b, i: b.apply("mul", at(b, y, i), at(b, y, i)))
    return [total, at(b, x, const(1))]


def _recursion_over_tensors():
    def f(b, x, n):
        def again(b):
            half = build(b, [size_of(b, x)], lambda b, i: b.apply("sin", at(b, x, i)))
            r = b.emit("call", [half, b.apply("sub", n, const(1))], [VEC], params={"callee": "f"})[0]
            return [build(b, [size_of(b, r)], lambda b, i: b.apply("mul", at(b, r, i), at(b, x, i)))]

        return b.if_(b.apply("lte", n, const(0)), lambda b: [x], again)

    def h(b, x, n):
        def body(b, i, c):
            return b.emit("call", [c[0], i], [VEC], params={"callee": "f"})

        return b.for_(n, [x], body)

    return program(function("f", {"x": VEC, "n": Integer}, f), function("h", {"x": VEC, "n": Integer}, h))


SCALED = one({"x": Float, "a": Float}, lambda b, x, a: [b.apply("mul", b.apply("sin", x), a)])
X3 = np.array([0.3, 0.7, 1.1])

PROGRAMS = {
    "running_product": (one({"x": Float, "n": Integer}, _running_product), (1.3, 4)),
    "no_iteration": (one({"x": Float, "n": Integer}, _running_product), (1.3, -2)),
    "linear_loop": (one({"x": Float, "n": Integer}, _linear_loop), (1.3, 4)),
    "nested_loops": (one({"x": Float, "n": Integer}, _nested_loops), (0.7, 4)),
    "backward_loop": (one({"x": Float, "n": Integer}, _backward_loop), (0.7, 4)),
    "squaring": (one({"x": Float}, _squaring), (2.0,)),
    "stacking_while": (one({"x": Float}, _stacking_while), (0.8,)),
    "swapped_carries": (one({"x": Float, "y": Float, "n": Integer}, _swapped_carries), (0.7, 0.3, 5)),
    "accumulator": (one({"x": Float, "n": Integer}, _accumulator), (0.7, 3)),
    "recursive": (RECURSIVE, (0.7, 3)),
    "tree": (TREE, (0.7, 4)),
    "mutual": (MUTUAL, (0.7, 5)),
    "recursion_in_loop": (
        program(RECURSIVE.main, function("h", {"x": Float, "n": Integer}, _recursion_in_loop)),
        (0.7, 3),
    ),
    "recursion_in_if_in_while": (
        program(RECURSIVE.main, function("h", {"x": Float, "n": Integer}, _recursion_in_if_in_while)),
        (0.7, 4),
    ),
    "dot": (one({"x": VEC, "a": Float}, _dot), (X3, 0.4)),
    "scaled": (one({"x": VEC, "a": Float}, _scaled), (X3, 0.4)),
    "empty": (one({"x": VEC, "a": Float}, _scaled), (X3[:0], 0.4)),
    "product_and_maximum": (one({"x": VEC}, _product_and_maximum), (X3,)),
    "product_of_matrix": (one({"x": MAT}, _product_of_matrix), (np.array([[0.3, 0.7, 1.1], [0.4, 0.9, 1.2]]),)),
    "prefix_norms": (one({"x": VEC}, _prefix_norms), (X3,)),
    "rows": (one({"x": MAT}, _rows), (np.array([[0.3, -0.7, -1.1], [0.4, 0.9, 1.2]]),)),
    "update": (one({"x": VEC}, _update), (X3,)),
    "recursion_over_tensors": (_recursion_over_tensors(), (X3, 3)),
    "vmap": (vmap(SCALED), (X3, np.array([1.0, 2.0, 3.0]))),
    "vmap_shared": (vmap(SCALED, [0, None]), (X3, 2.0)),
    "vmap_of_vmap": (vmap(vmap(SCALED, [0, None])), (np.array([[0.3, 0.7], [0.1, 0.2]]), np.array([2.0, 3.0]))),
    "vmap_of_recursion": (vmap(RECURSIVE), (X3, np.array([1, 2, 0]))),
    "vmap_of_while": (vmap(one({"x": Float}, _squaring)), (np.array([2.0, 3.0, 11.0]),)),
}
