"""Random IR that shares and changes tensors: parts that outlive an update, carries that swap, branches that give either.

All vectors have three elements and all matrices are three by three, so that any index from 0 to 2 is in range.
"""

import random
from collections.abc import Sequence

from ksc.ir.builder import Builder
from ksc.ir.nodes import Atom, Function, Program, Span, Var, const
from ksc.ir.types import BoxType, Float, Integer, TensorType, Type
from ksc.passes.dce import remove_dead_code
from tests.codegen.samples import while_, withacc

VECTOR, MATRIX = TensorType(1, Float), TensorType(2, Float)
SIZE = 3
NAMES = ("a", "b", "row", "t", "t", "out", "x_bar")
BOX = BoxType("saved")


class Maker:
    """Writes one function; ``pool`` holds the values in scope."""

    def __init__(self, seed: int, callees: dict[str, Function]) -> None:
        self.random = random.Random(seed)
        self.callees = callees

    def function(self, name: str, types: Sequence[Type], results: Sequence[Type], size: int) -> Function:
        params = [Var(self.name(), type_) for type_ in types]
        b = Builder()
        pool: list[Atom] = list(params)
        self.grow(b, pool, size, 2)
        return Function(name, b.block(params, [self.pick(b, pool, type_) for type_ in results]))

    def name(self) -> str:
        return self.random.choice(NAMES)

    def index(self, pool: list[Atom]) -> Atom:
        indices = [a for a in pool if a.type == Integer]
        return (
            self.random.choice(indices) if indices and self.random.random() < 0.5 else const(self.random.randrange(3))
        )

    def pick(self, b: Builder, pool: list[Atom], type_: Type) -> Atom:
        known = [atom for atom in pool if atom.type == type_]
        if known and self.random.random() < 0.95:
            return known[max(self.random.randrange(len(known)), self.random.randrange(len(known)))]
        match type_:
            case TensorType():
                return self.fresh(b, pool, type_)
            case BoxType():
                return self.boxed(b, pool)
        return const(float(self.random.randint(-3, 3))) if type_ == Float else const(self.random.random() < 0.5)

    def fresh(self, b: Builder, pool: list[Atom], type_: TensorType) -> Atom:
        """A tensor by ``build``, its elements made of those of another one or of a number."""
        inner = Builder(b.span)
        indices = [Var("ij"[k], Integer) for k in range(type_.rank)]
        element: Atom = const(float(self.random.randint(0, 4)))
        sources = [a for a in pool if a.type == type_]
        if sources and self.random.random() < 0.7:
            (element,) = inner.emit("index", [self.random.choice(sources), *indices], [Float])
        element = inner.apply("add", element, self.pick(inner, [a for a in pool if a.type == Float], Float))
        block = inner.block(indices, [element])
        return b.emit("build", [const(SIZE)] * type_.rank, [type_], names=[self.name()], blocks=[block])[0]

    def boxed(self, b: Builder, pool: list[Atom]) -> Atom:
        fields = [self.pick(b, pool, VECTOR), self.pick(b, pool, MATRIX)]
        return b.emit("box", fields, [BOX], names=["saved"], params={"name": BOX.name})[0]

    def grow(self, b: Builder, pool: list[Atom], count: int, depth: int) -> None:
        plain = (
            [self.update] * 5 + [self.part] * 3 + [self.element] * 3 + [self.number, self.make, self.box, self.unbox]
        )
        deep = [self.branch] * 2 + [self.loop] * 3 + [self.repeat, self.accumulate, self.call, self.call, self.sweep]
        for _ in range(count):
            line = self.random.randint(1, 9)
            b.span = Span("<random>", line, 0, line, 3, f"line {line}")
            self.random.choice(plain + deep * (depth > 0))(b, pool, depth)

    def number(self, b: Builder, pool: list[Atom], depth: int) -> None:
        op = self.random.choice(["add", "sub", "mul"])
        pool.append(b.apply(op, self.pick(b, pool, Float), self.pick(b, pool, Float), name=self.name()))

    def make(self, b: Builder, pool: list[Atom], depth: int) -> None:
        pool.append(self.fresh(b, pool, self.random.choice([VECTOR, MATRIX])))

    def box(self, b: Builder, pool: list[Atom], depth: int) -> None:
        pool.append(self.boxed(b, pool))

    def unbox(self, b: Builder, pool: list[Atom], depth: int) -> None:
        pool.extend(b.emit("unbox", [self.pick(b, pool, BOX)], [VECTOR, MATRIX], names=[self.name(), self.name()]))

    def element(self, b: Builder, pool: list[Atom], depth: int) -> None:
        type_ = self.random.choice([VECTOR, MATRIX])
        at = [self.index(pool) for _ in range(type_.rank)]
        pool.extend(b.emit("index", [self.pick(b, pool, type_), *at], [Float], names=[self.name()]))

    def part(self, b: Builder, pool: list[Atom], depth: int) -> None:
        args = [self.pick(b, pool, MATRIX), self.index(pool)]
        pool.extend(b.emit("index", args, [VECTOR], names=[self.name()]))

    def update(self, b: Builder, pool: list[Atom], depth: int) -> None:
        pool.append(self.updated(b, pool, self.random.choice([VECTOR, MATRIX])))

    def updated(self, b: Builder, pool: list[Atom], type_: TensorType, tensor: Atom | None = None) -> Atom:
        tensor = tensor or self.pick(b, pool, type_)
        row = type_ == MATRIX and self.random.random() < 0.4
        at = [self.index(pool) for _ in range(1 if row else type_.rank)]
        value = self.pick(b, pool, VECTOR if row else Float)
        if not row and self.random.random() < 0.4:
            (old,) = b.emit("index", [tensor, *at], [Float])
            value = b.apply("add", old, value)
        return b.emit("update", [tensor, *at, value], [type_], names=[self.name()])[0]

    def branch(self, b: Builder, pool: list[Atom], depth: int) -> None:
        types = [self.random.choice([VECTOR, MATRIX, Float, BOX]) for _ in range(self.random.randint(1, 3))]

        def side(inner: Builder) -> list[Atom]:
            local = list(pool)
            self.grow(inner, local, self.random.randint(0, 3), depth - 1)
            return [self.pick(inner, local, type_) for type_ in types]

        known = [a for a in pool if a.type == Float]
        cond = b.apply("lt", self.random.choice(known), const(1.0)) if known else const(True)
        pool.extend(b.if_(cond, side, side))

    def following(self, b: Builder, pool: list[Atom], carries: Sequence[Var]) -> list[Atom]:
        """The carries of the next iteration: updated, handed on, swapped, or anything else."""
        results: list[Atom] = []
        for carry in carries:
            choice = self.random.random()
            if choice < 0.35 and isinstance(carry.type, TensorType):
                results.append(self.updated(b, pool, carry.type, carry))
            elif choice < 0.55:
                results.append(self.random.choice([c for c in carries if c.type == carry.type]))
            else:
                results.append(self.pick(b, pool, carry.type))
        return results

    def inits(self, b: Builder, pool: list[Atom]) -> list[Atom]:
        types = [self.random.choice([VECTOR, VECTOR, MATRIX, Float, BOX]) for _ in range(self.random.randint(1, 3))]
        return [self.pick(b, pool, type_) for type_ in types]

    def loop(self, b: Builder, pool: list[Atom], depth: int) -> None:
        inits = self.inits(b, pool)
        stacked = self.random.choice([None, None, Float, VECTOR])

        def body(inner: Builder, i: Var, carries: tuple[Var, ...]) -> list[Atom]:
            local = [*pool, i, *carries]
            self.grow(inner, local, self.random.randint(0, 3), depth - 1)
            results = self.following(inner, local, carries)
            return results if stacked is None else [*results, self.pick(inner, local, stacked)]

        names = [self.name() for _ in inits]
        outs = b.for_(const(SIZE), inits, body, reverse=self.random.random() < 0.3, names=names)
        pool.extend(outs)

    def repeat(self, b: Builder, pool: list[Atom], depth: int) -> None:
        inits = [const(0), *self.inits(b, pool)]

        def cond(inner: Builder, carries: tuple[Var, ...]) -> Atom:
            below = inner.apply("lt", carries[0], const(SIZE))
            tensors = [c for c in carries if c.type == VECTOR]
            if not tensors:
                return below
            (first,) = inner.emit("index", [tensors[0], const(0)], [Float])
            return inner.apply("and", below, inner.apply("lt", first, const(50.0)))

        def body(inner: Builder, carries: tuple[Var, ...]) -> list[Atom]:
            local = [*pool, *carries]
            self.grow(inner, local, self.random.randint(0, 2), depth - 1)
            following = self.following(inner, local, carries[1:])
            return [inner.apply("add", carries[0], const(1)), *following]

        outs = while_(b, inits, ["k", *(self.name() for _ in inits[1:])], cond, body)
        pool.extend(outs[1:])

    def sweep(self, b: Builder, pool: list[Atom], depth: int) -> None:
        """A ``build`` or ``reduce`` whose body changes tensors of its own and gives a number or a vector."""
        inner = Builder(b.span)
        i = Var("i", Integer)
        local = [*pool, i]
        self.grow(inner, local, self.random.randint(1, 3), 0)
        elem = self.random.choice([Float, VECTOR])
        block = inner.block([i], [self.pick(inner, local, elem)])
        if self.random.random() < 0.5:
            monoid = self.random.choice(["add", "max"])
            out = b.emit(
                "reduce", [const(SIZE)], [elem], names=[self.name()], params={"monoid": monoid}, blocks=[block]
            )
        else:
            type_ = MATRIX if elem == VECTOR else VECTOR
            out = b.emit("build", [const(SIZE)], [type_], names=[self.name()], blocks=[block])
        pool.extend(out)

    def accumulate(self, b: Builder, pool: list[Atom], depth: int) -> None:
        starts = [self.pick(b, pool, self.random.choice([VECTOR, MATRIX])) for _ in range(self.random.randint(1, 2))]

        def body(inner: Builder, accs: tuple[Var, ...]) -> list[Atom]:
            local = list(pool)

            def step(deep: Builder, i: Var, carries: tuple[Var, ...]) -> list[Atom]:
                inside = [*local, i, *carries]
                self.grow(deep, inside, 2, depth - 1)
                for acc, start in zip(accs, starts, strict=True):
                    rank = start.type.rank
                    at = [self.index(inside) for _ in range(self.random.randint(0, rank))]
                    left = rank - len(at)
                    amount = self.pick(deep, inside, {0: Float, 1: VECTOR, 2: MATRIX}[left])
                    deep.emit("acc_add", [acc, *at, amount], [])
                return self.following(deep, inside, carries)

            local.extend(inner.for_(const(SIZE), [self.pick(inner, local, VECTOR)], step, names=[self.name()]))
            return [self.pick(inner, local, VECTOR)]

        pool.extend(withacc(b, starts, [self.name() for _ in starts], body))

    def call(self, b: Builder, pool: list[Atom], depth: int) -> None:
        if not self.callees:
            return
        callee = self.random.choice(list(self.callees.values()))
        args = [self.pick(b, pool, param.type) for param in callee.params]
        names = [self.name() for _ in callee.body.results]
        pool.extend(b.emit("call", args, callee.result_types, names=names, params={"callee": callee.name}))


def random_tensor_program(seed: int) -> Program:
    """The same program for the same seed."""
    chance = random.Random(~seed)
    functions: dict[str, Function] = {}
    for name in ("first", "second"):
        types = [chance.choice([VECTOR, MATRIX, VECTOR, BOX]) for _ in range(chance.randint(1, 3))]
        results = [chance.choice([VECTOR, MATRIX, Float, BOX]) for _ in range(chance.randint(1, 2))]
        functions[name] = Maker(seed * 3 + len(functions), dict(functions)).function(name, types, results, 4)
    main = Maker(seed * 3 + 2, functions)
    results = [VECTOR, MATRIX, Float, VECTOR, MATRIX]
    functions["main"] = main.function("main", [VECTOR, MATRIX, Float], results, main.random.randint(4, 9))
    return remove_dead_code(Program(functions, "main", {BOX.name: (VECTOR, MATRIX)}))
