"""Derivatives that a text names, against central differences of the interpreted program and values worked out by hand."""

import itertools

import numpy as np
import pytest

from ksc.errors import InvalidIRError, KernelRuntimeError
from ksc.ir.text import alpha_equal, parse, run, to_text

GMM = """
(def logsumexp Float ((v : (Vec Float)))
  (let (m (index (imax v) v)) (add m (log (sumbuild (size v) (lam (i : Integer) (exp (sub (index i v) m))))))))
(def energy Float ((x : (Vec Float)) (means : (Vec (Vec Float))) (weights : (Vec (Tuple Float Integer))))
  (logsumexp (build (size means) (lam (k : Integer)
    (let (((w n) (index k weights)) (mu (index k means)))
      (sub (mul w (to_float n))
           (sumbuild (size x) (lam (i : Integer) (let (d (sub (index i x) (index i mu))) (mul d d))))))))))
(def entry Float ((x : Float) (y : Float))
  (energy (Vec_init x y (mul x y))
          (build 2 (lam (k : Integer) (build 3 (lam (i : Integer) (mul y (to_float (add i k)))))))
          (build 2 (lam (k : Integer) (tuple (sin x) (add k 1))))))
"""

PROGRAMS = {
    "polynomial": "(def entry Float ((x : Float) (y : Float)) (add (mul x (mul x y)) (sin (div y x))))",
    "branches": """(def entry Float ((x : Float) (y : Float))
        (if (lt x y) (mul x y) (if (gt x 2.0) (exp y) (sub x (mul y y)))))""",
    "recursion": """
        (def power Float ((x : Float) (n : Integer)) (if (eq n 0) 1.0 (mul x (power x (sub n 1)))))
        (def entry Float ((x : Float) (y : Float)) (add (power x 5) (power (mul x y) 3)))""",
    "fold": """(def entry Float ((x : Float) (y : Float))
        (fold (lam (sv : (Tuple Float Float)) (let ((s v) sv) (add (mul s v) (sin s)))) y (Vec_init x y x)))""",
    "tensors": """(def entry Float ((x : Float) (y : Float))
        (let ((v (build 4 (lam (i : Integer) (mul x (to_float i)))))
              (w (map2 mul (tuple v (ts_scale y v))))
              ((a b) (unzip (map (lam (e : Float) (tuple e (cos e))) w)))
              (d (deltaVec 4 2 (mul x y)))
              (m (diag 4 4 (lam (i : Integer) (index i b))))
              (s (buildFromSparse 4 6 (lam (k : Integer) (tuple (if (lt k 3) 0 3) (mul x (to_float k)))))))
          (add (add (dot a b) (sum d)) (add (sum (map sum m)) (dot s v)))))""",
    "tuples": """
        (def rotate (Tuple (Tuple Float Float) Integer) ((p : (Tuple Float Float)) (n : Integer))
          (let ((x y) p) (tuple (tuple (neg y) (mul x x)) (add n 1))))
        (def entry Float ((x : Float) (y : Float))
          (let ((p n) (rotate (get$1$2 (rotate (tuple x y) 3)) 4)) (mul (to_float n) (mul p))))""",
    "energy": GMM,
    "maximum": "(def entry Float ((x : Float) (y : Float)) (add (max (Vec_init x (mul y y) 0.5)) (max x (min y 0.5))))",
}

CALLS = """
(def forward (Tuple Float Float) ((x : Float) (y : Float))
  (tuple ([fwd entry] (tuple x y) (tuple 1.0 0.0)) ([fwd entry] (tuple x y) (tuple 0.0 1.0))))
(def reverse (Tuple Float Float) ((x : Float) (y : Float)) ([rev entry] (tuple x y) 1.0))
(def flat (Tuple Float Float) ((x : Float) (y : Float)) ([sufrev entry] x y 1.0))
(def passes (Tuple Float Float) ((x : Float) (y : Float))
  (let ((r b) ([suffwdpass entry] x y)) (assert (eq r (entry x y)) ([sufrevpass entry] 1.0 b))))
(def hessian (Tuple Float Float) ((x : Float) (y : Float))
  (get$1$2 ([rev [rev entry]] (tuple (tuple x y) 1.0) (tuple 1.0 0.0))))
(def mixed (Tuple Float Float) ((x : Float) (y : Float))
  ([fwd [rev entry]] (tuple (tuple x y) 1.0) (tuple (tuple 1.0 0.0) 0.0)))
(def checked Float ((x : Float) (y : Float))
  ($check (lam (p : (Tuple Float Float)) (entry p)) (lam ((p : (Tuple Float Float)) (d : Float)) ([rev entry] p d))
          (tuple x y) (tuple 1e-6 2e-6) 1.5))
"""

POINTS = [(1.3, 0.7), (0.4, 2.1)]


def gradient(program, entry, x, y, h=1e-6):
    """Central differences of a component of the result, or of the result itself."""
    columns = [
        (run(program, entry, args=[x + h * dx, y + h * dy])[0], run(program, entry, args=[x - h * dx, y - h * dy])[0])
        for dx, dy in ((1, 0), (0, 1))
    ]
    return [(np.array(up) - np.array(down)) / (2 * h) for up, down in columns]


@pytest.mark.parametrize(("name", "point"), list(itertools.product(PROGRAMS, POINTS)))
def test_derivatives_are_those_of_differences(name, point):
    program = parse(PROGRAMS[name] + CALLS)
    assert alpha_equal(parse(to_text(program)), program)
    expected = gradient(program, "entry", *point)
    for entry in ("forward", "reverse", "flat", "passes"):
        assert run(program, entry, args=point)[0] == pytest.approx(expected, rel=1e-6, abs=1e-6), entry
    second = [row[0] for row in gradient(program, "reverse", *point)]
    for entry in ("hessian", "mixed"):
        assert run(program, entry, args=point)[0] == pytest.approx(second, rel=1e-5, abs=1e-5), entry
    assert run(program, "checked", args=point)[0] < 1e-4


def test_cotangents_have_the_shape_of_their_arguments():
    text = """
        (def f Float ((v : (Vec (Tuple Float Integer))) (m : (Vec (Vec Float))) (b : Bool) (n : (Vec Integer)))
          (if b (add (sum (map (lam (p : (Tuple Float Integer)) (mul (get$1$2 p) (to_float (get$2$2 p)))) v))
                     (sum (map sum m))) 0.0))
        (def main Integer ()
          (print ([rev f] (tuple (build 2 (lam (i : Integer) (tuple 1.0 i))) (constVec 2 (Vec_init 5.0)) true (constVec 2 7)) 2.0)))"""
    assert run(text)[1] == "([(0.0, ()), (2.0, ())], [[2.0], [2.0]], (), [(), ()])"


def test_ragged_tensors_are_refused_not_guessed():
    text = """
        (def f Float ((m : (Vec (Vec Float)))) (sum (map sum m)))
        (def ragged (Vec (Vec Float)) () (build 2 (lam (i : Integer) (constVec (add i 1) 1.0))))
        (def primal Float () (f (ragged)))
        (def main (Vec (Vec Float)) () ([rev f] (ragged) 1.0))"""
    assert run(text, "primal")[0] == 3.0
    with pytest.raises(KernelRuntimeError, match="differ in size"):
        run(text)


BY_HAND = """
(def f Float ((x : Float) (n : Integer)) (mul x x))
(def [rev f] (Tuple Float (Tuple)) ((xn : (Tuple Float Integer)) (dr : Float)) (tuple (mul dr 100.0) (tuple)))
(def [fwd f] Float ((xn : (Tuple Float Integer)) (dxn : (Tuple Float (Tuple)))) (mul 10.0 (get$1$2 dxn)))
(def g Float ((x : Float)) (mul 3.0 (f (mul 2.0 x) 1)))
(def loop Float ((x : Float)) (sumbuild 3 (lam (i : Integer) (f (mul x (to_float i)) i))))
(def branch Float ((x : Float)) (if (gt x 0.0) (f x 2) x))
(def deep Float ((x : Float) (n : Integer)) (if (lte n 0) (f x 0) (deep (mul 2.0 x) (sub n 1))))
(def main Integer () (print
  ([rev f] (tuple 1.0 2) 1.0) " " ([sufrev f] 1.0 2 1.0) " " ([fwd f] (tuple 1.0 2) (tuple 1.0 (tuple))) " "
  ([rev g] 1.0 1.0) " " ([fwd g] 1.0 1.0) " " ([rev loop] 1.0 1.0) " " ([fwd loop] 1.0 1.0) " "
  ([rev branch] 1.0 1.0) " " ([rev deep] (tuple 1.0 3) 1.0) " " ([fwd deep] (tuple 1.0 3) (tuple 1.0 (tuple)))))
"""


def test_a_derivative_given_by_hand_takes_precedence():
    expected = "(100.0, ()) (100.0, ()) 10.0 600.0 60.0 300.0 30.0 100.0 (800.0, ()) 80.0"
    program = parse(BY_HAND)
    assert run(program)[1] == expected
    assert run(to_text(program))[1] == expected


def test_a_derivative_by_hand_of_tensors_and_tuples():
    text = """
        (def f (Tuple (Vec Float) (Vec Integer)) ((v : (Vec (Tuple Float Integer)))) (unzip v))
        (def [rev f] (Vec (Tuple Float (Tuple))) ((v : (Vec (Tuple Float Integer))) (d : (Tuple (Vec Float) (Vec (Tuple)))))
          (let ((dv dn) d) (build (size dn) (lam (i : Integer) (tuple (mul 7.0 (index i dv)) (tuple))))))
        (def g Float ((x : Float)) (sum (get$1$2 (f (build 3 (lam (i : Integer) (tuple (mul x (to_float i)) i)))))))
        (def main Integer () (print ([rev g] 2.0 1.0) " " ([fwd g] 2.0 1.0)))"""
    assert run(text)[1] == "21.0 3.0"


def test_a_derivative_of_an_overload():
    text = """
        (def [f Float] Float (x : Float) (mul x x))
        (def [f (Vec Float)] Float (v : (Vec Float)) (sum v))
        (def main Integer () (print ([rev f] 3.0 1.0) ([rev [f Float]] 3.0 1.0) ([rev f] (Vec_init 1.0 2.0) 5.0)))"""
    assert run(text)[1] == "6.06.0[5.0, 5.0]"


def test_a_derivative_of_nothing():
    with pytest.raises(InvalidIRError, match=r"there is no function \[rev g\]"):
        parse("(def main Float () ([rev g] 1.0 1.0))")
    with pytest.raises(InvalidIRError, match=r"there is no function \[rev main\]|\[rev main\] takes"):
        parse("(def main Float (x : Float) ([rev main] true))")


def test_a_derivative_of_a_built_in():
    text = """(def main Integer () (print
        ([rev sin] 0.0 3.0) " " ([rev mul] (tuple 2.0 5.0) 1.0) " " ([sufrev mul] 2.0 5.0 1.0) " "
        ([fwd sum] (Vec_init 1.0 2.0) (Vec_init 3.0 4.0)) " " ([rev index] (tuple 1 (Vec_init 1.0 2.0)) 5.0)))"""
    assert (
        run(text.replace(' " " ([rev index] (tuple 1 (Vec_init 1.0 2.0)) 5.0)', ""))[1]
        == "3.0 (5.0, 2.0) (5.0, 2.0) 7.0"
    )
    with pytest.raises(InvalidIRError, match=r"there is no function \[rev index\]"):
        parse(text)
