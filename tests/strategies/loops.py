"""Random programs of loops over tensors, a family for what each pass that rearranges loops looks for.

A program has a statement or two of its family, between statements of any. Numbers are read at indices that repeat, rows
of a table that takes loops, tangents that are zero in most directions, products of matrices, sums by rows and columns.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from tests.strategies.scope import Chooser
from tests.strategies.statements import Lines, indented
from tests.strategies.tensors import Argument, TensorProgram
from tests.strategies.tensors_scope import Dims, SeededChooser

PARAMETERS: dict[str, Dims | str] = {
    "x": ("n",),
    "y": ("n",),
    "w": ("m",),
    "a": ("n", "m"),
    "b": ("n", "m"),
    "q": ("m", "m"),
    "c": ("n", "3"),
    "p": ("3", "m", "m"),
    "z": ("20",),
    "h": ("n", "20"),
    "at": "indices n of m",
    "to": "indices m of n",
    "count": "int",
}
"""Of the entry; ``at`` are indices below ``n``, as many as ``m``, and ``to`` the other way round."""

POINTS = ((3, 2), (2, 3), (4, 4), (1, 3), (3, 1), (0, 2), (2, 0), (1, 1), (0, 0), (5, 2), (2, 6))


@dataclass(frozen=True, slots=True)
class LoopProgram(TensorProgram):
    """A program of loops; arguments may be tensors of indices."""

    def arguments(self, point: tuple[int, int, int]) -> list[Argument]:
        """Arguments of the entry at a point; where there is nothing to point to, indices are out of range."""
        kinds = tuple("int" if isinstance(kind, str) else kind for kind in self.kinds)
        found = TensorProgram(self.source, kinds, self.points).arguments(point)
        choose = random.Random(point[2])
        sizes = {"n": point[0], "m": point[1]}
        for k, kind in enumerate(self.kinds):
            if isinstance(kind, str) and kind.startswith("indices"):
                _, below, _, length = kind.split()
                most = max(sizes[below], 1)
                found[k] = torch.tensor([choose.randrange(most) for _ in range(sizes[length])], dtype=torch.int64)
        return found


@dataclass(slots=True)
class Scope:
    """What is in sight: numbers, tensors by their sizes, and indices by the size that they are below."""

    numbers: list[str] = field(default_factory=list)
    tensors: dict[str, Dims] = field(default_factory=dict)
    indices: dict[str, str] = field(default_factory=dict)

    def inner(self, **indices: str) -> Scope:
        """A scope inside a loop over these indices."""
        return Scope(list(self.numbers), dict(self.tensors), {**self.indices, **indices})

    def of(self, dims: Dims) -> list[str]:
        """The tensors of these sizes."""
        return [name for name, known in self.tensors.items() if known == dims]


UNARY = (
    "torch.sin({})",
    "torch.tanh({})",
    "torch.exp(-{0} * {0})",
    "torch.sigmoid({})",
    "({0} * {0})",
    "(-{})",
    "(0.5 * {})",
    "torch.relu({})",
    "torch.log(1.5 + {0} * {0})",
)
BINARY = (
    "({} + {})",
    "({} * {})",
    "({} - {})",
    "({} * {})",
    "({0} / (1.5 + {1} * {1}))",
    "torch.where({0} > {1}, {0}, 0.3 * {1})",
    "torch.maximum({}, {})",
)


class LoopWriter:
    """Writes one program."""

    def __init__(self, choose: Chooser) -> None:
        self.choose = choose

    # Expressions.

    def leaf(self, scope: Scope) -> str:
        """A number of a tensor, at indices in sight."""
        found = list(scope.numbers)
        for name, dims in scope.tensors.items():
            at = [self.index(dim, scope) for dim in dims]
            if all(at):
                found += [f"{name}[{', '.join(at)}]"] * 2
        return self.choose.pick(found)

    def index(self, dim: str, scope: Scope) -> str:
        """An index below a size; empty where none is known."""
        known = [name for name, below in scope.indices.items() if below == dim]
        if dim.isdigit():
            known.append(str(self.choose.up_to(int(dim) - 1)))
        if not known:
            return ""
        name = self.choose.pick(known)
        return f"{dim} - 1 - {name}" if self.choose.one_in(12) and not name.isdigit() else name

    def number(self, scope: Scope, depth: int = 2) -> str:
        """An expression of numbers."""
        if depth == 0 or self.choose.one_in(4):
            return self.leaf(scope)
        if self.choose.coin():
            return self.choose.pick(UNARY).format(self.number(scope, depth - 1))
        return self.choose.pick(BINARY).format(self.number(scope, depth - 1), self.number(scope, depth - 1))

    def tensor(self, dims: Dims, scope: Scope, depth: int = 2) -> str:
        """An expression of tensors of these sizes."""
        known = scope.of(dims)
        if depth == 0 or not known or self.choose.one_in(4):
            if known:
                return self.choose.pick(known)
            return f"{self.choose.pick(scope.numbers or ['0.7'])} * torch.ones({', '.join(dims)})"
        if self.choose.coin():
            return self.choose.pick(UNARY).format(self.tensor(dims, scope, depth - 1))
        one = self.tensor(dims, scope, depth - 1)
        if len(dims) == 2 and self.choose.one_in(3):
            other = (
                self.tensor(dims[1:], scope, 0) if self.choose.coin() else f"{self.tensor(dims[:1], scope, 0)}[:, None]"
            )
            return self.choose.pick(("({} + {})", "({} * {})", "({} - {})", "({} / (2.5 + {}))")).format(
                one, f"({other})"
            )
        return self.choose.pick(BINARY[:4]).format(one, self.tensor(dims, scope, depth - 1))

    def bound(self, scope: Scope, dims: Dims, code: str) -> str:
        """``name = code``, in sight from here on."""
        name = self.choose.name("t" if dims else "s")
        if dims:
            scope.tensors[name] = dims
        else:
            scope.numbers.append(name)
        return f"{name} = {code}"

    def condition(self, scope: Scope) -> str:
        return f"{self.leaf(scope)} {self.choose.pick('<>')} {self.choose.pick(('0.0', '0.4', self.leaf(scope)))}"

    # Statements of families.

    def carries(self, scope: Scope) -> Lines:
        """A tensor that a loop adds to in each iteration."""
        dims = self.choose.pick((("m",), ("m",), ("n", "m"), ("m", "m"), ("m", "3")))
        start = self.choose.pick((f"torch.zeros({', '.join(dims)})", f"0.5 * {self.tensor(dims, scope, 1)}"))
        name, k = self.choose.name("t"), self.choose.name("k")
        over = self.choose.pick(("n", "n", "count"))
        inside = scope.inner(**({k: over} if over == "n" else {}))
        rows = [f"{known}[{k}]" for known, of in scope.tensors.items() if over == "n" and of == ("n", *dims[-1:])]
        inside.tensors |= {row: dims[-1:] for row in rows}
        inside.numbers += [self.number(inside, 1)] if over == "n" else []
        lines: Lines = []
        if self.choose.one_in(3):
            lines.append(self.bound(inside, (), self.number(inside)))
        added = self.tensor(dims, inside)
        if len(dims) == 2 and self.choose.coin():
            added = f"torch.outer({self.tensor(dims[:1], inside, 1)}, {self.tensor(dims[1:], inside, 1)})"
        lines.append(f"{name} = {self.choose.pick((f'{name} + {added}', f'{name} - {added}', f'{added} + {name}'))}")
        if self.choose.one_in(4):
            lines[-1:] = [f"if {self.condition(inside)}:", *indented(lines[-1:])]
        if self.choose.one_in(4):
            total = self.choose.name("s")
            scope.numbers.append(total)
            lines.append(f"{total} = {total} + {self.choose.pick((self.number(inside, 1), f'{name}.sum()'))}")
            start = f"{start}\n{total} = 0.0"
        scope.tensors[name] = dims
        return [*f"{name} = {start}".split("\n"), f"for {k} in range({over}):", *indented(lines)]

    def kept(self, scope: Scope) -> Lines:
        """Sums in sums, of which a derivative needs what they are made of."""
        i, k, r, j = (self.choose.name(stem) for stem in "ikrj")
        total, inner, part = self.choose.name("s"), self.choose.name("e"), self.choose.name("f")
        point = scope.inner(**{i: "n"})
        one, two = point.inner(**{k: "m"}), point.inner(**{k: "m", r: "m"})
        deep = two.inner(**{j: "m"})
        most = self.choose.pick(("m", "m", f"{r}", f"{r} + 1"))
        sums = [
            f"{inner} = {self.number(two, 1)}",
            f"for {j} in range({most}):",
            f"    {inner} = {inner} + {self.leaf(deep)} * {self.number(deep, 1)}",
        ]
        made = self.choose.pick((f"{inner} * {inner}", f"torch.tanh({inner})", f"{inner} * {inner} * {self.leaf(two)}"))
        row = self.choose.name("t")
        lines = [
            f"{row} = torch.zeros(m)",
            f"for {k} in range(m):",
            f"    {part} = {self.choose.pick(('0.0', self.number(one, 1)))}",
            f"    for {r} in range(m):",
            *indented(indented([*sums, f"{part} = {part} + {made}"])),
            f"    {row}[{k}] = {self.choose.pick((f'-0.5 * {part}', f'torch.sin({part})'))}",
        ]
        form = self.choose.pick(("{0}.sum()", "torch.log(1.0 + ({0} * {0}).sum())", "torch.tanh({0}).sum()"))
        scope.numbers.append(total)
        return [
            f"{total} = 0.0",
            f"for {i} in range(n):",
            *indented([*lines, f"{total} = {total} + {form.format(row)}"]),
        ]

    def gates(self, scope: Scope) -> Lines:
        """Layers, whose functions a reversed loop needs again."""
        k, state = self.choose.name("k"), self.choose.name("t")
        inside = scope.inner()
        inside.tensors[state] = ("m",)
        over = self.choose.pick(("n", "3", "count"))
        if over == "n":
            inside.tensors[f"a[{k}]"] = ("m",)
        if over == "3":
            inside.tensors[f"p[{k}, 0]"] = ("m",)
        first = f"g = torch.sigmoid({self.tensor(('m',), inside)})"
        inside.tensors["g"] = ("m",)
        form = self.choose.pick(("g * {}", "{} + g", f"g * {{}} + (1.0 - g) * {state}"))
        second = f"{state} = " + form.format(f"torch.tanh({self.tensor(('m',), inside)})")
        start = f"{state} = 1.0 * {self.tensor(('m',), scope, 1)}"
        scope.tensors[state] = ("m",)
        return [start, f"for {k} in range({over}):", *indented([first, second])]

    def tree(self, scope: Scope) -> Lines:
        """Rows put in place, of which each depends on itself and on one before it."""
        b, name = self.choose.name("b"), self.choose.name("t")
        over, of = self.choose.pick((("n", "to"), ("m", "at")))
        inside = scope.inner(**{b: over})
        own = f"z[{b} + {self.choose.up_to(3)}]" if self.choose.coin() else f"z[{b}]"
        inside.numbers += [own, own]
        row = [f"{name}[{b} - 1, {k}]" for k in range(2)]
        first = f"torch.stack([{self.number(inside)}, {self.number(inside)}])"
        inside.numbers += row
        later = f"torch.stack([{self.number(inside)}, {self.number(inside)}])"
        if self.choose.coin():
            later = self.choose.pick((f"{name}[{b} - 1] * {self.leaf(inside)}", f"{name}[{b} - 1] + {later}"))
        if self.choose.coin():
            parent = f"{of}[{b}] % {b}" if self.choose.coin() else f"{b} // 2"
            later = later.replace(f"{name}[{b} - 1", f"{name}[{parent}")
        lines = [f"if {b} == 0:", f"    {name}[{b}] = {first}", "else:", f"    {name}[{b}] = {later}"]
        scope.tensors[name] = (over, "2")
        return [f"{name} = torch.zeros({over}, 2)", f"for {b} in range({over}):", *indented(lines)]

    def table(self, scope: Scope) -> Lines:
        """A table whose rows take loops, read at indices that repeat."""
        i, k, name, read = (self.choose.name(stem) for stem in "iktu")
        rows, at, length = self.choose.pick((("n", "at", "m"), ("m", "to", "n")))
        inside = scope.inner(**{i: rows})
        start = f"s = {self.number(inside, 1)}"
        step = f"s = {self.choose.pick(('torch.sin(s + {})', '0.5 * s * {}', 'torch.tanh(s) - {}')).format(self.leaf(inside))}"
        loop = self.choose.pick(
            (f"for {k} in range(count):", f"for {k} in range({i}):", f"for {k} in range(count + 1):")
        )
        body = [start, loop, *indented([step])]
        if self.choose.one_in(4):
            body.insert(0, f"assert {self.leaf(inside)} < 1.5")
        wide = self.choose.coin()
        size = f"torch.zeros({rows}, 2)" if wide else f"torch.zeros({rows})"
        body += [f"{name}[{i}, 0] = s", f"{name}[{i}, 1] = s * s"] if wide else [f"{name}[{i}] = s"]
        lines = [f"{name} = {size}", f"for {i} in range({rows}):", *indented(body)]
        j = self.choose.name("j")
        reader = scope.inner(**{j: length})
        where = self.choose.pick((f"{at}[{j}]", f"{at}[{j}]", f"{at}[{length} - 1 - {j}]"))
        element = f"{name}[{where}, {self.choose.up_to(1)}]" if wide else f"{name}[{where}]"
        value = self.choose.pick((f"{element} * {self.number(reader, 1)}", f"torch.sin({element})", f"{element}"))
        if not self.choose.one_in(3):
            scope.tensors[read] = (length,)
            lines += [f"{read} = torch.zeros({length})", f"for {j} in range({length}):", f"    {read}[{j}] = {value}"]
        else:
            scope.numbers.append(read)
            lines += [f"{read} = 0.0", f"for {j} in range({length}):", f"    {read} = 0.9 * {read} + {value}"]
        if self.choose.one_in(6):
            scope.tensors[name] = (rows, "2") if wide else (rows,)
        return lines

    def lookups(self, scope: Scope) -> Lines:
        """Rows at indices that repeat, of which each element is needed."""
        kinds = [(name, dims) for name, dims in scope.tensors.items() if dims[0] in ("n", "m") and len(dims) <= 2]
        name, dims = self.choose.pick([(n, d) for n, d in kinds if d[1:] == ("3",)] * 4 + kinds)
        at, length = ("at", "m") if dims[0] == "n" else ("to", "n")
        where = self.choose.pick((at, at, f"{at} - 1", f"({at} + 1) % {dims[0]}"))
        form = self.choose.up_to(3)
        out = (length, *dims[1:])
        if form == 0:
            return [self.bound(scope, out, f"{name}[{where}]")]
        if form == 1:
            return [self.bound(scope, out, f"torch.tanh({name}[{where}] + {self.tensor(out, scope, 1)})")]
        j, k = self.choose.name("j"), self.choose.name("k")
        if len(dims) == 1:
            picked, extra = f"{name}[{at}[{j}]]", {}
        else:
            picked, extra = f"{name}[{at}[{j}], {k}]", {k: dims[1]}
        inside = scope.inner(**{j: length, **extra})
        value = self.choose.pick((f"{picked} * {self.leaf(inside)}", f"{picked} * {picked}", f"torch.sin({picked})"))
        loops = [f"for {j} in range({length}):"]
        if form == 2:
            made = self.choose.name("t")
            lines = [f"{made} = torch.zeros({', '.join(out)})"]
            store = f"{made}[{j}, {k}] = {value}" if extra else f"{made}[{j}] = {value}"
            scope.tensors[made] = out
        else:
            made = self.choose.name("s")
            lines = [f"{made} = 0.0"]
            store = f"{made} = {made} + {value}"
            scope.numbers.append(made)
        body = [f"for {k} in range({dims[1]}):", f"    {store}"] if extra else [store]
        return [*lines, *loops, *indented(body)]

    def scattered(self, scope: Scope) -> Lines:
        """Elements that are added to at indices that repeat, or put in place."""
        name, j = self.choose.name("t"), self.choose.name("j")
        size, at, length = self.choose.pick((("n", "at", "m"), ("m", "to", "n")))
        inside = scope.inner(**{j: length})
        where = self.choose.pick((f"{at}[{j}]", f"{at}[{j}]", f"{j} % {size}", f"{j} // 2 % {size}"))
        wide = self.choose.coin()
        value = f"{self.number(inside)}"
        start = (
            f"torch.zeros({size}, 3)"
            if wide
            else self.choose.pick((f"torch.zeros({size})", f"1.0 * {self.tensor((size,), scope, 1)}"))
        )
        place = f"{name}[{where}, {self.choose.up_to(2)}]" if wide else f"{name}[{where}]"
        scope.tensors[name] = (size, "3") if wide else (size,)
        step = f"{place} {self.choose.pick(('+=', '+=', '=', '*='))} {value}"
        return [f"{name} = {start}", f"for {j} in range({length}):", f"    {step}"]

    def columns(self, scope: Scope) -> Lines:
        """Sums over columns or rows, and what is made of them."""
        dims = self.choose.pick(sorted({d for d in scope.tensors.values() if len(d) == 2}))
        code = self.tensor(dims, scope)
        dim = self.choose.pick((0, 0, 0, 1))
        other = (dims[1],) if dim == 0 else (dims[0],)
        form = self.choose.up_to(6)
        if form <= 2:
            return [self.bound(scope, other, f"({code}).sum({dim})")]
        if form == 3:
            form = self.choose.pick(("torch.softmax({}, {})", "torch.log_softmax({}, {})", "torch.cumsum({}, {})"))
            return [self.bound(scope, dims, form.format(code, dim))]
        if form == 4:
            u = self.choose.name("u")
            spread = f"{u}[None, :]" if dim == 0 else f"{u}[:, None]"
            lines = [f"{u} = ({code}).sum({dim}) / {self.choose.pick(('3', dims[dim]))}"]
            lines.append(self.bound(scope, dims, f"({self.choose.pick(scope.of(dims))} - {spread})"))
            return lines
        if form == 5 and set(dims) <= {"n", "m"}:
            j, i = self.choose.name("j"), self.choose.name("i")
            made = self.choose.name("t")
            inside = scope.inner(**{j: dims[1], i: dims[0]})
            out = scope.inner(**{j: dims[1]})
            lines = [f"s = {self.choose.pick(('0.0', self.number(out, 1)))}", f"for {i} in range({dims[0]}):"]
            lines += [f"    s = s + {self.choose.pick(scope.of(dims))}[{i}, {j}] * {self.number(inside, 1)}"]
            scope.tensors[made] = (dims[1],)
            return [
                f"{made} = torch.zeros({dims[1]})",
                f"for {j} in range({dims[1]}):",
                *indented(
                    [*lines, f"{made}[{j}] = {self.choose.pick(('s', 'torch.tanh(s)', f's * {self.leaf(out)}'))}"]
                ),
            ]
        return [self.bound(scope, other, f"torch.tanh(({code}).prod({dim}) + {self.tensor(other, scope, 1)})")]

    def windows(self, scope: Scope) -> Lines:
        """A convolution over channels."""
        c, j, i, made = (self.choose.name(stem) for stem in "cjit")
        term = self.choose.pick(
            (
                f"q[{c}, {i}] * x[{j} + {i}]",
                f"q[{c}, {i}] * torch.sin(x[{j} + {i}])",
                f"q[{c}, {i}] * a[{j} + {i}, {c}]",
            )
        )
        scope.tensors[made] = ("m", "n")
        return [
            f"{made} = torch.zeros(m, n)",
            f"for {c} in range(m):",
            f"    for {j} in range(max(n - m + 1, 0)):",
            "        s = 0.0",
            f"        for {i} in range(m):",
            f"            s = s + {term}",
            f"        {made}[{c}, {j}] = {self.choose.pick(('s', 'torch.relu(s)', f's + w[{c}]'))}",
        ]

    def quotients(self, scope: Scope) -> Lines:
        """Divisions by what is the same in all iterations."""
        dims = self.choose.pick((("n",), ("m",), ("n", "m")))
        divisor = self.choose.pick(
            (
                f"(1.5 + ({self.tensor(('n',), scope, 1)} ** 2).sum())",
                "3.0",
                self.divisor(scope),
                "(x[0] - 0.1)",
                "count",
            )
        )
        form = self.choose.pick(("({0}) / {1}", "({0}) / {1} + {2} / {1}", "({2}) / {1} * {2}"))
        return [self.bound(scope, dims, form.format(self.tensor(dims, scope), divisor, self.tensor(dims, scope, 1)))]

    def divisor(self, scope: Scope) -> str:
        return f"(2.0 + torch.tanh({self.choose.pick(scope.numbers)}))" if scope.numbers else "(2.0 + w.sum())"

    def added_up(self, scope: Scope) -> Lines:
        """A tensor that is kept, and the sum of its elements."""
        dims = self.choose.pick((("n",), ("m",)))
        lines = [self.bound(scope, dims, self.choose.pick(UNARY).format(self.tensor(dims, scope)))]
        made = lines[0].split()[0]
        total = self.choose.pick(("{}.sum()", "({0} * {0}).sum()", "({} * {}).sum()", "torch.tanh({}).sum()"))
        lines.append(self.bound(scope, (), total.format(made, self.tensor(dims, scope, 1))))
        if self.choose.coin():
            lines.append(self.bound(scope, dims, f"{made} * {lines[1].split()[0]}"))
        return lines

    def normalised(self, scope: Scope) -> Lines:
        """A softmax, or deviations from a mean, in the user's words."""
        dims = self.choose.pick((("n",), ("m",), ("n", "m")))
        code = self.tensor(dims, scope, 1)
        u = self.choose.name("u")
        keep = ", keepdim=True" if len(dims) == 2 else ""
        dim = str(len(dims) - 1)
        form = self.choose.up_to(3)
        if form == 0:
            lines = [f"{u} = torch.exp({code})", self.bound(scope, dims, f"{u} / ({u}.sum({dim}{keep}) + 0.1)")]
        elif form == 1:
            lines = [f"{u} = {code}", self.bound(scope, dims, f"{u} / torch.sqrt(0.3 + ({u} * {u}).sum({dim}{keep}))")]
        elif form == 2:
            lines = [f"{u} = 1.0 * ({code})", f"{u} = {u} - {u}.sum({dim}{keep}) / 3.0"]
            lines.append(self.bound(scope, dims, f"{u} / (1.0 + ({u} * {u}).sum({dim}{keep}))"))
        else:
            lines = [self.bound(scope, dims, f"torch.softmax({code}, {dim})")]
        return lines

    def products(self, scope: Scope) -> Lines:
        """Products of matrices, beside what is added to them."""
        form = self.choose.up_to(6)
        matrix = self.choose.pick(scope.of(("n", "m")))
        if form == 0:
            return [
                self.bound(
                    scope,
                    ("3", "m", "m"),
                    f"{self.choose.pick(('p', 'torch.sin(p)'))} @ {self.choose.pick(('p', 'p.transpose(1, 2)', 'q'))}",
                )
            ]
        if form == 1:
            return [self.bound(scope, ("3", "n", "m"), f"{matrix} @ p")]
        if form == 2:
            made, k = self.choose.name("t"), self.choose.name("k")
            scope.tensors[made] = ("n", "m")
            return [f"{made} = torch.zeros(n, m)", f"for {k} in range(3):", f"    {made} = {made} + {matrix} @ p[{k}]"]
        if form == 3:
            return [self.bound(scope, ("m", "m"), f"{matrix}.T @ {self.tensor(('n', 'm'), scope, 1)}")]
        if form == 4:
            return [self.bound(scope, ("m",), f"{self.tensor(('n',), scope, 1)} @ {matrix}")]
        if form == 5:
            return [self.bound(scope, ("n",), f"{matrix} @ {self.tensor(('m',), scope, 1)}")]
        return [
            self.bound(
                scope,
                ("n", "m"),
                f"{matrix} @ {self.tensor(('m', 'm'), scope, 1)} + {self.tensor(('n', 'm'), scope, 1)}",
            )
        ]

    def stored(self, scope: Scope) -> Lines:
        """Elements put in place one by one, of slices too."""
        name, i = self.choose.name("t"), self.choose.name("i")
        dims = self.choose.pick((("n",), ("m",), ("n", "m")))
        j = self.choose.name("j")
        inside = scope.inner(**dict(zip((i, j), dims, strict=False)))
        place = ", ".join((i, j)[: len(dims)])
        if self.choose.one_in(4):
            place = place.replace(i, f"{dims[0]} - 1 - {i}", 1)
        step = [f"{name}[{place}] {self.choose.pick(('=', '=', '+='))} {self.number(inside)}"]
        if self.choose.one_in(4):
            step = [f"if {self.condition(inside)}:", *indented(step)]
        for index, dim in reversed(list(zip((i, j), dims, strict=False))):
            step = [f"for {index} in range({dim}):", *indented(step)]
        known = scope.of(dims)
        start = self.choose.pick(
            (f"torch.zeros({', '.join(dims)})", f"torch.zeros({', '.join(dims)})", f"{self.choose.pick(known)}.clone()")
        )
        scope.tensors[name] = dims
        return [f"{name} = {start}", *step]

    def sliced(self, scope: Scope) -> Lines:
        """Parts of tensors, which derivatives are added to."""
        form = self.choose.up_to(4)
        if form == 0:
            name = self.choose.pick(scope.of(("n",)))
            return [self.bound(scope, (), f"({name}[1:] * torch.sin({name}[:-1])).sum()")]
        if form == 1:
            name = self.choose.pick(scope.of(("n", "m")))
            return [self.bound(scope, (), f"({name}[:, 1:] * {name}[:, :-1]).sum()")]
        if form == 2:
            i, s = self.choose.name("i"), self.choose.name("s")
            one, two = (self.choose.pick(scope.of(("n", "m"))) for _ in range(2))
            scope.numbers.append(s)
            body = self.choose.pick(
                (
                    f"torch.dot({one}[{i}], {two}[{i}])",
                    f"torch.tanh(({one}[{i}] * w).sum())",
                    f"({one}[{i}, 1:] * {two}[{i}, :-1]).sum()",
                )
            )
            return [f"{s} = 0.0", f"for {i} in range(n):", f"    {s} = {s} + {body}"]
        if form == 3:
            k = self.choose.name("k")
            made = self.choose.name("t")
            scope.tensors[made] = ("n", "3")
            return [
                f"{made} = torch.zeros(n, 3)",
                f"for {k} in range(3):",
                f"    {made}[:, {k}] = {self.tensor(('n',), scope)}",
            ]
        made = self.choose.name("t")
        scope.tensors[made] = ("n", "m")
        k = self.choose.name("k")
        inside = scope.inner()
        inside.tensors[f"a[{k}]"] = ("m",)
        return [
            f"{made} = {self.choose.pick(('torch.zeros(n, m)', 'b.clone()'))}",
            f"for {k} in range(n):",
            f"    {made}[{k}] {self.choose.pick(('=', '+='))} {self.tensor(('m',), inside)}",
        ]

    def starts(self, scope: Scope) -> Lines:
        """One tensor of zeros that several begin with."""
        dims = self.choose.pick((("n",), ("n", "m"), ("m",)))
        zero = self.choose.name("zero")
        lines = [f"{zero} = {self.choose.pick(('torch.zeros', 'torch.ones'))}({', '.join(dims)})"]
        for _ in range(2 + self.choose.up_to(1)):
            name, i = self.choose.name("t"), self.choose.name("i")
            inside = scope.inner(**{i: dims[0]})
            inside.tensors |= {
                f"{known}[{i}]": d[1:] for known, d in scope.tensors.items() if d[0] == dims[0] and len(d) == 2
            }
            value = self.tensor(dims[1:], inside) if len(dims) == 2 else self.number(inside)
            step = f"{name}[{i}] {self.choose.pick(('=', '+='))} {value}"
            if self.choose.one_in(3):
                step = f"if {i} % 2 == 0:\n    {step}"
            lines += [f"{name} = {zero}.clone()", f"for {i} in range({dims[0]}):", *indented(step.split("\n"))]
            scope.tensors[name] = dims
        return lines

    def loss(self, scope: Scope) -> Lines:
        """A sum over points of what is made of sums."""
        i, j, s, total = (self.choose.name(stem) for stem in "ijss")
        inside = scope.inner(**{i: "n"})
        terms = scope.inner(**{i: "n", j: "m"})
        weight = self.choose.pick((f"w[{j}]", f"torch.sin(w[{j}])", f"q[{j}, {j}]"))
        lines = [
            f"{s} = {self.choose.pick(('0.0', self.leaf(inside)))}",
            f"for {j} in range(m):",
            f"    {s} = {s} + {weight} * {self.number(terms, 1)}",
        ]
        if self.choose.one_in(4):
            lines.append(f"assert {self.leaf(inside)} < 2.0")
        form = self.choose.pick(("{0} * {0}", "torch.tanh({0}) * {1}", "torch.log(1.0 + {0} * {0})", "{0} * {1}"))
        scope.numbers.append(total)
        made = f"{total} = {total} + {form.format(s, self.leaf(inside))}"
        return [f"{total} = 0.0", f"for {i} in range(n):", *indented([*lines, made])]

    def parts(self, scope: Scope) -> Lines:
        """Two parts of a row, whose derivatives are those of one tensor."""
        i, j, s, head, tail, d = (self.choose.name(stem) for stem in ("i", "j", "s", "head", "tail", "d"))
        row, size = self.choose.pick((("x", "n"), ("z", "20"), ("w", "m"), ("z", "20"), ("z", "20")))
        scope.numbers.append(s)
        if row == "z":
            k, d = self.choose.name("k"), self.choose.pick(("m", "m", "3"))
            place = f"{i} * ({i} - 1) // 2 + {j}"
            factor = self.choose.pick((f"x[{k}]", f"y[{k}]", "z[1]"))
            body = [f"r = torch.exp({head}[{i}]) * {factor}", f"for {j} in range({i}):"]
            body += [f"    r = r + {tail}[{place}] * {self.choose.pick((f'z[{j}]', f'{head}[{j}]', factor))}"]
            body += [f"{s} = {s} + {self.choose.pick(('r', 'r * r', 'torch.tanh(r)'))}"]
            body = [f"{head}, {tail} = h[{k}, :{d}], h[{k}, {d}:]", f"for {i} in range({d}):", *indented(body)]
            return [f"{s} = 0.0", f"for {k} in range(n):", *indented(body)]
        cut = self.choose.pick((f"{size} // 2", f"min({size}, count)", f"max({size} - 1, 0)"))
        inside = scope.inner()
        inside.numbers += [f"{head}[{i}]", f"{tail}[{i}]"]
        body = [f"r = {self.number(inside)}"]
        inside.numbers += ["r", f"{tail}[{j}]" if self.choose.coin() else f"{head}[{j}]"]
        if self.choose.coin():
            body += [
                f"for {j} in range({self.choose.pick((f'{i}', f'{i} + 1', d))}):",
                f"    r = r + {self.number(inside)}",
            ]
        body.append(f"{s} = {s} + {self.choose.pick(('r', 'r * r', 'torch.tanh(r)'))}")
        count = self.choose.pick((f"min({d}, {size} - {d})", f"min({d}, {size} - {d}) - 1"))
        lines = [f"{d} = {cut}", f"{head}, {tail} = {row}[:{d}], {row}[{d}:]", f"{s} = 0.0"]
        return [*lines, f"for {i} in range({count}):", *indented(body)]

    def nested(self, scope: Scope) -> Lines:
        """Loops whose inner ones compute what only depends on their own indices."""
        i, j, s = self.choose.name("i"), self.choose.name("j"), self.choose.name("s")
        rows, columns = self.choose.pick((("n", "m"), ("m", "n"), ("n", "n")))
        inner = Scope([], {k: d for k, d in scope.tensors.items() if d == (columns,)}, {j: columns})
        both = scope.inner(**{i: rows, j: columns})
        function = self.choose.pick(("torch.exp(-{0} * {0})", "torch.sin({})", "torch.tanh({})")).format(
            self.number(inner, 1)
        )
        scope.numbers.append(s)
        body = [f"{s} = {s} + {function} * {self.number(both, 1)}"]
        if self.choose.one_in(4):
            body = [f"if {self.condition(both)}:", *indented(body)]
        if self.choose.one_in(3):
            body.append(f"{s} = {s} * 0.9")
        return [
            f"{s} = 0.0",
            f"for {i} in range({rows}):",
            f"    for {j} in range({columns}):",
            *indented(indented(body)),
        ]

    def checked(self, scope: Scope) -> Lines:
        """An assert, alone or in a loop."""
        if self.choose.coin():
            i = self.choose.name("i")
            inside = scope.inner(**{i: "n"})
            s = self.choose.name("s")
            scope.numbers.append(s)
            return [
                f"{s} = 0.0",
                f"for {i} in range(n):",
                f"    assert {self.leaf(inside)} < 1.8",
                f"    {s} = {s} + {self.number(inside)}",
            ]
        return [f"assert {self.tensor(('n',), scope, 0)}.sum() < 3.0"]

    def program(self, family: str) -> Lines:
        """The statements of an entry."""
        scope = Scope(tensors={name: dims for name, dims in PARAMETERS.items() if isinstance(dims, tuple)})
        lines = ["n = x.shape[0]", "m = w.shape[0]"]
        names = sorted(FAMILIES)
        before = [self.choose.pick(names) for _ in range(self.choose.up_to(1))]
        after = [self.choose.pick(names) for _ in range(self.choose.up_to(2))]
        for name in [*before, *[family] * (1 + self.choose.up_to(1)), *after]:
            lines += FAMILIES[name](self, scope)
        made = [name for name in scope.tensors if name[0] in "tu" and name[1:].isdigit()]
        results = [self.choose.pick(made) for _ in range(min(len(made), 1 + self.choose.up_to(1)))]
        parts = [f"torch.sin({name}).sum()" for name in made if name not in results]
        total = " + ".join([*scope.numbers, *parts, *([] if scope.numbers or parts else ["x.sum()"])])
        loss = f"1.0 * ({total})"
        return [*lines, f"return {', '.join([*dict.fromkeys(results), loss])}"]


FAMILIES: dict[str, Callable[[LoopWriter, Scope], Lines]] = {
    name: getattr(LoopWriter, name)
    for name in (
        "added_up carries checked columns gates kept lookups loss nested normalised parts products quotients scattered "
        "sliced starts stored table tree windows"
    ).split()
}
"""What writes the statements of each family."""


def loop_program(seed: int, family: str, points: int = 3) -> LoopProgram:
    """The program of a seed."""
    choose = SeededChooser(f"{family} {seed}", 100, 100)
    lines = LoopWriter(choose).program(family)
    source = "\n".join(["import torch", "", f"def entry({', '.join(PARAMETERS)}):", *indented(lines)]) + "\n"
    chosen = random.Random(f"{family} {seed}")
    where = tuple((*chosen.choice(POINTS), chosen.randrange(1000)) for _ in range(points))
    return LoopProgram(source, tuple(PARAMETERS.values()), where)
