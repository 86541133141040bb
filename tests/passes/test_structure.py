"""The passes that move, merge and remove equations, one small program each."""

import numpy as np
import pytest

from ksc.ir.interpret import interpret
from ksc.ir.nodes import Var, const, walk
from ksc.ir.text import alpha_equal, parse
from ksc.ir.types import AccType, Float, Integer
from ksc.ir.verify import verify
from ksc.passes import optimise
from ksc.passes.cse import eliminate_common_subexpressions
from ksc.passes.dce import remove_dead_code
from ksc.passes.fuse.structure import resolve_structure
from ksc.passes.hoist import hoist_invariants
from ksc.passes.inline import SMALL, inline_small
from ksc.passes.merge import merge_ifs
from ksc.passes.stores import turn_accumulations_into_stores
from ksc.transforms import vjp, vmap
from tests.transforms.programs import PROGRAMS, SCALED, build, call, function, one, program, while_


def ops(program_):
    return [eqn.op for f in program_.functions.values() for eqn in walk(f.body)]


# Inlining.


def _sines(b, x, count):
    for _ in range(count):
        x = b.apply("sin", x)
    return x


@pytest.mark.parametrize("size, calls, left", [(SMALL, 2, 0), (SMALL + 1, 2, 2), (SMALL + 1, 1, 0)])
def test_small_functions_and_those_called_once_are_inlined(size, calls, left):
    g = function("g", {"x": Float}, lambda b, x: [_sines(b, x, size)])

    def body(b, x):
        for _ in range(calls):
            x = call(b, "g", x)
        return [x]

    inlined = inline_small(program(g, function("f", {"x": Float}, body)))
    verify(inlined)
    assert ops(inlined).count("call") == left
    assert ("g" in inlined.functions) == (left > 0)


def test_recursive_functions_are_not_inlined():
    for name in ("recursive", "mutual", "tree"):
        source, args = PROGRAMS[name]
        inlined = inline_small(source)
        verify(inlined)
        assert "call" in ops(inlined)
        assert interpret(inlined, args) == interpret(source, args)


# Common subexpressions.


def test_what_is_known_outside_is_not_computed_inside():
    source = parse("(def f Float (x : Float) (let (s (sin x)) (if (lt s 0.5) (mul (sin x) 2.0) (cos x))))")
    shared = eliminate_common_subexpressions(source)
    verify(shared)
    assert ops(shared).count("sin") == 1


def test_what_is_known_on_one_side_is_computed_on_the_other():
    source = parse("(def f Float ((x : Float) (p : Bool)) (add (if p (sin x) (mul 2.0 (sin x))) (sin x)))")
    shared = eliminate_common_subexpressions(source)
    verify(shared)
    assert ops(shared).count("sin") == 3


def test_operands_of_a_commutative_primitive_may_stand_either_way():
    source = parse(
        "(def f Float ((x : Float) (y : Float)) (div (mul x y) (add (mul y x) (add (mul 2.0 x) (mul x 2.0)))))"
    )
    assert ops(eliminate_common_subexpressions(source)).count("mul") == 2


def test_zeros_of_different_sign_are_different():
    source = parse("(def f Float (x : Float) (add (div 1.0 (mul x 0.0)) (div 1.0 (mul x -0.0))))")
    assert ops(eliminate_common_subexpressions(source)).count("mul") == 2


# Dead code.


def test_carries_that_keep_only_each_other_alive_are_removed():
    def body(b, x, n):
        def step(b, i, c):
            return [b.apply("mul", c[0], x), b.apply("sin", c[2]), b.apply("cos", c[1]), b.apply("exp", c[1])]

        return b.for_(n, [const(1.0), x, x], step)[:1]

    pruned = remove_dead_code(one({"x": Float, "n": Integer}, body))
    verify(pruned)
    assert ops(pruned) == ["for", "mul"]


def test_a_carry_that_the_condition_reads_stays():
    def body(b, x):
        def step(b, v, k):
            return [b.apply("mul", v, x), b.apply("add", k, const(1))]

        return while_(b, [x, const(0)], lambda b, v, k: b.apply("lt", k, const(3)), step)[:1]

    source = one({"x": Float}, body)
    pruned = remove_dead_code(source)
    verify(pruned)
    assert interpret(pruned, (2.0,)) == interpret(source, (2.0,)) == (16.0,)


def test_results_of_branches_and_accumulators_that_nobody_reads_are_removed():
    def body(b, x, n):
        (y, _) = b.if_(
            b.apply("lt", x, const(0.0)),
            lambda b: [x, b.apply("sin", x)],
            lambda b: [b.apply("neg", x), b.apply("cos", x)],
        )
        from ksc.ir.builder import Builder

        inner = Builder()
        accs = [Var("a", AccType(Float)), Var("b", AccType(Float))]
        inner.emit("acc_add", [accs[0], y], [])
        inner.emit("acc_add", [accs[1], inner.apply("exp", y)], [])
        return b.emit("withacc", [x, x], [Float, Float], blocks=[inner.block(accs, ())])[:1]

    pruned = remove_dead_code(one({"x": Float, "n": Integer}, body))
    verify(pruned)
    assert sorted(ops(pruned)) == ["acc_add", "if", "lt", "neg", "withacc"]


def test_effects_stay():
    def body(b, x):
        def then(b):
            b.emit("print", [x], [])
            return [b.apply("sin", x)]

        b.if_(b.apply("lt", x, const(0.0)), then, lambda b: [x])
        b.emit("assert", [b.apply("lt", x, const(1.0))], [], params={"message": "m"})
        return [x]

    pruned = remove_dead_code(one({"x": Float}, body))
    assert sorted(ops(pruned)) == ["assert", "if", "lt", "lt", "print"]


# Merging.


def test_two_ifs_of_one_condition_become_one():
    source = parse(
        """(def f Float ((x : Float) (p : Bool))
             (let ((a (if p (sin x) x)) (c (cos x)) (b (if p (mul a c) (exp a)))) b))"""
    )
    # The second reads the first, which moves down over the cosine.
    merged = merge_ifs(source)
    verify(merged)
    assert ops(merged).count("if") == 1
    for p in (False, True):
        assert interpret(merged, (0.3, p)) == interpret(source, (0.3, p))


def test_an_if_does_not_move_past_what_reads_it():
    source = parse(
        """(def f Float ((x : Float) (p : Bool))
             (let ((a (if p (sin x) x)) (c (cos a)) (b (if p (mul x c) (exp x)))) (add a b)))"""
    )
    assert alpha_equal(merge_ifs(source), source)


def test_value_and_gradient_share_their_branches():
    relu3 = parse("(def f Float (x : Float) (if (lt x 0.0) 0.0 (if (lt x 1.0) (pow x 3.0) (sub x 0.5))))")
    both = optimise(vjp(relu3, with_value=True))
    assert ops(both).count("if") == 2
    assert ops(both).count("lt") == 2


# Loops.


def test_what_does_not_change_is_computed_before_the_loop():
    def body(b, x, y, n):
        def step(b, i, c):
            def inner(b, j, d):
                return [b.apply("add", d[0], b.apply("mul", b.apply("sin", x), b.apply("cos", c[0])))]

            return b.for_(i, [c[0]], inner)

        return b.for_(n, [y], step)

    hoisted = hoist_invariants(one({"x": Float, "y": Float, "n": Integer}, body))
    verify(hoisted)
    assert [eqn.op for eqn in hoisted.main.body.eqns] == ["sin", "for"]
    assert [eqn.op for eqn in hoisted.main.body.eqns[1].blocks[0].eqns] == ["cos", "mul", "for"]


def test_what_may_fail_stays_in_the_loop():
    def body(b, m, n):
        return b.for_(n, [m], lambda b, i, c: [b.apply("add", c[0], b.apply("idiv", const(1), m))])

    source = one({"m": Integer, "n": Integer}, body)
    hoisted = hoist_invariants(source)
    assert alpha_equal(hoisted, source)
    assert interpret(hoisted, (0, 0)) == (0,)


def test_the_gradient_of_a_mapped_function_is_a_loop_of_stores():
    derived = optimise(vjp(vmap(SCALED)))
    verify(derived)
    assert "acc_add" not in ops(derived)
    assert "withacc" not in ops(derived)
    assert ops(derived).count("build") == 1


def test_a_shared_argument_is_still_accumulated():
    derived = optimise(vjp(vmap(SCALED, [0, None])))
    verify(derived)
    assert ops(derived).count("acc_add") == 1


def test_two_additions_to_one_element_are_not_a_store():
    def body(b, n, x):
        from ksc.ir.builder import Builder
        from tests.transforms.programs import VEC

        zeros = build(b, [n], lambda b, i: const(0.0))
        acc = Var("a", AccType(VEC))
        around, loop = Builder(), Builder()
        i = Var("i", Integer)
        loop.emit("acc_add", [acc, i, x], [])
        loop.emit("acc_add", [acc, i, loop.apply("sin", x)], [])
        around.emit("build", [n], [], blocks=[loop.block([i], ())])
        return b.emit("withacc", [zeros], [VEC], blocks=[around.block([acc], ())])

    source = one({"n": Integer, "x": Float}, body)
    stored = turn_accumulations_into_stores(source)
    assert alpha_equal(stored, source)


@pytest.mark.parametrize(
    "choice, known",
    [
        ("(if (gt i 0) {} 0.0)", True),
        ("(if (gte i 0) {} 0.0)", False),
        ("(if (lte i 0) {} 0.0)", False),
        ("(if (lte i 0) 0.0 {})", True),
        ("(if (lt i n) 0.0 {})", False),
        ("(if (not (lt i 1)) {} 0.0)", True),
        ("(if (and (lt k 3) (lt 0 i)) {} 0.0)", True),
        ("(if (or (lt k 3) (lt 0 i)) {} 0.0)", False),
        ("(if (or (lt k 3) (lt i 1)) 0.0 {})", True),
        ("(if (lt k i) {} 0.0)", False),
        ("(if (lt j i) {} 0.0)", True),
        ("(if (lt k (add k i)) {} 0.0)", False),
    ],
)
def test_a_side_of_a_branch_knows_which_integers_were_compared(choice, known):
    read = "(let ((at (sub i 1)) (w (add at n)) (c (lt at 0)) (p (select c w at))) (index p x))"
    text = f"""
    (def f Float ((x : (Tensor 1 Float)) (k : Integer))
      (let (n (size x))
        (reduce add (tuple n n) (lam ((j : Integer) (i : Integer)) {choice.format(read)}))))
    """
    program = parse(text)
    resolved = resolve_structure(program)
    assert any(eqn.op == "select" for eqn in walk(resolved.main.body)) != known
    x = np.array([1.0, 2.0, 4.0, 8.0])
    for k in (-1, 2, 5):
        assert interpret(resolved, (x, k)) == interpret(program, (x, k))
