"""Programs that between them use every op, built by hand so that nothing but code generation is tested."""

import math
from collections.abc import Callable

from ksc.ir.builder import Builder
from ksc.ir.nodes import Atom, Block, Const, Eqn, Function, Program, Span, Var, const
from ksc.ir.types import AccType, BoolType, BoxType, Float, Integer, TensorType

Source = list[str]


def span(source: Source, line: int) -> Span:
    text = source[line - 1]
    col = len(text) - len(text.lstrip())
    return Span("sample.py", line, col, line, len(text), text)


class Text:
    """A builder's spans for a source given as text."""

    def __init__(self, source: str) -> None:
        self.lines = source.strip("\n").splitlines()

    def at(self, b: Builder, line: int) -> Builder:
        b.span = span(self.lines, line)
        return b


def program(name: str, b: Builder, params: list[Var], results: list[Atom], **others: Function) -> Program:
    functions = {f.name: f for f in others.values()}
    functions[name] = Function(name, b.block(params, results), b.span)
    return Program(functions, name)


def while_(
    b: Builder,
    inits: list[Atom],
    names: list[str],
    cond: Callable[[Builder, tuple[Var, ...]], Atom],
    body: Callable[[Builder, tuple[Var, ...]], list[Atom]],
) -> tuple[Var, ...]:
    head, inner = Builder(b.span), Builder(b.span)
    outer = tuple(Var(n, i.type) for n, i in zip(names, inits, strict=True))
    carries = tuple(Var(n, i.type) for n, i in zip(names, inits, strict=True))
    test = cond(head, outer)
    results = body(inner, carries)
    stacked = [TensorType(1, r.type) for r in results[len(inits) :]]
    return b.emit(
        "while",
        inits,
        [*(i.type for i in inits), *stacked],
        names=[*names, *(f"{r.name}s" if isinstance(r, Var) else "ys" for r in results[len(inits) :])],
        params={"carries": len(inits)},
        blocks=[head.block(outer, [test]), inner.block(carries, results)],
    )


def withacc(
    b: Builder, inits: list[Atom], names: list[str], body: Callable[[Builder, tuple[Var, ...]], list[Atom]]
) -> tuple[Var, ...]:
    inner = Builder(b.span)
    accs = tuple(Var(n, AccType(i.type)) for n, i in zip(names, inits, strict=True))
    results = body(inner, accs)
    types = [*(i.type for i in inits), *(r.type for r in results)]
    return b.emit("withacc", inits, types, names=names, blocks=[inner.block(accs, results)])


RELU3 = Text("""
def relu3(x: float) -> float:
    if x < 0.0:
        return 0.0
    elif x < 1.0:
        return 1 / 3 * x ** 3
    else:
        return x - 2 / 3
""")


def relu3() -> Program:
    x = Var("x", Float)
    b = RELU3.at(Builder(), 2)

    def upper(b: Builder) -> list[Atom]:
        def cubic(b: Builder) -> list[Atom]:
            RELU3.at(b, 5)
            cube = b.apply("mul", b.apply("mul", x, x), x)
            return [b.apply("mul", const(1 / 3), cube)]

        RELU3.at(b, 4)
        return list(
            b.if_(b.apply("lt", x, const(1.0)), cubic, lambda b: [RELU3.at(b, 7).apply("sub", x, const(2 / 3))])
        )

    results = b.if_(b.apply("lt", x, const(0.0)), lambda b: [const(0.0)], upper)
    return program("relu3", b, [x], list(results))


def relu3_vjp() -> Program:
    x, r_bar = Var("x", Float), Var("r_bar", Float)
    b = RELU3.at(Builder(), 2)

    def upper(b: Builder) -> list[Atom]:
        def cubic(b: Builder) -> list[Atom]:
            RELU3.at(b, 5)
            t_bar = b.apply("mul", r_bar, const(1 / 3), name="t_bar")
            square_bar = b.apply("mul", t_bar, x, name="t_bar")
            twice = b.apply("mul", square_bar, x, name="x_bar")
            once = b.apply("mul", t_bar, b.apply("mul", x, x), name="x_bar")
            return [b.apply("add", b.apply("add", once, twice, name="x_bar"), twice, name="x_bar")]

        RELU3.at(b, 4)
        return list(b.if_(b.apply("lt", x, const(1.0)), cubic, lambda b: [r_bar]))

    results = b.if_(b.apply("lt", x, const(0.0)), lambda b: [const(0.0)], upper)
    return program("[rev relu3]", b, [x, r_bar], list(results))


def two_results() -> Program:
    text = Text("""
def polar(x, y):
    square = x * x + y * y
    return square / 2, (x - y) / (square + 1)
""")
    x, y = Var("x", Float), Var("y", Float)
    b = text.at(Builder(), 2)
    square = b.apply("add", b.apply("mul", x, x), b.apply("mul", y, y), name="square")
    text.at(b, 3)
    half = b.apply("div", square, const(2.0))
    slope = b.apply("div", b.apply("sub", x, y), b.apply("add", square, const(1.0)))
    return program("polar", b, [x, y], [half, slope])


def branches() -> Program:
    """Results of an if read further on, a side without effect, a name that C++ keeps for itself."""
    text = Text("""
def branches(x, int, double):
    y = x * 2
    z = x
    if x > int:
        y = y + int
        if y > double:
            z = y * y
            z = z - double * z
    else:
        z = int
    return y - z, z > x
""")
    x, low, high = Var("x", Float), Var("int", Float), Var("double", Float)
    b = text.at(Builder(), 2)
    y = b.apply("mul", x, const(2.0), name="y")

    def above(b: Builder) -> list[Atom]:
        text.at(b, 5)
        y1 = b.apply("add", y, low, name="y")

        def beyond(b: Builder) -> list[Atom]:
            text.at(b, 7)
            z = b.apply("mul", y1, y1, name="z")
            text.at(b, 8)
            return [b.apply("sub", z, b.apply("mul", high, z), name="z")]

        text.at(b, 6)
        (z,) = b.if_(b.apply("gt", y1, high), beyond, lambda b: [x])
        return [y1, z]

    text.at(b, 4)
    y2, z2 = b.if_(b.apply("gt", x, low), above, lambda b: [y, low])
    text.at(b, 11)
    return program(
        "branches", b, [x, low, high], [b.apply("sub", y2, z2, name="result"), b.apply("gt", z2, x, name="larger")]
    )


def fibonacci() -> Program:
    """Carries that read each other's old values."""
    text = Text("""
def fibonacci(a, b, n):
    for i in range(n):
        a, b = b, a + b
    return a
""")
    a, second, n = Var("a", Float), Var("b", Float), Var("n", Integer)
    b = text.at(Builder(), 2)

    def step(b: Builder, i: Var, carry: tuple[Var, ...]) -> list[Atom]:
        text.at(b, 3)
        return [carry[1], b.apply("add", carry[0], carry[1])]

    out = b.for_(n, [a, second], step, names=["a", "b"])
    return program("fibonacci", b, [a, second, n], [out[0]])


def swap() -> Program:
    """Carries that change places, which needs a third variable."""
    a, second, n = Var("a", Float), Var("b", Float), Var("n", Integer)
    b = Builder()
    out = b.for_(n, [a, second], lambda b, i, c: [c[1], c[0]], names=["a", "b"])
    return program("swap", b, [a, second, n], list(out))


def product_vjp() -> Program:
    """A running product with a tape, and the loop that reads it back."""
    text = Text("""
def product(x, n):
    p = 1.0
    for i in range(n):
        p = p * x
    return p
""")
    x, n, r_bar = Var("x", Float), Var("n", Integer), Var("r_bar", Float)
    b = text.at(Builder(), 3)

    def forward(b: Builder, i: Var, carry: tuple[Var, ...]) -> list[Atom]:
        return [text.at(b, 4).apply("mul", carry[0], x, name="p"), carry[0]]

    p, tape = b.for_(n, [const(1.0)], forward, names=["p", "p_tape"])

    def reverse(b: Builder, accs: tuple[Var, ...]) -> list[Atom]:
        def step(b: Builder, i: Var, carry: tuple[Var, ...]) -> list[Atom]:
            text.at(b, 4)
            (old,) = b.emit("index", [tape, i], [Float], names=["p"])
            b.emit("acc_add", [accs[0], b.apply("mul", carry[0], old)], [])
            return [b.apply("mul", carry[0], x, name="p_bar")]

        b.for_(n, [r_bar], step, reverse=True, names=["p_bar"])
        return []

    (x_bar,) = withacc(b, [const(0.0)], ["x_bar"], reverse)
    return program("[valrev product]", b, [x, n, r_bar], [p, x_bar])


def squaring_vjp() -> Program:
    """A while with a growing tape, reversed by a loop over it."""
    text = Text("""
def squaring(v, limit):
    while v < limit:
        v = v * v
    return v
""")
    v, limit, r_bar = Var("v", Float), Var("limit", Float), Var("v_bar", Float)
    b = text.at(Builder(), 2)

    def body(b: Builder, c: tuple[Var, ...]) -> list[Atom]:
        return [text.at(b, 3).apply("mul", c[0], c[0], name="v"), c[0]]

    value, tape = while_(b, [v], ["v"], lambda b, c: b.apply("lt", c[0], limit), body)
    (count,) = b.emit("size", [tape], [Integer], params={"dim": 0})

    def step(b: Builder, i: Var, carry: tuple[Var, ...]) -> list[Atom]:
        text.at(b, 3)
        (old,) = b.emit("index", [tape, i], [Float], names=["v"])
        return [b.apply("add", b.apply("mul", carry[0], old), b.apply("mul", carry[0], old), name="v_bar")]

    (v_bar,) = b.for_(count, [r_bar], step, reverse=True, names=["v_bar"])
    return program("[valrev squaring]", b, [v, limit, r_bar], [value, v_bar])


def counted_vjp() -> Program:
    """A while that counts its iterations: the count bounds the tape, so that reading it back needs no check."""
    v, r_bar = Var("v", Float), Var("v_bar", Float)
    b = Builder()

    def body(b: Builder, c: tuple[Var, ...]) -> list[Atom]:
        halved = b.apply("mul", b.apply("mul", c[1], c[1]), const(0.25), name="v")
        return [b.apply("add", c[0], const(1)), halved, c[1]]

    def cond(b: Builder, c: tuple[Var, ...]) -> Atom:
        return b.apply("and", b.apply("lt", c[0], const(5)), b.apply("gt", c[1], const(0.5)))

    trips, value, tape = while_(b, [const(0), v], ["trips", "v"], cond, body)

    def step(b: Builder, i: Var, carry: tuple[Var, ...]) -> list[Atom]:
        (old,) = b.emit("index", [tape, i], [Float], names=["v"])
        return [b.apply("mul", b.apply("mul", carry[0], old), const(0.5), name="v_bar")]

    (v_bar,) = b.for_(trips, [r_bar], step, reverse=True, names=["v_bar"])
    return program("[valrev counted]", b, [v, r_bar], [value, v_bar])


def collatz() -> Program:
    """A condition that needs statements, integers, and a loop-carried branch."""
    n, most = Var("n", Integer), Var("most", Integer)
    b = Builder()

    def cond(b: Builder, c: tuple[Var, ...]) -> Atom:
        def inside(b: Builder) -> list[Atom]:
            return [b.apply("lt", b.apply("mul", c[1], c[1]), most)]

        (go,) = b.if_(b.apply("ne", c[0], const(1)), inside, lambda b: [const(False)])
        return go

    def body(b: Builder, c: tuple[Var, ...]) -> list[Atom]:
        (halves,) = b.emit("call", [c[0]], [Integer], names=["half"], params={"callee": "half"})
        odd = b.apply("ne", b.apply("mul", halves, const(2)), c[0])

        def up(b: Builder) -> list[Atom]:
            return [b.apply("add", b.apply("mul", c[0], const(3)), const(1))]

        (following,) = b.if_(odd, up, lambda b: [halves])
        return [following, b.apply("add", c[1], const(1))]

    end, steps = while_(b, [n, const(0)], ["n", "steps"], cond, body)
    return program("collatz", b, [n, most], [end, steps], half=_half())


def _half() -> Function:
    """n // 2 for n >= 0, by a loop."""
    n = Var("n", Integer)
    b = Builder()

    def step(b: Builder, i: Var, c: tuple[Var, ...]) -> list[Atom]:
        more = b.apply("lte", b.apply("add", b.apply("mul", c[0], const(2)), const(2)), n)
        (out,) = b.if_(more, lambda b: [b.apply("add", c[0], const(1))], lambda b: [c[0]])
        return [out]

    (q,) = b.for_(n, [const(0)], step, names=["q"])
    return Function("half", b.block([n], [q]))


def power() -> Program:
    """Recursion, with the stack checked."""
    text = Text("""
def power(x: float, n: int) -> float:
    if n <= 0:
        return 1.0
    return x * power(x, n - 1)
""")
    x, n = Var("x", Float), Var("n", Integer)
    b = text.at(Builder(), 2)

    def deeper(b: Builder) -> list[Atom]:
        text.at(b, 4)
        (rest,) = b.emit("call", [x, b.apply("sub", n, const(1))], [Float], params={"callee": "power"})
        return [b.apply("mul", x, rest)]

    out = b.if_(b.apply("lte", n, const(0)), lambda b: [const(1.0)], deeper)
    function = Function("power", b.block([x, n], out), span(text.lines, 1))
    return Program({"power": function}, "power")


def parity() -> Program:
    """Mutual recursion, which needs declarations ahead."""

    def one(name: str, other: str, at_zero: bool) -> Function:
        n = Var("n", Integer)
        b = Builder()

        def deeper(b: Builder) -> list[Atom]:
            return list(b.emit("call", [b.apply("sub", n, const(1))], [BoolType()], params={"callee": other}))

        out = b.if_(b.apply("lte", n, const(0)), lambda b: [const(at_zero)], deeper)
        return Function(name, b.block([n], out))

    functions = {"even": one("even", "odd", True), "odd": one("odd", "even", False)}
    return Program(functions, "even")


def boxes() -> Program:
    """The residuals of a recursion in records: the power above and its reverse."""
    box = BoxType("[power residuals]")

    def forward() -> Function:
        x, n = Var("x", Float), Var("n", Integer)
        b = Builder()

        def deeper(b: Builder) -> list[Atom]:
            args = [x, b.apply("sub", n, const(1))]
            rest, inner = b.emit(
                "call", args, [Float, box], names=["rest", "inner"], params={"callee": "[suffwdpass power]"}
            )
            (own,) = b.emit("box", [rest, inner], [box], names=["residuals"], params={"name": box.name})
            return [b.apply("mul", x, rest), own]

        out = b.if_(b.apply("lte", n, const(0)), lambda b: [const(1.0), Const(None, box)], deeper)
        return Function("[suffwdpass power]", b.block([x, n], out))

    def reverse() -> Function:
        x, n, r_bar, residuals = Var("x", Float), Var("n", Integer), Var("r_bar", Float), Var("residuals", box)
        b = Builder()

        def deeper(b: Builder) -> list[Atom]:
            rest, inner = b.emit("unbox", [residuals], [Float, box], names=["rest", "inner"])
            args = [x, b.apply("sub", n, const(1)), b.apply("mul", x, r_bar), inner]
            (x_bar,) = b.emit("call", args, [Float], names=["x_bar"], params={"callee": "[sufrevpass power]"})
            return [b.apply("add", x_bar, b.apply("mul", rest, r_bar), name="x_bar")]

        out = b.if_(b.apply("lte", n, const(0)), lambda b: [const(0.0)], deeper)
        return Function("[sufrevpass power]", b.block([x, n, r_bar, residuals], out))

    x, n, r_bar = Var("x", Float), Var("n", Integer), Var("r_bar", Float)
    b = Builder()
    p, residuals = b.emit(
        "call", [x, n], [Float, box], names=["p", "residuals"], params={"callee": "[suffwdpass power]"}
    )
    args = [x, n, r_bar, residuals]
    (x_bar,) = b.emit("call", args, [Float], names=["x_bar"], params={"callee": "[sufrevpass power]"})
    functions = {f.name: f for f in (forward(), reverse())}
    functions["[valrev power]"] = Function("[valrev power]", b.block([x, n, r_bar], [p, x_bar]))
    return Program(functions, "[valrev power]", {box.name: (Float, box)})


def checked() -> Program:
    """An assert, and an index that may be out of range."""
    text = Text("""
def checked(x, i):
    assert x >= 0, "x must not be \\"negative\\""
    table = [x * k for k in range(4)]
    return table[i]
""")
    x, i = Var("x", Float), Var("i", Integer)
    b = text.at(Builder(), 2)
    b.emit("assert", [b.apply("gte", x, const(0.0))], [], params={"message": 'x must not be "negative"'})
    text.at(b, 3)

    def step(b: Builder, k: Var, c: tuple[Var, ...]) -> list[Atom]:
        return [b.apply("add", c[0], x), c[0]]

    _, table = b.for_(const(4), [const(0.0)], step, names=["total", "table"])
    text.at(b, 4)
    (out,) = b.emit("index", [table, i], [Float])
    return program("checked", b, [x, i], [out])


def tensors() -> Program:
    """Build, reduce, update, accumulation into a tensor, parts of one, and a stack of tensors."""
    x, n = Var("x", Float), Var("n", Integer)
    vector, matrix = TensorType(1, Float), TensorType(2, Float)
    b = Builder()

    inner = Builder()
    i, j = Var("i", Integer), Var("j", Integer)
    larger = inner.apply("lt", i, j)
    cell = inner.apply("select", larger, x, inner.apply("mul", x, x))
    (grid,) = b.emit("build", [n, const(3)], [matrix], names=["grid"], blocks=[inner.block([i, j], [cell])])

    def rows(b: Builder, k: Var, c: tuple[Var, ...]) -> list[Atom]:
        (row,) = b.emit("index", [grid, k], [vector], names=["row"])
        (changed,) = b.emit("update", [row, const(1), c[0]], [vector], names=["changed"])
        (first,) = b.emit("index", [changed, const(0)], [Float], names=["first"])
        return [b.apply("add", c[0], first), changed]

    last, stacked = b.emit(
        "for",
        [n, const(0.5)],
        [Float, matrix],
        names=["s", "rows"],
        params={"carries": 1, "reverse": False},
        blocks=[_body(rows, [Var("k", Integer), Var("s", Float)])],
    )

    def total(b: Builder, accs: tuple[Var, ...]) -> list[Atom]:
        def step(b: Builder, k: Var, c: tuple[Var, ...]) -> list[Atom]:
            (row,) = b.emit("index", [stacked, k], [vector], names=["row"])
            b.emit("acc_add", [accs[0], row], [])
            b.emit("acc_add", [accs[0], const(2), b.apply("neg", c[0])], [])
            return [c[0]]

        b.for_(n, [last], step)
        return []

    zeros = Builder()
    (start,) = b.emit("build", [const(3)], [vector], blocks=[zeros.block([Var("i", Integer)], [const(0.0)])])
    (sums,) = withacc(b, [start], ["sums"], total)
    folded = Builder()
    i = Var("i", Integer)
    (term,) = folded.emit("index", [sums, i], [Float])
    square = folded.apply("mul", term, term)
    (norm,) = b.emit(
        "reduce", [const(3)], [Float], names=["norm"], params={"monoid": "add"}, blocks=[folded.block([i], [square])]
    )
    return program("tensors", b, [x, n], [norm, last])


def _body(fn: Callable[[Builder, Var, tuple[Var, ...]], list[Atom]], params: list[Var]) -> Block:
    b = Builder()
    results = fn(b, params[0], tuple(params[1:]))
    return b.block(params, results)


def constants() -> Program:
    """Numbers that need care, and results of every scalar type."""
    x, unused = Var("x", Float), Var("unused", Integer)
    b = Builder()
    biggest = b.apply("add", x, const(1.7976931348623157e308))
    tiny = b.apply("mul", x, const(5e-324))
    hole = b.apply("sub", b.apply("neg", const(-0.1)), b.apply("mul", x, const(-math.inf)))
    nothing = b.apply("add", const(math.nan), x)
    return program(
        "constants",
        b,
        [x, unused],
        [biggest, tiny, hole, nothing, const(-0.0), const(-(2**63)), const(2**40), const(True)],
    )


def dead_code() -> Program:
    """Nothing that is not needed is printed: a carry, an out of an if, a result of a call, a parameter."""
    x, y, n = Var("x", Float), Var("y", Float), Var("n", Integer)
    b = Builder()
    b.apply("mul", x, x, name="waste")

    def step(b: Builder, i: Var, c: tuple[Var, ...]) -> list[Atom]:
        wasted = b.apply("add", c[1], const(1.0))
        return [b.apply("add", c[0], x), wasted, wasted]

    kept, _, _ = b.for_(n, [const(0.0), const(0.0)], step, names=["kept", "wasted", "tape"])
    sides = b.if_(b.apply("lt", x, const(0.0)), lambda b: [kept, x], lambda b: [b.apply("neg", kept), kept])
    (first, _) = b.emit("call", [sides[0], x], [Float, Float], names=["first", "second"], params={"callee": "polar"})
    return program("dead_code", b, [x, y, n], [first], polar=two_results().main)


SAMPLES: dict[str, Callable[[], Program]] = {
    make.__name__: make
    for make in (
        relu3,
        relu3_vjp,
        two_results,
        branches,
        fibonacci,
        swap,
        product_vjp,
        squaring_vjp,
        counted_vjp,
        collatz,
        power,
        parity,
        boxes,
        checked,
        tensors,
        constants,
        dead_code,
    )
}

__all__ = ["SAMPLES", "Eqn", "program", "while_", "withacc"]
