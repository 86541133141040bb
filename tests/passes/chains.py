"""Chains of tensor operations as KS text, each operation a loop of its own, as a frontend writes them."""

from ksc.ir.text import parse

I1 = "(lam (i : Integer) "
I2 = "(lam ((i : Integer) (j : Integer)) "

SOURCES = {
    "sqrl": f"""
      (def sqrl Float ((x : (Tensor 2 Float)))
        (let (((n m) (size x))
              (y (sumbuild (tuple n m) {I2} (index (tuple i j) x))))
              (t (if (lt y 0.0)
                   (build (tuple n m) {I2} (mul -0.125 (index (tuple i j) x))))
                   (let (square (build (tuple n m) {I2} (pow (index (tuple i j) x) 2.0))))
                     (build (size square) {I2} (mul 0.5 (index (tuple i j) square)))))))
              (s (build (size t) {I2} (sin (index (tuple i j) t)))))
              (u (build (size s) {I2} (mul (index (tuple i j) s) (index (tuple i j) t)))))
              ((p q) (size u)))
          (div (sumbuild (tuple p q) {I2} (index (tuple i j) u))) (to_float (mul p q)))))""",
    "mse": f"""
      (def mse Float ((x : (Vec Float)) (y : (Vec Float)))
        (let ((d (assert (eq (size x) (size y)) (build (size x) {I1} (sub (index i x) (index i y))))))
              (s (build (size d) {I1} (mul (index i d) (index i d))))))
          (div (sum s) (to_float (size s)))))""",
    "variance": f"""
      (def variance Float ((x : (Vec Float)))
        (let ((m (div (sum x) (to_float (size x))))
              (d (build (size x) {I1} (sub (index i x) m))))
              (s (build (size d) {I1} (pow (index i d) 2.0)))))
          (div (sum s) (to_float (size s)))))""",
    "logsumexp": f"""
      (def logsumexp Float ((x : (Vec Float)) (m : Float))
        (let ((d (build (size x) {I1} (sub (index i x) m))))
              (e (build (size d) {I1} (exp (index i d))))))
          (add m (log (sum e)))))""",
    "softmax": f"""
      (def softmax (Vec Float) ((x : (Vec Float)) (m : Float))
        (let ((d (build (size x) {I1} (sub (index i x) m))))
              (e (build (size d) {I1} (exp (index i d)))))
              (s (sum e)))
          (build (size e) {I1} (div (index i e) s)))))""",
    "layer_norm": f"""
      (def layer_norm (Vec Float) ((x : (Vec Float)) (w : (Vec Float)) (b : (Vec Float)))
        (let ((n (size x))
              (m (assert (and (eq n (size w)) (eq n (size b))) (div (sum x) (to_float n))))
              (d (build n {I1} (sub (index i x) m))))
              (v (div (sumbuild n {I1} (mul (index i d) (index i d)))) (to_float n)))
              (y (build n {I1} (div (index i d) (sqrt (add v 1e-5))))))
              (z (build n {I1} (mul (index i y) (index i w))))))
          (build n {I1} (add (index i z) (index i b))))))""",
    "linear": f"""
      (def linear (Vec Float) ((a : (Tensor 2 Float)) (x : (Vec Float)) (b : (Vec Float)))
        (let (((n m) (size a))
              (t (build (tuple m n) {I2} (index (tuple j i) a))))
              (y (build n {I1} (sumbuild m (lam (j : Integer) (mul (index (tuple j i) t) (index j x)))))))
              (z (build (size y) {I1} (add (index i y) (index i b))))))
          (build (size z) {I1} (tanh (index i z))))))""",
    "gram": f"""
      (def gram (Tensor 2 Float) ((x : (Tensor 2 Float)) (y : (Tensor 2 Float)))
        (let (((n m) (size x))
              (k (get$2$2 (size y)))
              (t (build (tuple m n) {I2} (index (tuple j i) x)))))
          (build (tuple m k) {I2} (sumbuild n (lam (l : Integer) (mul (index (tuple i l) t) (index (tuple l j) y))))))))""",
    "flatten": f"""
      (def flatten Float ((x : (Tensor 2 Float)))
        (let (((n m) (size x))
              (f (build (mul n m) {I1} (index (tuple (idiv i m) (imod i m)) x))))
              (r (build (size f) {I1} (index (sub (sub (size f) 1) i) f)))))
          (sumbuild (size r) {I1} (exp (index i r))))))""",
}

CHAINS = {name: parse(source) for name, source in SOURCES.items()}
