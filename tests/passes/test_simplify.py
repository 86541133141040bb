"""Each identity, as text before and after, and with every special number."""

import itertools
import math
import struct

import pytest

from ksc.errors import KernelRuntimeError
from ksc.ir.interpret import interpret
from ksc.ir.nodes import const, walk
from ksc.ir.text import alpha_equal, parse
from ksc.ir.types import Bool, Float, Integer
from ksc.ops import PRIMITIVES
from ksc.passes.dce import remove_dead_code
from ksc.passes.simplify import simplify
from tests.transforms.programs import at, build, one, size_of

PARAMS = "(x : Float) (y : Float) (m : Integer) (p : Bool)"


def definition(type_, body):
    return parse(f"(def f {type_} ({PARAMS}) {body})")


RULES = [
    ("Float", "(add x -0.0)", "x"),
    ("Float", "(add x 0.0)", "(add x 0.0)"),
    ("Float", "(sub x 0.0)", "x"),
    ("Float", "(sub x -0.0)", "(sub x -0.0)"),
    ("Float", "(sub -0.0 x)", "(neg x)"),
    ("Float", "(sub x x)", "(sub x x)"),
    ("Float", "(add x (neg y))", "(sub x y)"),
    ("Float", "(add (neg x) y)", "(sub y x)"),
    ("Float", "(sub x (neg y))", "(add x y)"),
    ("Float", "(add x x)", "(mul 2.0 x)"),
    ("Float", "(mul x 1.0)", "x"),
    ("Float", "(mul -1.0 x)", "(neg x)"),
    ("Float", "(mul x 0.0)", "(mul x 0.0)"),
    ("Float", "(neg (neg x))", "x"),
    ("Float", "(div x 1.0)", "x"),
    ("Float", "(div x 4.0)", "(mul x 0.25)"),
    ("Float", "(div x 3.0)", "(div x 3.0)"),
    ("Float", "(div x 0.0)", "(div x 0.0)"),
    ("Float", "(pow x 0.0)", "1.0"),
    ("Float", "(pow x 1.0)", "x"),
    ("Float", "(pow x 2.0)", "(mul x x)"),
    ("Float", "(pow x 3.0)", "(mul (mul x x) x)"),
    ("Float", "(let (s (mul x x)) (pow x 4.0))", "(let (s (mul x x)) (mul s s))"),
    ("Float", "(pow x -1.0)", "(div 1.0 x)"),
    ("Float", "(pow x 0.5)", "(pow x 0.5)"),
    ("Float", "(pow x 9.0)", "(pow x 9.0)"),
    ("Float", "(mul 2.0 (mul 3.0 x))", "(mul 6.0 x)"),
    ("Float", "(mul (mul x 0.5) (mul 2.0 y))", "(mul x y)"),
    ("Float", "(mul 1e200 (mul 1e200 x))", "(mul 1e200 (mul 1e200 x))"),
    ("Float", "(mul y (mul x x))", "(mul (mul x x) y)"),
    ("Float", "(div (mul 3.0 x) 6.0)", "(mul 0.5 x)"),
    ("Float", "(div (mul 3.0 (mul x y)) 1e200)", "(div (mul 3.0 (mul x y)) 1e200)"),
    ("Float", "(div (mul x y) 3.0)", "(div (mul x y) 3.0)"),
    ("Float", "(erf (div x 5.0))", "(erf (mul 0.2 x))"),
    ("Float", "(let (t (div x 5.0)) (exp (neg (mul t t))))", "(exp (neg (mul 0.04000000000000001 (mul x x))))"),
    ("Float", "(exp (div x y))", "(exp (div x y))"),
    ("Float", "(floor (div x 5.0))", "(floor (div x 5.0))"),
    ("Float", "(log1p (exp (neg (abs x))))", "(softplus (neg (abs x)))"),
    ("Float", "(log1p (exp (mul -2.0 (mul x x))))", "(softplus (mul -2.0 (mul x x)))"),
    ("Float", "(log1p (exp (mul (sqrt x) (neg (abs y)))))", "(softplus (mul (sqrt x) (neg (abs y))))"),
    ("Float", "(log1p (exp x))", "(log1p (exp x))"),
    (
        "Float",
        "(let (t (exp x)) (mul (div y (add t 1.0)) t))",
        "(let (t (exp x)) (mul y (div t (add t 1.0))))",
    ),
    (
        "Float",
        "(let (t (exp x)) (mul (div t (add t 1.0)) t))",
        "(let (t (exp x)) (mul (div t (add t 1.0)) t))",
    ),
    ("Float", "(let (t (exp (neg (abs x)))) (div t (add 1.0 t)))", "(sigmoid (neg (abs x)))"),
    (
        "Float",
        "(let (t (exp (neg (abs x)))) (mul t (div t (add 1.0 t))))",
        "(let (t (exp (neg (abs x)))) (mul t (div t (add 1.0 t))))",
    ),
    (
        "Float",
        "(let (t (exp (neg x))) (div t (add 1.0 t)))",
        "(let (t (exp (neg x))) (div t (add 1.0 t)))",
    ),
    ("Float", "(log1p (exp (mul -2.0 x)))", "(log1p (exp (mul -2.0 x)))"),
    ("Float", "(log1p (exp (neg (mul x y))))", "(log1p (exp (neg (mul x y))))"),
    ("Float", "(add 1.0 2.0)", "3.0"),
    ("Float", "(sin 0.0)", "0.0"),
    ("Float", "(max x x)", "x"),
    ("Float", "(if p x x)", "x"),
    ("Float", "(if true x y)", "x"),
    ("Float", "(if false x y)", "y"),
    ("Float", "(if (not p) x (sin y))", "(if p (sin y) x)"),
    ("Float", "(if p (if p (sin x) y) y)", "(if p (sin x) y)"),
    ("Float", "(if p x (if p y (sin x)))", "(if p x (sin x))"),
    ("Bool", "(if p true false)", "p"),
    ("Bool", "(and p true)", "p"),
    ("Bool", "(and p false)", "false"),
    ("Bool", "(or p true)", "true"),
    ("Bool", "(or false p)", "p"),
    ("Bool", "(and p p)", "p"),
    ("Bool", "(not (not p))", "p"),
    ("Bool", "(not (lt m 3))", "(gte m 3)"),
    ("Bool", "(not (lt x 3.0))", "(not (lt x 3.0))"),
    ("Bool", "(not (eq x y))", "(ne x y)"),
    ("Bool", "(eq x x)", "(eq x x)"),
    ("Bool", "(eq m m)", "true"),
    ("Bool", "(lt m m)", "false"),
    ("Integer", "(add m 0)", "m"),
    ("Integer", "(add (add m 3) -3)", "m"),
    ("Integer", "(sub (add m 3) 1)", "(add m 2)"),
    ("Integer", "(sub m m)", "0"),
    ("Integer", "(mul m 1)", "m"),
    ("Integer", "(mul 0 m)", "0"),
    ("Integer", "(mul 4 5)", "20"),
]


@pytest.mark.parametrize("type_, before, after", RULES)
def test_rule(type_, before, after):
    simpler = remove_dead_code(simplify(definition(type_, before)))
    assert alpha_equal(simpler, remove_dead_code(definition(type_, after)))


SPECIAL = [0.0, -0.0, 1.0, -1.5, math.inf, -math.inf, math.nan, 1e-310, 1.7e308]
LAST_PLACE = ("pow", "0.5) (mul", "3.0", "sqrt", "5.0", "(mul (div y", "(abs x)))) (div t")


def bits(values):
    return [("nan" if v != v else struct.pack("<d", v)) if isinstance(v, float) else v for v in values]


@pytest.mark.parametrize("type_, before", [rule[:2] for rule in RULES if not any(s in rule[1] for s in LAST_PLACE)])
def test_rule_keeps_every_bit(type_, before):
    program = definition(type_, before)
    simpler = simplify(program)
    for x, y, p in itertools.product(SPECIAL, SPECIAL, (False, True)):
        args = (x, y, 2**63 - 1, p)
        assert bits(interpret(simpler, args)) == bits(interpret(program, args))


@pytest.mark.parametrize(
    "text",
    [
        "(let (t (exp x)) (mul (div y (add t 1.0)) t))",
        "(let (t (exp (neg (abs x)))) (mul (div y (add t 1.0)) t))",
    ],
)
def test_a_share_is_right_but_for_the_last_places(text):
    program = definition("Float", text)
    simpler = simplify(program)
    for x, y in itertools.product(SPECIAL, SPECIAL):
        (wanted,), (given,) = (interpret(one, (x, y, 0, False)) for one in (program, simpler))
        assert given == pytest.approx(wanted, rel=1e-15, abs=1e-323, nan_ok=True)


FACTORS = [
    (
        "(add (mul y_bar (sin x)) (mul (mul y_bar x) (cos x)))",
        "(mul y_bar (add (sin x) (mul x (cos x))))",
    ),
    (
        "(sub (mul (mul 3.0 x) (mul y_bar (sigmoid x))) (mul y_bar (sub 1.0 (erf x))))",
        "(let (s (sigmoid x)) (let (e (sub 1.0 (erf x))) (mul y_bar (sub (mul (mul 3.0 x) s) e))))",
    ),
    (
        "(add (mul y_bar (mul y_bar (sin x))) (mul y_bar (cos x)))",
        "(let (s (sin x)) (let (c (cos x)) (mul y_bar (add (mul s y_bar) c))))",
    ),
    ("(add (mul y_bar (sin x)) (mul (mul x x) y_bar))", None),
    ("(add (mul y_bar (exp x)) (mul y_bar x))", None),
    ("(let (t_bar (mul 2.0 y_bar)) (add (mul t_bar (sin x)) (mul t_bar (cos x))))", None),
    ("(add (mul y_bar (sin x)) y_bar)", None),
    ("(add (mul x (sin x)) (mul x (cos x)))", None),
    ("(let (t (mul y_bar (sin x))) (mul t (add t (mul y_bar (cos x)))))", None),
]


@pytest.mark.parametrize("before, after", FACTORS)
def test_what_is_multiplied_with_a_cotangent_is_added_before(before, after):
    """Unless a product might overflow that did not before."""
    program, wanted = (
        parse(f"(def f Float ((x : Float) (y_bar : Float)) {text})") for text in (before, after or before)
    )
    simpler = remove_dead_code(simplify(program))
    assert alpha_equal(simpler, remove_dead_code(wanted))
    for x, y in itertools.product([0.0, -1.5, 0.3, 1e300, math.nan], repeat=2):
        (expected,), (given,) = (interpret(one, (x, y)) for one in (program, simpler))
        assert given == pytest.approx(expected, rel=1e-14, nan_ok=True)


@pytest.mark.parametrize("text", ["(pow x 3.0)", "(pow x 4.0)", "(pow x 2.0)", "(pow x 0.0)"])
def test_powers_keep_signs_infinities_and_nans(text):
    program = definition("Float", text)
    for x in (0.0, -0.0, -2.0, math.inf, -math.inf, math.nan, 1e200):
        assert bits(interpret(simplify(program), (x, 0.0, 0, True))) == bits(interpret(program, (x, 0.0, 0, True)))


def test_what_fails_is_not_folded():
    program = one({"x": Integer}, lambda b, x: [b.apply("idiv", const(1), const(0))])
    simpler = simplify(program)
    assert [eqn.op for eqn in simpler.main.body.eqns] == ["idiv"]
    with pytest.raises(KernelRuntimeError):
        interpret(simpler, (1,))


def test_what_depends_on_the_width_is_not_folded():
    name = next(
        name for name, r in PRIMITIVES.items() for o in r.overloads if o.by_width and all(a == Float for a in o.args)
    )
    arity = PRIMITIVES[name].arity
    program = one({"x": Float}, lambda b, x: [b.apply(name, *[const(1.5)] * arity)])
    assert [eqn.op for eqn in simplify(program).main.body.eqns] == [name]


def test_a_carry_that_is_handed_round_is_its_initial_value():
    program = parse(
        """
        (def f Float ((x : Float) (t : (Tensor 1 Float)) (n : Integer))
          (let (((b tt) (for (i n) ((a x) (u t))
              (let (((c uu) (if (lt a 9.0) (values (add a a) u)
                     (let (((s w) (withacc ((s a)) (for (j i) ((w u)) (let (() (acc_add s (index j w))) w)))))
                       (values s w)))))
                (values c uu)))))
            (add b (index 0 tt))))
        """
    )
    for eqn in walk(remove_dead_code(simplify(program)).main.body):
        assert eqn.op != "for" or eqn.params["carries"] < 2


def test_a_carry_that_never_changes_is_its_initial_value():
    def body(b, x, n):
        def step(b, i, c):
            return [b.apply("mul", c[0], c[1]), c[1]]

        return b.for_(n, [const(1.0), x], step)

    simpler = simplify(one({"x": Float, "n": Integer}, body))
    (loop,) = simpler.main.body.eqns
    assert loop.params["carries"] == 1
    assert simpler.main.body.results[1] is simpler.main.params[0]
    assert interpret(simpler, (2.0, 3)) == (8.0, 2.0)


def test_an_accumulator_without_a_loop_is_a_sum():
    text = "(def f Float (x : Float) (mul x x))"
    from ksc.transforms import vjp

    derived = simplify(vjp(vjp(parse(text)), wrt=[0]))
    assert not any(eqn.op == "withacc" for eqn in walk(derived.main.body))


def test_the_size_of_what_was_built_is_known():
    def body(b, n):
        t = build(b, [n], lambda b, i: b.apply("to_float", i))
        u = b.emit("update", [t, const(0), const(5.0)], [t.type])[0]
        return [size_of(b, u), at(b, u, const(0))]

    simpler = simplify(one({"n": Integer}, body))
    assert simpler.main.body.results[0] is simpler.main.params[0]
    assert interpret(simpler, (3,)) == (3, 5.0)


def test_a_condition_that_was_negated_before_is_known_inside():
    def body(b, p, x):
        q = b.apply("not", p)
        inner = lambda b: b.if_(q, lambda b: [b.apply("sin", x)], lambda b: [b.apply("cos", x)])  # noqa: E731
        return b.if_(p, inner, lambda b: [x])

    simpler = remove_dead_code(simplify(one({"p": Bool, "x": Float}, body)))
    assert sorted(eqn.op for eqn in walk(simpler.main.body)) == ["cos", "if"]
