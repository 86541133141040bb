"""Random programs of loops over points that multiply with matrices which all points share, as on a GPU go by pieces.

They are the sums of ``tests.strategies.packs`` with sums of products within: rows of any matrices or of their lower
triangles, of what is read in any order or computed from it, with what a point computed before.
"""

from __future__ import annotations

import random

from tests.strategies.packs import Scope, Writer
from tests.strategies.statements import Lines, indented
from tests.strategies.tensors import TensorProgram
from tests.strategies.tensors_scope import Dims

PARAMETERS: tuple[tuple[str, Dims], ...] = (
    ("x", ("n",)),
    ("w", ("m",)),
    ("a", ("n", "m")),
    ("b", ("m", "m")),
    ("p", ("3", "m", "m")),
    ("v", ("3", "m")),
    ("y", ("n",)),
    ("c", ("n", "3")),
)
POINTS = ((4, 3), (5, 2), (3, 4), (1, 3), (2, 1), (4, 0), (0, 3), (6, 5), (7, 3))
ROWS = ("range(m)",) * 12 + ("range(m - 1)", "range(1, m)", "range(m - 1, -1, -1)", "range(2)")
COLUMNS = (
    ("range(m)",) * 8 + ("range({r})",) * 8 + ("range({r} + 1)", "range({r}, m)", "range({r} + 1, m)", "range(1, m)")
)


class LaneWriter(Writer):
    """Writes sums of products where a point writes other sums."""

    components = ""

    def statement(self, scope: Scope, depth: int) -> Lines:
        kind = self.choose.randrange(9)
        if kind <= 4 and depth > 0:
            return self.products(scope)
        if kind <= 6 and depth > 0:
            return self.mixed(scope)
        return super().statement(scope, depth)

    def mixed(self, scope: Scope) -> Lines:
        """Products for each of three components, and what is made of them all."""
        name, k = self.name("t"), self.name("k")
        before, self.components = self.components, k
        inside = scope.inner()
        lines = self.products(inside)
        if self.chance(3):
            lines += self.products(inside)
        value = self.number(inside, 1)
        self.components = before
        total = self.name("s")
        scope.numbers.append(total)
        form = self.choose.choice(("torch.logsumexp({}, 0)", "{}.sum()", "torch.max({})", "torch.softmax({}, 0)[1]"))
        lines += [f"{name}[{k}] = {value} + {inside.numbers[-1]}"]
        return [f"{name} = torch.zeros(3)", f"for {k} in range(3):", *indented(lines), f"{total} = {form.format(name)}"]

    def products(self, scope: Scope) -> Lines:
        """A sum over rows of what is made of a row times what a point has; or a row of these."""
        r, j, total = self.name("r"), self.name("j"), self.name("s")
        inside = scope.inner(r)
        start = self.choose.choice(("0.0", "0.0", f"1.5 * {self.shared(r, r)}", f"0.5 * {self.own(inside, r)}"))
        lines = self.block(inside, 1, 0) if self.chance(5) else []
        lines += [f"{total} = {start}", f"for {j} in {self.choose.choice(COLUMNS).format(r=r)}:"]
        lines += indented(self.terms(inside, r, j, total))
        inside.numbers.append(total)
        if self.chance(4):
            lines += [f"if {self.condition(inside, 0)}:", f"    {total} = {self.number(inside, 1)}"]
        value = self.choose.choice((total, f"{total} * {total}", f"torch.tanh({total})", self.number(inside, 1)))
        if self.chance(4):
            lines += self.adds(inside)
        whole = self.name("s")
        scope.numbers.append(whole)
        if self.chance(2):
            row = self.name("t")
            scope.rows.append(row)
            start, add, last = f"{row} = torch.zeros(m)", f"{row}[{r}] = {value}", [f"{whole} = {row}.sum()"]
        else:
            start, add, last = f"{whole} = 0.0", f"{whole} {self.choose.choice(('+=', '-='))} {value}", []
        return [start, f"for {r} in {self.choose.choice(ROWS)}:", *indented([*lines, add]), *last]

    def terms(self, scope: Scope, r: str, j: str, total: str) -> Lines:
        inside = scope.inner(j)
        one, other = self.shared(r, j), self.own(inside, j)
        if self.chance(2):
            one, other = other, one
        term = self.choose.choice(
            (*(f"{one} * {other}",) * 9, f"-({one} * {other})", f"{one} * {other} * {self.leaf(inside)}")
        )
        lines = [f"{total} {self.choose.choice(('+=',) * 6 + ('-=',))} {term}"]
        if self.chance(12):
            lines = [f"if {self.condition(inside, 0)}:", *indented(lines)]
        return [*lines, *self.adds(inside)] if self.chance(10) else lines

    def shared(self, r: str, j: str) -> str:
        """An element of a matrix that all points share."""
        found = []
        if "b" in self.has:
            found += [f"b[{r}, {j}]"] * 4 + [f"b[{j}, {r}]", f"b[{r} - 1, {j}]", f"b[m - 1 - {r}, {j}]"]
            found += [f"(b[{r}, {j}] + w[{j}])", f"b[{r}, m - 1 - {j}]", f"torch.sin(b[{r}, {j}])"]
        if "p" in self.has:
            k = self.components or "1"
            found += [f"p[{k}, {r}, {j}]"] * 6 + [f"p[2 - {k}, {j}, {r}]", f"(p[{k}, {r}, {j}] / (1 + {r}))"]
        return self.choose.choice(found)

    def own(self, scope: Scope, j: str) -> str:
        """What a point has at an index."""
        found = [f"a[i, {j}]"] * 3 + [f"(a[i, {j}] - w[{j}])", f"torch.sin(a[i, {j}])", f"(a[i, {j}] * x[i])"]
        found += [
            f"a[i, m - 1 - {j}]",
            f"a[n - 1 - i, {j}]",
            f"torch.where(a[i, {j}] > 0, w[{j}], x[i])",
            f"a[i, {j} - 1]",
        ]
        if "v" in self.has:
            found += [f"(a[i, {j}] - v[{self.components or '1'}, {j}])"] * 4
        found += [f"({self.choose.choice(scope.numbers)} * a[i, {j}])"] if scope.numbers else []
        for row in scope.rows:
            found += [f"{row}[{j}]"] * 2 + [f"({row}[{j}] - x[i])", f"{row}[m - 1 - {j}]"]
        return self.choose.choice(found)


def lane_program(seed: int, points: int = 3) -> TensorProgram:
    """The program of a seed."""
    choose = random.Random(seed)
    used = [p for p in PARAMETERS if p[0] in "xwa" or choose.random() < 0.5]
    if not {"b", "p"} & {name for name, _ in used}:
        used.append(PARAMETERS[3])
    writer = LaneWriter(choose, [name for name, _ in used])
    head = f"def entry({', '.join(name for name, _ in used)}, count):"
    source = "\n".join(["import torch", "", head, *indented(writer.program())]) + "\n"
    where = tuple((*sizes, choose.randrange(1000)) for sizes in choose.sample(POINTS, points))
    return TensorProgram(source, (*(dims for _, dims in used), "int"), where)
