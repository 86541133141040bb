"""Random programs, made with the builder, that use every op of the IR and whose runs end."""

import math
import random

from ksc.ir.builder import Builder
from ksc.ir.nodes import Block, Const, Eqn, Function, Program, Span, Var, const
from ksc.ir.rules import result_types
from ksc.ir.types import AccType, Bool, BoxType, Float, Integer, String, TensorType, TupleType

VEC = TensorType(1, Float)
MAT = TensorType(2, Float)
PAIR = TupleType((Float, Integer))
PAIRS = TensorType(1, PAIR)
ROWS = TensorType(1, VEC)
BOX = BoxType("saved [f]")
TYPES = (Float, Integer, Bool, VEC, MAT, PAIR, PAIRS, ROWS, BOX)
BOXES = {"saved [f]": (Float, VEC)}
NAMES = ("x", "x_bar", "add", "let", "for", "i", "λ", "a b", "inf", "true", "1x", "", "-", "get$1$2", ":k", "x", "|")
FLOATS = (0.0, -0.0, 1.0, -1.5, 0.1, 1e300, 5e-324, math.inf, -math.inf, math.nan, 1 / 3)


class Generator:
    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.functions: dict[str, Function] = {}
        self.boxes = BOXES

    def program(self) -> Program:
        for name in self.rng.sample(["f", "add", "[rev f]", "two words", "[f (Tensor 1 Float)]", "for", "a|b"], 3):
            self.functions[name] = self.function(name)
        return Program(self.functions, name, self.boxes)

    def function(self, name: str) -> Function:
        params = [self.var(self.rng.choice(TYPES)) for _ in range(self.rng.randrange(4))]
        builder = Builder(Span("f.py", 3, 4, 3, 9, "    return x"))
        results = self.fill(builder, list(params), 3)
        return Function(name, builder.block(params, results))

    def var(self, type_) -> Var:
        return Var(self.rng.choice(NAMES), type_)

    def fill(self, builder: Builder, scope: list[Var], depth: int, wanted=None):
        """Add equations to a block, and give its results: of the wanted types, or any."""
        for _ in range(self.rng.randrange(1, 5)):
            self.equation(builder, scope, depth)
        if wanted is None:
            wanted = [self.rng.choice(TYPES) for _ in range(self.rng.randrange(3))]
        return [self.atom(builder, scope, type_) for type_ in wanted]

    def emit(self, builder, op, args, params=None, blocks=()):
        program = Program(self.functions, "", self.boxes)
        types = result_types(Eqn((), op, tuple(args), params or {}, tuple(blocks)), program)
        if self.rng.random() < 0.05:
            types = [TensorType(1, Float, (7,)) if t == VEC and op == "call" else t for t in types]
        names = [self.rng.choice(NAMES) for _ in types]
        return builder.emit(op, args, types, names=names, params=params or {}, blocks=blocks)

    def atom(self, builder, scope, type_):
        """A variable or constant of a type, made where there is none."""
        known = [v for v in scope if v.type == type_]
        if known and self.rng.random() < 0.8:
            return self.rng.choice(known)
        match type_:
            case _ if type_ == Float:
                return const(self.rng.choice(FLOATS))
            case _ if type_ == Integer:
                return const(self.rng.choice([0, 1, 2, -1, 2**63 - 1]))
            case _ if type_ == Bool:
                return const(self.rng.random() < 0.5)
            case BoxType():
                if self.rng.random() < 0.5:
                    return Const(None, type_)
                args = [self.atom(builder, scope, t) for t in BOXES[type_.name]]
                return self.emit(builder, "box", args, {"name": type_.name})[0]
            case TupleType(elems=elems):
                return self.emit(builder, "tuple", [self.atom(builder, scope, t) for t in elems])[0]
            case TensorType(rank=rank, elem=elem):
                nested = isinstance(elem, TensorType)
                return self.build(builder, scope, rank, [elem], 0, {"nested": True} if nested else {})[0]

    def inner(self, params, scope, depth, wanted=None):
        builder = Builder(Span("f.py", 4, 4, 4, 9, "    y = x"))
        return builder.block(params, self.fill(builder, [*scope, *params], depth, wanted))

    def build(self, builder, scope, rank, elems, depth, params):
        indices = [self.var(Integer) for _ in range(rank)]
        sizes = [const(self.rng.randrange(3)) for _ in indices]
        if depth:
            body = self.inner(indices, scope, depth - 1, elems)
        else:
            b = Builder()
            body = b.block(indices, [self.atom(b, [*scope, *indices], t) for t in elems])
        return self.emit(builder, "build", sizes, params, [body])

    def equation(self, builder, scope, depth):
        kinds = ["scalar", "index", "update", "size", "tuple", "get", "unbox", "print", "assert", "call", "shadow"]
        if depth:
            kinds += ["if", "for", "while", "build", "reduce", "withacc"] * 2
        outs = getattr(self, "_" + self.rng.choice(kinds))(builder, scope, depth)
        scope.extend(outs)

    def _scalar(self, builder, scope, depth):
        op, types = self.rng.choice(
            [
                ("add", (Float, Float)),
                ("mul", (Integer, Integer)),
                ("lt", (Float, Float)),
                ("sin", (Float,)),
                ("not", (Bool,)),
                ("select", (Bool, Float, Float)),
                ("to_float", (Integer,)),
            ]
        )
        params = {"hint": self.rng.choice([True, 3, 'a "b"\n', 0.5])} if self.rng.random() < 0.1 else None
        return self.emit(builder, op, [self.atom(builder, scope, t) for t in types], params)

    def _index(self, builder, scope, depth):
        type_, count = self.rng.choice([(VEC, 1), (MAT, 1), (MAT, 2), (PAIRS, 1), (ROWS, 1)])
        args = [self.atom(builder, scope, t) for t in (type_, *(Integer,) * count)]
        return self.emit(builder, "index", args)

    def _update(self, builder, scope, depth):
        types = self.rng.choice(
            [(VEC, Integer, Float), (MAT, Integer, VEC), (MAT, Integer, Integer, Float), (ROWS, Integer, VEC)]
        )
        return self.emit(builder, "update", [self.atom(builder, scope, t) for t in types])

    def _size(self, builder, scope, depth):
        type_, dim = self.rng.choice([(VEC, 0), (MAT, 0), (MAT, 1), (ROWS, 0)])
        return self.emit(builder, "size", [self.atom(builder, scope, type_)], {"dim": dim})

    def _tuple(self, builder, scope, depth):
        types = self.rng.choice([(), (Float,), (Float, Integer), (VEC, PAIR)])
        return self.emit(builder, "tuple", [self.atom(builder, scope, t) for t in types])

    def _get(self, builder, scope, depth):
        return self.emit(builder, "get", [self.atom(builder, scope, PAIR)], {"n": self.rng.randrange(2)})

    def _unbox(self, builder, scope, depth):
        return self.emit(builder, "unbox", [self.atom(builder, scope, BOX)])

    def _print(self, builder, scope, depth):
        return self.emit(builder, "print", [Const('é\\ "|;', String), self.atom(builder, scope, VEC)])

    def _assert(self, builder, scope, depth):
        return self.emit(builder, "assert", [self.atom(builder, scope, Bool)], {"message": "it holds\t;"})

    def _shadow(self, builder, scope, depth):
        return []

    def _call(self, builder, scope, depth):
        if not self.functions:
            return []
        callee = self.rng.choice(list(self.functions))
        args = [self.atom(builder, scope, p.type) for p in self.functions[callee].params]
        return self.emit(builder, "call", args, {"callee": callee})

    def _if(self, builder, scope, depth):
        then = self.inner([], scope, depth - 1)
        wanted = [r.type for r in then.results]
        else_ = self.inner([], scope, depth - 1, wanted)
        return self.emit(builder, "if", [self.atom(builder, scope, Bool)], None, [then, else_])

    def _carries(self, builder, scope):
        inits = [
            self.atom(builder, scope, self.rng.choice((Float, Integer, VEC, PAIR)))
            for _ in range(self.rng.randrange(3))
        ]
        return inits, [self.var(init.type) for init in inits]

    def _for(self, builder, scope, depth):
        inits, params = self._carries(builder, scope)
        wanted = [*(i.type for i in inits), *self.rng.sample((Float, VEC, PAIR), self.rng.randrange(2))]
        body = self.inner([self.var(Integer), *params], scope, depth - 1, wanted)
        given = {"carries": len(inits), "reverse": self.rng.random() < 0.5}
        return self.emit(builder, "for", [const(self.rng.randrange(3)), *inits], given, [body])

    def _while(self, builder, scope, depth):
        inits, params = self._carries(builder, scope)
        counter, seen = Var("n", Integer), [Var(p.name, p.type) for p in params]
        test, m = Builder(), Var("n", Integer)
        cond = test.block([m, *seen], [test.apply("lt", m, const(2))])
        step = Builder()
        extra = [self.rng.choice((Float, Bool))] if self.rng.random() < 0.5 else []
        results = self.fill(step, [*scope, counter, *params], depth - 1, [*(i.type for i in inits), *extra])
        body = step.block([counter, *params], [step.apply("add", counter, const(1)), *results])
        return self.emit(builder, "while", [const(0), *inits], {"carries": len(inits) + 1}, [cond, body])

    def _build(self, builder, scope, depth):
        elems = self.rng.sample([Float, Bool, PAIR, VEC], self.rng.randrange(1, 3))
        return self.build(builder, scope, self.rng.randrange(1, 3), elems, depth - 1, {})

    def _reduce(self, builder, scope, depth):
        monoid = self.rng.choice(["add", "mul", "min", "max", "and", "or"])
        elem = Bool if monoid in ("and", "or") else self.rng.choice([Float, Integer, VEC])
        indices = [self.var(Integer) for _ in range(self.rng.randrange(1, 3))]
        body = self.inner(indices, scope, depth - 1, [elem])
        return self.emit(builder, "reduce", [const(2) for _ in indices], {"monoid": monoid}, [body])

    def _withacc(self, builder, scope, depth):
        inits = [self.atom(builder, scope, self.rng.choice((Float, VEC, MAT))) for _ in range(self.rng.randrange(1, 3))]
        accs = [self.var(AccType(init.type)) for init in inits]
        inner = Builder()
        results = self.fill(inner, list(scope), depth - 1)
        for acc, init in zip(accs, inits, strict=True):
            if init.type == VEC and self.rng.random() < 0.5:
                at = [self.atom(inner, scope, Integer)]
                inner.emit("acc_add", [acc, *at, self.atom(inner, scope, Float)], [])
            else:
                inner.emit("acc_add", [acc, self.atom(inner, scope, init.type)], [])
        return self.emit(builder, "withacc", inits, None, [Block(tuple(accs), tuple(inner.eqns), tuple(results))])


def random_program(seed: int) -> Program:
    """The program of a seed."""
    return Generator(random.Random(seed)).program()
