"""Random programs whose outermost loop only adds to sums: the loops that run side by side, in packs of registers.

They are sums over ``n`` points, with short loops over ``m`` in each, local rows, choices and functions, as a likelihood
or an energy is written. Sizes of ``n`` lie around the lanes of a pack on any machine.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from tests.strategies.statements import Lines, indented
from tests.strategies.tensors import TensorProgram
from tests.strategies.tensors_scope import Dims

LENGTHS = (0, 15, 16, 17, 31, 32, 33, 50, 98)
"""Of points: around 16 and 32, which are a pack of float64 with registers of 32 and of 64 bytes, and some packs and a rest."""

WIDTHS = (3, 2, 4, 5, 0)
"""Of a point, and of what stands beside the points."""

PARAMETERS: tuple[tuple[str, Dims], ...] = (
    ("x", ("n",)),
    ("w", ("m",)),
    ("a", ("n", "m")),
    ("b", ("m", "m")),
    ("y", ("n",)),
    ("c", ("n", "3")),
)


@dataclass(slots=True)
class Scope:
    """What is in sight: numbers, rows of ``m`` numbers, and indices below ``m``."""

    numbers: list[str] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)
    indices: list[str] = field(default_factory=list)

    def inner(self, *indices: str) -> Scope:
        return Scope(list(self.numbers), list(self.rows), [*self.indices, *indices])


class Writer:
    """Writes one program; ``matrices`` are the parameters that it may read beside ``x`` and ``w``."""

    def __init__(self, choose: random.Random, parameters: list[str]) -> None:
        self.choose = choose
        self.has = set(parameters)
        self.count = 0
        self.totals: list[str] = []

    def name(self, stem: str) -> str:
        self.count += 1
        return f"{stem}{self.count}"

    def chance(self, k: int) -> bool:
        return self.choose.randrange(k) == 0

    # Numbers.

    def leaf(self, scope: Scope) -> str:
        """A number that torch holds as a tensor."""
        own = ["x[i]", *(["y[i]"] if "y" in self.has else [])]
        if "c" in self.has:
            own.append(f"c[i, {self.choose.randrange(3)}]")
        found = [self.choose.choice(own), self.choose.choice(own)]
        if scope.indices:
            k, j = (self.choose.choice(scope.indices) for _ in range(2))
            found += [f"w[{k}]", f"w[{k}]", *(f"{row}[{k}]" for row in scope.rows)]
            if "a" in self.has:
                found += [f"a[i, {k}]", f"a[i, {k}]"]
            if "b" in self.has:
                found += [f"b[{k}, {j}]", f"b[{k}, {j}]"]
        return self.choose.choice(found)

    def number(self, scope: Scope, depth: int) -> str:
        """An expression; it may be a float of Python only where it is a name."""
        kind = self.choose.randrange(16) if depth > 0 else 0
        if kind <= 2:
            return self.choose.choice(scope.numbers) if scope.numbers and self.chance(2) else self.leaf(scope)
        one = self.number(scope, depth - 1)
        if kind <= 4:
            return f"({one} {self.choose.choice('+-')} {self.number(scope, depth - 1)})"
        if kind <= 7:
            return f"({one} * {self.number(scope, depth - 1)})"
        if kind == 8:
            return f"({one} {self.choose.choice('+-*')} {self.choose.choice(('0.5', '2', '1.5', *scope.indices))})"
        if kind == 9:
            return f"({one} / (1.5 + {self.leaf(scope)} ** 2))"
        if kind == 10:
            return f"torch.where({self.condition(scope, depth - 1)}, {one}, {self.number(scope, depth - 1)})"
        if kind == 11:
            name = self.choose.choice(("maximum", "minimum"))
            return f"torch.{name}({one} + {self.leaf(scope)}, {self.leaf(scope)})"
        if kind == 12 and scope.rows:
            form = self.choose.choice(("{}.sum()", "({} * w).sum()", "torch.logsumexp({}, 0)", "({} @ w)", "{}.norm()"))
            return form.format(self.choose.choice(scope.rows))
        if kind == 13:
            return f"(-{one})"
        forms = (
            "torch.tanh({})", "torch.sin({})", "torch.exp(-({}) ** 2)", "torch.sqrt(0.5 + ({}) ** 2)", "torch.sigmoid({})",
            "torch.log1p(({}) ** 2)", "torch.abs({})", "torch.erf({})", "({}) ** 3", "torch.clamp({}, -1.0, 1.5)",
            "torch.nn.functional.softplus({})", "torch.relu({})", "torch.atan({})", "torch.cosh(torch.tanh({}))",
        )  # fmt: skip
        return self.choose.choice(forms).format(f"{one} + {self.leaf(scope)}")

    def condition(self, scope: Scope, depth: int) -> str:
        left, right = f"{self.number(scope, depth)} + {self.leaf(scope)}", self.choose.choice(("0.1", self.leaf(scope)))
        found = f"({left} {self.choose.choice(('<', '>', '<=', '>='))} {right})"
        if self.chance(5):
            return f"({found} {self.choose.choice('&|')} {self.condition(scope, 0)})"
        return f"~{found}" if self.chance(6) else found

    def same(self, scope: Scope) -> str:
        """A condition that holds for all points or for none."""
        options = ["count > 2", "w.sum() > 0.3", *(f"{k} % 2 == 0" for k in scope.indices)]
        options += [f"w[{k}] > 0.2" for k in scope.indices]
        return self.choose.choice(options)

    def row(self, scope: Scope) -> str:
        """A row of ``m`` numbers that differ between points."""
        known = [*scope.rows, "w", *(["a[i]", "a[i]"] if "a" in self.has else [])]
        one = self.choose.choice(known)
        forms = ["{} * x[i]", "{} + w", "torch.tanh({})", "torch.exp(-{} ** 2)", "x[i] - {}", "{} * {}", "{}.flip(0)"]
        if "b" in self.has:
            forms += ["b @ {}", "{} @ b"]
            forms += [f"{{}} - b[{k}]" for k in scope.indices]
        forms += ["torch.softmax({}, 0)", "torch.cumsum({}, 0)", "torch.where({} > 0.1, w, x[i])"]
        return self.choose.choice(forms).replace("{}", one)

    # Statements of an iteration.

    def block(self, scope: Scope, statements: int, depth: int) -> Lines:
        lines: Lines = []
        for _ in range(self.choose.randint(1, statements)):
            lines += self.statement(scope, depth)
        return lines

    def statement(self, scope: Scope, depth: int) -> Lines:
        kind = self.choose.randrange(12)
        if kind <= 4 and depth > 0:
            return self.loop(scope, depth)
        if kind == 5 and depth > 0:
            return self.filled(scope, depth)
        if kind == 6:
            name = self.name("r")
            line = f"{name} = {self.row(scope)}"
            scope.rows.append(name)
            return [line]
        if kind == 7 and depth > 0:
            inside = self.block(scope.inner(), 2, depth - 1)
            if scope.numbers:
                inside.append(f"{self.choose.choice(scope.numbers)} = {self.number(scope, 2)}")
            other = ["else:", *indented(self.adds(scope))] if self.chance(2) else []
            return [f"if {self.same(scope)}:", *indented(inside), *other]
        if kind == 8 and scope.numbers:
            sign = self.choose.choice(("+=", "-=", "*="))
            return [f"{self.choose.choice(scope.numbers)} {sign} {self.number(scope, 1)}"]
        if kind <= 10:
            name = self.name("s")
            line = f"{name} = {self.number(scope, 2)}"
            scope.numbers.append(name)
            return [line]
        return self.adds(scope)

    def adds(self, scope: Scope) -> Lines:
        """An addition to a sum of all points."""
        return [f"{self.choose.choice(self.totals)} {self.choose.choice(('+=', '+=', '-='))} {self.number(scope, 2)}"]

    def digest(self, scope: Scope) -> str:
        """A number that all that is in sight has a part in."""
        parts = [*(f"0.{k + 3} * {name}" for k, name in enumerate(scope.numbers[-5:]))]
        parts += [f"({row} * w).sum()" for row in scope.rows[-2:]]
        return " + ".join(parts) or "x[i]"

    def head(self, scope: Scope) -> tuple[str, str]:
        k = self.name("k")
        counts = ["range(m)", "range(m)", "range(m)", "range(m - 1, -1, -1)", "range(min(count, m))"]
        counts += [f"range({j})" for j in scope.indices]
        return k, self.choose.choice(counts)

    def loop(self, scope: Scope, depth: int) -> Lines:
        """A short loop that carries a number, or adds to what is there."""
        k, counts = self.head(scope)
        inside = scope.inner(k)
        total = self.name("s")
        inside.numbers.append(total)
        start = self.choose.choice(("0.0", f"{self.leaf(scope)} * 0.5", "1.0"))
        lines = self.block(inside, 2, depth - 1)
        step = self.number(inside, 2)
        if self.chance(5):
            step = f"{total} = 0.5 * {total} + {step}"
        else:
            step = f"{total} {self.choose.choice(('+=', '+=', '-='))} {step}"
        scope.numbers.append(total)
        return [f"{total} = {start}", f"for {k} in {counts}:", *indented([*lines, step])]

    def filled(self, scope: Scope, depth: int) -> Lines:
        """A row that is filled in a loop."""
        name, k = self.name("t"), self.name("k")
        inside = scope.inner(k)
        lines = self.block(inside, 2, depth - 1)
        value = self.number(inside, 2)
        scope.rows.append(name)
        return [f"{name} = torch.zeros(m)", f"for {k} in range(m):", *indented([*lines, f"{name}[{k}] = {value}"])]

    # The program.

    def points(self) -> Lines:
        """A loop over all points."""
        scope = Scope()
        lines = [*self.block(scope, 2, 2), f"{self.choose.choice(self.totals)} += {self.digest(scope)}"]
        heads = ("for i in range(n):",) * 4 + ("for i in range(n - 1, -1, -1):",)
        return [self.choose.choice(heads), *indented(lines)]

    def program(self) -> Lines:
        self.totals = [self.name("total") for _ in range(self.choose.choice((1, 1, 2)))]
        lines = ["n = x.shape[0]", "m = w.shape[0]", *(f"{name} = 0.0" for name in self.totals), *self.points()]
        if self.chance(6):
            lines += self.points()
        shown = [f"{name} + 0.5 * w.sum()" for name in self.totals]
        if self.chance(3):
            shown = [f"torch.tanh(0.01 * ({one}))" for one in shown]
        return [*lines, f"return ({', '.join(shown)})"]


def pack_program(seed: int, points: int = 2) -> TensorProgram:
    """The program of a seed."""
    choose = random.Random(seed)
    used = [p for p in PARAMETERS if p[0] in "xw" or choose.random() < 0.5]
    lines = Writer(choose, [name for name, _ in used]).program()
    head = f"def entry({', '.join(name for name, _ in used)}, count):"
    source = "\n".join(["import torch", "", head, *indented(lines)]) + "\n"
    where = tuple((n, choose.choice(WIDTHS), choose.randrange(1000)) for n in choose.sample(LENGTHS, points))
    return TensorProgram(source, (*(dims for _, dims in used), "int"), where)
