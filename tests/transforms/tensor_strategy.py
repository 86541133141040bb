"""Random programs whose loops and branches change tensors: two vectors, a matrix, a vector of indices and a number."""

from hypothesis import strategies as st

from ksc.ir.builder import Builder
from ksc.ir.nodes import Block, Function, Program, Var, const
from ksc.ir.types import Float, Integer, TensorType

SIZE, ROWS = 4, 3
VECTOR = TensorType(1, Float)
MATRIX = TensorType(2, Float)
INDICES = TensorType(1, Integer)
STATE = {"x": VECTOR, "y": VECTOR, "m": MATRIX, "q": INDICES, "s": Float}


class Writer:
    """Writes statements over the state; each names the variables that now hold it."""

    def __init__(self, draw):
        self.draw = draw
        self.left = draw(st.integers(2, 14), label="statements")

    def pick(self, *options):
        return self.draw(st.sampled_from(options))

    def integer(self, b, state, bound, indices):
        """An Integer in range(bound)."""
        kind = self.pick("const", "loop", "read", "sum") if indices else self.pick("const", "read")
        if kind == "const":
            return const(self.draw(st.integers(0, bound - 1)))
        if kind == "read":
            (value,) = b.emit("index", [state["q"], const(self.draw(st.integers(0, SIZE - 1)))], [Integer])
        elif kind == "sum":
            value = b.apply("add", self.pick(*indices), const(self.draw(st.integers(0, 3))))
        else:
            value = self.pick(*indices)
        return b.apply("imod", value, const(bound))

    def number(self, b, state, indices, depth=2):
        """A Float between about -3 and 3."""
        kind = self.pick("const", "s", "vector", "matrix", "mul", "sin", "add", "cos")
        if depth == 0 and kind in ("mul", "sin", "add", "cos"):
            kind = "vector"
        match kind:
            case "const":
                return const(self.draw(st.integers(-8, 8)) / 8)
            case "s":
                return state["s"]
            case "vector":
                at = self.integer(b, state, SIZE, indices)
                return b.emit("index", [state[self.pick("x", "y")], at], [Float])[0]
            case "matrix":
                at = self.integer(b, state, ROWS, indices), self.integer(b, state, SIZE, indices)
                return b.emit("index", [state["m"], *at], [Float])[0]
            case "sin" | "cos":
                return b.apply(kind, self.number(b, state, indices, depth - 1))
            case _:
                parts = [self.number(b, state, indices, depth - 1) for _ in range(2)]
                return b.apply(kind, *parts) if kind == "mul" else b.apply("sin", b.apply(kind, *parts))

    def row(self, b, state, indices):
        """A vector built of the state."""
        inner = Builder()
        j = Var("j", Integer)
        element = inner.apply("sin", self.number(inner, state, (*indices, j)))
        return b.emit("build", [const(SIZE)], [VECTOR], blocks=[inner.block([j], [element])])[0]

    def statement(self, b, state, indices, depth):
        """Emit one statement; the state after it."""
        self.left -= 1
        kinds = ["element", "element", "cell", "row", "number", "indices", "bind", "swap", "sum"]
        if depth > 0:
            kinds += ["if", "for", "while"] * 3
        match self.pick(*kinds):
            case "element":
                name = self.pick("x", "y")
                at = self.integer(b, state, SIZE, indices)
                value = b.apply("sin", self.number(b, state, indices))
                return {**state, name: b.emit("update", [state[name], at, value], [VECTOR])[0]}
            case "cell":
                at = self.integer(b, state, ROWS, indices), self.integer(b, state, SIZE, indices)
                value = self.number(b, state, indices)
                return {**state, "m": b.emit("update", [state["m"], *at, b.apply("sin", value)], [MATRIX])[0]}
            case "row":
                at = self.integer(b, state, ROWS, indices)
                return {**state, "m": b.emit("update", [state["m"], at, self.row(b, state, indices)], [MATRIX])[0]}
            case "number":
                return {**state, "s": b.apply("sin", self.number(b, state, indices))}
            case "indices":
                at = self.integer(b, state, SIZE, indices)
                value = self.integer(b, state, SIZE, indices)
                return {**state, "q": b.emit("update", [state["q"], at, value], [INDICES])[0]}
            case "bind":
                return {**state, self.pick("x", "y"): self.row(b, state, indices)}
            case "swap":
                return {**state, "x": state["y"], "y": state["x"]}
            case "sum":
                inner = Builder()
                j = Var("j", Integer)
                block = inner.block([j], [self.number(inner, state, (*indices, j))])
                (total,) = b.emit("reduce", [const(SIZE)], [Float], params={"monoid": "add"}, blocks=[block])
                return {**state, "s": b.apply("sin", total)}
            case "if":
                cond = b.apply("lt", self.number(b, state, indices), const(self.draw(st.integers(-9, 9)) / 10))
                return self.if_(b, state, indices, depth, cond)
            case "for":
                return self.for_(b, state, indices, depth)
            case _:
                return self.while_(b, state, indices, depth)

    def block(self, b, state, indices, depth):
        for _ in range(self.draw(st.integers(0, 3))):
            if self.left > 0:
                state = self.statement(b, state, indices, depth)
        return state

    def if_(self, b, state, indices, depth, cond):
        sides = []
        for _ in range(2):
            inner = Builder()
            after = self.block(inner, state, indices, depth - 1)
            sides.append(inner.block([], after.values()))
        return dict(zip(STATE, b.emit("if", [cond], STATE.values(), names=list(STATE), blocks=sides), strict=True))

    def for_(self, b, state, indices, depth):
        count = self.integer(b, state, 5, indices)
        i, carries = Var("i", Integer), {name: Var(name, type_) for name, type_ in STATE.items()}
        inner = Builder()
        after = self.block(inner, carries, (*indices, i), depth - 1)
        params = {"carries": len(STATE), "reverse": self.draw(st.booleans())}
        if self.draw(st.booleans()):
            params["checkpoint"] = self.draw(st.integers(0, 3))
        block = inner.block([i, *carries.values()], after.values())
        args = [count, *state.values()]
        outs = b.emit("for", args, STATE.values(), names=list(STATE), params=params, blocks=[block])
        return dict(zip(STATE, outs, strict=True))

    def while_(self, b, state, indices, depth):
        """A loop of at most four iterations that a condition on the state may leave."""
        carries = {name: Var(name, type_) for name, type_ in STATE.items()}
        seen = {name: Var(name, type_) for name, type_ in STATE.items()}
        k, counter = Var("k", Integer), Var("k", Integer)
        head, inner = Builder(), Builder()
        go_on = head.apply("lt", self.number(head, seen, (counter,)), const(self.draw(st.integers(0, 20)) / 10))
        test = head.apply("and", head.apply("lt", counter, const(4)), go_on)
        after = self.block(inner, carries, (*indices, k), depth - 1)
        following = inner.apply("add", k, const(1))
        blocks = [
            head.block([counter, *seen.values()], [test]),
            inner.block([k, *carries.values()], [following, *after.values()]),
        ]
        params = {"carries": 1 + len(STATE)}
        if self.draw(st.booleans()):
            params["checkpoint"] = self.draw(st.integers(1, 3))
        args = [const(0), *state.values()]
        types = [Integer, *STATE.values()]
        _, *outs = b.emit("while", args, types, names=["k", *STATE], params=params, blocks=blocks)
        return dict(zip(STATE, outs, strict=True))


@st.composite
def tensor_programs(draw):
    """A program of a vector, a matrix, indices and a number; its results are all of its state."""
    writer = Writer(draw)
    b = Builder()
    params = {name: Var(name, type_) for name, type_ in STATE.items()}
    state = dict(params)
    while writer.left > 0:
        state = writer.statement(b, state, (), 3)
    results = [state[name] for name in STATE]
    body = Block(tuple(params.values()), tuple(b.eqns), tuple(results))
    return Program({"f": Function("f", body)}, "f")


def arguments(rng):
    """Arguments for such a program."""
    shapes = {"x": (SIZE,), "y": (SIZE,), "m": (ROWS, SIZE), "s": ()}
    floats = {name: rng.uniform(-1.5, 1.5, size=shape) for name, shape in shapes.items()}
    return [floats["x"], floats["y"], floats["m"], rng.integers(0, SIZE, size=SIZE), float(floats["s"])]
