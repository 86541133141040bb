"""Programs over tensors, as KS text, each with arguments: what code generation and derivatives of tensors are tested on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ksc.ir.nodes import Program
from ksc.ir.text import parse


@dataclass(frozen=True, slots=True)
class Sample:
    """A program, arguments for its entry, and how many copies and blocks of scratch memory its kernel makes."""

    text: str
    arguments: Sequence[Any]
    copies: int = 0
    blocks: int = 0

    @property
    def program(self) -> Program:
        return parse(self.text)


def vector(n: int, scale: float = 1.0) -> np.ndarray:
    return scale * np.sin(1.0 + np.arange(float(n)))


def matrix(n: int, m: int) -> np.ndarray:
    return np.cos(np.arange(float(n * m))).reshape(n, m)


SAMPLES: dict[str, Sample] = {
    "prefix_norms": Sample(
        """
(def prefix_norms (Tensor 1 Float) ((x : (Tensor 1 Float)))
  (let ((out (build (size x) (lam (i : Integer) 0.0)))
        ((i s result)
         (while ((i 0) (s 0.0) (out out))
           (if (lt i (size x)) (lte s 4.0) false)
           (let (s (add s (mul (index i x) (index i x))))
             (values (add i 1) s (if (gt s 4.0) out (update i out (sqrt s))))))))
    result))
""",
        [vector(9)],
    ),
    "matvec": Sample(
        """
(def matvec (Tensor 1 Float) ((a : (Tensor 2 Float)) (x : (Tensor 1 Float)))
  (let (() (require (eq (size a 1) (size x)) "a and x do not fit"))
    (build (size a 0) (lam (i : Integer)
      (reduce add (size a 1) (lam (j : Integer) (mul (index (tuple i j) a) (index j x))))))))
""",
        [matrix(3, 5), vector(5)],
    ),
    "stencil": Sample(
        """
(def stencil (Tensor 1 Float) ((x : (Tensor 1 Float)))
  (let (n (sub (size x) 2))
    (build n (lam (i : Integer)
      (add (sub (index i x) (mul 2.0 (index (add i 1) x))) (index (add i 2) x))))))
""",
        [vector(7)],
    ),
    "softmax": Sample(
        """
(def softmax (Tensor 1 Float) ((x : (Tensor 1 Float)))
  (let ((most (reduce max (size x) (lam (i : Integer) (index i x))))
        (e (build (size x) (lam (i : Integer) (exp (sub (index i x) most)))))
        (total (reduce add (size x) (lam (i : Integer) (index i e)))))
    (build (size x) (lam (i : Integer) (div (index i e) total)))))
""",
        [vector(6)],
        blocks=1,
    ),
    "steps": Sample(
        """
(def steps (Tensor 1 Float) ((x : (Tensor 1 Float)) (n : Integer))
  (for (t n) ((u x))
    (build (size u) (lam (i : Integer)
      (add (index i u) (mul 0.25 (index (if (lt i 1) 0 (sub i 1)) u)))))))
""",
        [vector(5), 1000],
        blocks=2,
    ),
    "swap": Sample(
        """
(def swap (Values (Tensor 1 Float) (Tensor 1 Float)) ((x : (Tensor 1 Float)) (n : Integer))
  (for (t n) ((a x) (b (build (size x) (lam (i : Integer) 1.0))))
    (values (update 0 b (add (index 1 a) (index 0 b))) (update 1 a (to_float t)))))
""",
        [vector(4), 5],
        copies=1,
        blocks=2,
    ),
    "swapped_sums": Sample(
        """
(def swapped_sums (Values (Tensor 2 Float) (Tensor 2 Float)) ((x : (Tensor 2 Float)) (y : (Tensor 2 Float)) (n : Integer))
  (for (i n) ((a x) (b y))
    (let ((t (index (tuple 0 0) a))
          (p (withacc ((acc b)) (acc_add (tuple 0 1) acc t)))
          (q (withacc ((acc a)) (acc_add (tuple 1 0) acc 2.0))))
      (values p q))))
""",
        [matrix(2, 2), matrix(2, 2) + 1.0, 5],
        copies=2,
        blocks=2,
    ),
    "part_read_later": Sample(
        """
(def part_read_later (Values Float (Tensor 2 Float)) ((x : (Tensor 2 Float)))
  (let ((t (build (tuple (size x 0) (size x 1)) (lam ((i : Integer) (j : Integer)) (mul 2.0 (index (tuple i j) x)))))
        (row (index 0 t))
        (u (update (tuple 0 1) t 7.0)))
    (values (index 1 row) u)))
""",
        [matrix(2, 3)],
        copies=1,
        blocks=1,
    ),
    "element_read_before": Sample(
        """
(def element_read_before (Values Float (Tensor 1 Float)) ((x : (Tensor 1 Float)))
  (let ((t (build (size x) (lam (i : Integer) (mul 2.0 (index i x)))))
        (e (index 0 t))
        (u (update 0 t 7.0)))
    (values (add e (index 0 u)) u)))
""",
        [vector(3)],
    ),
    "argument": Sample(
        "(def argument (Tensor 1 Float) ((x : (Tensor 1 Float))) (update 0 x 3.0))", [vector(3)], copies=1
    ),
    "sort_rows": Sample(
        """
(def sorted (Tensor 1 Float) ((v : (Tensor 1 Float)))
  (for (i (size v)) ((v v))
    (for (j (sub (size v) 1)) ((v v))
      (let ((a (index j v)) (b (index (add j 1) v)))
        (if (gt a b) (update (add j 1) (update j v b) a) v)))))
(def sort_rows (Tensor 2 Float) ((m : (Tensor 2 Float)))
  (build :nested false (size m 0) (lam (i : Integer) (sorted (index i m)))))
""",
        [matrix(3, 5)],
        copies=1,
        blocks=3,
    ),
    "sum_of_outer": Sample(
        """
(def sum_of_outer (Tensor 2 Float) ((x : (Tensor 2 Float)))
  (reduce add (size x 0) (lam (k : Integer)
    (build (tuple (size x 1) (size x 1)) (lam ((i : Integer) (j : Integer))
      (mul (index (tuple k i) x) (index (tuple k j) x)))))))
""",
        [matrix(4, 3)],
    ),
    "histogram": Sample(
        """
(def histogram (Tensor 1 Integer) ((k : (Tensor 1 Integer)) (n : Integer))
  (for (i (size k)) ((h (build n (lam (j : Integer) 0))))
    (let (b (index i k)) (update b h (add 1 (index b h))))))
""",
        [np.array([0, 2, 2, 1, 2]), 4],
    ),
    "flags": Sample(
        """
(def flags (Values (Tensor 1 Bool) Bool Bool) ((x : (Tensor 1 Float)))
  (let (f (build (size x) (lam (i : Integer) (gt (index i x) 0.0))))
    (values (update 0 f true)
            (reduce and (size x) (lam (i : Integer) (index i f)))
            (reduce or (size x) (lam (i : Integer) (index i f))))))
""",
        [vector(5)],
    ),
    "either": Sample(
        """
(def either (Tensor 1 Float) ((x : (Tensor 1 Float)) (y : (Tensor 1 Float)))
  (if (gt (index 0 x) 0.0) (build (size x) (lam (i : Integer) (mul 2.0 (index i x)))) y))
""",
        [vector(3), vector(4, 2.0)],
    ),
    "rows_of_nested": Sample(
        """
(def rows_of_nested Float ((n : Integer))
  (let (ragged (build n (lam (i : Integer) (build i (lam (j : Integer) (to_float (mul i j)))))))
    (reduce add n (lam (i : Integer) (reduce add (size (index i ragged)) (lam (j : Integer) (index j (index i ragged))))))))
""",
        [5],
        blocks=6,
    ),
}
