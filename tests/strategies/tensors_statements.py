"""Random statements over tensors: bindings, writes through views and aliases, branches, loops that end, ways to leave."""

from __future__ import annotations

from collections.abc import Callable

from tests.strategies.scope import Chooser
from tests.strategies.statements import Lines, indented
from tests.strategies.tensors_expressions import TensorExpressions
from tests.strategies.tensors_scope import SCALAR, Dims, Tensor, Tensors, TensorScope, is_constant, size_code

MAX_MULT = 70
Written = tuple[Lines, bool]


class TensorStatements:
    """Writes statements; a writer gives lines and whether control can go on behind them."""

    def __init__(self, choose: Chooser) -> None:
        self.choose = choose
        self.expressions = TensorExpressions(choose)
        self.value = self.expressions.value

    def result(self, scope: TensorScope) -> str:
        """What the function returns, beginning at any place."""
        parts = [self.digest(scope) if dims == SCALAR else self.value(dims, scope, 2) for dims in scope.result]
        return parts[0] if len(parts) == 1 else f"({', '.join(parts)})"

    def digest(self, scope: TensorScope) -> str:
        """A number that depends on much of what is in sight, so that no wrong value goes unseen."""
        owned = [name for name, t in scope.variables.items() if t.owned]
        picked = owned[-3:] if self.choose.coin() else owned[:4]
        parts = [f"{0.3 + 0.2 * k:.1f} * torch.sum(torch.sin({name}))" for k, name in enumerate(picked)]
        return f"torch.tanh({' + '.join([*parts, self.value(SCALAR, scope, 2, 1.0)])})"

    def block(self, scope: TensorScope, depth: int, most: int = 4) -> Written:
        """One statement or more."""
        lines: Lines = []
        for k in range(most):
            if (k > 0 and self.choose.up_to(4) == 0) or not self.choose.spend() or self.choose.calls < scope.mult:
                break
            self.choose.calls -= scope.mult
            written, goes_on = self.statement(scope, depth)
            lines += written
            if not goes_on:
                return lines, False
        return lines or ["pass"], True

    def statement(self, scope: TensorScope, depth: int) -> Written:
        """One statement."""
        forms = self.NESTED if depth > 0 else self.SIMPLE
        return self.choose.pick(forms)(self, scope, depth)

    def dims(self, scope: TensorScope) -> Dims:
        """Sizes for a tensor to be bound."""
        rank = self.choose.pick((0, 1, 1, 2, 2))
        known = sorted({t.dims for t in scope.variables.values() if len(t.dims) == rank})
        if known and not self.choose.one_in(4):
            return self.choose.pick(known)
        return tuple(self.choose.pick((*scope.sizes, "2", "3")) for _ in range(rank))

    # Bindings.

    def bind(self, scope: TensorScope, dims: Dims, code: str, *, owned: bool, name: str | None = None) -> Lines:
        """``name = code``."""
        name = name or self.choose.pick(scope.names(dims))
        scope.variables[name] = Tensor(dims, owned)
        return [f"{name} = {code}"]

    def _fresh(self, scope: TensorScope, depth: int) -> Written:
        dims = self.dims(scope)
        if self.choose.coin():
            sizes = ", ".join(map(size_code, dims)) or "()"
            like = self.choose.pick((f"torch.zeros({sizes})", f"torch.ones({sizes})", f"torch.zeros({sizes})"))
            known = scope.of(dims)
            if known and self.choose.coin():
                like = self.choose.pick(("torch.zeros_like({})", "{}.clone()", "torch.ones_like({})")).format(
                    self.choose.pick(known)
                )
            return self.bind(scope, dims, like, owned=True), True
        return self.bind(scope, dims, self.expressions.fresh(dims, scope, 3), owned=True), True

    def _assign(self, scope: TensorScope, depth: int) -> Written:
        dims = self.dims(scope)
        code = self.expressions.fresh(dims, scope, 3)
        return self.bind(scope, dims, code, owned=True), True

    def _alias(self, scope: TensorScope, depth: int) -> Written:
        """Another name for a tensor, or for a part of one."""
        owned = [name for name, t in scope.variables.items() if t.owned and t.dims]
        if not owned:
            return self._fresh(scope, depth)
        name = self.choose.pick(owned)
        dims = scope.variables[name].dims
        if self.choose.one_in(3):
            target = self.choose.pick(scope.names(dims)) if self.choose.one_in(3) else self.choose.name("alias")
            return self.bind(scope, dims, name, owned=True, name=target), True
        part = self.part(name, dims, scope)
        if part is None:
            return self.bind(scope, dims, name, owned=True, name=self.choose.name("alias")), True
        return self.bind(scope, part[1], part[0], owned=True, name=self.choose.name("view")), True

    def part(self, name: str, dims: Dims, scope: TensorScope) -> tuple[str, Dims] | None:
        """A view of a variable and its sizes."""
        options: list[tuple[str, Dims]] = []
        rows = scope.index(dims[0])
        options += [(f"{name}[{i}]", dims[1:]) for i in rows]
        if not is_constant(dims[0]) and not dims[0].endswith("1"):
            options += [(f"{name}[{cut}]", (f"{dims[0]}1", *dims[1:])) for cut in ("1:", ":-1")]
        if is_constant(dims[0]) and int(dims[0]) > 1:
            options += [(f"{name}[1:]", (str(int(dims[0]) - 1), *dims[1:])), (f"{name}[:1]", ("1", *dims[1:]))]
        if len(dims) == 2:
            columns = scope.index(dims[1])
            options += [(f"{name}[:, {j}]", dims[:1]) for j in columns]
            options += [(f"{name}[{i}, {j}]", SCALAR) for i in rows[:2] for j in columns[:2]]
            options += [(f"{name}[{i}][{j}]", SCALAR) for i in rows[-1:] for j in columns[-1:]]
            options += [(f"{name}.T[{j}]", dims[:1]) for j in columns]
            options += [(f"{name}.T", dims[::-1]), (f"{name}.t()", dims[::-1]), (f"{name}[:, :]", dims)]
            if not is_constant(dims[1]) and not dims[1].endswith("1"):
                cut = f"{dims[1]}1"
                options += [(f"{name}[:, 1:]", (dims[0], cut)), (f"{name}.transpose(0, 1)[1:]", (cut, dims[0]))]
                options += [(f"{name}[{i}, 1:]", (cut,)) for i in rows[:1]]
                options += [(f"{name}[{i}][:-1]", (cut,)) for i in rows[:1]]
            if dims[0] == dims[1]:
                options += [(f"{name}.diagonal()", dims[:1])]
        if len(dims) == 1:
            options += [(f"{name}[:]", dims), (f"{name}[...]", dims), (f"{name}.unsqueeze(0)[0]", dims)]
        return self.choose.pick(options) if options else None

    def _swap(self, scope: TensorScope, depth: int) -> Written:
        pairs = [(a, b) for a in scope.variables for b in scope.variables if a < b and self._alike(scope, a, b)]
        if not pairs:
            return self._elements_swapped(scope, depth)
        a, b = self.choose.pick(pairs)
        if self.choose.one_in(3):
            new = self.expressions.fresh(scope.variables[a].dims, scope, 2)
            return [f"{a}, {b} = {b}, {new}"], True
        return [f"{a}, {b} = {b}, {a}"], True

    @staticmethod
    def _alike(scope: TensorScope, a: str, b: str) -> bool:
        return scope.variables[a] == scope.variables[b] and scope.variables[a].owned

    def _elements_swapped(self, scope: TensorScope, depth: int) -> Written:
        options = [
            (name, i, j)
            for name, t in scope.variables.items()
            if t.owned and t.dims
            for i in scope.index(t.dims[0])[:2]
            for j in scope.index(t.dims[0])[-2:]
            if i != j
        ]
        if not options:
            return self._write(scope, depth)
        name, i, j = self.choose.pick(options)
        copies = ".clone()" if not self.choose.one_in(4) else ""
        return [f"{name}[{i}], {name}[{j}] = {name}[{j}]{copies}, {name}[{i}]{copies}"], True

    def _number(self, scope: TensorScope, depth: int) -> Written:
        """A whole number that depends on the run."""
        name = f"k{1 + self.choose.up_to(1)}"
        code = self.choose.pick(
            (
                f"{self.expressions.count(scope)} % 3",
                f"int({self.value(SCALAR, scope, 1)} > 0.2)",
                "0",
                "1 if {} else 2",
            )
        )
        code = code.format(self.expressions.condition(scope, 1))
        if name not in scope.counts:
            scope.counts = (*scope.counts, name)
        return [f"{name} = {code}"], True

    # Writes.

    def _write(self, scope: TensorScope, depth: int) -> Written:
        """An assignment to a part of a tensor, or in place."""
        owned = [name for name, t in scope.variables.items() if t.owned]
        if not owned:
            return self._fresh(scope, depth)
        name = self.choose.pick(owned)
        dims = scope.variables[name].dims
        place, sizes = name, dims
        if dims and not self.choose.one_in(5):
            place, sizes = self.part(name, dims, scope) or (name, dims)
        code = self.expressions.fit(self.expressions.tensor(sizes, scope, 2)).code
        narrow = self.expressions.fit(self.expressions.tensor(sizes, scope, 1), 1.0).code
        other = self.expressions.fit(self.expressions.other(sizes, scope, 1)).code
        if place == name or place.endswith((")", ".T")):
            forms = [
                "+= {c}",
                "*= {n}",
                "-= {o}",
                "/= abs({c}) + 1.0",
                ".mul_({n})",
                ".add_({c})",
                ".copy_({c})",
                ".zero_()",
            ]
            if dims:
                forms += ["[{m}] = 0.5", "[:] = {c}", ".clamp_(-3.0, 3.0)", ".tanh_()"]
            if place.endswith((")", ".T")):
                forms = [form for form in forms if not form[1:].startswith("=") and form[0] in ".["]
            form = self.choose.pick(forms)
        else:
            form = self.choose.pick(
                ("= {c}", "= {c}", "+= {c}", "*= {n}", "-= {o}", "/= abs({c}) + 1.0", "= 0.5", ".add_({c})")
            )
        mask = f"{place} > 1.2"
        gap = "" if form[0] in ".[" else " "
        return [f"{place}{gap}{form.format(c=code, n=narrow, o=other, m=mask)}"], True

    def _changed_by_helper(self, scope: TensorScope, depth: int) -> Written:
        for helper in scope.helpers:
            names = [name for name, t in scope.variables.items() if t.owned and len(t.dims) == len(helper.params[0])]
            if helper.changes and names and helper.cost * scope.mult <= self.choose.calls:
                name = self.choose.pick(names)
                sizes = dict(zip(helper.params[0], scope.variables[name].dims, strict=True))
                if len(sizes) < len(set(scope.variables[name].dims)):
                    continue
                self.choose.calls -= helper.cost * scope.mult
                for own in sorted({d for param in helper.params for d in param}):
                    sizes.setdefault(own, self.choose.pick(scope.sizes))
                args = [self.value(tuple(sizes[d] for d in param), scope, 2) for param in helper.params[1:]]
                call = f"{helper.name}({', '.join([name, *args])})"
                if self.choose.coin():
                    return [call], True
                return self.bind(scope, tuple(sizes[d] for d in helper.result), f"1.0 * {call}", owned=True), True
        return self._write(scope, depth)

    # Lists and tuples.

    def _list(self, scope: TensorScope, depth: int) -> Written:
        if scope.lists and self.choose.coin():
            name = self.choose.pick(sorted(scope.lists))
            dims, length = scope.lists[name].dims, scope.lists[name].length
            k = self.choose.up_to(length - 1)
            code = self.expressions.fresh(dims, scope, 2)
            forms = [f"{name}[{k}] = {code}"]
            if dims:
                forms += [
                    f"{name}[{k}] += {self.value(dims, scope, 1)}",
                    f"{name}[{k}][:] = {self.value(dims, scope, 1)}",
                ]
            if scope.mult == 1 and length < 4 and not scope.in_loop:
                scope_length = Tensors(dims, length + 1)
                form = self.choose.pick((*forms, f"{name}.append({code})"))
                if ".append" in form:
                    scope.lists[name] = scope_length
                return [form], True
            return [self.choose.pick(forms)], True
        dims = self.dims(scope)
        length = 2 + self.choose.up_to(1)
        name = self.choose.name("parts")
        if self.choose.one_in(3):
            names = scope.of(dims, owned=True)
            items = [self.choose.pick(names) if names else self.expressions.fresh(dims, scope) for _ in range(length)]
        elif self.choose.one_in(3):
            code = self.expressions.fresh(dims, scope)
            scope.lists[name] = Tensors(dims, length)
            return [f"{name} = [{code} * k for k in range({length})]"], True
        else:
            items = [self.expressions.fresh(dims, scope) for _ in range(length)]
        scope.lists[name] = Tensors(dims, length)
        return [f"{name} = [{', '.join(items)}]"], True

    def _over_list(self, scope: TensorScope, depth: int) -> Written:
        if not scope.lists or scope.mult * 3 > MAX_MULT:
            return self._list(scope, depth)
        name = self.choose.pick(sorted(scope.lists))
        item = self.choose.name("item")
        inner = scope.inner(mult=scope.mult * scope.lists[name].length, in_loop=True)
        inner.variables[item] = Tensor(scope.lists[name].dims, owned=True)
        body, _ = self.block(inner, depth - 1, 2)
        self.disown(scope, inner)
        return [f"for {item} in {name}:", *indented(body)], True

    def _tuple(self, scope: TensorScope, depth: int) -> Written:
        a, b = self.dims(scope), self.dims(scope)
        first, second = self.expressions.fresh(a, scope), self.expressions.fresh(b, scope)
        one, two = scope.names(a)[0], scope.names(b)[1]
        scope.variables[one], scope.variables[two] = Tensor(a), Tensor(b)
        if self.choose.coin():
            return [f"{one}, {two} = {first}, {second}"], True
        pair = self.choose.name("pair")
        return [f"{pair} = ({first}, {second})", f"{one}, {two} = {pair}"], True

    # Branches.

    def _if(self, scope: TensorScope, depth: int) -> Written:
        lines: Lines = []
        sides: list[tuple[TensorScope, bool]] = []
        for k in range(1 + self.choose.up_to(1) * self.choose.up_to(1)):
            test = self.expressions.condition(scope, 2)
            inner = scope.inner()
            body, goes_on = self.block(inner, depth - 1)
            lines += [f"{'elif' if k else 'if'} {test}:", *indented(body)]
            sides.append((inner, goes_on))
        inner = scope.inner()
        if self.choose.coin():
            body, goes_on = self.block(inner, depth - 1)
            lines += ["else:", *indented(body)]
            sides.append((inner, goes_on))
        else:
            sides.append((inner, True))
        return lines, self._joined(scope, sides)

    def _joined(self, scope: TensorScope, sides: list[tuple[TensorScope, bool]]) -> bool:
        through = [inner for inner, goes_on in sides if goes_on]
        if not through:
            return False
        first, *others = through
        first.join(*others)
        scope.variables, scope.lists = first.variables, first.lists
        scope.counts = tuple(k for k in first.counts if all(k in other.counts for other in others))
        return True

    def _if_not_empty(self, scope: TensorScope, depth: int) -> Written:
        """A branch where a size is positive, so that its first and last index are known."""
        dim = self.choose.pick(scope.sizes)
        inner = scope.with_index(dim, "0", "-1", f"{dim} - 1")
        body, goes_on = self.block(inner, depth - 1)
        lines = [f"if {dim} > 0:", *indented(body)]
        return lines, self._joined(scope, [(inner, goes_on), (scope.inner(), True)])

    # Loops.

    def _for(self, scope: TensorScope, depth: int) -> Written:
        if scope.mult * 4 > MAX_MULT:
            return self._write(scope, depth)
        dim = self.choose.pick(scope.sizes)
        i = self.choose.name("i")
        kind = self.choose.up_to(8)
        mult = {"mult": scope.mult * 4, "in_loop": True}
        if kind == 0:
            iterable, inner = f"range(1, {dim})", scope.with_index(dim, i, f"{i} - 1", f"-{i}", **mult)
        elif kind == 1:
            iterable, inner = f"range({dim} - 1)", scope.with_index(dim, f"{i} + 1", i, f"-1 - {i}", **mult)
            inner = inner.with_index(f"{dim}1", i)
        elif kind == 2:
            iterable, inner = f"range({dim} - 1, -1, -1)", scope.with_index(dim, i, **mult)
        elif kind == 3:
            iterable, inner = f"reversed(range({dim}))", scope.with_index(dim, i, f"-{i} - 1", **mult)
        elif kind == 4:
            iterable, inner = f"range(0, {dim}, 2)", scope.with_index(dim, i, **mult)
        elif kind == 5:
            count = self.expressions.count(scope)
            iterable, inner = f"range(min({count}, {dim}))", scope.with_index(dim, i, **mult)
        elif kind == 6:
            iterable, inner = f"range({self.expressions.count(scope)})", scope.inner(**mult)
            inner.indices = {**inner.indices, "": (i,)}
        else:
            iterable, inner = f"range({dim})", scope.with_index(dim, i, f"{dim} - 1 - {i}", f"-1 - {i}", **mult)
        return self._loop(scope, inner, f"for {i} in {iterable}:", depth)

    def _loop(
        self, scope: TensorScope, inner: TensorScope, head: str, depth: int, first: Lines | None = None
    ) -> Written:
        starts, steps, after = self._accumulators(scope, inner)
        body, goes_on = self.block(inner, depth - 1)
        if goes_on:
            body += [step.format(self.value(SCALAR, inner, 2)) for step in steps]
            if self.choose.one_in(3):
                body += self.block(inner, depth - 1, 2)[0]
        self.disown(scope, inner)
        end: Lines = []
        if self.choose.one_in(10):
            last, _ = self.block(scope.inner(), 0, 2)
            end = ["else:", *indented(last)]
        for name, code in after:
            scope.variables[name] = Tensor(SCALAR)
            end = [*end, code]
        return [*starts, head, *indented([*(first or []), *body]), *end], True

    @staticmethod
    def disown(scope: TensorScope, inner: TensorScope) -> None:
        """After a loop: what its body may have bound to a part of an argument is not to be changed."""
        for name, tensor in inner.variables.items():
            if name in scope.variables and not tensor.owned:
                scope.variables[name] = tensor
        for name, tensors in list(scope.lists.items()):
            if inner.lists.get(name, tensors) != tensors:
                del scope.lists[name]

    def _accumulators(self, scope: TensorScope, inner: TensorScope) -> tuple[Lines, Lines, list[tuple[str, str]]]:
        """Running sums and products that start as numbers of Python, as users write them."""
        if not self.choose.one_in(3):
            return [], [], []
        name = self.choose.name("total")
        plus = self.choose.coin()
        step = self.choose.pick(("{} += {{}}", "{} = {} + {{}}") if plus else ("{} *= {{}}", "{} = {{}} * {}"))
        lines = [step.format(name, name)]
        if self.choose.one_in(3):
            lines.append(f"if {name} > 2.5:")
            lines[-1] += " " + self.choose.pick(("break", "continue"))
        target = self.choose.pick(scope.names(SCALAR))
        back = f"{target} = 4.0 * torch.tanh(torch.as_tensor({name}))"
        if self.choose.coin():
            known = self.expressions.leaf(SCALAR, scope).code
            back = f"{target} = torch.tanh({name} * {known})"
        return [f"{name} = {'0.0' if plus else '1.0'}"], lines, [(target, back)]

    def _rows(self, scope: TensorScope, depth: int) -> Written:
        """A loop over the rows of tensors."""
        names = [
            name for name, t in scope.variables.items() if t.dims and (not is_constant(t.dims[0]) or scope.mult < 5)
        ]
        if scope.mult * 4 > MAX_MULT or not names:
            return self._write(scope, depth)
        name = self.choose.pick(names)
        tensor = scope.variables[name]
        row, i = self.choose.name("row"), self.choose.name("i")
        inner = scope.inner(mult=scope.mult * 4, in_loop=True)
        kind = self.choose.up_to(3)
        alike = [other for other, t in scope.variables.items() if t.dims[:1] == tensor.dims[:1]]
        if kind == 0:
            head = f"for {row} in {name}:"
        elif kind == 1:
            inner = scope.with_index(tensor.dims[0], i, mult=scope.mult * 4, in_loop=True)
            head = f"for {i}, {row} in enumerate({name}):"
        elif kind == 2:
            other, second = self.choose.pick(alike), self.choose.name("row")
            inner.variables[second] = Tensor(scope.variables[other].dims[1:], scope.variables[other].owned)
            head = f"for {row}, {second} in zip({name}, {other}):"
        else:
            other, second = self.choose.pick(alike), self.choose.name("row")
            inner = scope.with_index(tensor.dims[0], i, mult=scope.mult * 4, in_loop=True)
            inner.variables[second] = Tensor(scope.variables[other].dims[1:], scope.variables[other].owned)
            head = f"for {i}, ({row}, {second}) in enumerate(zip({name}, {other})):"
        inner.variables[row] = Tensor(tensor.dims[1:], tensor.owned)
        return self._loop(scope, inner, head, depth)

    def _while(self, scope: TensorScope, depth: int) -> Written:
        if scope.mult * 4 > MAX_MULT:
            return self._write(scope, depth)
        fuel = self.choose.name("fuel")
        test = self.expressions.condition(scope, 1)
        inner = scope.inner(mult=scope.mult * 4, in_loop=True, counts=(*scope.counts, fuel))
        head, first = f"while {fuel} > 0 and {test}:", [f"{fuel} -= 1"]
        if self.choose.one_in(4):
            head, first = "while True:", [f"{fuel} -= 1", f"if {fuel} < 0 or {test}:", "    break"]
        if self.choose.one_in(3):
            dim = self.choose.pick(scope.sizes)
            start = [f"{fuel} = {dim}"]
            inner = inner.with_index(dim, fuel)
        else:
            start = [f"{fuel} = {2 + self.choose.up_to(2)}"]
        lines, goes_on = self._loop(scope, inner, head, depth, first)
        return start + lines, goes_on

    # Ways to leave.

    def _leave(self, scope: TensorScope, depth: int) -> Written:
        ways = ["break", "continue", "return"] if scope.in_loop else ["return"]
        way = self.choose.pick(ways)
        line = f"return {self.result(scope)}" if way == "return" else way
        if self.choose.one_in(8):
            return [line], False
        return [f"if {self.expressions.condition(scope, 1)}:", f"    {line}"], True

    def _local(self, scope: TensorScope, depth: int) -> Written:
        """A local function that captures, and a use of it."""
        name = self.choose.name("local")
        dims = self.dims(scope)
        inner = scope.inner(in_loop=False)
        inner.variables["z"] = Tensor(dims, owned=False)
        code = self.value(dims, inner, 2)
        call = f"{name}({self.value(dims, scope, 1)})"
        return [f"{name} = lambda z: {code}", *self.bind(scope, dims, f"1.0 * {call}", owned=True)], True

    _Form = Callable[["TensorStatements", TensorScope, int], Written]
    SIMPLE: tuple[_Form, ...] = (
        _write, _assign, _write, _fresh, _alias, _write, _swap, _leave, _list, _tuple, _number, _changed_by_helper,
        _elements_swapped,
    )  # fmt: skip
    NESTED: tuple[_Form, ...] = (
        _for, _write, _assign, _if, _rows, _write, _fresh, _while, _alias, _for, _if, _swap, _leave, _list, _over_list,
        _rows, _tuple, _number, _if_not_empty, _changed_by_helper, _local, _write, _elements_swapped, _alias,
    )  # fmt: skip
