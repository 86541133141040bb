"""Random programs over tensors, as a frontend writes them: one ``build`` or ``reduce`` per operation."""

import random

import numpy as np

from ksc.ir.builder import Builder
from ksc.ir.nodes import Eqn, Function, Program, Var, const
from ksc.ir.rules import result_types
from ksc.ir.types import Float, Integer, TensorType

VEC = TensorType(1, Float)
MAT = TensorType(2, Float)
UNARY = ("sin", "neg", "exp", "tanh", "abs")
BINARY = ("add", "sub", "mul", "max")


class Generator:
    """Makes a program of operations on the tensors made so far.

    ``risky`` programs may also read out of range; where ``nested`` is false, no ``build`` gives tensors.
    """

    def __init__(self, rng, *, risky=False, nested=True):
        self.rng = rng
        self.nested = nested
        self.risky = risky
        self.b = Builder()
        self.params = [Var("x", VEC), Var("y", VEC), Var("m", MAT), Var("w", MAT), Var("s", Float), Var("k", Integer)]
        self.tensors = list(self.params[:4])
        self.scalars = [self.params[4]]

    def program(self):
        for _ in range(self.rng.randrange(3, 12)):
            self.step()
        pool = self.tensors[4:] or self.tensors
        results = self.rng.sample(pool, min(len(pool), self.rng.randrange(1, 3)))
        results += [self.rng.choice(self.scalars)]
        return Program({"f": Function("f", self.b.block(self.params, results))}, "f")

    def step(self):
        kinds = ["unary"] * 3 + ["binary"] * 3 + ["total", "rows", "view", "branch", "matvec", "loop", "update"]
        kinds += ["several", "read", "outer", "flat", "equal"]
        kinds += ["stack", "nest"] if self.nested else []
        getattr(self, "_" + self.rng.choice(kinds))()

    # Pieces.

    def sizes(self, tensor, builder=None):
        b = builder or self.b
        return [b.emit("size", [tensor], [Integer], params={"dim": d})[0] for d in range(tensor.type.rank)]

    def block_of(self, count, body, builder=None):
        inner = Builder()
        at = tuple(Var("i", Integer) for _ in range(count))
        results = body(inner, *at)
        return inner.block(at, results if isinstance(results, list) else [results])

    def loop(self, op, sizes, body, builder=None, **params):
        block = self.block_of(len(sizes), body)
        types = result_types(Eqn((), op, tuple(sizes), params, (block,)), None)
        return (builder or self.b).emit(op, sizes, types, params=params, blocks=[block])

    def at(self, b, tensor, *indices):
        (type_,) = result_types(Eqn((), "index", (tensor, *indices)), None)
        return b.emit("index", [tensor, *indices], [type_])[0]

    def map(self, sizes, body, builder=None):
        return self.loop("build", sizes, body, builder)[0]

    def pick(self, rank=None):
        return self.rng.choice([t for t in self.tensors if rank is None or t.type.rank == rank])

    def scalar(self):
        return self.rng.choice([*self.scalars, const(0.5), const(-2.0)])

    def number(self, b, value):
        op = self.rng.choice(UNARY + BINARY)
        return b.apply(op, value) if op in UNARY else b.apply(op, value, self.scalar())

    # Operations.

    def _unary(self):
        t = self.pick()
        steps = self.rng.randrange(1, 4)

        def body(b, *i):
            value = self.at(b, t, *i)
            for _ in range(steps):
                value = self.number(b, value)
            return value

        self.tensors.append(self.map(self.sizes(t), body))

    def _binary(self):
        a, c = self.pick(1), self.pick(self.rng.choice((1, 2)))
        sizes = self.sizes(c)
        self.same(self.sizes(a)[0], sizes[-1])
        op = self.rng.choice(BINARY)
        self.tensors.append(self.map(sizes, lambda b, *i: b.apply(op, self.at(b, a, i[-1]), self.at(b, c, *i))))

    def same(self, a, b):
        """Say that two sizes agree, in one of the ways that a program can."""
        if self.risky and self.rng.random() < 0.5:
            return
        self.b.emit("assert", [self.b.apply("eq", a, b)], [], params={"message": "sizes differ"})

    def _equal(self):
        a, c = self.pick(2), self.pick(2)
        sizes = self.sizes(c)
        for m, n in zip(self.sizes(a), sizes, strict=True):
            self.same(m, n)
        self.tensors.append(self.map(sizes, lambda b, *i: b.apply("mul", self.at(b, a, *i), self.at(b, c, *i))))

    def _total(self):
        t = self.pick()
        monoid = self.rng.choice(("add", "add", "max", "mul"))
        self.scalars += self.loop(
            "reduce", self.sizes(t), lambda b, *i: b.apply("tanh", self.at(b, t, *i)), monoid=monoid
        )

    def _rows(self):
        t = self.pick(2)
        n, m = self.sizes(t)
        along = self.rng.randrange(2)

        def body(b, i):
            def term(b, j):
                return self.at(b, t, *((i, j) if along else (j, i)))

            return self.loop("reduce", [m if along else n], term, b, monoid="add")[0]

        self.tensors.append(self.map([n if along else m], body))

    def _view(self):
        t = self.pick()
        sizes = self.sizes(t)
        match self.rng.randrange(5):
            case 0 if len(sizes) == 2:
                self.tensors.append(self.map(sizes[::-1], lambda b, i, j: self.at(b, t, j, i)))
            case 1:
                last = self.b.apply("sub", sizes[0], const(1))
                self.tensors.append(self.map(sizes, lambda b, i, *j: self.at(b, t, b.apply("sub", last, i), *j)))
            case 2:
                fewer = self.b.apply("max", self.b.apply("sub", sizes[0], const(1)), const(0))
                self.tensors.append(
                    self.map([fewer, *sizes[1:]], lambda b, i, *j: self.at(b, t, b.apply("add", i, const(1)), *j))
                )
            case 3 if len(sizes) == 1:
                self.tensors.append(
                    self.map([*sizes, sizes[0]], lambda b, i, j: self.at(b, t, self.rng.choice([i, j])))
                )
            case _ if self.risky:
                shift = self.rng.choice([-1, 1, 2])
                self.tensors.append(
                    self.map(sizes, lambda b, i, *j: self.at(b, t, b.apply("add", i, const(shift)), *j))
                )

    def _flat(self):
        t = self.pick(2)
        n, m = self.sizes(t)
        total = self.b.apply("mul", n, m)
        flat = self.map([total], lambda b, i: self.at(b, t, b.apply("idiv", i, m), b.apply("imod", i, m)))
        if self.rng.random() < 0.5:
            flat = self.map([m, n], lambda b, i, j: self.at(b, flat, b.apply("add", b.apply("mul", i, n), j)))
        self.tensors.append(flat)

    def _branch(self):
        t = self.pick()
        sizes = self.sizes(t)
        cond = self.b.apply("lt", self.scalar(), const(0.1))

        def side(b):
            if self.rng.random() < 0.2:
                return [t]
            factor = b.apply("sin", self.scalar())
            return [self.map(sizes, lambda b, *i: b.apply("mul", factor, self.at(b, t, *i)), b)]

        self.tensors += self.b.if_(cond, side, side)

    def _matvec(self):
        a, x = self.pick(2), self.pick(1)
        n, m = self.sizes(a)
        self.same(self.sizes(x)[0], m)

        def body(b, i):
            row = self.at(b, a, i)
            return self.loop(
                "reduce", [m], lambda b, j: b.apply("mul", self.at(b, row, j), self.at(b, x, j)), b, monoid="add"
            )[0]

        self.tensors.append(self.map([n], body))

    def _stack(self):
        t = self.pick(2)
        n, m = self.sizes(t)

        def body(b, i):
            row = self.at(b, t, i)
            total = self.loop("reduce", [m], lambda b, j: self.at(b, row, j), b, monoid="max")[0]
            return self.map([m], lambda b, j: b.apply("sub", self.at(b, row, j), total), b)

        self.tensors.append(self.map([n], body))

    def _nest(self):
        t = self.pick(2)
        n, m = self.sizes(t)
        self.tensors.append(
            self.map([n], lambda b, i: self.map([m], lambda b, j: b.apply("sin", self.at(b, t, i, j)), b))
        )

    def _outer(self):
        x, y = self.pick(1), self.pick(1)
        sizes = [*self.sizes(x), *self.sizes(y)]
        self.tensors.append(self.map(sizes, lambda b, i, j: b.apply("mul", self.at(b, x, i), self.at(b, y, j))))

    def _loop(self):
        t, x = self.pick(1), self.pick(1)
        (n,) = self.sizes(x)
        updates = self.rng.random() < 0.5

        def body(b, i, carry):
            (c,) = carry
            value = b.apply("tanh", self.at(b, x, i))
            if updates:
                return [b.emit("update", [c, i, value], [VEC])[0]]
            return [self.map(self.sizes(c, b), lambda b, j: b.apply("add", self.at(b, c, j), value), b)]

        if updates:
            t = self.map([n], lambda b, i: const(0.0)) if self.rng.random() < 0.5 else x
        self.tensors += self.b.for_(n, [t], body)

    def _update(self):
        t = self.pick(1)
        where = const(0) if not self.risky else self.rng.choice([const(0), self.params[5]])
        self.tensors += self.b.emit("update", [t, where, self.scalar()], [VEC])

    def _several(self):
        t = self.pick(1)

        def body(b, i):
            value = b.apply("sin", self.at(b, t, i))
            return [value, b.apply("mul", value, value)]

        self.tensors += self.loop("build", self.sizes(t), body)

    def _read(self):
        t = self.pick(1)
        where = const(0) if not self.risky else self.rng.choice([const(0), const(2), self.params[5]])
        self.scalars.append(self.at(self.b, t, where))


def random_tensor_program(seed, *, risky=False, nested=True):
    """The program of a seed, over two vectors, two matrices, a Float and an Integer."""
    return Generator(random.Random(seed), risky=risky, nested=nested).program()


def random_arguments(seed, *, empty=False):
    """Arguments for it, mostly of sizes that fit; maybe with a matrix of no rows."""
    rng = np.random.default_rng(seed)
    n = int(rng.choice([1, 2, 3, 3, 4]))
    m = n if rng.random() < 0.7 else int(rng.choice([0, 1] if empty else [1, 2]))
    draw = lambda *sizes: rng.normal(size=sizes)  # noqa: E731
    return draw(n), draw(n), draw(m, n), draw(n, n), float(rng.normal()), int(rng.integers(-1, 4))
