"""Loops that change tensors, as KS text, each with arguments where it is smooth."""

import numpy as np

from ksc.ir.text import parse

X5 = np.array([0.7, 1.2, -0.4, 0.9, 1.5])
M = np.array([[0.3, 0.7, 1.1], [0.4, -0.9, 1.2], [0.8, 0.5, -0.6], [1.3, 0.2, 0.1]])

VECTOR = "(x : (Tensor 1 Float))"

LAYERS = """(def f Float ((x : (Tensor 2 Float)) (w : (Tensor 2 Float)) (state : (Tensor 2 Float)) (n : Integer))
  (let (((s t)
         (for (k (get$1$2 (size x))) ((s 0.0) (t state))
           (let ((() (require (eq (get$2$2 (size x)) (get$2$2 (size w))) "sizes"))
                 ((y u) (for (l n) ((y (index k x)) (u t))
                   (let ((() (require (eq (get$2$2 (size x)) (get$2$2 (size state))) "sizes"))
                         (z (build (get$2$2 (size state)) (lam (i : Integer)
                              (tanh (add (mul (index (tuple l i) w) (index (tuple l i) u)) (index i y)))))))
                     (values z (update l u z))))))
             (values (add s (mul s (mul (index 0 y) (index (tuple 0 1) u)))) u)))))
    (add s (reduce add (get$2$2 (size state)) (lam (i : Integer) (exp (index (tuple 1 i) t)))))))"""

TEXTS = {
    "layers": (LAYERS, (M, M[:2], M[1:3], 2)),
    "no_layers": (LAYERS, (M, M[:2], M[1:3], 0)),
    "row_between_loops": (
        f"""(def f Float {VECTOR}
          (let (t (for (k 3) ((t x))
                    (let ((u (for (i (size x)) ((u t)) (update i u (sin (mul (index i u) (index k u))))))
                          (row (build (size x) (lam (i : Integer) (mul (index i u) (index i x))))))
                      (for (i (size x)) ((v u)) (update i v (mul (index i row) (index i v)))))))
            (reduce add (size x) (lam (i : Integer) (index i t)))))""",
        (X5,),
    ),
    "number_between_loops": (
        f"""(def f Float {VECTOR}
          (let (t (for (k 3) ((t x))
                    (let ((u (for (i (size x)) ((u t)) (update i u (sin (mul (index i u) (index k u))))))
                          (s (reduce add (size x) (lam (i : Integer) (mul (index i u) (index i u))))))
                      (for (i k) ((v u)) (update i v (if (lt s 2.0) (mul s (index i v)) (index i v)))))))
            (reduce add (size x) (lam (i : Integer) (index i t)))))""",
        (X5,),
    ),
    "loop_that_overwrites_nothing": (
        f"""(def f (Tensor 1 Float) {VECTOR}
          (for (k (size x)) ((t x))
            (update k t (for (j (size x)) ((s (index k t))) (sin (mul s (index j x)))))))""",
        (X5,),
    ),
    "running_product": (
        f"(def f Float {VECTOR} (for (i (size x)) ((p 1.0)) (mul p (index i x))))",
        (np.array([2.0, 2.0, 2.0]),),
    ),
    "cumulative_product": (
        f"""(def f (Tensor 1 Float) {VECTOR}
          (let (((p out) (for (i (size x)) ((p 1.0) (out (build (size x) (lam (i : Integer) 0.0))))
                  (let (q (mul p (index i x))) (values q (update i out q))))))
            out))""",
        (X5,),
    ),
    "write_then_multiply": (
        f"""(def f (Tensor 1 Float) {VECTOR}
          (for (i (size x)) ((y (build (size x) (lam (i : Integer) 0.0))))
            (let ((a (update i y 3.0)) (v (mul (index i a) (index i x))))
              (update i a v))))""",
        (X5,),
    ),
    "prefix_norms": (
        f"""(def f (Tensor 1 Float) {VECTOR}
          (let (((s out) (for (i (size x)) ((s 0.0) (out (build (size x) (lam (i : Integer) 0.0))))
                  (let (t (add s (mul (index i x) (index i x)))) (values t (update i out (sqrt t)))))))
            out))""",
        (X5,),
    ),
    "prefix_norms_read_back": (
        f"""(def f Float {VECTOR}
          (let ((out (for (i (size x)) ((out (build (size x) (lam (i : Integer) 0.5))))
                  (let ((before (index (select (eq i 0) 0 (sub i 1)) out))
                        (v (index i x)))
                    (update i out (sqrt (add (mul before before) (mul v v))))))))
            (reduce add (size x) (lam (i : Integer) (mul (index i out) (index i out))))))""",
        (X5,),
    ),
    "prefix_norms_with_break": (
        f"""(def f (Tensor 1 Float) {VECTOR}
          (let (((i s out left)
                 (while ((i 0) (s 0.0) (out (build (size x) (lam (i : Integer) 0.0))) (left false))
                   (and (lt i (size x)) (not left))
                   (let ((v (index i x)) (t (add s (mul v v))))
                     (if (gt t 3.0) (values i t out true) (values (add i 1) t (update i out (sqrt t)) false))))))
            out))""",
        (X5,),
    ),
    "fibonacci": (
        f"""(def f Float {VECTOR}
          (let (t (for (k (sub (size x) 2)) ((t x))
                    (let ((i (add k 2)) (v (mul (index (sub i 1) t) (index (sub i 2) t))))
                      (update i t (add v (mul (index i t) (index i x)))))))
            (index (sub (size x) 1) t)))""",
        (X5,),
    ),
    "table": (
        """(def f Float (x : (Tensor 2 Float))
          (let (((m n) (size x))
                (t (for (i (sub m 1)) ((t x))
                     (for (j (sub n 1)) ((u t))
                       (let ((a (index (tuple i (add j 1)) u)) (b (index (tuple (add i 1) j) u))
                             (c (index (tuple (add i 1) (add j 1)) x)))
                         (update (tuple (add i 1) (add j 1)) u (add c (sin (mul a b)))))))))
            (index (tuple (sub m 1) (sub n 1)) t)))""",
        (M,),
    ),
    "triangle": (
        f"""(def f (Tensor 1 Float) {VECTOR}
          (for (i (size x)) ((t x))
            (for (j i) ((u t)) (update j u (sin (mul (index i u) (index j u)))))))""",
        (X5,),
    ),
    "stencil": (
        f"""(def f (Tensor 1 Float) ({VECTOR} (n : Integer))
          (for (k n) ((t x))
            (for (j (sub (size x) 2)) ((u t))
              (let (i (add j 1))
                (update i u (mul (index (sub i 1) u) (index (add i 1) u)))))))""",
        (X5, 3),
    ),
    "stencil_backwards": (
        f"""(def f (Tensor 1 Float) ({VECTOR} (n : Integer))
          (for (k n down) ((t x))
            (for (j (sub (size x) 2) down) ((u t))
              (let (i (add j 1))
                (update i u (mul (index (sub i 1) u) (sin (index (add i 1) u))))))))""",
        (X5, 3),
    ),
    "bubble_sort": (
        f"""(def f Float {VECTOR}
          (let (t (for (i (size x)) ((t x))
                    (for (j (sub (size x) 1)) ((u t))
                      (let ((a (index j u)) (b (index (add j 1) u)))
                        (if (lt b a) (update (add j 1) (update j u b) a) u)))))
            (reduce add (size x) (lam (i : Integer) (mul (to_float i) (exp (index i t)))))))""",
        (X5,),
    ),
    "conditional_squares": (
        f"""(def f (Tensor 1 Float) ({VECTOR} (n : Integer))
          (for (k n) ((t x))
            (let ((i (imod (mul k 3) (size x))) (v (index i t)))
              (if (gt v 0.5)
                (update i t (mul v v))
                (let (u (update i t (sin v))) (update 0 u (mul (index i u) (index 0 u))))))))""",
        (X5, 9),
    ),
    "rows": (
        """(def f (Tensor 2 Float) (x : (Tensor 2 Float))
          (for (i (sub (get$1$2 (size x)) 1)) ((t x))
            (let ((above (index i t)) (row (index (add i 1) t)))
              (update (add i 1) t
                (build (size row) (lam (j : Integer) (mul (index j row) (sin (index j above)))))))))""",
        (M,),
    ),
    "rows_sometimes": (
        """(def f (Tensor 2 Float) ((x : (Tensor 2 Float)) (n : Integer))
          (for (k n) ((t x))
            (let ((i (imod k (get$1$2 (size t)))) (row (index i t)))
              (if (gt (index 0 row) 0.35)
                (update i t (build (size row) (lam (j : Integer) (sin (mul (index j row) (index (tuple 0 j) t))))))
                t))))""",
        (M, 7),
    ),
    "permutation": (
        f"""(def f (Tensor 1 Float) ({VECTOR} (p : (Tensor 1 Integer)))
          (let (((t q) (for (k 12) ((t x) (q p))
                  (let ((i (imod k (size x))) (j (index i q)) (a (index i t)) (b (index j t)))
                    (values (update j (update i t (sin b)) (mul a b))
                            (update j (update i q (index j q)) j))))))
            t))""",
        (X5, np.array([2, 4, 1, 0, 3])),
    ),
    "gather_scatter": (
        f"""(def f (Tensor 1 Float) ({VECTOR} (at : (Tensor 1 Integer)))
          (for (k (size at)) ((t (build (size x) (lam (i : Integer) 1.0))))
            (let (i (index k at)) (update i t (mul (index i t) (index i x))))))""",
        (X5, np.array([2, 4, 2, 0, 2, 4])),
    ),
    "pointer": (
        f"""(def f (Tensor 1 Float) ({VECTOR} (next : (Tensor 1 Integer)))
          (let (((i t) (while ((i 0) (t x)) (gte i 0)
                  (let (v (index i t)) (values (index i next) (update i t (mul v (mul v (index 0 t)))))))))
            t))""",
        (X5, np.array([3, -1, 1, 2, 0])),
    ),
    "while_in_for": (
        f"""(def f (Tensor 1 Float) {VECTOR}
          (for (i (size x)) ((t x))
            (while ((u t)) (lt (index i u) 4.0)
              (update i u (add 1.0 (mul (index i u) (index i u)))))))""",
        (X5,),
    ),
    "while_in_while": (
        f"""(def f (Tensor 1 Float) ({VECTOR} (n : Integer))
          (let (((k t) (while ((k 0) (t x)) (lt k n)
            (values (add k 1)
              (let (((j u) (while ((j k) (u t)) (lt j (size x))
                      (values (add j 2) (update j u (mul (index j u) (index 0 u)))))))
                u)))))
            t))""",
        (X5, 4),
    ),
    "three_deep": (
        """(def f (Tensor 2 Float) (x : (Tensor 2 Float))
          (for (k (get$1$2 (size x))) ((t x))
            (for (i (get$1$2 (size x))) ((u t))
              (for (j (min (add i 1) (get$2$2 (size x)))) ((v u))
                (update (tuple i j) v
                  (sin (add (index (tuple i j) v) (mul (index (tuple k j) v) (index (tuple i 0) v)))))))))""",
        (M,),
    ),
    "lu": (
        """(def f (Tensor 2 Float) (x : (Tensor 2 Float))
          (let ((n (get$1$2 (size x))))
            (for (k n) ((t x))
              (for (i (sub n (add k 1))) ((u t))
                (let ((r (add i (add k 1)))
                      (w (update (tuple r k) u (div (index (tuple r k) u) (index (tuple k k) u)))))
                  (for (j (sub n (add k 1))) ((v w))
                    (let (c (add j (add k 1)))
                      (update (tuple r c) v
                        (sub (index (tuple r c) v) (mul (index (tuple r k) v) (index (tuple k c) v)))))))))))""",
        (np.array([[4.0, 1.0, 0.5], [0.3, 3.0, 0.2], [0.7, -0.4, 5.0]]),),
    ),
    "rnn": (
        """(def f (Tensor 1 Float) ((w : (Tensor 2 Float)) (x : (Tensor 2 Float)) (h : (Tensor 1 Float)))
          (for (t (get$1$2 (size x))) ((h h))
            (build (size h) (lam (i : Integer)
              (tanh (add (index (tuple t i) x)
                (reduce add (size h) (lam (j : Integer) (mul (index (tuple i j) w) (index j h))))))))))""",
        (M[:3], M, np.array([0.1, -0.2, 0.3])),
    ),
    "rnn_that_keeps_all": (
        """(def f (Tensor 2 Float) ((w : (Tensor 2 Float)) (x : (Tensor 2 Float)))
          (for (k (sub (get$1$2 (size x)) 1)) ((out x))
            (let ((h (index k out)))
              (update (add k 1) out
                (build (size h) (lam (i : Integer)
                  (tanh (add (index (tuple (add k 1) i) x)
                    (reduce add (size h) (lam (j : Integer) (mul (index (tuple i j) w) (index j h))))))))))))""",
        (M[:3], M),
    ),
    "swapped_tensors": (
        f"""(def f (Tensor 1 Float) ({VECTOR} (y : (Tensor 1 Float)))
          (let (((a b) (for (i (size x)) ((a x) (b y))
                  (values b (update i a (mul (index i a) (sin (index i b))))))))
            a))""",
        (X5, X5[::-1] + 0.1),
    ),
    "rebound_sometimes": (
        f"""(def f (Tensor 1 Float) {VECTOR}
          (for (i (size x)) ((t x))
            (if (eq i 2)
              (build (size t) (lam (j : Integer) (sin (index j t))))
              (update i t (mul (index i t) (index 0 t))))))""",
        (X5,),
    ),
    "read_after_overwritten": (
        f"""(def f Float {VECTOR}
          (let (((s t) (for (i (size x)) ((s 0.0) (t x))
                  (let ((u (update i t (mul (index i t) (index 0 t))))
                        (old (index i t)) (new (index i u)))
                    (values (add s (mul old (mul new new))) u)))))
            (add s (index 1 t))))""",
        (X5,),
    ),
    "read_after_changes": (
        f"""(def f Float {VECTOR}
          (let (((s t) (for (i (size x)) ((s 0.0) (t x))
                  (let ((u (if (gt (index i t) 0.6) (update i t (mul (index i t) (index 0 t))) t))
                        (w (for (j 2) ((w u)) (update i w (sin (mul (index i w) (index j w))))))
                        (older (index i t)) (old (index i u)) (new (index i w))
                        (z (update 0 w (mul (index 0 t) (sin (index 0 w))))))
                    (values (add s (mul (mul old older) (mul new (index 1 u)))) z)))))
            (add s (index 1 t))))""",
        (X5,),
    ),
    "loop_in_build": (
        """(def f (Tensor 1 Float) (x : (Tensor 2 Float))
          (build (get$1$2 (size x)) (lam (r : Integer)
            (let ((row (index r x))
                  (t (for (k 5) ((t row))
                       (let (i (imod k (size row))) (update i t (mul (index i t) (sin (index 0 t))))))))
              (reduce add (size row) (lam (i : Integer) (index i t)))))))""",
        (M,),
    ),
    "build_in_loop": (
        f"""(def f (Tensor 1 Float) {VECTOR}
          (for (i (size x)) ((t x))
            (let ((y (build (size x) (lam (j : Integer) (mul (index j t) (index i x)))))
                  (s (reduce add (size x) (lam (j : Integer) (mul (index j y) (index j y))))))
              (update i t (sin s)))))""",
        (X5 / 2,),
    ),
    "stacked_rows": (
        """(def f (Tensor 2 Float) (x : (Tensor 1 Float))
          (let (((t rows) (for (i (size x)) ((t x))
                  (let (u (update i t (mul (index i t) (index 0 t)))) (values u u)))))
            rows))""",
        (X5,),
    ),
    "no_iteration": (
        f"(def f (Tensor 1 Float) {VECTOR} (for (i (sub 0 2)) ((t x)) (update i t (sin (index i t)))))",
        (X5,),
    ),
    "empty": (
        f"(def f (Tensor 1 Float) {VECTOR} (for (i (size x)) ((t x)) (update i t (sin (index i t)))))",
        (X5[:0],),
    ),
    "rows_free": (
        """(def f Float (x : (Tensor 2 Float))
          (for (i (get$1$2 (size x))) ((s 0.0))
            (let ((row (index i x)) (p (reduce add (size row) (lam (j : Integer) (mul (index j row) (index j row))))))
              (if (lt p 1.5) (sub s p) (add s (mul p (index 0 row)))))))""",
        (M,),
    ),
    "conditional_read_of_a_carry": (
        f"""(def f Float {VECTOR}
          (let (((s t) (for (i (size x)) ((s 0.0) (t x))
                  (let ((u (update i t (sin (index i t))))
                        (q (if (lt (index i x) 1.0)
                             (if (gt (index i x) 0.0) (mul (index i u) (index 0 u)) 0.0)
                             (index 1 u))))
                    (values (add s (mul q q)) u)))))
            (add s (index 2 t))))""",
        (X5,),
    ),
}

LOOPS = {name: (parse(text), args) for name, (text, args) in TEXTS.items()}
