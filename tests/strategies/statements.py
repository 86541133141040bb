"""Random statements: assignments, branches, loops that end, local functions, and ways to leave."""

from __future__ import annotations

from collections.abc import Callable

from tests.strategies.expressions import Expressions
from tests.strategies.scope import (
    BOOL,
    FLOAT,
    FLOAT_CAP,
    INT,
    MIXED,
    PAIR,
    POINT,
    TUPLES,
    Chooser,
    Scope,
    Signature,
)

MAX_MULT = 48
TYPES = (FLOAT, FLOAT, FLOAT, INT, BOOL, PAIR, MIXED, POINT)

Lines = list[str]


def indented(lines: Lines) -> Lines:
    """The lines, one level deeper."""
    return [f"    {line}" for line in lines]


class Statements:
    """Writes statements; a writer gives lines and whether control can go on behind them."""

    def __init__(self, choose: Chooser) -> None:
        self.choose = choose
        self.expressions = Expressions(choose)

    def value(self, type_: str, scope: Scope, depth: int = 3) -> str:
        return self.expressions.of_type(type_, scope, depth).code

    def result(self, scope: Scope) -> str:
        return self.value(scope.result, scope)

    def block(self, scope: Scope, depth: int, most: int = 3) -> tuple[Lines, bool]:
        """One statement or more."""
        lines: Lines = []
        for k in range(most):
            if (k > 0 and self.choose.up_to(3) == 0) or not self.choose.spend():
                break
            self.choose.calls -= scope.mult
            written, goes_on = self.statement(scope, depth)
            lines += written
            if not goes_on:
                return lines, False
        return lines or ["pass"], True

    def statement(self, scope: Scope, depth: int) -> tuple[Lines, bool]:
        """One statement."""
        forms = self.NESTED if depth > 0 else self.SIMPLE
        return self.choose.pick(forms)(self, scope, depth)

    # Statements on one line.

    def _assign(self, scope: Scope, depth: int) -> tuple[Lines, bool]:
        type_ = self.choose.pick(TYPES)
        name = self.target(type_, scope)
        code = self.value(type_, scope)
        scope.variables[name] = type_
        annotation = f": {type_}" if type_ in (FLOAT, INT, BOOL) and self.choose.one_in(8) else ""
        return [f"{name}{annotation} = {code}"], True

    def target(self, type_: str, scope: Scope, *, old: bool = False) -> str:
        """A name that may be assigned, an already bound one if ``old``."""
        names = [name for name in scope.of_type(type_) if name not in scope.counters]
        if not old:
            fresh = [name for name in scope.pool(type_) if name not in scope.variables]
            names += fresh[:2]
        return self.choose.pick(names) if names else scope.pool(type_)[0]

    def _augment(self, scope: Scope, depth: int) -> tuple[Lines, bool]:
        type_ = self.choose.pick((FLOAT, FLOAT, INT))
        name = self.target(type_, scope, old=True)
        if name not in scope.variables:
            return self._assign(scope, depth)
        if type_ == INT:
            divisor = self.choose.pick(("2", "3", f"(abs({self.value(INT, scope, 1)}) + 1)"))
            return [f"{name} {self.choose.pick(('//=', '%='))} {divisor}"], True
        form = self.choose.pick(
            ("*= 0.5", "/= 2.0", "*= math.sin({})", "/= abs({}) + 1.0", "%= 3.0", "*= math.tanh({})")
        )
        return [f"{name} {form.format(self.value(FLOAT, scope, 2))}"], True

    def _step(self, scope: Scope, depth: int) -> tuple[Lines, bool]:
        """``a += …`` followed by what keeps ``a`` in bounds."""
        name = self.target(FLOAT, scope, old=True)
        if name not in scope.variables or scope.bound(name) > FLOAT_CAP:
            return self._assign(scope, depth)
        step = self.value(FLOAT, scope, 2)
        back = self.choose.pick(
            (f"{name} *= 0.5", f"{name} = {FLOAT_CAP} * math.tanh({name})", f"{name} %= {FLOAT_CAP}")
        )
        return [f"{name} {self.choose.pick('+-')}= {step}", back], True

    def _unpack(self, scope: Scope, depth: int) -> tuple[Lines, bool]:
        names = [name for name in scope.of_type(FLOAT) if scope.bound(name) <= FLOAT_CAP and name not in scope.counters]
        if len(names) > 1 and self.choose.one_in(2):
            a, b = names[0], self.choose.pick(names[1:])
            return [f"{a}, {b} = {b}, {a}"], True
        type_ = self.choose.pick((PAIR, MIXED, POINT))
        code = self.value(type_, scope)
        targets: list[str] = []
        for part in TUPLES[type_]:
            name = self.target(part, scope)
            targets.append(next(n for n in scope.pool(part) if n not in targets) if name in targets else name)
        scope.variables.update(zip(targets, TUPLES[type_], strict=True))
        return [f"{', '.join(targets)} = {code}"], True

    def _chain_assign(self, scope: Scope, depth: int) -> tuple[Lines, bool]:
        code = self.value(FLOAT, scope)
        a, b, *_ = scope.pool(FLOAT)
        scope.variables.update({a: FLOAT, b: FLOAT})
        return [f"{a} = {b} = {code}"], True

    def _assert(self, scope: Scope, depth: int) -> tuple[Lines, bool]:
        code = self.value(FLOAT, scope, 1)
        return [f"assert abs({code}) >= 0.0, 'never'"], True

    def _walrus(self, scope: Scope, depth: int) -> tuple[Lines, bool]:
        name = self.target(FLOAT, scope)
        code = self.value(FLOAT, scope, 2)
        scope.variables[name] = FLOAT
        then, _ = self.block(scope.inner(), 0, 2)
        return [f"if ({name} := {code}) > 0.25:", *indented(then)], True

    # Branches.

    def _if(self, scope: Scope, depth: int) -> tuple[Lines, bool]:
        lines: Lines = []
        sides: list[tuple[Scope, bool]] = []
        for k in range(1 + self.choose.up_to(1) * self.choose.up_to(2)):
            cond = self.value(BOOL, scope, 2)
            inner = scope.inner()
            body, goes_on = self.block(inner, depth - 1)
            lines += [f"{'elif' if k else 'if'} {cond}:", *indented(body)]
            sides.append((inner, goes_on))
        if self.choose.coin():
            inner = scope.inner()
            body, goes_on = self.block(inner, depth - 1)
            lines += ["else:", *indented(body)]
            sides.append((inner, goes_on))
        else:
            sides.append((scope.inner(), True))
        through = [inner for inner, goes_on in sides if goes_on]
        if not through:
            return lines, False
        first, *others = through
        first.keep_common(*others)
        scope.variables = first.variables
        return lines, True

    # Loops.

    def _accumulators(self, scope: Scope, times: int) -> tuple[Lines, Lines]:
        """Running sums and products that a loop carries: how they start, and their steps in the body."""
        starts: Lines = []
        steps: Lines = []
        for _ in range(self.choose.up_to(2)):
            if self.choose.coin():
                name = self.choose.name("total")
                scope.bounds[name] = FLOAT_CAP * (times + 1) * max(1, scope.mult)
                starts.append(f"{name} = {self.choose.pick(('0.0', self.value(FLOAT, scope, 1)))}")
                steps.append(f"{name} {self.choose.pick('+-')}= {{{FLOAT_CAP}}}")
            else:
                name = self.choose.name("product")
                scope.bounds[name] = 1.3 ** (times * max(1, scope.mult)) if times * scope.mult < 20 else 200.0
                starts.append(f"{name} = 1.0")
                steps.append(f"{name} *= {{{1.3 if times * scope.mult < 20 else 1.0}}}")
            scope.variables[name] = FLOAT
        return starts, steps

    def _loop_body(
        self, scope: Scope, depth: int, times: int, steps: Lines, head: Lines, counters: frozenset[str]
    ) -> Lines:
        inner = scope.inner(
            mult=scope.mult * times,
            in_loop=True,
            counters=scope.counters | counters | {step.split()[0] for step in steps},
        )
        lines, goes_on = self.block(inner, depth - 1)
        for step in steps:
            left, cap = step[: step.index("{")], float(step[step.index("{") + 1 : -1])
            if goes_on:
                lines.append(left + self.expressions.small(inner, 2, cap))
        if goes_on and self.choose.coin():
            lines += self.block(inner, depth - 1, 2)[0]
        return head + lines

    def _for(self, scope: Scope, depth: int) -> tuple[Lines, bool]:
        if scope.mult * 4 > MAX_MULT:
            return self._assign(scope, depth)
        n = self.value(INT, scope, 1)
        m = self.value(INT, scope, 1)
        ranges = (
            (f"range(abs({n}) % 4)", 3),
            ("range(3)", 3),
            (f"range({n})", 6),
            (f"range({m}, {n})", 12),
            (f"range(min({n}, 3))", 3),
            (f"range({n}, {m}, -1)", 12),
            (f"range({n}, {m}, 2)", 6),
            (f"range({n}, {m}, -3)", 4),
            ("range(2, 0, -1)", 2),
            (f"range({n}, {n} + 2)", 2),
        )
        iterable, times = self.choose.pick(ranges[:3] if scope.mult > 4 else ranges)
        starts, steps = self._accumulators(scope, times)
        index = "_" if self.choose.one_in(5) else self.choose.name("n")
        before = dict(scope.variables)
        if index != "_":
            scope.variables[index] = INT
            scope.bounds[index] = 12
        body = self._loop_body(scope, depth, times, steps, [], frozenset({index}))
        scope.variables = before
        lines = [*starts, f"for {index} in {iterable}:", *indented(body)]
        return lines + self._orelse(scope), True

    def _orelse(self, scope: Scope) -> Lines:
        if not self.choose.one_in(8):
            return []
        body, _ = self.block(scope.inner(in_loop=False), 0, 2)
        return ["else:", *indented(body)]

    def _while(self, scope: Scope, depth: int) -> tuple[Lines, bool]:
        if scope.mult * 4 > MAX_MULT:
            return self._assign(scope, depth)
        fuel = self.choose.name("fuel")
        times = 2 + self.choose.up_to(3)
        starts, steps = self._accumulators(scope, times)
        scope.variables[fuel] = INT
        cond = self.value(BOOL, scope, 2)
        counters = frozenset({fuel})
        if self.choose.one_in(4):
            head = [f"{fuel} -= 1", f"if {fuel} < 0 or {cond}:", "    break"]
            test = "True"
        else:
            head = [f"{fuel} -= 1"]
            test = self.choose.pick((f"{fuel} > 0", f"{fuel} > 0 and {cond}", f"{cond} and {fuel} > 0"))
        body = self._loop_body(scope, depth, times, steps, head, counters)
        return [*starts, f"{fuel} = {times}", f"while {test}:", *indented(body), *self._orelse(scope)], True

    # Ways to leave; under an if as a rule, so that something may follow.

    def _leave(self, scope: Scope, depth: int) -> tuple[Lines, bool]:
        ways = ["return", "break", "continue"] if scope.in_loop else ["return"]
        way = self.choose.pick(ways)
        line = f"return {self.result(scope)}" if way == "return" else way
        if self.choose.one_in(6):
            return [line], False
        return [f"if {self.value(BOOL, scope, 2)}:", f"    {line}"], True

    # Local functions.

    def _local_function(self, scope: Scope, depth: int) -> tuple[Lines, bool]:
        name = self.choose.name("local")
        types = [self.choose.pick((FLOAT, INT)) for _ in range(1 + self.choose.up_to(1))]
        params = tuple((f"{'z' if t == FLOAT else 'm'}{k}", t) for k, t in enumerate(types))
        captured = frozenset(scope.variables)
        inner = scope.inner(in_loop=False, result=FLOAT, counters=captured, suffix=f"_{name[5:]}")
        inner.variables.update(params)
        if self.choose.coin():
            body = self.value(FLOAT, inner, 2)
            scope.functions.append(Signature(name, params, FLOAT, 4, keywords=False))
            return [f"{name} = lambda {', '.join(p for p, _ in params)}: {body}"], True
        before = self.choose.calls
        lines, goes_on = self.block(inner, 1, 2)
        if goes_on:
            lines.append(f"return {self.result(inner)}")
        cost = 2 + max(0, before - self.choose.calls) // max(1, scope.mult)
        scope.functions.append(Signature(name, params, FLOAT, cost))
        annotated = ", ".join(f"{p}: {t}" for p, t in params) if self.choose.coin() else ", ".join(p for p, _ in params)
        return [f"def {name}({annotated}):", *indented(lines)], True

    SIMPLE: tuple[Callable[[Statements, Scope, int], tuple[Lines, bool]], ...] = (
        _assign, _assign, _augment, _step, _leave, _unpack, _chain_assign, _assert,
    )  # fmt: skip
    NESTED = (
        _assign, _if, _for, _while, _leave, _assign, _augment, _step, _unpack, _if, _for, _while, _local_function,
        _chain_assign, _walrus, _assert,
    )  # fmt: skip
