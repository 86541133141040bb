"""Random expressions of type float, int, bool and tuple, each with the largest magnitude that it can have."""

from __future__ import annotations

from collections.abc import Callable

from tests.strategies.scope import (
    BOOL,
    FLOAT,
    FLOAT_CAP,
    INT,
    INT_CAP,
    MIXED,
    PAIR,
    POINT,
    TUPLES,
    Chooser,
    Scope,
    Signature,
    Text,
)

FLOATS = (1.0, 0.5, 2.0, 0.0, -1.0, 0.3, -0.7, 1.5, 3.0)
COMPARISONS = ("<", "<=", ">", ">=")

# Functions of one float: the text with a hole, the bound that the argument is cut to, and the bound of the result.
UNARY: tuple[tuple[str, float, float], ...] = (
    ("math.sin({})", 30.0, 1.0),
    ("math.cos({})", 30.0, 1.0),
    ("math.tanh({})", 30.0, 1.0),
    ("math.exp({})", 1.5, 4.5),
    ("math.exp(-abs({}))", 8.0, 1.0),
    ("math.sqrt(abs({}) + 0.25)", 16.0, 4.1),
    ("math.log(abs({}) + 0.5)", 16.0, 3.0),
    ("math.log1p(abs({}))", 16.0, 3.0),
    ("math.atan({})", 30.0, 1.6),
    ("math.asinh({})", 16.0, 3.6),
    ("math.acosh(abs({}) + 1.25)", 16.0, 3.7),
    ("math.atanh(0.5 * math.sin({}))", 16.0, 0.6),
    ("math.asin(0.75 * math.cos({}))", 16.0, 0.9),
    ("math.acos(0.75 * math.sin({}))", 16.0, 2.5),
    ("math.tan(0.5 * math.tanh({}))", 16.0, 0.6),
    ("math.sinh({})", 1.5, 2.2),
    ("math.cosh({})", 1.5, 2.4),
    ("math.expm1({})", 1.5, 3.5),
    ("math.log2(abs({}) + 0.5)", 16.0, 4.1),
    ("math.log10(abs({}) + 0.5)", 16.0, 1.3),
    ("math.erf({})", 16.0, 1.0),
    ("math.erfc({})", 4.0, 2.0),
    ("math.lgamma(abs({}) + 0.75)", 4.0, 4.0),
    ("math.cbrt(abs({}) + 0.25)", 16.0, 2.6),
    ("math.exp2({})", 2.0, 4.0),
    ("math.fabs({})", 16.0, 16.0),
    ("math.degrees({}) * 0.01", 4.0, 2.4),
)
BINARY: tuple[tuple[str, float], ...] = (
    ("math.atan2({}, abs({}) + 0.5)", 1.6),
    ("math.hypot({}, abs({}) + 0.5)", 6.1),
    ("math.copysign({}, {})", 4.0),
    ("math.fmod({}, abs({}) + 0.75)", 4.0),
    ("math.pow(abs({}) + 0.5, 0.25 * {})", 4.6),
)


class Expressions:
    """Writes expressions in a scope."""

    def __init__(self, choose: Chooser) -> None:
        self.choose = choose

    def of_type(self, type_: str, scope: Scope, depth: int) -> Text:
        """An expression of any type, within the bound that variables of this type keep."""
        match type_:
            case "float":
                return self.fit(self.float(scope, depth), FLOAT_CAP)
            case "int":
                return self.fit_int(self.int(scope, depth), INT_CAP)
            case "bool":
                return self.bool(scope, depth)
            case _:
                return self.tuple(type_, scope, depth)

    # Numbers that would be too large are brought back.

    def fit(self, e: Text, cap: float) -> Text:
        """``e`` with magnitude at most ``cap``."""
        if e.bound <= cap:
            return e
        scale = f"{float(f'{cap / e.bound:.2g}') * 0.9:.3g}"
        factor = "" if cap == 1.0 else f"{cap} * "
        forms = (
            f"({scale} * {e.code})",
            f"({factor}math.tanh({e.code}))",
            f"({factor}math.sin({e.code}))",
            f"max(-{cap}, min({cap}, {e.code}))",
            f"({e.code} % {cap})",
            f"min(max({e.code}, -{cap}), {cap})",
        )
        return Text(self.choose.pick(forms), cap)

    def fit_int(self, e: Text, cap: int) -> Text:
        """``e`` with magnitude at most ``cap``."""
        if e.bound <= cap:
            return e
        forms = (
            f"({e.code} % {cap + 1})",
            f"max(-{cap}, min({cap}, {e.code}))",
            f"({e.code} // {int(e.bound // cap) + 1})",
        )
        return Text(self.choose.pick(forms), cap)

    # float

    def float(self, scope: Scope, depth: int) -> Text:
        """A float expression."""
        if depth <= 0 or not self.choose.spend():
            return self.float_leaf(scope)
        return self.choose.pick(self.FLOAT_FORMS)(self, scope, depth - 1)

    def small(self, scope: Scope, depth: int, cap: float) -> str:
        return self.fit(self.float(scope, depth), cap).code

    def float_leaf(self, scope: Scope, depth: int = 0) -> Text:
        """A variable, an element of one, or a constant."""
        names = scope.of_type(FLOAT)
        leaves = [Text(name, scope.bound(name)) for name in names]
        leaves += [Text(f"{name}[{k}]", FLOAT_CAP) for name in scope.of_type(PAIR) for k in (0, 1)]
        leaves += [Text(f"{name}[0]", FLOAT_CAP) for name in scope.of_type(MIXED)]
        leaves += [Text(f"{name}.{k}", FLOAT_CAP) for name in scope.of_type(POINT) for k in ("first", "second")]
        # Variables are likelier than constants: what depends on nothing is not worth a test.
        at = self.choose.up_to(3 * len(leaves))
        if at < 3 * len(leaves) - (len(leaves) > 1):
            return leaves[at // 3]
        value = self.choose.pick(FLOATS)
        return Text(repr(value), abs(value))

    def _add(self, scope: Scope, depth: int) -> Text:
        a, b = self.float(scope, depth), self.float(scope, depth)
        return Text(f"({a.code} {self.choose.pick('+-')} {b.code})", a.bound + b.bound)

    def _mul(self, scope: Scope, depth: int) -> Text:
        a, b = self.fit(self.float(scope, depth), 8.0), self.fit(self.float(scope, depth), 4.0)
        return Text(f"({a.code} * {b.code})", a.bound * b.bound)

    def _div(self, scope: Scope, depth: int) -> Text:
        a = self.fit(self.float(scope, depth), 16.0)
        divisor = self.choose.pick(
            ("2.0", "3", "(abs({}) + 0.5)", "(1.5 + math.sin({}))", "-(abs({}) + 0.75)", "({} * {} + 0.5)")
        )
        return Text(f"({a.code} / {self._fill(divisor, scope, depth)})", 2.0 * a.bound)

    def _fill(self, form: str, scope: Scope, depth: int) -> str:
        return form.format(*(self.small(scope, depth, 4.0) for _ in range(form.count("{}"))))

    def _neg(self, scope: Scope, depth: int) -> Text:
        a = self.float(scope, depth)
        return Text(f"(-{a.code})", a.bound)

    def _unary(self, scope: Scope, depth: int) -> Text:
        form, cap, bound = self.choose.pick(UNARY)
        return Text(form.format(self.small(scope, depth, cap)), bound)

    def _binary(self, scope: Scope, depth: int) -> Text:
        form, bound = self.choose.pick(BINARY)
        return Text(self._fill(form, scope, depth), bound)

    def _ternary(self, scope: Scope, depth: int) -> Text:
        cond = self.bool(scope, depth)
        a, b = self.float(scope, depth), self.float(scope, depth)
        return Text(f"({a.code} if {cond.code} else {b.code})", max(a.bound, b.bound))

    def _extremum(self, scope: Scope, depth: int) -> Text:
        parts = [self.float(scope, depth) for _ in range(3 if self.choose.one_in(4) else 2)]
        name = self.choose.pick(("max", "min"))
        return Text(f"{name}({', '.join(part.code for part in parts)})", max(part.bound for part in parts))

    def _abs(self, scope: Scope, depth: int) -> Text:
        a = self.float(scope, depth)
        return Text(f"abs({a.code})", a.bound)

    def _power(self, scope: Scope, depth: int) -> Text:
        exponent = self.choose.pick(("2", "3", "0", "1", "2.0"))
        return Text(f"({self.small(scope, depth, 2.0)} ** {exponent})", 2.0 ** float(exponent))

    def _int_power(self, scope: Scope, depth: int) -> Text:
        exponent = self.fit_int(self.int(scope, depth), INT_CAP).code
        if self.choose.coin():
            return Text(f"((abs({self.small(scope, depth, 1.0)}) + 0.5) ** ({exponent} % 5 - 2))", 5.1)
        return Text(f"({self.small(scope, depth, 1.5)} ** (abs({exponent}) % 4))", 3.4)

    def _from_int(self, scope: Scope, depth: int) -> Text:
        i = self.fit_int(self.int(scope, depth), INT_CAP)
        a = self.fit(self.float(scope, depth), 4.0)
        forms = (
            (f"float({i.code})", INT_CAP),
            (f"({i.code} * {a.code})", INT_CAP * 4.0),
            (f"({a.code} + {i.code})", INT_CAP + 4.0),
            (f"({i.code} / 4)", INT_CAP / 4),
            (f"({a.code} - {i.code} / 2)", INT_CAP + 4.0),
            (f"({i.code} / (abs({a.code}) + 0.5))", INT_CAP * 2.0),
            (f"(1.25 ** {i.code})", 4.0),
        )
        return Text(*self.choose.pick(forms))

    def _from_bool(self, scope: Scope, depth: int) -> Text:
        return Text(f"float({self.bool(scope, depth).code})", 1.0)

    def _modulo(self, scope: Scope, depth: int) -> Text:
        a = self.fit(self.float(scope, depth), 16.0).code
        divisor = self.choose.pick(("2.0", "1.5", "-1.5", f"(abs({self.small(scope, depth, 4.0)}) + 0.75)"))
        if self.choose.one_in(4):
            return Text(f"({a} // {divisor})", 22.0)
        if self.choose.one_in(4):
            return Text(f"divmod({a}, {divisor})[1]", 5.0)
        return Text(f"({a} % {divisor})", 5.0)

    def _element(self, scope: Scope, depth: int) -> Text:
        a, b = self.float(scope, depth), self.float(scope, depth)
        if self.choose.coin():
            return Text(f"sum(({a.code}, {b.code}))", a.bound + b.bound)
        return Text(f"({a.code}, {b.code})[{self.choose.up_to(1)}]", max(a.bound, b.bound))

    def _operand(self, scope: Scope, depth: int) -> Text:
        a, b = self.float(scope, depth), self.float(scope, depth)
        return Text(f"({a.code} {self.choose.pick(('or', 'and'))} {b.code})", max(a.bound, b.bound))

    def _call(self, scope: Scope, depth: int) -> Text:
        code = self.call(FLOAT, scope, depth)
        if code is not None:
            return Text(code, FLOAT_CAP)
        for type_, suffixes in ((PAIR, ("[0]", "[1]")), (POINT, (".first", ".second")), (MIXED, ("[0]",))):
            code = self.call(type_, scope, depth)
            if code is not None:
                return Text(code + self.choose.pick(suffixes), FLOAT_CAP)
        return self._unary(scope, depth)

    def call(self, type_: str, scope: Scope, depth: int) -> str | None:
        """A call of a function in sight that gives a ``type_``, None where there is none that may be afforded."""
        known = [f for f in scope.functions if f.result == type_ and f.cost * scope.mult <= self.choose.calls]
        if any(f.higher_order for f in known) and len(known) > 1 and not self.choose.one_in(4):
            known = [f for f in known if not f.higher_order]
        if not known:
            return None
        callee = self.choose.pick(known)
        self.choose.calls -= callee.cost * scope.mult
        if callee.higher_order:
            inner = scope.inner(functions=[])
            inner.variables["z"] = FLOAT
            body = self.fit(self.float(inner, min(depth, 2)), FLOAT_CAP)
            return f"{callee.name}(lambda z: {body.code}, {self.small(scope, depth, FLOAT_CAP)})"
        args = [self.argument(callee, k, scope, depth) for k in range(len(callee.params))]
        if callee.keywords and self.choose.one_in(6):
            args[-1] = f"{callee.params[-1][0]}={args[-1]}"
        return f"{callee.name}({', '.join(args)})"

    def argument(self, callee: Signature, k: int, scope: Scope, depth: int) -> str:
        """The ``k``-th argument of a call; the depth of a recursion, its last one, is kept small."""
        code = self.of_type(callee.params[k][1], scope, depth).code
        if callee.recursive and k == len(callee.params) - 1:
            return f"({code}) % 4"
        return code

    FLOAT_FORMS: tuple[Callable[[Expressions, Scope, int], Text], ...] = (
        float_leaf, _add, _mul, _unary, _ternary, _call, _add, _mul, _unary, _neg, _div, _extremum, _abs, _power,
        _binary, _int_power, _from_int, _from_bool, _modulo, _element, _operand, _call,
    )  # fmt: skip

    # int

    def int(self, scope: Scope, depth: int) -> Text:
        """An int expression."""
        if depth <= 0 or not self.choose.spend():
            return self.int_leaf(scope)
        return self.choose.pick(self.INT_FORMS)(self, scope, depth - 1)

    def int_leaf(self, scope: Scope, depth: int = 0) -> Text:
        """A variable, an element of one, or a constant."""
        leaves = [Text(name, scope.bound(name)) for name in scope.of_type(INT)]
        leaves += [Text(f"{name}[1]", INT_CAP) for name in scope.of_type(MIXED)]
        at = self.choose.up_to(2 * len(leaves) + 1)
        if at < 2 * len(leaves):
            return leaves[at // 2]
        value = self.choose.pick((1, 0, 2, 3, -1))
        return Text(repr(value), abs(value))

    def _int_arithmetic(self, scope: Scope, depth: int) -> Text:
        a, b = self.int(scope, depth), self.int(scope, depth)
        op = self.choose.pick("+-*")
        if op == "*":
            a, b = self.fit_int(a, 8), self.fit_int(b, 8)
        return Text(f"({a.code} {op} {b.code})", a.bound * b.bound if op == "*" else a.bound + b.bound)

    def _int_division(self, scope: Scope, depth: int) -> Text:
        a, b = self.int(scope, depth), self.fit_int(self.int(scope, depth), INT_CAP)
        divisor = self.choose.pick(("2", "3", "-2", f"(abs({b.code}) + 1)", f"(-abs({b.code}) - 1)"))
        op = self.choose.pick(("//", "%"))
        return Text(f"({a.code} {op} {divisor})", max(a.bound + 1, INT_CAP + 1) if op == "//" else INT_CAP + 1)

    def _int_unary(self, scope: Scope, depth: int) -> Text:
        a = self.int(scope, depth)
        return Text(self.choose.pick(("abs({})", "(-{})", "(+{})")).format(a.code), a.bound)

    def _int_extremum(self, scope: Scope, depth: int) -> Text:
        a, b = self.int(scope, depth), self.int(scope, depth)
        return Text(f"{self.choose.pick(('max', 'min'))}({a.code}, {b.code})", max(a.bound, b.bound))

    def _int_ternary(self, scope: Scope, depth: int) -> Text:
        cond = self.bool(scope, depth)
        a, b = self.int(scope, depth), self.int(scope, depth)
        return Text(f"({a.code} if {cond.code} else {b.code})", max(a.bound, b.bound))

    def _int_from_float(self, scope: Scope, depth: int) -> Text:
        name = self.choose.pick(("int", "round", "math.floor", "math.ceil", "math.trunc"))
        return Text(f"{name}({self.small(scope, depth, 16.0)})", 17)

    def _int_from_bool(self, scope: Scope, depth: int) -> Text:
        return Text(f"int({self.bool(scope, depth).code})", 1)

    def _int_square(self, scope: Scope, depth: int) -> Text:
        return Text(f"({self.fit_int(self.int(scope, depth), INT_CAP).code} ** 2)", INT_CAP**2)

    def _int_call(self, scope: Scope, depth: int) -> Text:
        code = self.call(INT, scope, depth)
        return self.int_leaf(scope) if code is None else Text(code, INT_CAP)

    INT_FORMS: tuple[Callable[[Expressions, Scope, int], Text], ...] = (
        int_leaf, _int_arithmetic, _int_division, _int_unary, _int_extremum, _int_ternary, _int_from_float,
        _int_from_bool, _int_square, _int_call,
    )  # fmt: skip

    # bool

    def bool(self, scope: Scope, depth: int) -> Text:
        """A bool expression."""
        if depth <= 0 or not self.choose.spend():
            return self.bool_leaf(scope)
        return self.choose.pick(self.BOOL_FORMS)(self, scope, depth - 1)

    def bool_leaf(self, scope: Scope, depth: int = 0) -> Text:
        """A comparison of leaves, or a variable."""
        names = scope.of_type(BOOL)
        if names and self.choose.one_in(2):
            return Text(self.choose.pick(names))
        return self._compare(scope, 0)

    def _compare(self, scope: Scope, depth: int) -> Text:
        op = self.choose.pick(COMPARISONS)
        a, b = self.float(scope, depth), self.float(scope, depth)
        if a.code == b.code or not (scope.uses_variable(a.code) or scope.uses_variable(b.code)):
            a, b = self.float_leaf(scope), Text("0.3")
        return Text(f"({a.code} {op} {b.code})")

    def _compare_int(self, scope: Scope, depth: int) -> Text:
        op = self.choose.pick((*COMPARISONS, "==", "!="))
        return Text(f"({self.int(scope, depth).code} {op} {self.int(scope, depth).code})")

    def _chain(self, scope: Scope, depth: int) -> Text:
        write = self.choose.pick((self.float, self.int))
        a, b, c = (write(scope, depth).code for _ in range(3))
        return Text(f"({a} {self.choose.pick(COMPARISONS)} {b} {self.choose.pick(COMPARISONS)} {c})")

    def _logic(self, scope: Scope, depth: int) -> Text:
        op = self.choose.pick(("and", "or"))
        parts = [self.bool(scope, depth).code for _ in range(3 if self.choose.one_in(4) else 2)]
        return Text(f"({f' {op} '.join(parts)})")

    def _not(self, scope: Scope, depth: int) -> Text:
        return Text(f"(not {self.bool(scope, depth).code})")

    def _bool_ternary(self, scope: Scope, depth: int) -> Text:
        parts = [self.bool(scope, depth).code for _ in range(3)]
        return Text("({} if {} else {})".format(*parts))

    def _bool_equal(self, scope: Scope, depth: int) -> Text:
        a, b = self.bool(scope, depth), self.bool(scope, depth)
        return Text(f"({a.code} {self.choose.pick(('==', '!='))} {b.code})")

    def _constant(self, scope: Scope, depth: int) -> Text:
        return Text(self.choose.pick(("True", "False")))

    def _bool_call(self, scope: Scope, depth: int) -> Text:
        code = self.call(BOOL, scope, depth)
        return self._compare(scope, depth) if code is None else Text(code)

    BOOL_FORMS: tuple[Callable[[Expressions, Scope, int], Text], ...] = (
        bool_leaf, _compare, _compare_int, _logic, _not, _chain, _bool_ternary, _bool_equal, _constant, _bool_call,
    )  # fmt: skip

    # tuples

    def tuple(self, type_: str, scope: Scope, depth: int) -> Text:
        """A tuple: a variable, a call, a choice between two, or its parts."""
        names = scope.of_type(type_)
        if names and self.choose.one_in(3):
            return Text(self.choose.pick(names))
        if self.choose.one_in(4):
            code = self.call(type_, scope, depth)
            if code is not None:
                return Text(code)
        if depth > 0 and self.choose.one_in(6):
            cond = self.bool(scope, depth - 1).code
            a, b = self.tuple(type_, scope, depth - 1), self.tuple(type_, scope, depth - 1)
            return Text(f"({a.code} if {cond} else {b.code})")
        parts = ", ".join(self.of_type(part, scope, depth - 1).code for part in TUPLES[type_])
        return Text(f"Point({parts})" if type_ == POINT else f"({parts})")
