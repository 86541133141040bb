"""Random expressions of torch: tensors of given sizes, conditions and counts, each with a bound of its elements."""

from __future__ import annotations

from collections.abc import Callable

from tests.strategies.scope import Chooser, Text
from tests.strategies.tensors_scope import CAP, SCALAR, Dims, Helper, TensorScope, is_constant, size_code

CONSTANTS = ("0.5", "2.0", "-1.0", "0.3", "-0.7", "1.5", "3")

# Functions of one tensor: the text with a hole, the bound that the argument is cut to, and the bound of the result.
UNARY: tuple[tuple[str, float, float], ...] = (
    ("torch.sin({})", 60.0, 1.0),
    ("{}.cos()", 60.0, 1.0),
    ("torch.tanh({})", 60.0, 1.0),
    ("torch.exp({})", 1.5, 4.5),
    ("torch.sigmoid({})", 30.0, 1.0),
    ("torch.sqrt(abs({}) + 0.25)", 16.0, 4.1),
    ("torch.log({} ** 2 + 0.5)", 4.0, 3.0),
    ("torch.relu({})", 30.0, 30.0),
    ("torch.abs({})", 30.0, 30.0),
    ("{}.clamp(-1.1, 0.9)", 30.0, 1.1),
    ("torch.clamp({}, min=-0.4)", 30.0, 30.0),
    ("torch.square({})", 4.0, 16.0),
    ("torch.nn.functional.softplus({})", 10.0, 10.1),
    ("torch.atan({})", 30.0, 1.6),
    ("torch.where({} > 0.2, {}, 0.1)", 8.0, 8.0),
    ("torch.nn.functional.leaky_relu({}, 0.1)", 30.0, 30.0),
    ("(1.0 / (1.5 + torch.sin({})))", 30.0, 2.0),
    ("torch.reciprocal(abs({}) + 0.5)", 30.0, 2.0),
    ("({} ** 3)", 2.0, 8.0),
    ("{}.clone()", 8.0, 8.0),
)
BINARY: tuple[tuple[str, float, float], ...] = (
    ("torch.maximum({}, {})", 8.0, 8.0),
    ("torch.minimum({}, {})", 8.0, 8.0),
    ("({} / (abs({}) + 0.5))", 4.0, 8.0),
    ("torch.where({} > {}, {}, {})", 8.0, 8.0),
    ("torch.atan2({}, abs({}) + 0.5)", 30.0, 1.6),
    ("torch.lerp({}, {}, 0.3)", 8.0, 8.0),
    ("torch.add({}, {}, alpha=0.5)", 8.0, 12.0),
    ("torch.hypot({}, abs({}) + 0.5)", 8.0, 12.0),
)


class TensorExpressions:
    """Writes expressions in a scope."""

    def __init__(self, choose: Chooser) -> None:
        self.choose = choose

    def fit(self, e: Text, cap: float = CAP) -> Text:
        """``e`` with magnitude at most ``cap``."""
        if e.bound <= cap:
            return e
        scale = f"{0.9 * cap / e.bound:.3g}"
        forms = (
            f"({scale} * {e.code})",
            f"({cap} * torch.tanh({e.code}))",
            f"({cap} * torch.sin({e.code}))",
            f"torch.clamp({e.code}, -{cap}, {cap})",
            f"({e.code} / {e.bound / cap:.4g})",
        )
        return Text(self.choose.pick(forms), cap)

    def value(self, dims: Dims, scope: TensorScope, depth: int = 3, cap: float = CAP) -> str:
        """An expression for a new tensor or an old one, within a bound."""
        return self.fit(self.tensor(dims, scope, depth), cap).code

    def fresh(self, dims: Dims, scope: TensorScope, depth: int = 2) -> str:
        """An expression whose tensor nothing else holds."""
        code = self.value(dims, scope, depth)
        return self.choose.pick((f"({code}).clone()", f"(1.0 * {code})", f"({code} + 0.25)"))

    def tensor(self, dims: Dims, scope: TensorScope, depth: int) -> Text:
        """A tensor of these sizes."""
        if depth <= 0 or not self.choose.spend():
            return self.leaf(dims, scope)
        forms = {0: self.SCALAR_FORMS, 1: self.VECTOR_FORMS}.get(len(dims), self.MATRIX_FORMS)
        return self.choose.pick(forms)(self, dims, scope, depth - 1)

    # Leaves.

    def leaf(self, dims: Dims, scope: TensorScope) -> Text:
        """A variable, a part of one, or a constant tensor."""
        options = [Text(name, CAP) for name in scope.of(dims) for _ in range(3)]
        options += self.parts(dims, scope)
        if not options or self.choose.one_in(12):
            return self.constant(dims, scope)
        return self.choose.pick(options[:40])

    def parts(self, dims: Dims, scope: TensorScope) -> list[Text]:
        """Views of variables that have these sizes."""
        found = []
        for name, tensor in scope.variables.items():
            have = tensor.dims
            if len(have) == len(dims) + 1:
                found += [f"{name}[{i}]" for i in scope.index(have[0])[:3] if have[1:] == dims]
                if len(have) == 2:
                    found += [f"{name}[:, {i}]" for i in scope.index(have[1])[:2] if have[:1] == dims]
            if dims == SCALAR and len(have) == 2:
                rows, columns = scope.index(have[0]), scope.index(have[1])
                found += [f"{name}[{rows[0]}, {j}]" for j in columns[:2] if rows]
                found += [f"{name}[{i}][{columns[-1]}]" for i in rows[:2] if columns]
            if len(have) == len(dims) == 2 and have == dims[::-1] and have[0] != have[1]:
                found += [f"{name}.T", f"{name}.transpose(0, 1)"]
            if len(have) == len(dims) and dims and dims[0] == f"{have[0]}1" and have[1:] == dims[1:]:
                found += [f"{name}[1:]", f"{name}[:-1]"]
        for name, tensors in scope.lists.items():
            if tensors.dims == dims:
                found += [f"{name}[{k}]" for k in range(tensors.length)]
        return [Text(code, CAP) for code in found]

    def constant(self, dims: Dims, scope: TensorScope) -> Text:
        """A tensor that is no function of the arguments, or hardly one."""
        if not dims:
            name = next(name for name, tensor in scope.variables.items() if tensor.dims)
            return self.choose.pick((Text(f"torch.sum({name})", 16 * CAP), Text(f"torch.tensor({0.3})", 0.3)))
        sizes = ", ".join(map(size_code, dims))
        forms = [
            Text(f"torch.ones({sizes})", 1.0),
            Text(f"torch.zeros({sizes})", 0.0),
            Text(f"torch.full(({sizes},), {self.choose.pick(CONSTANTS[:5])})", 2.0),
        ]
        if len(dims) == 1:
            forms.append(Text(f"(0.25 * torch.arange({sizes}))", 1.0))
            forms.append(Text(f"torch.linspace(-1.0, 1.0, {sizes})", 1.0))
        return self.choose.pick(forms)

    # Elementwise.

    def _add(self, dims: Dims, scope: TensorScope, depth: int) -> Text:
        a, b = self.tensor(dims, scope, depth), self.other(dims, scope, depth)
        return Text(f"({a.code} {self.choose.pick('+-')} {b.code})", a.bound + b.bound)

    def _mul(self, dims: Dims, scope: TensorScope, depth: int) -> Text:
        a, b = self.fit(self.tensor(dims, scope, depth), 8.0), self.fit(self.other(dims, scope, depth), 4.0)
        if self.choose.coin():
            a, b = b, a
        return Text(f"({a.code} * {b.code})", a.bound * b.bound)

    def other(self, dims: Dims, scope: TensorScope, depth: int) -> Text:
        """What can stand beside a tensor of these sizes: the like, or what is broadcast to it."""
        kind = self.choose.up_to(6)
        if kind == 0:
            code = self.choose.pick((*CONSTANTS, *scope.numbers))
            return Text(code, 3.0)
        if kind == 1 and dims:
            return self.tensor(SCALAR, scope, depth)
        if kind == 2 and len(dims) == 2:
            return self.tensor(dims[1:], scope, depth)
        if kind == 3 and len(dims) == 2:
            column = self.tensor(dims[:1], scope, depth)
            return Text(
                f"{column.code}{self.choose.pick(('[:, None]', '.unsqueeze(1)', '.reshape(-1, 1)'))}", column.bound
            )
        return self.tensor(dims, scope, depth)

    def _neg(self, dims: Dims, scope: TensorScope, depth: int) -> Text:
        a = self.tensor(dims, scope, depth)
        return Text(f"(-{a.code})", a.bound)

    def _unary(self, dims: Dims, scope: TensorScope, depth: int) -> Text:
        form, cap, bound = self.choose.pick(UNARY)
        code = self.value(dims, scope, depth, cap)
        return Text(form.format(*([code] * form.count("{}"))), bound)

    def _binary(self, dims: Dims, scope: TensorScope, depth: int) -> Text:
        form, cap, bound = self.choose.pick(BINARY)
        codes = [self.value(dims, scope, depth, cap) for _ in range(2)]
        return Text(form.format(*codes, *([codes[0], codes[1]] if form.count("{}") > 2 else [])), bound)

    def _ternary(self, dims: Dims, scope: TensorScope, depth: int) -> Text:
        a, b = self.tensor(dims, scope, depth), self.tensor(dims, scope, depth)
        return Text(f"({a.code} if {self.condition(scope, depth)} else {b.code})", max(a.bound, b.bound))

    def _leaf(self, dims: Dims, scope: TensorScope, depth: int) -> Text:
        return self.leaf(dims, scope)

    def _call(self, dims: Dims, scope: TensorScope, depth: int) -> Text:
        """A call of a helper, its sizes brought to those in sight."""
        options = [
            (h, s) for h in scope.helpers if not h.changes for s in [self.unified(h, dims, scope)] if s is not None
        ]
        options = [(h, s) for h, s in options if h.cost * scope.mult <= self.choose.calls]
        if not options:
            return self._unary(dims, scope, depth)
        helper, sizes = self.choose.pick(options)
        self.choose.calls -= helper.cost * scope.mult
        args = [self.value(tuple(sizes.get(d, d) for d in param), scope, depth) for param in helper.params]
        return Text(f"{helper.name}({', '.join(args)})", CAP)

    def unified(self, helper: Helper, dims: Dims, scope: TensorScope) -> dict[str, str] | None:
        """What the symbols of a helper stand for where its result has these sizes."""
        if len(helper.result) != len(dims):
            return None
        sizes: dict[str, str] = {}
        for own, wanted in zip(helper.result, dims, strict=True):
            if is_constant(own):
                if own != wanted:
                    return None
            elif sizes.setdefault(own, wanted) != wanted:
                return None
        for own in sorted({d for param in helper.params for d in param if not is_constant(d)}):
            sizes.setdefault(own, self.choose.pick(scope.sizes))
        return sizes

    # Reductions and contractions.

    def _reduce(self, dims: Dims, scope: TensorScope, depth: int) -> Text:
        """A number from a vector or a matrix."""
        inner = self.shape(scope)
        form = self.choose.pick(
            (
                ("torch.sum({})", 4.0, 64.0),
                ("{}.sum()", 4.0, 64.0),
                ("({}.sum() / 3)", 4.0, 22.0),
                ("torch.prod(1.0 + 0.2 * torch.tanh({}))", 4.0, 20.0),
                ("torch.logsumexp(torch.cat([{}.reshape(-1), torch.zeros(1)]), 0)", 4.0, 8.0),
                ("torch.sqrt(torch.sum({} ** 2) + 0.3)", 4.0, 17.0),
                ("torch.cat([{}.flatten(), torch.zeros(2)]).max()", 4.0, 4.0),
                ("torch.amax(torch.cat([{}.reshape(-1), torch.ones(1)]))", 4.0, 4.0),
                ("torch.linalg.vector_norm({} + 5.0)", 4.0, 40.0),
                ("torch.cat([{}.flatten(), torch.ones(1)]).mean()", 4.0, 4.0),
            )
        )
        return Text(form[0].format(self.value(inner, scope, depth, form[1])), form[2])

    def _dot(self, dims: Dims, scope: TensorScope, depth: int) -> Text:
        inner = (self.choose.pick(scope.sizes),)
        a, b = self.value(inner, scope, depth), self.value(inner, scope, depth)
        return Text(self.choose.pick((f"torch.dot({a}, {b})", f"({a} @ {b})", f"torch.sum({a} * {b})")), 64.0)

    def _slice_sum(self, dims: Dims, scope: TensorScope, depth: int) -> Text:
        """A sum over a part whose size is only known at run time."""
        names = [name for name, tensor in scope.variables.items() if tensor.dims]
        if not names:
            return self._reduce(dims, scope, depth)
        name, count = self.choose.pick(names), self.count(scope)
        part = self.choose.pick((f"[:{count}]", f"[{count}:]", "[::2]", f"[{count}::2]", "[-2:]", f"[1:{count}]"))
        return Text(self.choose.pick((f"torch.sum({name}{part})", f"({name}{part} ** 2).sum()")), 256.0)

    def _along(self, dims: Dims, scope: TensorScope, depth: int) -> Text:
        """A vector from a matrix, along one of its dimensions."""
        other = self.choose.pick(scope.sizes)
        matrix, dim = ((*dims, other), 1) if self.choose.coin() else ((other, *dims), 0)
        code = self.value(matrix, scope, depth)
        form = self.choose.pick(
            ("{}.sum({})", "torch.sum({}, dim={})", "torch.prod(0.5 * {}, {})", "torch.logsumexp({}, {})")
        )
        if form.startswith("torch.log"):
            return (
                Text(f"torch.tanh({form.format(f'torch.cat([{code}, torch.zeros_like({code})], {dim})', dim)})", 1.0)
                if (is_constant(other))
                else Text(f"{code}.sum({dim})", 16.0)
            )
        return Text(form.format(code, dim), 16.0)

    def _product(self, dims: Dims, scope: TensorScope, depth: int) -> Text:
        """A product of a matrix with a vector or a matrix."""
        other = self.choose.pick(scope.sizes)
        left, right = (*dims[:1], other), (other, *dims[1:])
        return Text(f"({self.value(left, scope, depth)} @ {self.value(right, scope, depth)})", 64.0)

    def _vector_whole(self, dims: Dims, scope: TensorScope, depth: int) -> Text:
        code = self.value(dims, scope, depth)
        form, bound = self.choose.pick(
            (
                ("torch.cumsum({}, 0)", 16.0),
                ("torch.flip({}, (0,))", 4.0),
                ("{}.flip(0)", 4.0),
                ("torch.softmax({}, 0)", 1.0),
                ("torch.roll({}, 1, 0)", 4.0),
                ("torch.cumprod(torch.tanh({}), 0)", 1.0),
                ("torch.sort({})[0]", 4.0),
            )
        )
        return Text(form.format(code), bound)

    def _matrix_whole(self, dims: Dims, scope: TensorScope, depth: int) -> Text:
        code = self.value(dims, scope, depth)
        forms = (
            ("torch.cumsum({}, 1)", 16.0),
            ("torch.softmax({}, 1)", 1.0),
            ("{}.flip(0)", 4.0),
            ("torch.tril({})", 4.0),
            ("torch.flip({}, (1,))", 4.0),
            ("{}.contiguous()", 4.0),
        )
        form, bound = self.choose.pick(forms)
        return Text(form.format(code), bound)

    def _outer(self, dims: Dims, scope: TensorScope, depth: int) -> Text:
        a, b = self.value(dims[:1], scope, depth), self.value(dims[1:], scope, depth)
        return Text(
            self.choose.pick((f"torch.outer({a}, {b})", f"({a}[:, None] * {b})", f"({a}.unsqueeze(1) + {b})")), 16.0
        )

    def _transposed(self, dims: Dims, scope: TensorScope, depth: int) -> Text:
        code = self.value(dims[::-1], scope, depth)
        return Text(self.choose.pick((f"{code}.T", f"{code}.t()", f"{code}.transpose(0, 1)")), CAP)

    def _stack(self, dims: Dims, scope: TensorScope, depth: int) -> Text:
        if is_constant(dims[0]):
            parts = ", ".join(self.value(dims[1:], scope, depth) for _ in range(int(dims[0])))
            return Text(f"torch.stack([{parts}])", CAP)
        if len(dims) == 2 and is_constant(dims[1]):
            parts = ", ".join(self.value(dims[:1], scope, depth) for _ in range(int(dims[1])))
            return Text(f"torch.stack(({parts}), dim=1)", CAP)
        return self._unary(dims, scope, depth)

    def shape(self, scope: TensorScope) -> Dims:
        """The sizes of a tensor that is not a number."""
        rank = self.choose.pick((1, 1, 2))
        options: list[Dims] = list({t.dims for t in scope.variables.values() if len(t.dims) == rank})
        return self.choose.pick(sorted(options)) if options else (self.choose.pick(scope.sizes),) * rank

    # Counts and conditions.

    def count(self, scope: TensorScope) -> str:
        """A whole number, not negative and small."""
        known = [code for codes in scope.indices.values() for code in codes if code[0].isalpha() and " " not in code]
        return self.choose.pick((*scope.counts, *known, "1", "2", *scope.sizes))

    def condition(self, scope: TensorScope, depth: int) -> str:
        """A bool of Python or of a tensor with one element."""
        kind = self.choose.up_to(9)
        if kind == 0:
            return f"{self.count(scope)} {self.choose.pick(('<', '>', '<=', '!='))} {self.count(scope)}"
        if kind == 1:
            return f"{self.count(scope)} % 2 == {self.choose.up_to(1)}"
        if kind == 2 and depth > 0:
            word = self.choose.pick(("and", "or"))
            return f"({self.condition(scope, depth - 1)} {word} {self.condition(scope, depth - 1)})"
        if kind == 3 and depth > 0:
            return f"not {self.condition(scope, depth - 1)}"
        if kind == 4:
            return f"-0.5 < {self.value(SCALAR, scope, depth - 1)} < 2.0"
        if kind == 5:
            code = self.value((self.choose.pick(scope.sizes),), scope, depth - 1)
            return self.choose.pick((f"torch.any({code} > 0.4)", f"({code} > -0.8).all()"))
        left = self.value(SCALAR, scope, depth - 1)
        right = self.choose.pick(("0.3", "-0.4", "1.1", self.value(SCALAR, scope, depth - 1)))
        return f"{left} {self.choose.pick('<>')} {right}"

    _Form = Callable[["TensorExpressions", Dims, TensorScope, int], Text]
    COMMON: tuple[_Form, ...] = (_leaf, _leaf, _add, _mul, _unary, _binary, _mul, _add, _unary, _call, _neg)
    SCALAR_FORMS: tuple[_Form, ...] = (*COMMON, _reduce, _dot, _reduce, _slice_sum, _ternary, _reduce)
    VECTOR_FORMS: tuple[_Form, ...] = (*COMMON, _along, _product, _vector_whole, _ternary, _stack, _along)
    MATRIX_FORMS: tuple[_Form, ...] = (*COMMON, _product, _matrix_whole, _outer, _transposed, _stack, _outer)
