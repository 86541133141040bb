"""What the program generator knows while it writes: the variables in sight, how large they can be, and its budgets.

Every variable keeps one type, told by its name, and stays within a bound told by its name: values remain tame by
construction, whatever the loops do, so no program has to be thrown away and floating point comparison means something.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from hypothesis import strategies as st

T = TypeVar("T")

FLOAT_CAP = 4.0
INT_CAP = 6

FLOAT, INT, BOOL, PAIR, MIXED, POINT = "float", "int", "bool", "tuple[float, float]", "tuple[float, int]", "Point"
TUPLES = {PAIR: (FLOAT, FLOAT), MIXED: (FLOAT, INT), POINT: (FLOAT, FLOAT)}
POOLS = {FLOAT: "abcd", INT: "ijk", BOOL: "pq", PAIR: "tu", MIXED: "vw", POINT: "gh"}


@dataclass(frozen=True, slots=True)
class Text:
    """An expression and the largest magnitude it can have."""

    code: str
    bound: float = 1.0


@dataclass(frozen=True, slots=True)
class Signature:
    """A function that can be called: its parameters as (name, type), and roughly how many statements a call runs."""

    name: str
    params: tuple[tuple[str, str], ...]
    result: str
    cost: int
    recursive: bool = False
    keywords: bool = True
    higher_order: bool = False


@dataclass(slots=True)
class Scope:
    """The names in sight at one point of a function.

    ``mult`` is how often this point is run at most, ``counters`` are the names that must not be assigned, ``suffix``
    keeps the names of a local function apart from those it captures.
    """

    variables: dict[str, str]
    bounds: dict[str, float]
    functions: list[Signature]
    result: str
    mult: int = 1
    in_loop: bool = False
    counters: frozenset[str] = frozenset()
    suffix: str = ""

    def pool(self, type_: str) -> list[str]:
        """Names for new variables of this type."""
        return [name + self.suffix for name in POOLS[type_]]

    def inner(self, **changes: object) -> Scope:
        """A copy whose variables can change without this one's."""
        names = ("variables", "bounds", "functions", "result", "mult", "in_loop", "counters", "suffix")
        values = {name: getattr(self, name) for name in names}
        values.update(variables=dict(self.variables), bounds=self.bounds, functions=list(self.functions))
        values.update(changes)
        return Scope(**values)

    def of_type(self, type_: str) -> list[str]:
        return [name for name, t in self.variables.items() if t == type_]

    def bound(self, name: str) -> float:
        return self.bounds.get(name, FLOAT_CAP if self.variables[name] == FLOAT else INT_CAP)

    def uses_variable(self, code: str) -> bool:
        return any(name in self.variables for name in _NAME.findall(code))

    def keep_common(self, *others: Scope) -> None:
        """After a join: only what every side has bound."""
        for name in list(self.variables):
            if any(name not in other.variables for other in others):
                del self.variables[name]


_NAME = re.compile(r"[a-z]\w*")
_UP_TO = [st.integers(0, k) for k in range(64)]
_BOOLEANS = st.booleans()


@dataclass(slots=True)
class Chooser:
    """Draws choices, the simplest first, and counts the budgets down."""

    draw: Callable[[st.SearchStrategy[T]], T]
    nodes: int
    calls: int
    fresh: dict[str, int] = field(default_factory=dict)

    def up_to(self, k: int) -> int:
        return self.draw(_UP_TO[k])

    def coin(self) -> bool:
        return self.draw(_BOOLEANS)

    def one_in(self, n: int) -> bool:
        return self.up_to(n - 1) == n - 1

    def pick(self, options: Sequence[T]) -> T:
        return options[self.up_to(len(options) - 1)] if len(options) > 1 else options[0]

    def spend(self) -> bool:
        """Use up one node; False where none is left."""
        self.nodes -= 1
        return self.nodes > 0

    def name(self, stem: str) -> str:
        """A name that no other statement binds."""
        self.fresh[stem] = self.fresh.get(stem, 0) + 1
        return f"{stem}{self.fresh[stem]}"
