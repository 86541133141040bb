"""Programs in the notation, form by form, with values worked out by hand."""

import math

import numpy as np
import pytest

from ksc.errors import InvalidIRError, KernelRuntimeError
from ksc.ir.text import alpha_equal, parse, parse_module, run, to_text
from ksc.ir.types import Float, Integer

DEFINITIONS = """
(def sq Float (x : Float) (mul x x))
(def twice Float ((x : Float)) (add x x))
(def swap (Tuple Integer Float) ((x : Float) (n : Integer)) (tuple n x))
(def first Float (p : (Tuple Float Integer)) (get$1$2 p))
(def even Bool ((n : Integer)) (if (eq n 0) true (odd (sub n 1))))
(def odd Bool ((n : Integer)) (if (eq n 0) false (even (sub n 1))))
(def [over Float] Float ((x : Float)) (neg x))
(def [over Integer] Float ((x : Integer)) (to_float x))
(def over Float ((v : (Vec Float))) (sum v))
(def unit (Tuple) () (tuple))
(def v3 (Vec Float) () (Vec_init 1.0 2.0 4.0))
"""


def value(expr, type_="Float"):
    """The value of an expression."""
    text = f"{DEFINITIONS}(def main {type_} () {expr})"
    program = parse(text)
    assert alpha_equal(parse(to_text(program)), program)
    return plain(run(program)[0])


def plain(result):
    match result:
        case np.ndarray():
            return [plain(element) for element in result.tolist()]
        case tuple():
            return tuple(map(plain, result))
        case _:
            return result


VALUES = [
    ("-1.5e-1", "Float", -0.15),
    ("1e3", "Float", 1000.0),
    ("-7", "Integer", -7),
    ('"a\\"b"', "String", 'a"b'),
    ("(add 1.0 (mul 2.0 (sub 5.0 (div 8.0 4.0))))", "Float", 7.0),
    ("(div 7 -2)", "Integer", -3),
    ("(div -7 2)", "Integer", -3),
    ("(div -8 -2)", "Integer", 4),
    ("(neg 3)", "Integer", -3),
    ("(abs -3.5)", "Float", 3.5),
    ("(max 1 2)", "Integer", 2),
    ("(min 1.0 2.0)", "Float", 1.0),
    ("(pow 2.0 0.5)", "Float", math.sqrt(2)),
    ("(pow 2.0 -2)", "Float", 0.25),
    ("(pow 3 4)", "Integer", 81),
    ("(lgamma 5.0)", "Float", pytest.approx(math.log(24))),
    ("(erf 0.5)", "Float", pytest.approx(math.erf(0.5))),
    ("(add (to_float 2) (bool_to_float true))", "Float", 3.0),
    ("(and (or (lt 1 2) (gt 1 2)) (not (ne 1.0 1.0)))", "Bool", True),
    ("(and (lte 1 1) (gte 1.0 2.0))", "Bool", False),
    ("(imax (v3))", "Integer", 2),
    ("(imax (Vec_init 3.0 5.0 5.0))", "Integer", 1),
    ("(imax 3 2)", "Integer", 3),
    ("(max (v3))", "Float", 4.0),
    # Binding.
    ("(let (x 1.0) (add x x))", "Float", 2.0),
    ("(let ((x 1.0) (y (add x 1.0)) (x (mul y 3.0))) x)", "Float", 6.0),
    ("(let ((n x) (swap 1.0 2)) x)", "Float", 1.0),
    ("(let (x 5.0) (let ((n x) (swap x 2)) (add x (to_float n))))", "Float", 7.0),
    ("(let (y 2.0) (let ((x y) (z 3.0)) (add x z)))", "Float", 5.0),
    ("(let (((n x) (swap 1.0 2)) (y 3.0)) (add x y))", "Float", 4.0),
    ("(let ((x : Float) 2.0) x)", "Float", 2.0),
    ("(let (f (lam (x : Float) (mul x 3.0))) (f (f 1.0)))", "Float", 9.0),
    ("(let ((a 2.0) (f (lam (x : Float) (mul x a))) (a 5.0)) (f a))", "Float", 10.0),
    ("(let (f (lam (p : (Tuple Float Float)) (sub p))) (f 5.0 3.0))", "Float", 2.0),
    ("(let (f (lam ((a : Float) (b : Float)) (sub a b))) (f (tuple 5.0 3.0)))", "Float", 2.0),
    ("((lam (x : Float) (mul x x)) 3.0)", "Float", 9.0),
    ("(if (lt 1 2) (assert (lt 1 2) 5.0) 6.0)", "Float", 5.0),
    # Calls.
    ("(first 2.0 3)", "Float", 2.0),
    ("(first (tuple 2.0 3))", "Float", 2.0),
    ("(swap (tuple 2.0 3))", "(Tuple Integer Float)", (3, 2.0)),
    ("(swap 2.0 3)", "(Tuple Integer Float)", (3, 2.0)),
    ("(add (tuple 2 3))", "Integer", 5),
    ("(even 11)", "Bool", False),
    ("(over 1.5)", "Float", -1.5),
    ("(over 2)", "Float", 2.0),
    ("(over (v3))", "Float", 7.0),
    ("([over Integer] 2)", "Float", 2.0),
    ("(unit)", "(Tuple)", ()),
    # Tensors.
    ("(build 3 (lam (i : Integer) (mul i i)))", "(Vec Integer)", [0, 1, 4]),
    ("(build (tuple 2 2) (lam (ij : (Tuple Integer Integer)) (sub ij)))", "(Tensor 2 Integer)", [[0, -1], [1, 0]]),
    ("(let (n (tuple 1 2)) (build n (lam ((i : Integer) (j : Integer)) j)))", "(Tensor 2 Integer)", [[0, 1]]),
    ("(build 2 (lam (i : Integer) (tuple i (v3))))", "(Vec (Tuple Integer (Vec Float)))", None),
    ("(index 1 (v3))", "Float", 2.0),
    ("(size (v3))", "Integer", 3),
    ("(size (constVec (tuple 2 3) 1.0))", "(Tuple Integer Integer)", (2, 3)),
    ("(index (tuple 1 0) (constVec (tuple 2 3) 1.5))", "Float", 1.5),
    ("(constVec 2 (v3))", "(Vec (Vec Float))", None),
    ("(index 1 (build 3 (lam (i : Integer) (build i (lam (j : Integer) 1.0)))))", "(Vec Float)", [1.0]),
    ("(sum (constVec (tuple 2 3) 2.0))", "Float", 12.0),
    ("(sum (build 3 (lam (i : Integer) (tuple i (to_float i)))))", "(Tuple Integer Float)", (3, 3.0)),
    ("(sum (constVec 3 (v3)))", "(Vec Float)", [3.0, 6.0, 12.0]),
    ("(map sq (v3))", "(Vec Float)", [1.0, 4.0, 16.0]),
    ("(map (lam (x : Float) (sq (twice x))) (v3))", "(Vec Float)", [4.0, 16.0, 64.0]),
    ("(map2 add (tuple (v3) (v3)))", "(Vec Float)", [2.0, 4.0, 8.0]),
    ("(map2 (lam (p : (Tuple Float Float)) (sub p)) (tuple (v3) (v3)))", "(Vec Float)", [0.0] * 3),
    ("(sumbuild 4 (lam (i : Integer) (tuple (to_float i) i)))", "(Tuple Float Integer)", (6.0, 6)),
    ("(sumbuild (tuple 2 3) (lam (ij : (Tuple Integer Integer)) (to_float (add ij))))", "Float", 9.0),
    ("(sumbuild 0 (lam (i : Integer) 1.0))", "Float", 0.0),
    ("(fold (lam (ax : (Tuple Integer Float)) (add (get$1$2 ax) 1)) 5 (v3))", "Integer", 8),
    ("(deltaVec 3 1 2.5)", "(Vec Float)", [0.0, 2.5, 0.0]),
    ("(deltaVec (tuple 2 2) (tuple 0 1) 2)", "(Tensor 2 Integer)", [[0, 2], [0, 0]]),
    ("(deltaVec 2 0 (tuple 1.0 (v3)))", "(Vec (Tuple Float (Vec Float)))", None),
    ("(delta 1 1 2.5)", "Float", 2.5),
    ("(delta 1 2 (v3))", "(Vec Float)", [0.0, 0.0, 0.0]),
    ("(index 1 (diag 2 3 (lam (i : Integer) (to_float (add i 5)))))", "(Vec Float)", [0.0, 6.0, 0.0]),
    ("(buildFromSparse 3 3 (lam (k : Integer) (tuple 1 (to_float k))))", "(Vec Float)", [0.0, 3.0, 0.0]),
    (
        "(buildFromSparse (tuple 2 2) 3 (lam (k : Integer) (tuple (tuple 0 1) 1.5)))",
        "(Tensor 2 Float)",
        [[0.0, 4.5], [0.0, 0.0]],
    ),
    (
        "(buildFromSparse 2 3 (lam (k : Integer) (tuple 1 (tuple 1.0 k))))",
        "(Vec (Tuple Float Integer))",
        [(0.0, 0), (3.0, 3)],
    ),
    (
        "(unzip (build 2 (lam (i : Integer) (tuple i true))))",
        "(Tuple (Vec Integer) (Vec Bool))",
        ([0, 1], [True, True]),
    ),
    # Tangents.
    ("(ts_add (tuple 1.0 (v3) (tuple)) (tuple 2.0 (v3) (tuple)))", "(Tuple Float (Vec Float) (Tuple))", None),
    ("(ts_scale 2.0 (v3))", "(Vec Float)", [2.0, 4.0, 8.0]),
    ("(ts_neg (tuple 1.0 (tuple)))", "(Tuple Float (Tuple))", (-1.0, ())),
    ("(ts_dot (tuple 2.0 (v3) (tuple)) (tuple 3.0 (v3) (tuple)))", "Float", 27.0),
    ("(dot (v3) (v3))", "Float", 21.0),
    ("(eq (v3) (map twice (v3)))", "Bool", False),
    ("(eq (tuple 1 (v3)) (tuple 1 (v3)))", "Bool", True),
    ("(eq (v3) (Vec_init 1.0))", "Bool", False),
    ("(ne (v3) (v3))", "Bool", False),
    ("(trace ($inline ($copydown 2.0)))", "Float", 2.0),
]


@pytest.mark.parametrize(("expr", "type_", "expected"), VALUES, ids=[v[0] for v in VALUES])
def test_value(expr, type_, expected):
    given = value(expr, type_)
    if expected is not None:
        assert given == expected


def test_nested_values():
    assert run("(def main (Vec (Vec Float)) () (constVec 2 (Vec_init 1.0)))")[0].tolist() == [[1.0], [1.0]]
    total = value("(ts_add (tuple 1.0 (v3) (tuple)) (tuple 2.0 (v3) (tuple)))", "(Tuple Float (Vec Float) (Tuple))")
    assert total == (3.0, [2.0, 4.0, 8.0], ())


def test_pseudo_random_numbers_depend_on_the_integer_only_and_fill_the_unit_interval():
    text = "(def main (Vec Float) () (build 2000 (lam (i : Integer) ($ranhashdoub i))))"
    numbers, again = run(text)[0], run(text)[0]
    assert np.array_equal(numbers, again) and len(set(numbers.tolist())) == 2000
    assert numbers.min() >= 0.0 and numbers.max() < 1.0
    counts, _ = np.histogram(numbers, bins=10, range=(0, 1))
    assert counts.min() > 140 and counts.max() < 260


def test_print_and_the_result_of_main():
    text = '(def main Integer () (let (n (print "x = " 1.5 " " (tuple 1 true))) (add n 7)))'
    assert run(text) == (7, "x = 1.5 (1, true)")


def test_another_entry_with_arguments():
    assert run(DEFINITIONS, "sq", args=[3.0]) == (9.0, "")
    assert run(DEFINITIONS, "swap", args=[3.0, 1]) == ((1, 3.0), "")
    assert run(DEFINITIONS, "twice", args=[0.1], width="f32")[0] == float(np.float32(0.1) * 2)


def test_long_programs_do_not_use_up_the_stack():
    lets = "".join(f"(let (x{k + 1} (add x{k} 1.0)) " for k in range(3000))
    assert run(f"(def main Float () (let (x0 0.0) {lets} x3000{')' * 3000}))")[0] == 3000.0
    deep = "(neg " * 4000 + "1.0" + ")" * 4000
    with pytest.raises(InvalidIRError, match="nested too deeply"):
        parse(f"(def main Float () {deep})")


def test_a_module_keeps_rules_and_external_functions():
    module = parse_module("""
        (edef g Float (Integer (Vec Float)))
        (edef h Float (Tuple Integer Float))
        (rule "mul by one" (x : Float) (mul x 1.0) x)
        (gdef fwd [f Float])
        (def f Float (x : Float) x)""")
    assert [rule.name for rule in module.rules] == ["mul by one"]
    assert [eqn.op for eqn in module.rules[0].template.eqns] == ["mul"]
    assert module.externals[0].params[0] == Integer and len(module.externals[0].params) == 2
    assert module.externals[1].argument.elems == (Integer, Float)
    assert [str(name) for name in module.requests] == ["[fwd [f Float]]"]
    assert module.program.entry == "f" and "[fwd f]" in module.program.functions


def test_an_external_function_stops_the_program():
    with pytest.raises(KernelRuntimeError, match="external function g has no definition"):
        run("(edef g (Vec Float) (Integer)) (def main Integer () (size (g 1)))")


ERRORS = [
    ("(def f Float () 1", "1:1", "expected ')'"),
    ("(def f Float () 1.0))", "1:21", "closes nothing"),
    ("(def f Float () [1.0))", "1:21", "expected ']' for the '[' of line 1"),
    ('(def f String () "abc)', "1:18", "expected '\"'"),
    ("#| never closed", "1:1", "expected '|#'"),
    ("\n  (foo)", "2:3", "expected def, edef, gdef, rule, box or entry"),
    ("x", "1:1", "expected (def …)"),
    ("(def f Float)", "1:1", "expected (def name type (param*) expr)"),
    ("(def f Floaty () 1.0)", "1:8", "expected a type, not Floaty"),
    ("(def f (Tensor 0 Float) () 1.0)", "1:8", "expected a type"),
    ("(def 3 Float () 1.0)", "1:6", "expected a name"),
    ("(def f Float (x Float) x)", "1:15", "expected a parameter (x : type), not x"),
    ("(def f Float ((x : Float) (x : Float)) x)", "1:27", "named twice"),
    ("(def f Float ((g : (Lam Float Float))) 1.0)", "1:15", "is a function value"),
    ("(def f Float () 1.0) (def f Float () 2.0)", "1:22", "defined twice"),
    ("(def f Float () 1)", "1:1", "f is to give Float, but gives Integer"),
    ("(def f Float () y)", "1:17", "y is not bound"),
    ("(def f Float () (g 1.0))", "1:17", "there is no function g"),
    ("(def f Float () (sin 1))", "1:17", "the built-in sin does not take (Integer)"),
    ("(def f Float ((x : Float)) (f 1))", "1:28", "f takes (Float), not (Integer)"),
    ("(def f Float () (if 1 2.0 3.0))", "1:17", "condition of if must be Bool"),
    ("(def f Float () (if true 2.0 3))", "1:17", "both sides of if"),
    ("(def f Float () (let (x 1.0)))", "1:17", "expected (let"),
    ("(def f Float () (let ((x 1.0 2.0) (y 1.0)) x))", "1:23", "expected a binding"),
    ("(def f Float () (let ((a b) (tuple 1.0 2.0 3.0)) a))", "1:23", "2 variables cannot take 3 values"),
    ("(def f Float () (let ((x : Integer) 1.0) 2.0))", "1:23", "to be of type Integer"),
    ("(def f Float () (let (g (lam (x : Float) x)) g))", "1:17", "a lambda stands only"),
    ("(def f Float () (get$3$2 (tuple 1.0 2.0)))", "1:17", "get$3$2 does not fit"),
    ("(def f Float () (index 0 1.0))", "1:17", "needs a tensor"),
    ("(def f Integer () (size 1.0))", "1:19", "size takes a tensor"),
    ("(def f Float () (build 2.0 (lam (i : Integer) 1.0)))", "1:17", "sizes of build must be Integer"),
    ("(def f Float () (map 1.0 2.0))", "1:26", "expected a tensor"),
    ("(def f (Vec Float) () (build 3))", "1:23", "build takes 2 operands, not 1"),
    ("(def f Integer () 9223372036854775808)", "1:19", "does not fit the 64 bits"),
    ("(def f Float () ())", "1:17", "expected an expression"),
    ("(gdef rev [g Float])", "1:1", "there is no function for [rev [g Float]]"),
    ('(rule "r" (x : Float) x 1)', "1:1", "both sides of a rule are of one type"),
    ("(entry g) (def f Float () 1.0)", "1:1", "there is no function g"),
    ("(def f Float () (null b))", "1:23", "there is no box b"),
    ("(def f Float ((v : (Vec Float))) (dot v 1.0))", "1:34", "have no inner product"),
    ("", "", "defines no function"),
]


@pytest.mark.parametrize(("text", "place", "message"), ERRORS)
def test_errors_say_where_and_what(text, place, message):
    with pytest.raises(InvalidIRError) as caught:
        parse(text, file="program.ks")
    assert message in caught.value.message
    assert str(caught.value).startswith(f"program.ks:{place}: [KS800]" if place else "[KS800]")


def test_run_time_errors_point_into_the_text():
    with pytest.raises(KernelRuntimeError, match=r"assertion failed: \(lt 2 1\)") as caught:
        run("(def main Integer ()\n  (assert (lt 2 1) 5))")
    assert (caught.value.span.line, caught.value.span.col) == (2, 2)


def test_map2_of_different_sizes_stops():
    with pytest.raises(KernelRuntimeError, match="differ in size"):
        run("(def main (Vec Float) () (map2 add (tuple (constVec 2 1.0) (constVec 3 1.0))))")
