"""The strategy ``tensor_programs()``: random Python over tensors as users write it with torch, as source text.

A program is a module of a few helpers and an entry. The sizes of all tensors are told by the sizes of the arguments, all
indices are in range and all loops end, so nearly every program runs at every point.
"""

from __future__ import annotations

import ast
import random
from dataclasses import dataclass

import torch
from hypothesis import strategies as st

from tests.strategies.scope import Chooser
from tests.strategies.statements import Lines, indented
from tests.strategies.tensors_scope import SCALAR, Dims, Draw, Helper, SeededChooser, Tensor, TensorScope
from tests.strategies.tensors_statements import TensorStatements

CALLS = 700

PRELUDE = """
import torch

"""

PARAMETERS: tuple[tuple[str, Dims], ...] = (
    ("x", ("n",)),
    ("a", ("n", "m")),
    ("y", ("n",)),
    ("w", ("m",)),
    ("b", ("n", "m")),
)
POINTS = ((3, 2), (2, 3), (4, 4), (1, 3), (3, 1), (0, 2), (2, 0), (1, 1), (0, 0), (2, 2), (4, 1))

Argument = torch.Tensor | int | float


@dataclass(frozen=True, slots=True)
class TensorProgram:
    """Source text of a module, the sizes of its entry's parameters, and what its arguments are made of.

    ``kinds`` has the sizes of each tensor, or ``"int"`` or ``"float"``; ``points`` the values of ``n`` and ``m`` and a seed.
    """

    source: str
    kinds: tuple[Dims | str, ...]
    points: tuple[tuple[int, int, int], ...]
    entry: str = "entry"

    def __repr__(self) -> str:
        return f"TensorProgram('''\n{self.source}''', {self.kinds!r}, {self.points!r})"

    def arguments(self, point: tuple[int, int, int]) -> list[Argument]:
        """Arguments of the entry; no two numbers are close, so there are no ties."""
        n, m, seed = point
        generator = random.Random(seed)
        sizes = {"n": n, "m": m}
        found: list[Argument] = []
        for kind in self.kinds:
            if kind == "int":
                found.append(generator.randint(0, 4))
            elif kind == "float":
                found.append(generator.uniform(-2.0, 2.0))
            else:
                shape = [int(dim) if dim.isdigit() else sizes[dim] for dim in kind]
                count = torch.Size(shape).numel()
                numbers = [generator.gauss(0.0, 1.0) for _ in range(count)]
                found.append(torch.tensor(numbers, dtype=torch.float64).reshape(shape))
        return found


def _sizes(params: list[tuple[str, Dims]]) -> Lines:
    """The statements that give the sizes names."""
    found: dict[str, str] = {}
    for name, dims in params:
        for k, dim in enumerate(dims):
            found.setdefault(dim, f"{name}.shape[{k}]")
    return [f"{dim} = {code}" for dim, code in sorted(found.items(), reverse=True)]


def _function(
    choose: Chooser,
    name: str,
    params: list[tuple[str, Dims]],
    scope: TensorScope,
    statements: int,
    *,
    tail: Lines | None = None,
) -> Lines:
    writer = TensorStatements(choose)
    lines, goes_on = writer.block(scope, 3 if name == "entry" else 2, statements)
    if goes_on:
        lines += tail if tail is not None else [f"return {writer.result(scope)}"]
    return [f"def {name}({', '.join(p for p, _ in params)}):", *indented(_sizes(params) + lines), ""]


def _helper(choose: Chooser, name: str, known: tuple[Helper, ...]) -> tuple[Lines, Helper]:
    params = list(
        choose.pick(
            ((("p", ("n",)),), (("p", ("n",)), ("q", ("n",))), (("p", ("n", "m")), ("q", ("m",))), (("p", ("n", "m")),))
        )
    )
    changes = choose.one_in(3)
    dims = tuple(d for _, p in params for d in p)
    result: Dims = choose.pick((SCALAR, params[0][1], params[-1][1], (dims[-1],)))
    variables = {p: Tensor(d, owned=changes and k == 0) for k, (p, d) in enumerate(params)}
    scope = TensorScope(variables, tuple(sorted(set(dims), reverse=True)), known, (result,))
    before = choose.calls
    lines = _function(choose, name, params, scope, 3)
    return lines, Helper(name, tuple(d for _, d in params), result, 2 + before - choose.calls, changes)


def _recursive(choose: Chooser, name: str, known: tuple[Helper, ...]) -> tuple[Lines, Helper]:
    """A function over the halves of a vector, or over all but its first element."""
    scope = TensorScope({"p": Tensor(("n",), owned=False)}, ("n",), (), (SCALAR,), mult=4)
    writer = TensorStatements(choose)
    halves = choose.coin()
    base = writer.value(SCALAR, scope.inner(), 2)
    body, goes_on = writer.block(scope.inner(), 1, 2)
    split = (
        ["h = n // 2", f"s1 = {name}(p[:h])", f"s2 = {name}(p[h:])"] if halves else [f"s1 = {name}(p[1:])", "s2 = p[0]"]
    )
    scope.variables |= {"s1": Tensor(SCALAR), "s2": Tensor(SCALAR)}
    lines = ["n = p.shape[0]", "if n <= 1:", f"    return {base}", *(body if goes_on else []), *split]
    lines.append(f"return {writer.digest(scope)}")
    lines = [f"def {name}(p: torch.Tensor) -> float:", *indented(lines), ""]
    return lines, Helper(name, (("n",),), SCALAR, 60)


def _program(choose: Chooser, size: int) -> tuple[str, tuple[Dims | str, ...]]:
    known: tuple[Helper, ...] = ()
    lines: Lines = []
    for k in range(choose.up_to(2)):
        choose.nodes, choose.calls = size // 2, CALLS // 8
        write = _recursive if choose.one_in(4) else _helper
        text, helper = write(choose, f"helper{k}", known)
        lines += text
        known = (helper, *known)
    choose.nodes, choose.calls = size, CALLS
    params = [PARAMETERS[0], *[p for p in PARAMETERS[1:] if choose.coin()]]
    sizes = tuple(sorted({d for _, dims in params for d in dims}, reverse=True))
    results = (((),), ((), ("n",)), ((), (sizes[-1],)), (("n", sizes[0]), ()), (("n",),))
    variables = {name: Tensor(dims, owned=False) for name, dims in params}
    scope = TensorScope(variables, sizes, known, choose.pick(results))
    kinds: list[Dims | str] = [dims for _, dims in params]
    names = list(params)
    if choose.coin():
        scope.counts, kinds, names = ("count",), [*kinds, "int"], [*names, ("count", ())]
    if choose.one_in(3):
        scope.numbers, kinds, names = ("scale",), [*kinds, "float"], [*names, ("scale", ())]
    lines += _function(choose, "entry", names, scope, 6)
    return PRELUDE + ast.unparse(ast.parse("\n".join(lines))) + "\n", tuple(kinds)


def seeded_program(seed: int, size: int = 45, points: int = 2) -> TensorProgram:
    """The program of a seed."""
    source, kinds = _program(SeededChooser(seed, size, CALLS), size)
    chosen = random.Random(seed)
    return TensorProgram(source, kinds, tuple((*chosen.choice(POINTS), chosen.randrange(1000)) for _ in range(points)))


@st.composite
def tensor_programs(draw: Draw, size: int = 45, points: int = 2) -> TensorProgram:
    """Random programs of at most about ``size`` expressions and statements, with ``points`` points each."""
    source, kinds = _program(Chooser(draw, size, CALLS), size)
    places = st.tuples(st.sampled_from(POINTS), st.integers(0, 999))
    found = tuple((*sizes, seed) for sizes, seed in (draw(places) for _ in range(points)))
    return TensorProgram(source, kinds, found)
