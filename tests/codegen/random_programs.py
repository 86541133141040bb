"""Random IR: what folds where, which variable is assigned when, and which names meet are all up to chance."""

import random

from ksc.ir.builder import Builder
from ksc.ir.nodes import Atom, Function, Program, Span, Var, const
from ksc.ir.types import Bool, Float, Integer, Type
from tests.codegen.samples import while_, withacc

NAMES = ("x", "y", "t", "t", "t", "i", "int", "x_bar", "y_dot", "x_2")
LINES = tuple(f"    line {k}" for k in range(1, 5))


class Maker:
    """Writes one function by growing blocks; ``pool`` holds the values in scope, by type."""

    def __init__(self, seed: int, callees: dict[str, Function]) -> None:
        self.random = random.Random(seed)
        self.callees = callees

    def function(self, name: str) -> Function:
        types = [Float, Float, Integer, Bool][: self.random.randint(2, 4)]
        params = [Var(self.name(), type_) for type_ in types]
        b = Builder()
        pool: list[Atom] = list(params)
        self.grow(b, pool, self.random.randint(2, 7), 2)
        results = [
            self.pick(pool, self.random.choice([Float, Float, Integer])) for _ in range(self.random.randint(1, 3))
        ]
        return Function(name, b.block(params, results))

    def name(self) -> str:
        return self.random.choice(NAMES)

    def pick(self, pool: list[Atom], type_: Type) -> Atom:
        known = [atom for atom in pool if atom.type == type_]
        if known and self.random.random() < 0.85:
            # Late values more often than early ones, so that chains arise.
            return known[max(self.random.randrange(len(known)), self.random.randrange(len(known)))]
        if type_ == Float:
            return const(self.random.choice([0.0, -0.0, 1.0, 0.5, -1.5, 3.0]))
        return const(self.random.randint(-1, 3)) if type_ == Integer else const(self.random.random() < 0.5)

    def grow(self, b: Builder, pool: list[Atom], count: int, depth: int) -> None:
        kinds = (
            [self.scalar] * 6 + [self.branch] * 2 + [self.loop, self.repeat, self.accumulate, self.call] * (depth > 0)
        )
        for _ in range(count):
            line = self.random.randint(1, len(LINES))
            b.span = Span("<random>", line, 4, line, 10, LINES[line - 1]) if self.random.random() < 0.7 else None
            self.random.choice(kinds if depth > 0 else kinds[:6])(b, pool, depth)

    def scalar(self, b: Builder, pool: list[Atom], depth: int) -> None:
        choice = self.random.random()
        name = self.name()
        if choice < 0.6:
            type_ = self.random.choice([Float, Float, Integer])
            op = self.random.choice(["add", "sub", "mul"])
            pool.append(b.apply(op, self.pick(pool, type_), self.pick(pool, type_), name=name))
        elif choice < 0.7:
            pool.append(b.apply("neg", self.pick(pool, self.random.choice([Float, Integer])), name=name))
        elif choice < 0.85:
            type_ = self.random.choice([Float, Integer])
            op = self.random.choice(["lt", "gte", "eq", "ne"])
            pool.append(b.apply(op, self.pick(pool, type_), self.pick(pool, type_), name=name))
        elif choice < 0.93:
            op = self.random.choice(["and", "or"])
            pool.append(b.apply(op, self.pick(pool, Bool), self.pick(pool, Bool), name=name))
        else:
            type_ = self.random.choice([Float, Integer])
            args = [self.pick(pool, Bool), self.pick(pool, type_), self.pick(pool, type_)]
            pool.append(b.apply("select", *args, name=name))

    def branch(self, b: Builder, pool: list[Atom], depth: int) -> None:
        types = [self.random.choice([Float, Integer, Bool]) for _ in range(self.random.randint(1, 3))]

        def side(inner: Builder) -> list[Atom]:
            local = list(pool)
            self.grow(inner, local, self.random.randint(0, 3), depth - 1)
            return [self.pick(local, type_) for type_ in types]

        pool.extend(b.if_(self.pick(pool, Bool), side, side))

    def loop(self, b: Builder, pool: list[Atom], depth: int) -> None:
        inits = [self.pick(pool, self.random.choice([Float, Integer])) for _ in range(self.random.randint(1, 3))]
        stacked = self.random.random() < 0.5

        def body(inner: Builder, i: Var, carries: tuple[Var, ...]) -> list[Atom]:
            local = [*pool, i, *carries]
            self.grow(inner, local, self.random.randint(1, 4), depth - 1)
            out = [self.pick(local, init.type) for init in inits]
            return [*out, self.pick(local, Float)] if stacked else out

        count = const(self.random.randint(0, 3))
        names = [self.name() for _ in inits]
        outs = b.for_(count, inits, body, reverse=self.random.random() < 0.3, names=names)
        pool.extend(outs[: len(inits)])
        if stacked and int(count.value) > 0:
            at = const(self.random.randrange(int(count.value)))
            pool.extend(b.emit("index", [outs[-1], at], [Float], names=[self.name()]))

    def repeat(self, b: Builder, pool: list[Atom], depth: int) -> None:
        inits = [const(0), *(self.pick(pool, Float) for _ in range(self.random.randint(1, 2)))]
        limit = const(self.random.randint(0, 3))
        extra = self.random.random() < 0.3

        def cond(inner: Builder, carries: tuple[Var, ...]) -> Atom:
            below = inner.apply("lt", carries[0], limit)
            if not extra:
                return below
            local = [*pool, *carries]
            self.grow(inner, local, 2, depth - 1)
            return inner.apply("and", below, self.pick(local, Bool))

        def body(inner: Builder, carries: tuple[Var, ...]) -> list[Atom]:
            local = [*pool, *carries]
            self.grow(inner, local, self.random.randint(1, 3), depth - 1)
            following = inner.apply("add", carries[0], const(1))
            return [following, *(self.pick(local, Float) for _ in inits[1:]), self.pick(local, Float)]

        outs = while_(b, inits, ["k", *(self.name() for _ in inits[1:])], cond, body)
        pool.extend(outs[: len(inits)])
        pool.extend(b.emit("size", [outs[-1]], [Integer], names=["count"], params={"dim": 0}))

    def accumulate(self, b: Builder, pool: list[Atom], depth: int) -> None:
        def body(inner: Builder, accs: tuple[Var, ...]) -> list[Atom]:
            local = list(pool)

            def step(deep: Builder, i: Var, carries: tuple[Var, ...]) -> list[Atom]:
                inside = [*local, i, *carries]
                self.grow(deep, inside, 2, depth - 1)
                deep.emit("acc_add", [accs[0], self.pick(inside, Float)], [])
                return [self.pick(inside, Float)]

            local.extend(inner.for_(const(2), [self.pick(local, Float)], step, names=[self.name()]))
            inner.emit("acc_add", [accs[0], self.pick(local, Float)], [])
            return [self.pick(local, Float)]

        pool.extend(withacc(b, [self.pick(pool, Float)], [self.name()], body))

    def call(self, b: Builder, pool: list[Atom], depth: int) -> None:
        if not self.callees:
            return
        callee = self.random.choice(list(self.callees.values()))
        args = [self.pick(pool, param.type) for param in callee.params]
        names = [self.name() for _ in callee.body.results]
        pool.extend(b.emit("call", args, callee.result_types, names=names, params={"callee": callee.name}))


def random_program(seed: int) -> Program:
    """The same program for the same seed."""
    functions: dict[str, Function] = {}
    for name in ("y", "helper", "main"):
        functions[name] = Maker(seed * 3 + len(functions), dict(functions)).function(name)
    return Program(functions, "main")
